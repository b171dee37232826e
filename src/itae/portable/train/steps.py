"""One step of a training, and what a network's running mean is worth on pictures that it doesn't learn from.

Only what trains imports this.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from itae.base.errors import UserError
from itae.portable.data.pairs import Pairs
from itae.portable.train.crops import crops
from itae.portable.train.losses import loss_of
from itae.portable.train.options import Train
from itae.portable.train.quality import Call, psnr, restored
from itae.portable.train.state import State


@contextlib.contextmanager
def torch_for(options: Train) -> Iterator[None]:
    """Have torch run on as many threads as a training has, and then on as many as before; its generator is kept."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(options.threads)
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def laid(tensor: torch.Tensor, options: Train) -> torch.Tensor:
    """Return pictures [B, 3, H, W] as they are to lie in memory."""
    return tensor.contiguous(memory_format=torch.channels_last) if options.channels_last else tensor


def rate(options: Train, step: int) -> float:
    """Return the learning rate of a step, from 0: it grows along a line, then falls along a cosine to 0."""
    warm = options.warmup * options.steps
    if step < warm:
        return options.lr * (step + 1) / (warm + 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (options.steps - warm)))


def step(state: State, pairs: Pairs, teacher: nn.Module | None) -> None:
    """Learn from one batch.

    Raises
    ------
    UserError
        When the loss is no number any more.
    """
    options = state.options

    def backward(blurred: torch.Tensor, sharp: torch.Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            output = state.module(blurred)
        loss = loss_of(output.float(), sharp, options.eps, options.fft)
        if teacher is not None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                said = teacher(blurred)
            share = options.teacher_weight
            loss = (1 - share) * loss + share * loss_of(output.float(), said.float(), options.eps, options.fft)
        loss.backward()
        return loss.item()

    learn(state, pairs, backward, "train.lr", "the loss")


def learn(
    state: State, pairs: Pairs, backward: Callable[[torch.Tensor, torch.Tensor], float], word: str, loss: str
) -> None:
    """Take one step, of one network or of many that share weights.

    Parameters
    ----------
    state, pairs
        What learns, and from what.
    backward
        value = backward(blurred, sharp): adds the gradients of a batch, [B, 3, H, W] each, and returns its loss.
    word, loss
        What sets the learning rate, and what the loss is called, for an error.

    Raises
    ------
    UserError
        When the loss is no number any more.
    """
    options = state.options
    torch.default_generator.manual_seed((options.seed + state.step) % 2**63)  # for networks that drop at random
    found = crops(pairs, state.step, options.batch, options.crop, options.seed)
    blurred, sharp = (torch.from_numpy(each) for each in found)
    for group in state.adam.param_groups:
        group["lr"] = rate(options, state.step)
    state.adam.zero_grad()
    value = backward(laid(blurred, options), sharp)
    if not math.isfinite(value):
        raise UserError(
            f"{word}={options.lr:g}: after {state.step:,} steps {loss} is no finite number any more; take a lower "
            "one, or train.precision=fp32."
        )
    if options.clip is not None:
        torch.nn.utils.clip_grad_norm_(state.named.values(), options.clip)
    state.adam.step()
    state.averaged()
    state.losses.append(value)
    state.step += 1


def validation_psnr(state: State, pairs: Pairs, multiple: int) -> float:
    """Return the mean PSNR of what the running mean of the weights makes of pairs, in float32."""
    module = copy.deepcopy(state.module).eval()
    module.load_state_dict(state.kept())
    return float(np.mean(psnr(restored(call_of(module, state.options), pairs, state.options.batch, multiple), pairs)))


def call_of(module: nn.Module, options: Train) -> Call:
    """Return a module as a function of arrays, float32 [B, 3, H, W]."""

    def call(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(laid(torch.from_numpy(pictures), options)).numpy()

    return call
