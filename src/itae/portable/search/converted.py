"""Networks on devices: what each one restores after conversion, and how long it takes there, all timed in turns.

Whether a device is to be used for a network is decided on validation photographs; the test's are looked at here, after
everything is chosen, and decide nothing.

Letters: V validation and P test photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.portable.cells.asked import Asked, Row
from itae.portable.cells.ratio import usable
from itae.portable.cells.timed import timed
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.devices.device import Device
from itae.portable.devices.exports import exported
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.optimise.deployed import Deployed, deployed
from itae.portable.optimise.post_training import calibrated, fitted
from itae.portable.optimise.state import State
from itae.portable.search.asked import Searching
from itae.portable.search.fronts import by_photograph
from itae.portable.search.learned import Learned
from itae.portable.search.measured import Times
from itae.portable.search.summary import Known, OnDevice
from itae.portable.search.workers import Workers
from itae.portable.train.quality import psnr, ssim


@dataclass(frozen=True)
class Restored:
    """What a network restores on a device."""

    why: str | None
    """Why it isn't to be used there, or is warned of; None if neither."""
    warned: bool = False
    parity_db: float | None = None
    validation: np.ndarray | None = None
    """PSNR of each validation photograph, [V]; None if it isn't to be used."""
    test: np.ndarray | None = None
    """PSNR of each test photograph, [P]."""
    ssim: np.ndarray | None = None
    export: Path | None = None


@dataclass(frozen=True)
class Conversion:
    """How networks are converted and judged: by the exports that are timed."""

    devices: tuple[Device, ...]
    splits: Splits
    calibration: tuple[np.ndarray, ...]
    """As large as the pictures that are timed."""
    size: tuple[int, int]
    cache: Path
    threads: int

    def state(self, net: UNet) -> State:
        """Return a network on its way to the devices."""
        return State(net, self.splits, self.cache, self.devices, calibration=self.calibration)

    def restored(self, net: UNet) -> dict[str, Restored]:
        """Return what a network restores on each device."""
        state = self.state(net)
        chosen = {one.device: one for one in deployed(state, self.splits.validation, self.threads)}
        there = tuple(device for device in self.devices if chosen[device.name].verdict != "refused")
        told = {one.device: one for one in deployed(replace(state, devices=there), self.splits.test, self.threads)}
        return {
            device.name: self._restored(net, device, chosen[device.name], told.get(device.name))
            for device in self.devices
        }

    def _restored(self, net: UNet, device: Device, chosen: Deployed, told: Deployed | None) -> Restored:
        if told is None or told.outputs is None or chosen.outputs is None:
            return Restored(chosen.why if told is None else told.why)
        return Restored(
            chosen.why,
            chosen.verdict == "warned",
            chosen.parity_db,
            _each(psnr, chosen.outputs, self.splits.validation),
            _each(psnr, told.outputs, self.splits.test),
            _each(ssim, told.outputs, self.splits.test),
            exported(self.cache, device, net, self.size, self.calibration),
        )


def conversion_of(asked: Searching, splits: Splits, devices: Sequence[str]) -> Conversion:
    """Return how networks of a search are converted for devices."""
    state = calibrated(State(asked.net("calibration", asked.space.smallest), splits, asked.cache))
    pictures = tuple(fitted(picture, *asked.size) for picture in state.calibration)
    there = tuple(asked.devices[name] for name in devices)
    return Conversion(there, splits, pictures, asked.size, asked.cache, asked.measure.threads)


def converted(
    conversion: Conversion, searched: Learned, hand_made: Learned, asked: Searching, times: Times,
    workers: Workers, told: Callable[[str], None],
) -> tuple[list[Known], dict[str, Any], list[str]]:  # fmt: skip
    """Return what is known of networks on devices, what `timed` has of all of them, and what is to be known beside.

    Raises
    ------
    UserError
        If no network is left on any device.
    """
    nets = {**hand_made.nets, **searched.nets}
    order = sorted(nets, key=lambda name: -nets[name].cost(*asked.size).macs)
    works = [partial(conversion.restored, nets[name]) for name in order]
    made = workers.do(works, "Converting and judging")
    restored = dict(zip(order, made, strict=True))
    notes = list(_refusals(restored, conversion.devices))
    for note in notes:
        told(f"{'note':10} {note}")
    there = {one.name for one in conversion.devices if any(of[one.name].export for of in restored.values())}
    rows = [Row(name, name, net) for name, net in nets.items() if any(one.export for one in restored[name].values())]
    if not rows:
        raise UserError(f"No network is left: {notes[0]}")
    devices = {name: one for name, one in asked.devices.items() if name in there}
    left_out = dict(times.not_run) | {one.name: "no network is left on it" for one in conversion.devices
                                      if one.name not in there}  # fmt: skip
    pictures = conversion.calibration
    workers.let_go()
    found = timed(Asked(devices, left_out, asked.measure, asked.cache, asked.seed, rows, pictures), told)
    known = [_known(row, nets, restored, hand_made.nets, times) for row in found["rows"]]
    return known, found, notes


def _known(
    row: Mapping[str, Any], nets: Mapping[str, UNet], restored: Mapping[str, Mapping[str, Restored]],
    hand_made: Mapping[str, UNet], times: Times,
) -> Known:  # fmt: skip
    name, on = row["name"], {}
    spec = Spec.architecture(nets[name])
    for device, cell in row["cells"].items():
        of = restored[name][device]
        if "ms" in cell and of.validation is not None and of.test is not None and of.ssim is not None:
            on[device] = OnDevice(
                cell["ms"], cell["split_half"], usable(cell), of.parity_db, of.validation, of.test, of.ssim,
                times.of(device, Spec(**spec)), of.export,
            )  # fmt: skip
    role = "hand_made" if name in hand_made else "searched"
    return Known(name, spec, role, row["macs"], row["parameters"], on)


def _refusals(restored: Mapping[str, Mapping[str, Restored]], devices: Sequence[Device]) -> list[str]:
    """Say of each device which networks it isn't to be used for, or is warned of, and why the first of them."""
    notes = []
    for name in (device.name for device in devices):
        for warned, what in ((False, "isn't to be used for"), (True, "is past its budget of parity for")):
            some = [net for net, of in restored.items() if of[name].why is not None and of[name].warned == warned]
            if some:
                first = restored[some[0]][name].why
                count = f"{len(some)} of {len(restored)} networks"
                notes.append(f"{name} {what} {count}, as {some[0]}: {first}")
    return notes


def _each(measure: Callable[[np.ndarray, Pairs], np.ndarray], outputs: np.ndarray, pairs: Pairs) -> np.ndarray:
    return by_photograph(measure(outputs, pairs), pairs.photographs)[1]
