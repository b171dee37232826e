"""Test-time registers: outlier activations are moved from the patches to a token that no image has a place for.

Jiang, Dravid, Efros and Gandelsman, "Vision Transformers Don't Need Trained Registers" (NeurIPS 2025,
arXiv 2506.08010): a few MLP neurons, the *register neurons*, write the high norms of outlier patches. One token is
appended behind the patches, zero and without a position, where the patches get theirs. At every register neuron it
gets the largest activation of the patches, and these get 0. The embedding is read as usual; the token itself counts for
nothing.

The neurons are searched for on images without labels, once (`itae.embed.register_search`). A neuron is an input of the
block's ``mlp.fc2``: an activation, in a gated MLP the gated one.

Letters: B images, N tokens, T patches, M neurons of a block, K register neurons of a block.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.checks import number, one_of, whole
from itae.base.device import on_device
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.edits.bimodal import FIT
from itae.edits.edit import METHOD, parse_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from itae.vit.facts import Facts

RULES = {"absolute": "threshold", "mad": "k", "bimodal": None}
"""How outliers are told from the residual norm, and the number that each rule reads."""
MOST = 1000
"""Neurons that a search keeps."""


@dataclass(frozen=True)
class TestTimeRegisters:
    """``edit=test_time_registers``: which patches are outliers, and how many neurons are theirs.

    The defaults need no number of anybody's model. The authors published numbers for DINOv2-L and three CLIPs, which
    are presets of the group.

    Parameters
    ----------
    top_k
        How many register neurons, of all blocks together, at most 1000.
    highest_layer
        The last block that may have some; from the end if negative. None takes the block behind which the outliers'
        norm rises most against the other patches', which is a rule of this package's.
    outlier_layer
        The block behind which outliers are found by the norm of their token; from the end if negative.
    rule
        ``absolute``: norm >= `threshold`, the authors' rule. ``mad``: norm >= the image's median + `k` * 1.4826 * MAD.
        ``bimodal``: one threshold for all images, fitted where the norm is really bimodal (`itae.edits.bimodal`); else
        there are no outliers, nothing is edited and the run says so.
    threshold, k
        The numbers of the rules; a rule reads its own.
    calibration_images, calibration_seed
        On how many images the search is done, and which; the authors take 500.

    Raises
    ------
    UserError
        If a value is outside what is said above.
    """

    __test__: ClassVar[bool] = False  # for pytest, which goes by the name

    top_k: int = 10
    highest_layer: int | None = None
    outlier_layer: int = -2
    rule: str = "bimodal"
    threshold: float | None = None
    k: float = 5.0
    calibration_images: int = 256
    calibration_seed: int = 0

    def __post_init__(self) -> None:
        """Check every value that needs no model."""
        one_of("edit.rule", self.rule, RULES)
        whole("edit.top_k", self.top_k, low=1)
        if self.top_k > MOST:
            raise UserError(f"edit.top_k={self.top_k} must be at most {MOST}.")
        for name in ("highest_layer", "outlier_layer"):
            if getattr(self, name) is not None:
                whole(f"edit.{name}", getattr(self, name), low=-(10**6))
        if self.rule == "absolute" and self.threshold is None:
            raise UserError("edit.rule=absolute needs a number: set edit.threshold, for example to 150.")
        if self.threshold is not None:
            number("edit.threshold", self.threshold, low=0.0)
        number("edit.k", self.k, low=0.0)
        whole("edit.calibration_images", self.calibration_images, low=2)
        whole("edit.calibration_seed", self.calibration_seed, low=0)

    def make(self, detector: Any, attenuator: Any, layers: Any, facts: Facts) -> RegisterEdit | None:
        """Return the edit in a model of these facts; detector, attenuator and layers are attention's.

        But ``layers=none`` is the untouched model, whatever the edit.
        """
        if not parse_layers(layers, facts.depth):
            return None
        outlier = _resolved("outlier_layer", self.outlier_layer, facts.depth)
        highest = self.highest_layer
        if highest is not None:
            highest = _resolved("highest_layer", highest, facts.depth)
            if highest > outlier:
                raise UserError(
                    f"edit.highest_layer={highest} lies behind edit.outlier_layer={outlier}, where it can't have made "
                    "the outliers; choose an earlier block."
                )
        return RegisterEdit(replace(self, outlier_layer=outlier, highest_layer=highest))

    def search_spec(self) -> dict[str, Any]:
        """Return what the search depends on beside the model and the images, as plain values."""
        own = RULES[self.rule]
        rule: dict[str, Any] = {"rule": self.rule} | ({own: float(getattr(self, own))} if own else {})
        if self.rule == "bimodal":
            rule["fit"] = FIT
        names = ("highest_layer", "outlier_layer", "calibration_images", "calibration_seed")
        return {name: getattr(self, name) for name in names} | rule


def _resolved(name: str, layer: int, depth: int) -> int:
    if not -depth <= layer < depth:
        raise UserError(
            f"edit.{name}={layer}: there is no such block in a model of {depth} blocks; use {-depth} to {depth - 1}."
        )
    return layer % depth


@dataclass(frozen=True)
class RegisterEdit:
    """Move the activations of register neurons from the patches to one more token.

    Parameters
    ----------
    settings
        What is looked for, its layers counted from the first block.
    neurons
        The register neurons of each block that has some, ascending; None before the search.
    theta
        The norm from which on a patch is an outlier, NaN where each image has its own.
    """

    settings: TestTimeRegisters
    neurons: Mapping[int, tuple[int, ...]] | None = None
    theta: float = field(default=math.nan, compare=False)

    extra: ClassVar[int] = 1
    reads_queries: ClassVar[bool] = False

    @property
    def unfound(self) -> bool:
        """Whether the neurons are yet to be found."""
        return self.neurons is None

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks with register neurons, ascending."""
        return tuple(sorted(self.neurons or ()))

    def does(self) -> dict[int, str]:
        """Return the neurons of each block."""
        assert self.neurons is not None, "the edit was used before its neurons were searched for"
        return {layer: repr(some) for layer, some in self.neurons.items()}

    def attends(self, layer: int) -> bool:
        """No attention is edited."""
        return False

    def with_neurons(self, found: RegisterNeurons) -> RegisterEdit:
        """Return the edit with the neurons that a search found."""
        neurons: dict[int, list[int]] = {}
        for layer, neuron, _ in found.neurons[: self.settings.top_k]:
            neurons.setdefault(layer, []).append(neuron)
        theta = math.nan if found.theta is None else found.theta
        return replace(self, neurons={i: tuple(sorted(neurons[i])) for i in sorted(neurons)}, theta=theta)

    @contextlib.contextmanager
    def inside(self, block: nn.Module, layer: int, prefix: int) -> Iterator[None]:
        """Have the block's MLP write to the last token what its register neurons would write to patches."""
        neurons = (self.neurons or {}).get(layer)
        if not neurons:
            yield
            return
        handle = block.mlp.fc2.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda _fc2, args: (moved(args[0], neurons, prefix), *args[1:])
        )
        try:
            yield
        finally:
            handle.remove()

    def outliers(self, norms_BT: Tensor) -> Tensor:
        """Return which patches are outliers by their norms, bool [B, T]."""
        return norms_BT >= self._cut(norms_BT)

    def _cut(self, norms_BT: Tensor) -> Tensor | float:
        if self.settings.rule != "mad":
            return self.theta  # NaN: there are none
        from itae.edits.detect import ResidualNorm

        return ResidualNorm(rule="mad", k=self.settings.k, side="high").cut(norms_BT)

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if the model's blocks have no such neurons."""
        if not facts.neurons:
            raise UserError(
                f"edit=test_time_registers: the blocks of {facts.architecture} have no mlp.fc2 whose inputs could be "
                "moved, or no room for a token more; choose another backbone or edit=attention."
            )

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the neurons depend on: they are the same wherever this, the model and the images are."""
        values = {"top_k": self.settings.top_k} | self.settings.search_spec()
        return {"method": METHOD, "registers": identity(self.settings) | values}


def moved(acts_BNM: Tensor, neurons: tuple[int, ...], prefix: int) -> Tensor:
    """Return activations with those of `neurons` moved from the patches to the token behind them.

    The largest, sign and all, not the largest by size. The authors' code takes it over all tokens, CLS and the new one
    among them, and says of patches; of patches it is here. CLS and trained registers keep theirs.
    """
    import torch

    index = on_device(torch.tensor(neurons), acts_BNM.device)
    out = acts_BNM.clone()  # nobody says that the MLP is done with it
    out[:, -1, index] = acts_BNM[:, prefix:-1].index_select(2, index).amax(dim=1)
    out[:, prefix:-1].index_fill_(2, index, 0)
    return out


@dataclass(frozen=True)
class RegisterNeurons:
    """What a search found.

    Parameters
    ----------
    neurons
        Block, neuron and score of those that may be register neurons, the best first; none without outliers.
    reason
        Why there are none, else how outliers were told.
    theta
        The norm from which on a patch is an outlier; None where each image has its own.
    highest_layer
        The last block that was searched; None without outliers.
    images, with_outliers
        How many were looked at, and how many of them have outliers.
    outlier_rate
        Share of their patches that are outliers.
    """

    neurons: tuple[tuple[int, int, float], ...]
    reason: str
    theta: float | None
    highest_layer: int | None
    images: int
    with_outliers: int
    outlier_rate: float

    def summary(self, top_k: int) -> dict[str, Any]:
        """Return it as plain values, with the first `top_k` neurons."""
        return asdict(self) | {"neurons": [list(one) for one in self.neurons[:top_k]]}
