"""Which pictures a runtime looks at to quantise a net after training, and that none of them judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itae.base.checks import true_or_false, whole
from itae.base.errors import UserError
from itae.portable.devices.device import Device, Net
from itae.portable.nets.padded import padded
from itae.portable.optimise.state import State

if TYPE_CHECKING:
    from itae.portable.data.pairs import Pairs


@dataclass(frozen=True)
class PostTraining:
    """Pictures are chosen by which devices in eight bits find the ranges of what they compute, at conversion.

    How each runtime quantises is its device's: ``ort_int8``, ``openvino_int8`` and others. Nothing is trained.

    Parameters
    ----------
    pictures
        Blurred ones, spread over the photographs. Default 32.
    split
        Of the study that they are of: ``train``, the only one that is allowed, since the others judge.
    stretch
        Whether each picture is stretched to reach from 0 to 1, so that ranges hold for the darkest and brightest
        pictures that will ever come, and not for those that happened to be chosen. Default true.
    seed
        Of the choice. Default 0.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    pictures: int = 32
    split: str = "train"
    stretch: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        whole("steps.post_training.pictures", self.pictures, low=1, high=100_000)
        true_or_false("steps.post_training.stretch", self.stretch)
        whole("steps.post_training.seed", self.seed, low=0, high=2**63 - 1)
        if self.split != "train":
            raise UserError(
                f"steps.post_training.split={self.split!r} isn't train: pictures that calibrate must not be of the "
                "photographs that judge; leave it out."
            )

    def check(self, net: Net, devices: Sequence[Device]) -> None:
        """Find nothing amiss: any net and any device will do."""

    def apply(self, state: State) -> State:
        """Return the state with pictures for calibration; the net is as it was.

        Raises
        ------
        UserError
            When a picture is one of validation or test, by its content.
        """
        pairs = state.splits.train
        chosen = _spread(pairs.photographs, self.pictures, self.seed)
        pictures = as_pictures(pairs.blurred[chosen], state.net)
        for split in (state.splits.validation, state.splits.test):
            refuse_shared(pictures, split, state.net)
        if self.stretch:
            pictures = [stretched(picture) for picture in pictures]
        photographs = {pairs.photographs[each] for each in chosen}
        facts = {"pictures": len(chosen), "photographs": len(photographs), "stretch": self.stretch, "seed": self.seed}
        return state.then("post_training", facts, calibration=tuple(pictures))


def calibrated(state: State) -> State:
    """Return a state that has pictures for calibration: those that it has, or the default's."""
    if not state.calibration:
        return PostTraining().apply(state)
    return state


def as_pictures(pictures_NCHW: np.ndarray, net: Net) -> list[np.ndarray]:
    """Return uint8 pictures [N, 3, H, W] as a net takes them: float32 [1, 3, H, W] in 0..1 each, padded."""
    return [padded(each[None].astype(np.float32) / 255, net.multiple).picture for each in pictures_NCHW]


def fitted(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture at a size, since exports have one: its middle, and mirrored beyond its edges."""
    for axis, size in ((2, height), (3, width)):
        over = picture.shape[axis] - size
        if over > 0:
            picture = np.take(picture, np.arange(over // 2, over // 2 + size), axis)
        elif over < 0:
            beyond = [(0, 0)] * 4
            beyond[axis] = (0, -over)
            picture = np.pad(picture, beyond, mode="symmetric")
    return np.ascontiguousarray(picture)


def stretched(picture: np.ndarray) -> np.ndarray:
    """Return a picture whose darkest value is 0 and brightest 1; one of a single value as it is."""
    low, high = picture.min(), picture.max()
    return picture if low == high else (picture - low) / (high - low)


def refuse_shared(calibration: Sequence[np.ndarray], pairs: Pairs, net: Net) -> None:
    """Raise a `UserError` if a picture that calibrates is one of those that judge, stretched or not."""
    judging = {_hash(each) for held in (pairs.blurred, pairs.sharp) for each in as_pictures(held, net)}
    shared = sum(_hash(each) in judging for each in calibration)
    if shared:
        raise UserError(
            f"{shared} of {len(calibration)} pictures that calibrate are among those that judge; calibrate on "
            "photographs of the training alone."
        )


def _spread(photographs: Sequence[str], count: int, seed: int) -> list[int]:
    """Return places of pairs, of each photograph in turn."""
    order = np.random.default_rng(seed).permutation(len(photographs))
    seen: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for place in order:
        seen[photographs[place]] = turn = seen.get(photographs[place], -1) + 1
        turns.append((turn, len(turns), int(place)))
    return [place for _, _, place in sorted(turns)[:count]]


def _hash(picture: np.ndarray) -> bytes:
    return hashlib.sha256(np.round(255 * stretched(picture)).astype(np.uint8).tobytes()).digest()
