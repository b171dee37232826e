"""A net is trained on while it computes as if in eight bits, where quantising it as it is would lose too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from itae.base.checks import number
from itae.base.errors import UserError
from itae.portable.devices.device import Device, Net
from itae.portable.optimise.budgets import in_eight_bits
from itae.portable.optimise.deployed import Deployed, deployed
from itae.portable.optimise.fake import FakeQuantised
from itae.portable.optimise.post_training import calibrated
from itae.portable.optimise.state import State
from itae.portable.optimise.tune import tuned

if TYPE_CHECKING:
    from itae.portable.train.options import Train


@dataclass(frozen=True)
class QuantisationAware:
    """Training goes on with weights and activations rounded, where a device in eight bits loses more than it may.

    What is lost is measured after conversion, on the photographs of validation; so is what the training on has brought,
    and the net stays as it was unless the device that lost most restores better afterwards. It is a net in float as
    before: how it is quantised is the devices' matter.

    Parameters
    ----------
    tune
        The training on, in float32. A tenth of the training's steps at a tenth of its rate is a fair beginning.
    over_db
        What each device in eight bits may lose, dB of PSNR; where none loses more, nothing is done. Default .05.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    tune: Train
    over_db: float = 0.05

    def __post_init__(self) -> None:
        """Check every value."""
        number("steps.quantisation_aware.over_db", self.over_db, low=0)
        if self.tune is None:
            raise UserError(
                "steps.quantisation_aware.tune=None leaves nothing of this step, which is a training; set its options, "
                "as in steps.quantisation_aware.tune.steps=200, or leave it out of optimise."
            )

    def check(self, net: Net, devices: Sequence[Device]) -> None:
        """Raise a `UserError` when none of the devices is in eight bits."""
        if not any(in_eight_bits(each) for each in devices):
            named = ", ".join(each.name for each in devices) or "none"
            raise UserError(
                f"The step quantisation_aware is for devices in eight bits, and those here are {named}; add ort_int8 "
                "or openvino_int8, or leave it out of optimise."
            )

    def apply(self, state: State) -> State:
        """Return the state with a net that stands eight bits better, or with its own; its lineage says which, and why.

        Raises
        ------
        UserError
            When none of the state's devices is in eight bits.
        """
        self.check(state.net, state.devices)
        devices = tuple(each for each in state.devices if in_eight_bits(each))
        asked = replace(calibrated(state), devices=devices)
        before = deployed(asked, state.splits.validation)
        facts: dict[str, Any] = {"over_db": self.over_db, "before": _told(before)}
        if all(each.drop_db is not None and each.drop_db.mean <= self.over_db for each in before):
            return state.then("quantisation_aware", facts | {"kept": False, "why": "no device loses more"})
        fake = FakeQuantised(state.net, asked.calibration)
        made, facts["tune"] = tuned(state, state.net, replace(self.tune, precision="fp32"), fake)
        after = deployed(replace(asked, net=made), state.splits.validation)
        facts["after"] = _told(after)
        least = [min((each.psnr.mean if each.psnr else -1.0) for each in found) for found in (before, after)]
        if least[1] <= least[0]:
            return state.then(
                "quantisation_aware", facts | {"kept": False, "why": "it restores no better in eight bits"}
            )
        return state.then("quantisation_aware", facts | {"kept": True}, net=made)


def _told(found: tuple[Deployed, ...]) -> dict[str, Mapping[str, Any]]:
    return {
        each.device: {
            "psnr": each.psnr.mean if each.psnr else None,
            "drop_db": each.drop_db.mean if each.drop_db else None,
        }
        for each in found
    }
