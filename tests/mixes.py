"""Edits of every kind, and what a model is left as by them."""

from __future__ import annotations

from itae.edits.attenuate import Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.edits.combined import Combined
from itae.edits.detect import ClsAttention, ResidualNorm, VectorNorm

ATTENUATORS = {"floor": Floor, "cap": Cap, "scale": Scale, "fade": Fade, "blend": Blend, "mean_value": MeanValue}

NUMBERS = {"quantile": ("quantile", 0.13), "mad": ("k", 1.0), "ratio": ("ratio", 1.1)}


def fast_detector(name, scope, rule, number, side):
    options = {"scope": scope, "rule": rule, "side": side, NUMBERS[rule][0]: number}
    if name in ("residual", "combined"):
        return (ResidualNorm if name == "residual" else Combined)(**options)
    return ClsAttention(**options) if name == "cls_attention" else VectorNorm(vector=name, **options)


MIXES = [
    (("value", "token", "mad", 1.0, "low"), ("floor", 1.0, "cls"), (2,)),
    (("value", "token", "mad", 1.0, "low"), ("floor", 0.6, "all"), (0, 1, 2)),
    (("key", "token", "quantile", 0.13, "high"), ("scale", 1.0, "all"), (0, 1, 2)),
    (("key", "head", "mad", 1.0, "high"), ("cap", 0.7, "all"), (1,)),
    (("query", "head", "ratio", 1.1, "low"), ("blend", 0.5, "all"), (0, 2)),
    (("residual", "token", "quantile", 0.13, "high"), ("fade", 0.8, "cls"), (1, 2)),
    (("cls_attention", "token", "quantile", 0.13, "high"), ("mean_value", 1.0, "all"), (0, 1)),
    (("combined", "token", "quantile", 0.13, "high"), ("scale", 1.0, "all"), (0, 1, 2)),
]


def state_of(model):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    fused = [getattr(m, "fused_attn", None) for m in model.modules()]
    return hooks, fused, [m.__dict__.get("forward") for m in model.modules()], [id(m) for m in model.modules()]


class BrokenError(Exception):
    pass
