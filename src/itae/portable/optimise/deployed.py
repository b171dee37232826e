"""What is left of a net's quality on each device, after conversion: what somebody gets, and not what torch computed.

Letters: N pairs, H, W height and width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from itae.base.disk import DiskError
from itae.base.errors import UserError
from itae.portable.cells.ready import why_of
from itae.portable.devices.device import Device
from itae.portable.devices.exports import exported
from itae.portable.nets.padded import padded
from itae.portable.optimise.budgets import budget_db, in_eight_bits
from itae.portable.optimise.post_training import calibrated, fitted, refuse_shared
from itae.portable.optimise.state import State
from itae.portable.parity import array_of, explained, parity_db

if TYPE_CHECKING:
    from itae.portable.data.pairs import Pairs
    from itae.portable.train.quality import Mean

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deployed:
    """A net on a device, as it restores pictures there."""

    device: str
    verdict: str
    """``kept``; ``warned``: in eight bits and past its budget; ``refused``: it isn't to be used."""
    why: str | None
    """Of what isn't kept, in a sentence."""
    parity_db: float | None = None
    """Of all pictures with torch's, clipped to 0..1; None where it couldn't be converted, as all that follows."""
    budget_db: float | None = None
    """What that has to be on a trained net; None where it is only told."""
    psnr: Mean | None = None
    """Against the sharp pictures, dB, with its interval over photographs."""
    ssim: Mean | None = None
    gain_db: Mean | None = None
    """PSNR less that of the blurred input, by pairs."""
    drop_db: Mean | None = None
    """PSNR of torch's output less that of the device's, by pairs: what the device loses."""
    outputs: np.ndarray | None = field(default=None, repr=False)
    """Uint8 [N, 3, H, W]."""


def deployed(state: State, pairs: Pairs, threads: int = 1) -> tuple[Deployed, ...]:
    """Return how the state's net restores pairs on each of the state's devices.

    It is converted for the pairs' own size, padded to what the net takes: whole pictures, no tiles.

    Parameters
    ----------
    pairs
        Of photographs that neither trained nor calibrated.
    threads
        Of each device.

    Raises
    ------
    UserError
        If a picture that calibrates is among the pairs.
    """
    if any(in_eight_bits(device) for device in state.devices):
        state = calibrated(state)
        refuse_shared(state.calibration, pairs, state.net)
    judged = _Judged(state, pairs)
    found = []
    for device in state.devices:
        state.advance(f"{state.net.name} restores {len(pairs)} pictures on {device.name}")
        try:
            found.append(judged.on(device, threads))
        except DiskError:
            raise  # which isn't the device's: all others would meet it
        except Exception as error:  # a runtime's own too: one device is no reason to lose the others
            log.info("%s on %s", state.net.name, device.name, exc_info=True)
            found.append(Deployed(device.name, "refused", why_of(error)))
    return tuple(found)


class _Judged:
    """The pairs, what torch makes of them, and how good that and the blurred pictures are."""

    def __init__(self, state: State, pairs: Pairs) -> None:
        from itae.portable.train.quality import floor, quality, rounded

        self.state, self.pairs = state, pairs
        self.module = state.net.build()
        self.padded = [padded(each[None].astype(np.float32) / 255, state.net.multiple) for each in pairs.blurred]
        self.expected_N3HW = self.cropped([self.expected(each.picture) for each in self.padded])
        self.blurred, self.torch = floor(pairs), quality(rounded(self.expected_N3HW), pairs)

    def expected(self, picture: np.ndarray) -> np.ndarray:
        """Return what torch makes of a picture, float32 [1, 3, H, W], padded."""
        import torch

        with torch.inference_mode():
            return self.module(torch.from_numpy(np.ascontiguousarray(picture))).numpy()

    def cropped(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return outputs as pictures of the pairs' size, float32 [N, 3, H, W] in 0..1."""
        pairs = zip(self.padded, outputs, strict=True)
        return np.concatenate([each.cropped(output) for each, output in pairs]).clip(0, 1)

    def on(self, device: Device, threads: int) -> Deployed:
        """Return how a device restores the pairs.

        Raises
        ------
        UserError
            If it lacks an operator of the net, or gives what is no picture.
        """
        from itae.portable.train.quality import quality, rounded

        outputs = self._run(device, threads)
        given_N3HW = self.cropped(outputs)
        restored_N3HW = rounded(given_N3HW)
        seen, parity = quality(restored_N3HW, self.pairs), parity_db(given_N3HW, self.expected_N3HW)
        psnr = seen.psnr
        budget = budget_db(device)
        verdict, why = self._verdict(device, parity, budget, psnr, outputs)
        lost, gained = self.torch.over(seen).psnr, seen.over(self.blurred).psnr
        return Deployed(device.name, verdict, why, parity, budget, psnr, seen.ssim, gained, lost, restored_N3HW)

    def _run(self, device: Device, threads: int) -> list[np.ndarray]:
        state = self.state
        height, width = self.padded[0].picture.shape[-2:]
        calibration = [fitted(picture, height, width) for picture in state.calibration]
        folder = exported(state.cache, device, state.net, (height, width), calibration)
        runner = device.open(folder, threads)
        told = f"{device.name} computes {state.net.name} wrong: it"
        try:
            runs = [runner.timed(each.picture).output for each in self.padded]
        finally:
            runner.close()
        outputs = [array_of(output, told, each.picture.shape) for output, each in zip(runs, self.padded, strict=True)]
        if not all(np.isfinite(output).all() for output in outputs):
            raise UserError(f"{told} gives values that are not finite; leave {device.name} out, or take another net.")
        return outputs

    def _because(self, outputs: Sequence[np.ndarray]) -> str:
        """Return what explains the output that is least like torch's, in words; empty if nothing known does."""
        references = [self.expected(each.picture) for each in self.padded]
        parities = [parity_db(*each) for each in zip(outputs, references, strict=True)]
        worst = int(np.argmin(parities))
        return explained(outputs[worst], self.padded[worst].picture, self.expected, parities[worst])

    def _verdict(
        self, device: Device, parity: float, budget: float | None, psnr: Mean, outputs: Sequence[np.ndarray]
    ) -> tuple[str, str | None]:
        """Return whether a device is kept, warned of or refused, and why."""
        told, here, torch, blurred = (
            f"{device.name} restores {self.state.net.name}",
            *(each.mean for each in (psnr, self.torch.psnr, self.blurred.psnr)),
        )
        if here < blurred:
            below = f"{told} to {here:.2f} dB, below the blurred input's {blurred:.2f}"
            if f"{here:.2f}" != f"{torch:.2f}":
                below += f", and torch to {torch:.2f}"
            if torch < blurred:
                return "refused", f"{below}: train the net for longer, or on such blur."
            return "refused", f"{below}: its conversion takes away all that was gained; leave {device.name} out."
        if budget is None or parity >= budget:
            return "kept", None
        because = self._because(outputs)
        past = f"{told} with a parity of {parity:.1f} dB with torch, and at least {budget:g} are needed"
        if in_eight_bits(device) and not because:
            return "warned", f"{past}; train on with optimise=[quantisation_aware], or take another device."
        return "refused", f"{past}{f'; {because}' if because else ''}; leave {device.name} out, or take another net."
