"""A block as a linear map of one token, read from its weights, and the directions in which the blocks stretch most.

Wang et al. (arXiv 2407.16826) take each block for linear, E_i = (I + C_i)(I + A_i), and so the way of a token through
the blocks 0 to i for G_i = E_i ... E_0. What is the same of all images lies along the first left singular vector of
G_i. Nothing but weights is read.

A_i is attention that stays with the token itself: the norm's gain, the values' weights, the projection, LayerScale.
C_i is what a least-squares fit finds of the MLP behind its norm, from Gaussian tokens of mean 0 and standard deviation
1 in each channel. The authors draw 100,000 of them. Of ever more, the fit comes to the mean slope of the MLP (Stein,
1981, doi:10.1214/aos/1176345632), which is written down here: an integral over one normal variable for each neuron.
So there is neither a number of tokens nor a seed to choose.

In both, a LayerNorm takes the mean off, multiplies by its gain, and divides by 1, the standard deviation of such
tokens; an RMSNorm takes nothing off. Its bias counts where a neuron bends; all other biases, which are no part of a
linear map, are left out.

Letters: L blocks, E embedding width, A width of the values of all heads, M neurons of an MLP, T nodes of an integral.
"""

from __future__ import annotations

import functools
import logging
from typing import Any
from weakref import WeakKeyDictionary

import torch
from scipy.linalg import eigh
from timm.layers import GluMlp, Mlp, RmsNorm, SwiGLU
from timm.models.eva import AttentionRope, EvaAttention, EvaBlock
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

log = logging.getLogger(__name__)

_REACH, _NODES = 8.0, 1025  # of a normal variable beyond 8 there is 1e-15; 1e-5 off where a neuron has a kink
_EVEN = 1e-6  # two singular values that differ by less, relative, have no direction that is the first
_KNOWN: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


def unreadable(model: nn.Module) -> str:
    """Return which part of which block can't be taken for linear here, or nothing; no weight is looked at.

    Parameters
    ----------
    model
        A timm vision transformer, which may be on the device ``meta``.
    """
    for i, block in enumerate(model.blocks):  # type: ignore[arg-type]
        if not isinstance(block, Block | EvaBlock):
            return f"block {i}, a {type(block).__name__}"
        for name, part in _odd_parts(block).items():
            if part is not None:
                return f"{name} of block {i}, a {type(part).__name__}"
    return ""


def _odd_parts(block: Any) -> dict[str, Any]:
    """Return what stands in the way, by what it is called, and None where nothing does."""
    attn, mlp = block.attn, block.mlp
    plain = isinstance(attn, Attention | EvaAttention | AttentionRope)
    own = plain and _value_rows(attn) == attn.proj.in_features  # fewer: heads have values in common
    inner = (getattr(part, "norm", None) for part in (attn, mlp))
    in_attn, in_mlp = (None if isinstance(norm, nn.Identity) else norm for norm in inner)
    return {
        "the attention": None if plain and own else attn,
        "the gate in the attention": getattr(attn, "gate", None),
        "the norm in the attention": in_attn,
        "the MLP": None if isinstance(mlp, Mlp | GluMlp | SwiGLU) and isinstance(mlp.fc2, nn.Linear) else mlp,
        "the norm in the MLP": in_mlp,
        "the first norm": None if _is_norm(block.norm1) else block.norm1,
        "the second norm": None if _is_norm(block.norm2) else block.norm2,
    }


def _is_norm(part: nn.Module) -> bool:
    return isinstance(part, nn.LayerNorm) or _is_rms(part)


def _is_rms(part: nn.Module) -> bool:
    return isinstance(part, RmsNorm | nn.RMSNorm)


def _value_rows(attn: Any) -> int:
    return int(attn.v_proj.out_features if attn.qkv is None else attn.qkv.out_features // 3) if _has_values(attn) else 0


def _has_values(attn: Any) -> bool:
    return isinstance(getattr(attn, "qkv", None), nn.Linear) or isinstance(getattr(attn, "v_proj", None), nn.Linear)


def directions(model: nn.Module) -> Tensor:
    """Return the direction in which what enters each block was stretched most, unit vectors [L, E] in fp32.

    Row i is the first left singular vector of G_(i-1), so that it is of the tokens before block i, which is where a
    detector looks. Row 0 is 0: nothing was stretched yet. So is one of a G whose two largest singular values are the
    same, up to 1e-6. Computed once for a model, in fp64 on the CPU, and then at hand on the model's device.

    Parameters
    ----------
    model
        Frozen, with blocks of which `unreadable` has nothing to say.
    """
    if model not in _KNOWN:
        blocks = list(model.blocks)  # type: ignore[arg-type]
        log.info("Reading the singular directions of %d blocks from their weights.", len(blocks))
        with torch.no_grad():
            _KNOWN[model] = _stretched(blocks).float().to(next(model.parameters()).device)
    return _KNOWN[model]


def _stretched(blocks: list[nn.Module]) -> Tensor:
    """Return what `directions` does, in fp64 on the CPU."""
    found_LE: list[Tensor] = []
    so_far_EE: Tensor | None = None
    for block in blocks:
        own_EE = linear(block)
        found_LE.append(own_EE.new_zeros(len(own_EE)) if so_far_EE is None else _first(so_far_EE))
        so_far_EE = own_EE if so_far_EE is None else own_EE @ so_far_EE
        so_far_EE = so_far_EE / torch.linalg.matrix_norm(so_far_EE)  # its size grows from block to block
    return torch.stack(found_LE)


def _first(matrix_EE: Tensor) -> Tensor:
    """Return the first left singular vector [E], or zeros if no one is."""
    width = len(matrix_EE)
    squares, vectors = eigh((matrix_EE @ matrix_EE.T).numpy(), subset_by_index=[width - 2, width - 1])
    second, first = squares.clip(0) ** 0.5
    return matrix_EE.new_tensor(vectors[:, 1]) * float(first - second > _EVEN * first)


def linear(block: Any) -> Tensor:
    """Return a block as a linear map of one token, E_i of the module, fp64 [E, E], on the CPU."""
    attention_EE = _scaled(block, 1, _whole(block.attn.proj.weight) @ _normed(_values(block.attn), block.norm1))
    mlp_EE = _scaled(block, 2, _mean_slope(block.mlp, block.norm2))
    one_EE = torch.eye(len(mlp_EE), dtype=torch.float64)
    return (one_EE + mlp_EE) @ (one_EE + attention_EE)


def _whole(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float64)


def _values(attn: Any) -> Tensor:
    """Return the weights of the values of all heads, [A, E]."""
    return _whole(attn.v_proj.weight if attn.qkv is None else attn.qkv.weight[-(len(attn.qkv.weight) // 3) :])


def _scaled(block: Any, branch: int, map_EE: Tensor) -> Tensor:
    """Return what a branch adds to the stream: with LayerScale, where the block has one."""
    own = getattr(block, f"gamma_{branch}", None)  # EVA
    scale_E = own if own is not None else getattr(getattr(block, f"ls{branch}", None), "gamma", None)
    return map_EE if scale_E is None else _whole(scale_E)[:, None] * map_EE


def _normed(weight_ME: Tensor, norm: Any) -> Tensor:
    """Return what a linear layer behind a norm does to a token of standard deviation 1, [M, E]."""
    gained_ME = weight_ME if norm.weight is None else weight_ME * _whole(norm.weight)
    return gained_ME if _is_rms(norm) else gained_ME - gained_ME.mean(dim=1, keepdim=True)


def _mean_slope(mlp: Any, norm: Any) -> Tensor:
    """Return the mean slope of an MLP behind a norm over Gaussian tokens, [E, E]."""
    gate, value = _first_layers(mlp)
    gate_ME, bend_M = _before_bend(*gate, norm)
    size_M = gate_ME.norm(dim=1)
    node_T, mass_T = _nodes()
    act_MT = mlp.act(bend_M[:, None] + size_M[:, None] * node_T)
    if value is None:  # y = act(g): the mean of act'(g) is that of act(g) t, over the size of g
        slope_ME = _over((act_MT * (node_T * mass_T)).sum(dim=1), size_M)[:, None] * gate_ME
        return _whole(mlp.fc2.weight) @ slope_ME
    value_ME, base_M = _before_bend(*value, norm)
    share_M = _over((gate_ME * value_ME).sum(dim=1), size_M)  # u = base + share t + what g tells nothing of
    along_MT = base_M[:, None] * node_T + share_M[:, None] * (node_T.square() - 1)
    by_gate_M = _over((act_MT * along_MT * mass_T).sum(dim=1), size_M)  # the mean of act'(g) u
    by_value_M = (act_MT * mass_T).sum(dim=1)  # and that of act(g)
    return _whole(mlp.fc2.weight) @ (by_gate_M[:, None] * gate_ME + by_value_M[:, None] * value_ME)


def _over(total_M: Tensor, size_M: Tensor) -> Tensor:
    """Return a quotient, 0 where a neuron sees nothing of the token."""
    return torch.where(size_M > 0, total_M / size_M.clamp_min(torch.finfo(size_M.dtype).tiny), 0.0)


Layer = tuple[Tensor, Tensor | None]
"""Weights [M, E] and biases [M]."""


def _first_layers(mlp: Any) -> tuple[Layer, Layer | None]:
    """Return the layer that the activation bends, and the one that it multiplies, if there is one."""
    if isinstance(mlp, SwiGLU):
        return (mlp.fc1_g.weight, mlp.fc1_g.bias), (mlp.fc1_x.weight, mlp.fc1_x.bias)
    if isinstance(mlp, GluMlp):
        biases = (None, None) if mlp.fc1.bias is None else mlp.fc1.bias.chunk(2)
        first, second = zip(mlp.fc1.weight.chunk(2), biases, strict=True)
        return (second, first) if mlp.gate_last else (first, second)
    return (mlp.fc1.weight, mlp.fc1.bias), None


def _before_bend(weight: Tensor, bias: Tensor | None, norm: Any) -> tuple[Tensor, Tensor]:
    """Return a layer behind a norm as a map of the token [M, E], and what it gives of no token, [M]."""
    whole_ME = _whole(weight)
    base_M = whole_ME.new_zeros(len(whole_ME)) if bias is None else _whole(bias)
    if getattr(norm, "bias", None) is not None:
        base_M = base_M + whole_ME @ _whole(norm.bias)
    return _normed(whole_ME, norm), base_M


@functools.cache
def _nodes() -> tuple[Tensor, Tensor]:
    """Return nodes of a standard normal variable and the mass at each, fp64 [T]."""
    node_T = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64)
    mass_T = torch.exp(-node_T.square() / 2)
    return node_T, mass_T / mass_T.sum()
