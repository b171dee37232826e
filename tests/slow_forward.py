"""A slow model: every attention call of an untouched timm forward, in fp64, by loops."""

from __future__ import annotations

from unittest import mock

import families
import numpy as np
import reference
import torch


def slow(model, pixels, detector, attenuator, layers, found_in=None):
    """Return the tokens [B, N, E] of an edited forward in fp64; `detector` = (signal, scope, rule, number, side).

    With `found_in` the flags are those of that block in an untouched forward, which is run first; with ``each`` those
    of the very block in one.
    """
    looks = {layer: layer if found_in == "each" else found_in for layer in layers}
    masks = {look: [] for look in looks.values() if look is not None}
    for look, some in masks.items():
        slow_flags(model, pixels, detector, look, some)
    name, scope, rule, number, side = detector
    how, strength, queries = attenuator
    model, prefix = families.double(model), model.num_prefix_tokens
    inputs = []
    handles = [b.register_forward_pre_hook(lambda block, args: inputs.append(args[0])) for b in model.blocks]
    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(q, k, v, **kwargs):
        if len(inputs) - 1 not in layers:
            return plain(q, k, v, **kwargs)
        scale = q.shape[-1] ** -0.5
        out = []
        for b in range(len(q)):
            arrays = [t[b].numpy() for t in (q, k, v, inputs[-1])]
            s = reference.signal(name, scope, *arrays, prefix, scale)
            flags = np.array([reference.flag(r, reference.threshold(r, rule, number, side), side) for r in s])
            look = looks[len(inputs) - 1]
            flags = flags if look is None else np.array(masks[look][b])
            flags = np.broadcast_to(flags, (q.shape[1], flags.shape[1]))
            out.append(reference.attention(*arrays[:3], flags, prefix, scale, how, strength, queries))
        return torch.tensor(np.array(out))

    try:
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", attention):
            return model.forward_features(pixels.double())
    finally:
        for handle in handles:
            handle.remove()
        model.float()


def slow_flags(model, pixels, detector, layer, masks):
    """Append each image's flags in block `layer` of the untouched model to `masks`."""
    name, scope, rule, number, side = detector
    model, prefix = families.double(model), model.num_prefix_tokens
    inputs = []
    handles = [b.register_forward_pre_hook(lambda block, args: inputs.append(args[0])) for b in model.blocks]
    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(q, k, v, **kwargs):
        if len(inputs) - 1 == layer:
            for b in range(len(q)):
                arrays = [t[b].numpy() for t in (q, k, v, inputs[-1])]
                s = reference.signal(name, scope, *arrays, prefix, q.shape[-1] ** -0.5)
                masks.append([reference.flag(r, reference.threshold(r, rule, number, side), side) for r in s])
        return plain(q, k, v, **kwargs)

    try:
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", attention):
            model.forward_features(pixels.double())
    finally:
        for handle in handles:
            handle.remove()
