"""Which patch tokens are artifacts: a signal for each patch, and a threshold to hold it against.

A detector is called on a `Site` (one attention call of one block) and returns the flagged patches. Signals
and thresholds are computed in fp32 whatever the precision of the model. Prefix tokens (CLS, registers) are
never looked at, so they can't be flagged.

Only tensor methods are used here, never `torch` itself: a wrong setting is answered without importing it.

Letters: B images, H heads, N tokens, P prefix tokens, T = N - P patches, D head width, E embedding width,
S = 1 (``scope: token``) or H (``scope: head``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from itae.base.checks import number, one_of, whole
from itae.base.device import on_device
from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.bimodal import FIT
from itae.edits.site import Flags, Site

if TYPE_CHECKING:
    from torch import Tensor

RULES = ("absolute", "quantile", "mad", "ratio", "bimodal")
# The number that each rule reads; the others have no effect, so they stay out of the cache key.
RULE_NUMBERS = {
    "absolute": ("threshold",),
    "quantile": ("quantile",),
    "mad": ("k",),
    "ratio": ("ratio",),
    "bimodal": ("calibration_images", "calibration_seed"),
    "std": ("stds",),  # of `itae.edits.singular_defect`
}
EACH = "each"
"""A detector's `layer` that is no block: each edited block takes what is found in it in the untouched model."""
_NUMBERS = {name for names in RULE_NUMBERS.values() for name in names}
_FLOATS = ("threshold", "quantile", "k", "ratio", "stds")
MAD_TO_STD = 1.4826  # makes the MAD of a normal distribution its standard deviation
# Norms of equal patches may differ by a few roundings of fp32, from batch to batch: such a MAD, relative to the median,
# counts as 0.
ROUNDING = 2.0**-20


@dataclass(frozen=True)
class Detector:
    """Flag the patches whose signal is beyond a threshold.

    A new detector is a subclass with a `signal`; a new rule is a subclass with a `cut`.

    Parameters
    ----------
    rule
        ``absolute``: `threshold` itself. ``quantile``: the image's own `quantile` (on the high side
        1 - `quantile`). ``mad``: median -/+ `k` * 1.4826 * MAD of the image (Leys et al., 2013).
        ``ratio``: median / `ratio` or median * `ratio`. ``bimodal``: one threshold a layer, fitted without
        labels on `calibration_images` images drawn with `calibration_seed`, see `itae.edits.bimodal`.
        Medians and quantiles interpolate linearly. Where many patches are alike, as in a blank picture, there may be no
        scale to go by: with a MAD of 0 (up to rounding) and with a ``ratio`` threshold that is the median itself
        nothing is flagged; where more than ceil(`quantile` * T) patches would be, only those beyond the threshold are.
    threshold, quantile, k, ratio, calibration_images, calibration_seed
        The numbers of the rules; a rule reads its own and no other.
    calibration
        ``bimodal``: a file that ``itae calibrate`` wrote; its thresholds are taken and nothing is fitted.
    layer
        The block, from either end, in which the patches are found, in the untouched model; they are then flagged in
        every edited block. ``each``: each edited block takes what is found in this very block of the untouched model.
        None (the default): each edited block finds its own, on the stream as it is being edited.
    side
        ``low`` flags signal <= threshold, ``high`` flags signal >= threshold.
    scope
        ``token``: one norm over all heads. ``head``: each head has its own norm, threshold and flags.

    Raises
    ------
    UserError
        If a value is outside what is said above.
    """

    rule: str = "mad"
    threshold: float | None = None
    quantile: float = 0.02
    k: float = 5.0
    ratio: float = 2.0
    calibration_images: int = 256
    calibration_seed: int = 0
    calibration: str | None = None
    layer: int | str | None = None
    side: str = "low"
    scope: str = "token"

    rules: ClassVar[tuple[str, ...]] = RULES
    scopes: ClassVar[tuple[str, ...]] = ("token", "head")
    needs_cls: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check every value."""
        one_of("detector.rule", self.rule, self.rules)
        one_of("detector.side", self.side, ("low", "high"))
        one_of("detector.scope", self.scope, self.scopes)
        if self.rule == "absolute" and self.threshold is None:
            raise UserError("detector.rule=absolute needs a number: set detector.threshold, for example to 3.5.")
        if self.threshold is not None:
            number("detector.threshold", self.threshold)
        number("detector.quantile", self.quantile, low=0.0, high=1.0)
        number("detector.k", self.k, low=0.0)
        number("detector.ratio", self.ratio, low=1.0)
        whole("detector.calibration_images", self.calibration_images, low=2)
        whole("detector.calibration_seed", self.calibration_seed, low=0)
        if self.calibration is not None and self.rule != "bimodal":
            raise UserError(
                f"detector.calibration={self.calibration} holds fitted thresholds, and detector.rule={self.rule} takes "
                "none; set detector.rule=bimodal or leave the file out."
            )
        if self.rule == "bimodal" and not type(self).cut.__module__.startswith("itae."):
            raise UserError(
                f"detector.rule=bimodal: {type(self).__name__} has a cut of its own, which a fitted threshold never "
                "asks; leave detector.rule=mad."
            )
        if self.layer not in (None, EACH) and (isinstance(self.layer, bool) or not isinstance(self.layer, int)):
            raise UserError(f"detector.layer={self.layer!r} must be the index of a block, or each, or null.")
        if self.layer not in (None, EACH) and self.scope == "head":
            raise UserError(
                "detector.layer with detector.scope=head: a head of one block is no head of another; set "
                "detector.scope=token, or detector.layer=null."
            )

    def signal(self, site: Site) -> Tensor:
        """Return the signal of each patch, [B, S, T] in fp32."""
        raise NotImplementedError

    def cut(self, signal: Tensor) -> Tensor:
        """Return the threshold of each image, [B, S, 1], from its signal [B, S, T]; NaN where it has none."""
        low = self.side == "low"
        if self.rule == "absolute":
            assert self.threshold is not None
            return signal.new_full((*signal.shape[:-1], 1), float(self.threshold))
        if self.rule == "quantile":
            return quantile(signal, self.quantile if low else 1 - self.quantile)
        median = quantile(signal, 0.5)
        if self.rule == "ratio":
            threshold = median / self.ratio if low else median * self.ratio
            return threshold.masked_fill(threshold == median, math.nan)
        assert self.rule == "mad", "a bimodal threshold is fitted beforehand and passed in"
        deviation = quantile((signal - median).abs(), 0.5)
        spread = self.k * MAD_TO_STD * deviation.masked_fill(deviation <= ROUNDING * median.abs(), math.nan)
        return median - spread if low else median + spread

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag the patches of `site`; `theta` is the layer's fitted threshold, if the rule has one.

        A fitted threshold of NaN (no two modes were found) flags nothing.
        """
        return self.flags(self.signal(site).float(), theta)

    def flags(self, signal: Tensor, theta: float | None = None) -> Flags:
        """Flag the patches of a signal [B, S, T] in fp32."""
        threshold = signal.new_full((*signal.shape[:-1], 1), theta) if theta is not None else self.cut(signal)
        if threshold.shape != (*signal.shape[:-1], 1):
            raise UserError(
                f"{type(self).__name__}.cut returned {tuple(threshold.shape)} of a signal {tuple(signal.shape)}; it "
                f"must be {(*signal.shape[:-1], 1)}, a threshold for each image (and head)."
            )
        mask = signal <= threshold if self.side == "low" else signal >= threshold
        if theta is not None or self.rule == "absolute" or (self.rule == "ratio" and self.ratio == 1):
            return Flags(mask, signal, threshold)
        if self.rule != "quantile":
            return Flags(mask, signal, threshold, threshold.isnan())
        most = math.ceil(self.quantile * signal.shape[-1] - 1e-9)  # .07 of 100 is 7.000000000000001
        crowded = mask.sum(dim=-1, keepdim=True) > most
        mask = mask & ~(crowded & (signal == threshold))
        return Flags(mask, signal, threshold, crowded & ~mask.any(dim=-1, keepdim=True) if most else None)

    @property
    def _built_in(self) -> bool:
        """Whether nothing that is read here is somebody's own."""
        cls = type(self)
        return all(f.__module__.startswith("itae.") for f in (cls.signal, cls.cut, cls.__call__))

    @property
    def reads_queries(self) -> bool:
        """Whether the signal reads the queries of patches; somebody's own may."""
        return not self._built_in

    @property
    def fitted(self) -> bool:
        """Whether the threshold is fitted on calibration images before the run."""
        return self.rule == "bimodal"

    def spec(self) -> dict[str, Any]:
        """Return what the flags depend on, as plain values: the detector's part of the cache key."""
        # A detector of somebody's own may read any of the numbers; a built-in one reads its rule's alone.
        own = set(RULE_NUMBERS[self.rule] if self._built_in else _NUMBERS)
        if self.calibration is not None:  # then the thresholds themselves are in the key
            own -= set(RULE_NUMBERS["bimodal"])
        others = _NUMBERS - own | {"calibration"} | ({"layer"} if self.layer is None else set())
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        if self.fitted and self.calibration is None:
            values["fit"] = FIT
        return {name: float(v) if isinstance(v, int) and name in _FLOATS else v
                for name, v in values.items()}  # fmt: skip


@dataclass(frozen=True)
class VectorNorm(Detector):
    """L2 norm of each patch's query, key or value: of the H*D vector, or of each head's D vector.

    Parameters
    ----------
    vector
        ``query``, ``key`` or ``value``.
    """

    vector: str = "value"

    def __post_init__(self) -> None:
        """Check every value."""
        one_of("detector.vector", self.vector, ("query", "key", "value"))
        super().__post_init__()

    @property
    def reads_queries(self) -> bool:
        """Whether they are the queries' norms."""
        return self.vector == "query" or super().reads_queries

    def signal(self, site: Site) -> Tensor:
        """Return the norms, [B, S, T]."""
        vector = {"query": site.q, "key": site.k, "value": site.v}[self.vector]
        # Token by token, as the three lie in memory: half the time of head by head.
        patches_BTHD = vector.transpose(1, 2)[:, site.prefix :]
        norms_BHT = site.once(
            ("head norms", self.vector), lambda: patches_BTHD.float().norm(dim=-1).transpose(1, 2).contiguous()
        )
        if self.scope == "head":
            return norms_BHT
        return site.once(("token norms", self.vector), lambda: norms_BHT.square().sum(dim=1, keepdim=True).sqrt())


@dataclass(frozen=True)
class ResidualNorm(Detector):
    """L2 norm of each patch's token as it enters the block, before its LayerNorm."""

    side: str = "high"
    scopes: ClassVar[tuple[str, ...]] = ("token",)

    def signal(self, site: Site) -> Tensor:
        """Return the norms, [B, 1, T]."""
        return site.once("residual norms", lambda: site.x[:, site.prefix :].float().norm(dim=-1).unsqueeze(1))


@dataclass(frozen=True)
class ClsAttention(Detector):
    """Attention weight that the CLS token pays to each patch, mean over heads."""

    side: str = "high"
    scopes: ClassVar[tuple[str, ...]] = ("token",)
    needs_cls: ClassVar[bool] = True

    def signal(self, site: Site) -> Tensor:
        """Return the weights, [B, 1, T]."""
        return site.once("CLS attention", lambda: self._weights(site))

    def _weights(self, site: Site) -> Tensor:
        # A product and a sum, not a matmul: under autocast a matmul would drop to the low precision.
        logits_BHN = (site.q[:, :, :1].float() * site.k.float()).sum(dim=-1) * site.scale
        return logits_BHN.softmax(dim=-1)[:, :, site.prefix :].mean(dim=1, keepdim=True)


@dataclass(frozen=True)
class Nothing:
    """No detector: nothing is flagged, and the run shows the untouched backbone alone."""

    needs_cls: ClassVar[bool] = False
    reads_queries: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag no patch."""
        signal = site.x.new_zeros(len(site.x), 1, site.x.shape[1] - site.prefix).float()
        return Flags(signal.bool(), signal, signal[..., :1])

    def spec(self) -> dict[str, Any]:
        """Return nothing: there are no settings."""
        return {}


@dataclass(frozen=True)
class Matched:
    """A control: flag as many patches of each image as another detector would, but others.

    Parameters
    ----------
    match
        The other detector. What it flags itself is not taken; where it flags more than half, all others are.
    """

    match: Any = None

    @property
    def needs_cls(self) -> bool:
        """Whether the other detector reads the CLS token."""
        return self.match is not None and self.match.needs_cls

    @property
    def reads_queries(self) -> bool:
        """Whether the other detector reads the queries of patches, or a control of somebody's own may."""
        built_in = type(self).__call__.__module__.startswith("itae.")
        return not built_in or (self.match is not None and getattr(self.match, "reads_queries", True))

    @property
    def fitted(self) -> bool:
        """Whether the other detector's threshold is fitted beforehand."""
        return self.match is not None and self.match.fitted

    def _as_many(self, site: Site, theta: float | None, rank: Callable[[Flags], Tensor]) -> Flags:
        """Flag the patches that come first in the order of `rank`, whose value [B, S, T] depends on what is flagged."""
        theirs = self.match(site) if theta is None else self.match(site, theta)
        signal = rank(theirs).expand_as(theirs.mask)
        order = signal.masked_fill(theirs.mask, math.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
        count = theirs.mask.sum(dim=-1, keepdim=True).minimum((~theirs.mask).sum(dim=-1, keepdim=True))
        return Flags(order < count, signal, count / signal.shape[-1], theirs.tied)

    def spec(self) -> dict[str, Any]:
        """Return the other detector's settings."""
        return {"match": key_of(self.match)}


@dataclass(frozen=True)
class Random(Matched):
    """Flag patches drawn at random: the control.

    The draw depends on `seed` and on the bytes of the image, neither on its data set nor on the batch, and it is the
    same in every block, as an artifact stays at its place.

    Parameters
    ----------
    match
        Flag as many patches of each image as this detector would, see `Matched`.
    rate
        Without `match`: share of the patches to flag, in [0, 1]; rounded to whole patches.
    seed
        Seed of the draw, at least 0.
    """

    rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        """Check both values."""
        number("detector.rate", self.rate, low=0.0, high=1.0)
        whole("detector.seed", self.seed, low=0)

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag patches of `site`; there is no threshold but the rank."""
        if self.match is not None:
            return self._as_many(site, theta, lambda theirs: self._draw(site))
        signal = self._draw(site)
        order = signal.argsort(dim=-1, stable=True).argsort(dim=-1)
        count = round(self.rate * signal.shape[-1])
        return Flags(order < count, signal, signal.new_full((*signal.shape[:-1], 1), self.rate))

    def _draw(self, site: Site) -> Tensor:
        from torch import from_numpy

        def drawn() -> Tensor:
            patches = site.q.shape[2] - site.prefix
            seeds = ((self.seed, int.from_bytes(digest)) for digest in site.digests)
            draws = [np.random.default_rng(seed).random(patches, np.float32) for seed in seeds]
            return on_device(from_numpy(np.stack(draws)).unsqueeze(1), site.q.device)

        return site.once(("random", self.seed), drawn)

    def spec(self) -> dict[str, Any]:
        """Return the settings that are read."""
        return {"seed": self.seed} | (super().spec() if self.match is not None else {"rate": float(self.rate)})


@dataclass(frozen=True)
class OtherEnd(Matched):
    """Flag the patches at the other end of another detector's signal: the control for its side.

    Parameters
    ----------
    match
        See `Matched`; a detector with a signal and a side.
    """

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag the lowest patches of `site` where the other flags high ones, the highest where it flags low ones."""
        sign = 1 if self.match.side == "high" else -1
        return self._as_many(site, theta, lambda theirs: sign * theirs.signal)


def quantile(x: Tensor, p: float) -> Tensor:
    """Return the `p`-quantile over the last axis, kept as an axis of 1, interpolating linearly.

    As ``numpy.quantile`` does by default. ``torch.quantile`` refuses more than 2**24 values; this doesn't.
    """
    position = p * (x.shape[-1] - 1)
    below = math.floor(position)
    ordered = x.sort(dim=-1).values
    low, high = ordered[..., below : below + 1], ordered[..., math.ceil(position) : math.ceil(position) + 1]
    return low.lerp(high, position - below)
