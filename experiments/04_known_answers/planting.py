"""Backbones in which the artifacts are known, because they were planted.

`Planted` is a `Backbone` whose model adds a vector to some patches after one block, or has neurons of that block's MLP
write it (``way``), as models do that grow artifacts by themselves. Which patches, and which vector, is read off the
image's pixels in whole numbers, so neither the batch nor an edit of an earlier block changes the answer. In the later
blocks the keys and values of the planted patches get an addition of low rank that is read off the token: they draw the
CLS token's attention and hand it their content. No label is seen.

That addition is for planted patches alone. Put into the weights, as `00_digits_vit/plant.py` does, it leaked a few
percent into the other tokens of DINOv2-S, and half of the lost NMI was lost whatever was flagged.

The pixels are not there any more when a block is replayed. So what is planted travels as a keyword argument,
as RoPE does: each block is given `plan`, and the record of a pass keeps it with the block's other arguments.

Shape suffixes: B images, N tokens, P patches, E width, C contents.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.base.checks import one_of, whole
from itae.base.code import sha256
from itae.base.errors import UserError
from itae.embed.prove import prove
from itae.images.batches import batches
from itae.images.datasets import Dataset, Digits, ImageFolder
from itae.images.transform import Transform, normalise
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts

POSITIONS = ("fixed", "by_image", "blank")
WAYS = ("block", "neurons")
CONTENTS = {"constant": 1, "brightness": 10, "confusing": 10}
"""How many contents there are. `brightness` goes by the image's mean, `confusing` by a hash: no class in it."""
RIDGE = 1e-3
FIRES = 100.0
"""The activation of a planted neuron: each fires for one content of ten, and is far above others all the same."""
_PRIME = 2_147_483_647


@dataclass(frozen=True)
class Strength:
    """How large the plant is.

    Parameters
    ----------
    length
        Of the added vector, in mean norms of a patch's token.
    key, value
        Of what is added to keys and values of planted patches, in median norms of the other patches' keys and values.
    """

    length: float
    key: float
    value: float


STRENGTHS = {
    "weak": Strength(3, 3, 2),
    "middle": Strength(5, 4, 3),
    "strong": Strength(8, 6, 4),
    "loud": Strength(8, 6, 12),  # for a plant that has one block behind it in which to do harm
    "faint": Strength(1, 3, 2),  # no longer than other tokens
    "key_only": Strength(5, 6, 0),
    "value_only": Strength(1, 0, 40),  # nobody attends to it, so it takes that much
}


@dataclass(frozen=True)
class Plan:
    """What is planted: `mask` [B, P] bool, `content` [B] from 0."""

    mask: Tensor
    content: Tensor


@dataclass
class Carrier:
    """Add to the keys and values of the planted patches of one block: a hook of its `attn.qkv`.

    Parameters
    ----------
    read, bias
        [E, C] and [C]: the ridge regression that tells the contents from what enters the block's attention.
    key, values
        [E] and [C, E]: what is added where a content is read.
    prefix
        Tokens before the first patch.
    plan
        Of the batch that is on its way.
    """

    read: Tensor
    bias: Tensor
    key: Tensor
    values: Tensor
    prefix: int
    plan: Plan | None = None

    def __call__(self, _qkv: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Return the queries, keys and values [B, N, 3 E] with the addition."""
        y = args[0]
        if y.shape[1] == self.prefix or self.plan is None:  # CLS tokens alone, at the end of a pass
            return out
        code = (y @ self.read + self.bias) * _along(self.plan.mask, self.prefix, y)[..., None]
        return out + torch.cat([torch.zeros_like(y), code.sum(-1, keepdim=True) * self.key, code @ self.values], dim=-1)


@dataclass
class Neurons:
    """Neurons of one block's MLP, one for each content, that fire at the planted patches: a hook of its `mlp.fc2`.

    Parameters
    ----------
    contents
        How many.
    prefix
        Tokens before the first patch.
    plan
        Of the batch that is on its way.
    """

    contents: int
    prefix: int
    plan: Plan | None = None

    def __call__(self, _fc2: nn.Module, args: tuple) -> tuple[Tensor]:
        """Return the activations [B, N, M] with the neurons' own behind them."""
        (acts,), plan = args, self.plan
        assert plan is not None
        content = FIRES * F.one_hot(plan.content, self.contents).to(acts.dtype)
        return (torch.cat([acts, content[:, None] * _along(plan.mask, self.prefix, acts)[..., None]], dim=-1),)


@dataclass(frozen=True)
class Planted(Backbone):
    """A backbone with planted artifacts.

    Parameters
    ----------
    strength
        One of `STRENGTHS`.
    count
        Planted patches of each image.
    position
        ``fixed``: the same in each image. ``by_image``: by a hash of the image. ``blank``: those of least contrast.
    block
        The block after which they are planted, from 0; not the last one.
    content
        ``constant``, ``brightness`` or ``confusing``, see `CONTENTS`.
    way
        ``block``: added to what leaves the block. ``neurons``: the same vectors, written by neurons of the block's MLP,
        one for each content, as Jiang et al. (arXiv 2506.08010) find it in trained models.
    sample
        The images, without their labels, that the plant is fitted on: directions that tokens use least, and what
        tells the planted patches in the later blocks. A word on the command line: ``digits``, or a folder.
    seed
        Of everything drawn.
    """

    strength: str = "middle"
    count: int = 3
    position: str = "blank"
    block: int = 2
    content: str = "confusing"
    way: str = "block"
    sample: Dataset | str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        one_of("plant.strength", self.strength, tuple(STRENGTHS))
        one_of("plant.position", self.position, POSITIONS)
        one_of("plant.content", self.content, tuple(CONTENTS))
        one_of("plant.way", self.way, WAYS)
        whole("plant.count", self.count, low=0)
        whole("plant.block", self.block, low=0)
        if not self.sample or self.precision != "fp32":
            raise UserError("A plant needs sample images to be fitted on, and backbone.precision=fp32.")

    def space(self, facts: Facts) -> dict[str, Any]:
        """Return what the vectors depend on: the backbone's own, and all of the plant."""
        return super().space(facts) | {"plant": self._plant_spec}

    @functools.cached_property
    def _samples(self) -> Dataset:
        assert self.sample is not None
        if not isinstance(self.sample, str):
            return self.sample
        if self.sample == "digits":
            return Digits(name="digits", limit=512)
        return ImageFolder(name="imagefolder", root=self.sample, limit=96)

    @functools.cached_property
    def _plant_spec(self) -> dict[str, Any]:
        return {
            "strength": vars(STRENGTHS[self.strength]),
            "count": self.count,
            "position": self.position,
            "block": self.block,
            "content": self.content,
            "way": self.way,
            "sample": [self._samples.open().fingerprint(), self._samples.resize],
            "seed": self.seed,
            "code": sha256(Path(__file__)),
        }

    def build(self, facts: Facts, device: torch.device) -> nn.Module:
        """Return the model with the artifacts planted; with a `count` of 0, the model as it is."""
        model = super().build(facts, device)
        if self.count == 0:
            return model
        if not self.block < facts.depth - 1:
            raise UserError(f"plant.block={self.block} leaves no block behind it in a model of {facts.depth} blocks.")
        _install(model, self, facts, *self._fit(model, facts, device))
        prove(model, facts.prefix, self.pool, self.image_size, self.model_name)
        return model

    # --- what is planted

    def plan(self, pixels: Tensor, facts: Facts) -> Plan:
        """Return what is planted into images [B, 3, height, width], normalised for the backbone: the truth."""
        patches_BPV = _whole_patches(pixels, facts)
        hash_B = self._hash(patches_BPV.sum(-1))
        rank_BP = self._rank(patches_BPV, hash_B)
        chosen_BK = rank_BP.argsort(dim=1, stable=True)[:, : self.count]
        mask_BP = torch.zeros_like(rank_BP, dtype=torch.bool).scatter_(1, chosen_BK, True)
        return Plan(mask_BP, self._contents(patches_BPV, hash_B))

    def _draw(self, name: int, *shape: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng((self.seed, name)).integers(1, 1 << 20, shape))

    def _hash(self, sums_BP: Tensor) -> Tensor:
        return (sums_BP * self._draw(0, sums_BP.shape[1]).to(sums_BP.device)).sum(1).remainder(_PRIME)

    def _rank(self, patches_BPV: Tensor, hash_B: Tensor) -> Tensor:
        n, count = patches_BPV.shape[:2]
        order_P = torch.from_numpy(np.random.default_rng((self.seed, 1)).permutation(count)).to(hash_B.device)
        if self.position == "fixed":
            return order_P.expand(n, count)
        if self.position == "blank":  # one fixed order among patches of the same contrast
            contrast_BP = patches_BPV.amax(-1) - patches_BPV.amin(-1)
            return contrast_BP * count + order_P
        return (hash_B[:, None] * self._draw(2, count).to(hash_B.device)).remainder(_PRIME)

    def _contents(self, patches_BPV: Tensor, hash_B: Tensor) -> Tensor:
        count = CONTENTS[self.content]
        if self.content == "brightness":  # bands of 4 of 255, around again: none of the ten is rare
            return (patches_BPV.sum((1, 2)) // (4 * patches_BPV[0].numel())).remainder(count)
        return (hash_B // 7).remainder(count)

    # --- how it gets in

    def _pixels(self, facts: Facts, device: torch.device) -> Iterator[Tensor]:
        transform = Transform(self.image_size, self._samples.resize, facts.interpolation, facts.mean, facts.std)
        images = self._samples.open()
        for raw in batches(images, transform, 0, len(images), 64, 2):
            yield normalise(torch.from_numpy(raw).to(device), transform)

    @torch.no_grad()
    def _fit(self, model: Any, facts: Facts, device: torch.device) -> tuple[Tensor, dict[int, Carrier]]:
        """Fit the vectors [C, E], and what carries them in each of the blocks behind."""
        pixels = torch.cat(list(self._pixels(facts, device)))
        x, plan = tokens_after(model, pixels, self.block), self.plan(pixels, facts)
        size, patches = STRENGTHS[self.strength], slice(facts.prefix, None)
        vectors_CE = _quiet_vectors(x, CONTENTS[self.content]) * size.length * x[:, patches].norm(dim=-1).mean()
        x[:, patches] += plan.mask[..., None] * vectors_CE[plan.content][:, None]
        generator = torch.Generator().manual_seed(self.seed)
        carriers = {}
        for i, block in list(enumerate(model.blocks))[self.block + 1 :]:
            carriers[i] = _carrier(block, x, plan, size, facts.prefix, len(vectors_CE), generator)
            handle = block.attn.qkv.register_forward_hook(carriers[i])
            parts = []
            for rows in torch.arange(len(x), device=device).split(64):
                carriers[i].plan = Plan(plan.mask[rows], plan.content[rows])
                parts.append(block(x[rows]))
            x = torch.cat(parts)
            handle.remove()
        return vectors_CE, carriers


def clean_twin(backbone: Planted) -> Backbone:
    """Return the backbone without the plant."""
    return replace(backbone, count=0)


@torch.no_grad()
def tokens_after(model: Any, pixels: Tensor, block: int) -> Tensor:
    """Return the tokens [n, N, E] that leave a block."""
    kept: list[Tensor] = []
    handle = model.blocks[block].register_forward_hook(lambda _block, _args, out: kept.append(out.clone()))
    try:
        for some in pixels.split(64):
            model.forward_features(some)
    finally:
        handle.remove()
    return torch.cat(kept)


def _whole_patches(pixels: Tensor, facts: Facts) -> Tensor:
    """Return the pixels [B, P, values of a patch] as they were, 0 to 255, in whole numbers: their sums are exact."""
    mean, std = (pixels.new_tensor(three)[:, None, None] for three in (facts.mean, facts.std))
    values = ((pixels * std + mean) * 255).round().long()
    high, wide = (size // side for size, side in zip(values.shape[2:], facts.grid, strict=True))
    cut = values.unflatten(3, (-1, wide)).unflatten(2, (-1, high))  # B, 3, rows, high, columns, wide
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _quiet_vectors(x: Tensor, contents: int) -> Tensor:
    """Return unit vectors [C, E]: a common sink and one content each, in the directions that tokens use least."""
    flat = F.layer_norm(x, x.shape[-1:]).flatten(0, 1)
    quiet = torch.linalg.eigh(flat.T @ flat / len(flat))[1][:, 1 : contents + 2]  # the very first is 1, 1, 1...
    quiet = quiet * quiet[quiet.abs().argmax(0), torch.arange(quiet.shape[1])].sign()  # which of the two ends is chance
    return F.normalize(quiet[:, :1].T + quiet[:, 1:].T, dim=1)


def _along(mask: Tensor, prefix: int, tokens: Tensor) -> Tensor:
    """Return a mask of patches [B, P] as one of all tokens [B, N]; an edit may have put some behind the patches."""
    return F.pad(mask, (prefix, tokens.shape[1] - prefix - mask.shape[1]))


def _ridge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    mean_x, mean_y = x.mean(0), y.mean(0)
    gram = (x - mean_x).T @ (x - mean_x)
    gram += RIDGE * gram.diagonal().mean() * torch.eye(x.shape[1], device=x.device)
    weight = torch.linalg.solve(gram, (x - mean_x).T @ (y - mean_y))
    return weight, mean_y - mean_x @ weight


def _carrier(
    block: Any, x: Tensor, plan: Plan, size: Strength, prefix: int, contents: int, generator: torch.Generator
) -> Carrier:
    """Fit what makes planted patches of one block draw the CLS token and carry their content.

    A ridge regression on what enters the block's attention reads their contents; the size of what is added varies
    with what is read.
    """
    attn, y = block.attn, block.norm1(x)
    width = y.shape[-1]
    planted_BN = F.pad(plan.mask, (prefix, 0))
    target = F.one_hot(plan.content, contents).to(y.dtype)[:, None] * planted_BN[..., None]
    read, bias = _ridge(y.flatten(0, 1), target.flatten(0, 1))
    q, k, v = attn.qkv(y).chunk(3, dim=-1)
    others = ~planted_BN
    others[:, :prefix] = False
    key = F.normalize(q[:, 0].mean(0).unflatten(-1, (attn.num_heads, -1)), dim=-1).flatten() / attn.num_heads**0.5
    key = key * size.key * k[others].norm(dim=-1).median()
    values = F.normalize(torch.randn(contents, width, generator=generator), dim=1).to(y.device)
    values = values * size.value * v[others].norm(dim=-1).median()
    return Carrier(read, bias, key, values, prefix)


@torch.no_grad()
def _install(model: Any, settings: Planted, facts: Facts, vectors_CE: Tensor, carriers: dict[int, Carrier]) -> None:
    """Have the model plan from its pixels, hand the plan to every block, plant after one, carry it on from there."""
    now: list[Plan] = []

    def look(_embed: nn.Module, args: tuple) -> None:
        now[:] = [settings.plan(args[0], facts)]

    def hand(_block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, {"plan": now[0]} | kwargs  # replayed, a block comes with the plan of its record

    def plant(_block: nn.Module, _args: tuple, kwargs: dict, out: Tensor) -> Tensor:
        plan = kwargs["plan"]
        added_BE = vectors_CE.to(out.dtype)[plan.content]
        return out + _along(plan.mask, facts.prefix, out)[..., None] * added_BE[:, None]

    model.patch_embed.register_forward_pre_hook(look)
    hooks: dict[int, Carrier | Neurons] = dict(carriers)
    if settings.way == "block":
        model.blocks[settings.block].register_forward_hook(plant, with_kwargs=True)
    else:
        hooks[settings.block] = _grown(model.blocks[settings.block], vectors_CE, facts.prefix)
    for i, block in enumerate(model.blocks):
        block.forward = functools.partial(_without_plan, block.forward, hooks.get(i))
        if i in carriers:
            block.attn.qkv.register_forward_hook(carriers[i])
        block.register_forward_pre_hook(hand, with_kwargs=True)


def _grown(block: Any, vectors_CE: Tensor, prefix: int) -> Neurons:
    """Give the block's MLP one more neuron for each vector, which it writes to the stream."""
    old = block.mlp.fc2
    scale = getattr(block.ls2, "gamma", 1.0)  # what the MLP writes is scaled on its way into the stream
    new = nn.Linear(old.in_features + len(vectors_CE), old.out_features).to(old.weight)
    new.weight.copy_(torch.cat([old.weight, (vectors_CE / scale / FIRES).T.to(old.weight)], dim=1))
    new.bias.copy_(old.bias)
    block.mlp.fc2 = new.requires_grad_(False)
    neurons = Neurons(len(vectors_CE), prefix)
    new.register_forward_pre_hook(neurons)
    return neurons


def _without_plan(
    forward: Any, hook: Carrier | Neurons | None, x: Tensor, *args: Any, plan: Plan, **kwargs: Any
) -> Tensor:
    """Run a block, whose hook is told the plan it came with."""
    if hook is not None:
        hook.plan = plan
    return forward(x, *args, **kwargs)
