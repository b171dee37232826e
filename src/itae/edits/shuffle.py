"""Flagged patches get the values of flagged patches of other images: cross-image substitution.

Zeroing a token takes it out of the model's own distribution, and so overstates what it was good for; a token of the
same kind from another image leaves the distribution and takes the image's own content away (arXiv 2604.14433, which
shuffles register tokens over the images of a batch). Here it is the values v of flagged patches in the edited blocks.

A row of an embedding is a function of the image's bytes, so nothing is taken from the batch: the values are those of
calibration images, gathered block by block before the pass, each on the stream as the blocks before it leave it, edited
likewise. Which one a patch gets is drawn by the image's sha256 and the place of the patch, the same in every block, as
an artifact stays at its place.

Letters: B images, H heads, N tokens, P prefix tokens, T patches, D head width, S = 1 (``scope: token``) or H
(``scope: head``), W = H D / S numbers of a value, M values kept of a block and part, n flagged patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from itae.base.checks import whole
from itae.base.device import on_device
from itae.edits.attenuate import Attenuator
from itae.edits.gathered import Gathered, There, digest_of

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.site import Flags, Site

MOST = 1024
"""Values that are kept of a block (with ``scope: head``, of a head): of more, those evenly spaced by their images."""
_ARRAYS = ("values", "owners", "counts")


class Flagged(NamedTuple):
    """Flagged patches of one batch: which part (0, or the head) and patch, the image's digest, and the value.

    Attributes
    ----------
    parts, patches
        int64 [n].
    owners
        uint8 [n, 32].
    values
        float32 [n, W].
    """

    parts: np.ndarray
    patches: np.ndarray
    owners: np.ndarray
    values: np.ndarray


def flagged_values(site: Site, flags: Flags) -> Flagged:
    """Return the values of the patches that are flagged at one attention call."""
    image, part, patch = flags.mask.nonzero(as_tuple=True)
    v_BTHD = site.v.transpose(1, 2)[:, site.prefix :]
    found = v_BTHD[image, patch] if flags.mask.shape[1] == 1 else v_BTHD[image, patch, part]
    owners = np.frombuffer(b"".join(site.digests), np.uint8).reshape(-1, 32)
    parts, patches, images = (each.cpu().numpy() for each in (part, patch, image))
    return Flagged(parts, patches, owners[images], found.flatten(1).float().cpu().numpy())


@dataclass(frozen=True, eq=False)
class Pool:
    """The values that are drawn from in one block.

    Parameters
    ----------
    values
        float32 [S, M, W], those of one image side by side, images in the order of their digests; padded with zeros.
    owners
        uint8 [S, M, 32], the sha256 of the image that each is of.
    counts
        int64 [S], how many there are.
    """

    values: np.ndarray
    owners: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, found: Sequence[Flagged], parts: int) -> Pool:
        """Return the pool of what was flagged in batches, whatever their order; of equal files one counts."""
        part, patch, owners, values = (np.concatenate(each) for each in zip(*found, strict=True))
        numbers = np.ascontiguousarray(owners).view(">u8")
        keys = np.column_stack([part, numbers, patch]).astype(np.uint64)
        _, order = np.unique(keys, axis=0, return_index=True)  # by part, then digest, then patch
        chosen = [_spaced(order[part[order] == s]) for s in range(parts)]
        most = max(1, *(len(some) for some in chosen))
        pool = cls(
            np.zeros((parts, most, values.shape[1]), np.float32),
            np.zeros((parts, most, 32), np.uint8),
            np.array([len(some) for some in chosen], np.int64),
        )
        for s, some in enumerate(chosen):
            pool.values[s, : len(some)], pool.owners[s, : len(some)] = values[some], owners[some]
        return pool

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of all of it."""
        return digest_of((name, getattr(self, name)) for name in _ARRAYS)

    @cached_property
    def table(self) -> There:
        """All values below one another, [S M, W], on whatever device."""
        return There(self.values.reshape(-1, self.values.shape[2]))

    @cached_property
    def _own(self) -> list[dict[bytes, tuple[int, int]]]:
        """Of each part, where the values of each image begin and end."""
        out: list[dict[bytes, tuple[int, int]]] = []
        for owners, count in zip(self.owners, self.counts.tolist(), strict=True):
            spans: dict[bytes, tuple[int, int]] = {}
            for i in range(count):
                name = owners[i].tobytes()
                spans[name] = (spans.get(name, (i, i))[0], i + 1)
            out.append(spans)
        return out

    def drawn(self, digests: Sequence[bytes], draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which row of `table` each patch gets, int64 [B, S, T], and whether there is any for it, bool [B, S].

        Never one of the image itself.

        Parameters
        ----------
        digests
            The sha256 of each image, B of 32 bytes.
        draws
            A number in [0, 1) for each patch, float64 [B, T].
        """
        parts, most = self.values.shape[:2]
        rows = np.zeros((len(digests), parts, draws.shape[1]), np.int64)
        there = np.zeros((len(digests), parts), bool)
        for s, (own, count) in enumerate(zip(self._own, self.counts.tolist(), strict=True)):
            for b, digest in enumerate(digests):
                begin, end = own.get(digest, (count, count))
                others = count - (end - begin)
                there[b, s] = others > 0
                row = np.floor(draws[b] * others).astype(np.int64)
                rows[b, s] = s * most + row + (end - begin) * (row >= begin)
        return rows * there[..., None], there


def _spaced(rows: np.ndarray) -> np.ndarray:
    """Return `MOST` of more rows, evenly spaced."""
    if len(rows) <= MOST:
        return rows
    return rows[np.arange(MOST) * len(rows) // MOST]


class Drawn(NamedTuple):
    """What the patches of a batch get: rows of a table, [B, S, T], and whether there is any for them, [B, S, 1, 1]."""

    table: Tensor
    rows: Tensor
    there: Tensor


@dataclass(frozen=True)
class Shuffle(Attenuator):
    """v_j <- (1-a) v_j + a * v of a flagged patch of another image, in the same block.

    An image for which there is none, since nothing was flagged in any other, is left alone.

    Parameters
    ----------
    seed
        Seed of the draw, at least 0.
    calibration_images, calibration_seed
        On how many images the values are gathered, and which.
    pools
        The values of each edited block; None before they are gathered.
    drawn
        What the patches of one batch get at one attention call; None elsewhere.
    """

    seed: int = 0
    calibration_images: int = 256
    calibration_seed: int = 0
    pools: Mapping[int, Pool] | None = field(default=None, compare=False, repr=False)
    drawn: Drawn | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        whole("control.seed", self.seed, low=0)

    def lacking(self, layers: Sequence[int]) -> tuple[int, ...]:
        """Return the blocks whose values are yet to be gathered."""
        return tuple(layer for layer in layers if layer not in (self.pools or {}))

    def known(self, layer: int) -> str | None:
        """Return the digest of a block's values, or None before they are gathered."""
        pool = (self.pools or {}).get(layer)
        return None if pool is None else pool.digest

    def with_pool(self, layer: int, pool: Pool) -> Shuffle:
        """Return the attenuator with the values of one more block."""
        return replace(self, pools={**(self.pools or {}), layer: pool})

    def gathered(self, images: int) -> Gathered:
        """Return the values of all blocks as arrays, gathered of so many images."""
        pools = self.pools or {}
        arrays = {f"{name}.{layer}": getattr(pool, name) for layer, pool in pools.items() for name in _ARRAYS}
        return Gathered(arrays, images, {layer: int(pool.counts.sum()) for layer, pool in pools.items()})

    def with_gathered(self, found: Gathered) -> Shuffle:
        """Return the attenuator with what `gathered` returned."""
        layers = [int(name.partition(".")[2]) for name in found.arrays if name.startswith(_ARRAYS[0])]
        pools = {layer: Pool(*(found.arrays[f"{name}.{layer}"] for name in _ARRAYS)) for layer in sorted(layers)}
        return replace(self, pools=pools)

    def at(self, site: Site) -> Shuffle:
        """Return the attenuator with what each patch of one attention call gets."""
        assert self.pools is not None, "used before the values were gathered"
        pool = self.pools[site.layer]
        draws_BT = site.once(("shuffle", self.seed), lambda: _draws(site, self.seed))
        rows, there = pool.drawn(site.digests, draws_BT)
        return replace(self, drawn=Drawn(pool.table.on(site.v.device), *_there(rows, there, site)))

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pull flagged values towards those of other images."""
        from torch import cat

        assert self.drawn is not None, "used before values were drawn"
        patches_BHTD = v[:, :, prefix:]
        others_BSTW = self.drawn.table[self.drawn.rows]
        batch, heads, count, width = patches_BHTD.shape
        if others_BSTW.shape[1] == 1:
            others_BHTD = others_BSTW.view(batch, count, heads, width).transpose(1, 2)
        else:
            others_BHTD = others_BSTW
        here = flags[:, :, prefix:].unsqueeze(-1) & self.drawn.there
        moved = patches_BHTD.lerp(others_BHTD.to(v.dtype), self.strength).where(here, patches_BHTD)
        return k, cat([v[:, :, :prefix], moved], dim=2), None

    def spec(self) -> dict[str, Any]:
        """Return all settings as plain values; the values themselves are told by their digest where they are known."""
        names = ("strength", "queries", "seed", "calibration_images", "calibration_seed")
        return {name: getattr(self, name) for name in names} | {"strength": float(self.strength)}


def _draws(site: Site, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each patch, float64 [B, T], by the bytes of its image alone."""
    patches = site.v.shape[2] - site.prefix
    return np.stack([np.random.default_rng((seed, int.from_bytes(each))).random(patches) for each in site.digests])


def _there(rows: np.ndarray, there: np.ndarray, site: Site) -> tuple[Tensor, Tensor]:
    from torch import from_numpy

    device = site.v.device
    return on_device(from_numpy(rows), device), on_device(from_numpy(there), device)[..., None, None]
