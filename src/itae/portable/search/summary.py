"""All that a search found, as plain values: chosen on validation photographs, told on test photographs once.

Fronts and the portable set are chosen by the PSNR of validation photographs. Their PSNR, areas and regrets are told of
test photographs, on which nothing was chosen, so they may come out a little worse, and a regret below 0.

Letters: D devices, N networks, V validation and P test photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.portable.search.fronts import Interval, Reference, compared, drawn, front, interval, membership, plain
from itae.portable.search.regret import Table, portable, regret_of, regrets

ROLES = ("searched", "hand_made")


@dataclass(frozen=True)
class OnDevice:
    """A network on a device, as measured there after conversion."""

    ms: float
    split_half: float
    """How far `ms` is known, as a share of it."""
    steady: bool
    """Whether it may be concluded from; else it is on no front."""
    parity_db: float | None
    validation: np.ndarray
    """PSNR of each validation photograph, [V]."""
    test: np.ndarray
    """PSNR of each test photograph, [P]."""
    ssim: np.ndarray
    """SSIM of each test photograph, [P]."""
    predicted_ms: float | None = None
    export: Path | None = None
    """The folder that the device wrote."""


@dataclass(frozen=True)
class Known:
    """A network, and what is known of it on each device that runs it."""

    name: str
    spec: Mapping[str, Any]
    role: str
    """One of `ROLES`: fronts are of those that were searched, and areas are held against those made by hand."""
    macs: int
    parameters: int
    on: Mapping[str, OnDevice]


def summary(
    nets: Sequence[Known],
    devices: Sequence[str],
    blurred_V: np.ndarray,
    blurred_P: np.ndarray,
    portable_size: int,
    errors: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return fronts, areas, regrets and the portable set.

    Parameters
    ----------
    nets
        All that were measured. A device's reference time is that of the slowest made by hand that is steady there.
    devices
        Their names. One on which no network made by hand is steady, or no searched one, is told in ``left_out``.
    blurred_V, blurred_P
        PSNR of the blurred input on each photograph.
    portable_size
        Networks of the portable set, at most.
    errors
        Of each device's predictor, `HeldOut.plain`, and another as ``afterwards``, or None; default: none.

    Returns
    -------
    dict
        ``nets`` by name: spec, role, macs, parameters. ``devices`` by name: ``reference``; ``front``, names, the
        fastest first; ``hypervolume`` with ``searched``, ``hand_made``, ``gain`` (each with value, low, high) and
        ``above``; ``hand_made_ahead``, names that no searched one beats on validation; ``nets`` by name: ms, psnr,
        gain_db over the blurred input, ssim (with low and high), parity_db, steady, front_share, predicted_ms.
        ``regret``, a list of `Regret`. ``portable``: nets, exact, worst and regret by device. ``predictor``.
        ``left_out``. ``chosen_on`` and ``reported_on``.

    Raises
    ------
    UserError
        If no device has both.
    """
    left_out = _left_out(nets, devices)
    there = [name for name in devices if name not in left_out]
    if not there:
        raise UserError(f"No device has a front: {next(iter(left_out.values()), 'none is asked for')}.")
    searched = [net for net in nets if net.role == "searched"]
    validation = _table(searched, nets, there, "validation", blurred_V)
    test = _table(searched, nets, there, "test", blurred_P)
    fronts = [validation.front(i) for i in range(len(there))]
    one = portable(validation, portable_size)
    told = [regret_of(test, one.nets, "portable", i, fronts[i]) for i in range(len(there))]
    return {
        "chosen_on": "validation",
        "reported_on": "test",
        "nets": {net.name: {"spec": dict(net.spec), "role": net.role, "macs": net.macs, "parameters": net.parameters}
                 for net in nets},
        "devices": {name: _device(nets, name, [searched[j].name for j in fronts[i]], validation.references[i],
                                  test.references[i], blurred_P) for i, name in enumerate(there)},
        "regret": [_plain(asdict(each)) for each in regrets(test, fronts)],
        "portable": {"nets": [searched[i].name for i in one.nets], "exact": one.exact, "chosen_worst": one.worst,
                     "worst": max((each.share for each in told if each.share == each.share), default=None),
                     "regret": [_plain(asdict(each)) for each in told]},
        "predictor": {name: dict(of) for name, of in (errors or {}).items()},
        "left_out": left_out,
    }  # fmt: skip


def _left_out(nets: Sequence[Known], devices: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in devices:
        for role, told in (("hand_made", "made by hand"), ("searched", "of the search")):
            if name not in found and not any(net.role == role and _ms(net, name) > 0 for net in nets):
                found[name] = f"on {name} no network {told} runs steadily"
    return found


def _ms(net: Known, device: str) -> float:
    """Return a time that can be concluded from; else NaN."""
    cell = net.on.get(device)
    return cell.ms if cell is not None and cell.steady else float("nan")


def _psnr(net: Known, device: str, which: str, count: int) -> np.ndarray:
    cell = net.on.get(device)
    return np.full(count, np.nan) if cell is None else np.asarray(getattr(cell, which), float)


def _table(
    searched: Sequence[Known], nets: Sequence[Known], devices: Sequence[str], which: str, blurred: np.ndarray
) -> Table:
    slowest = [np.nanmax([_ms(net, name) for net in nets if net.role == "hand_made"]) for name in devices]
    psnr = [[_psnr(net, name, which, len(blurred)).mean() for net in searched] for name in devices]
    return Table(
        tuple(net.name for net in searched),
        tuple(devices),
        np.array(psnr),
        np.array([[_ms(net, name) for net in searched] for name in devices]),
        tuple(Reference(float(np.mean(blurred)), float(ms)) for ms in slowest),
    )


def _device(
    nets: Sequence[Known], device: str, on: list[str], chosen: Reference, reference: Reference, blurred_P: np.ndarray
) -> dict[str, Any]:
    """Return what is told of a device; `on` are the names of its front."""
    ms_N = np.array([_ms(net, device) for net in nets])
    psnr_NP = np.array([_psnr(net, device, "test", len(blurred_P)) for net in nets])
    of = {role: [i for i, net in enumerate(nets) if net.role == role] for role in ROLES}
    sides = [[i for i in of["searched"] if nets[i].name in on], of["hand_made"]]
    one, other = ((psnr_NP[side], ms_N[side]) for side in sides)
    areas = compared(one, other, blurred_P, reference.ms)
    share_N = np.full(len(nets), np.nan)
    noise_N = np.array([net.on[device].split_half if device in net.on else np.nan for net in nets])
    share_N[of["searched"]] = membership(psnr_NP[of["searched"]], ms_N[of["searched"]], noise_N=noise_N[of["searched"]])
    validation_N = np.array([np.mean(net.on[device].validation) if device in net.on else np.nan for net in nets])
    ahead = [nets[i].name for i in front(validation_N, ms_N) if nets[i].role == "hand_made"]
    weights_DP = np.vstack([np.full(len(blurred_P), 1 / len(blurred_P)), drawn(len(blurred_P))])
    cells = {net.name: _cell(net.on[device], weights_DP, share, blurred_P)
             for net, share in zip(nets, share_N, strict=True) if device in net.on}  # fmt: skip
    return {
        "reference": {"psnr": reference.psnr, "validation_psnr": chosen.psnr, "ms": reference.ms},
        "front": on,
        "hand_made_ahead": ahead,
        "hypervolume": {"searched": plain(areas.one), "hand_made": plain(areas.other), "gain": plain(areas.gain),
                        "above": areas.above},
        "nets": cells,
    }  # fmt: skip


def _cell(cell: OnDevice, weights_DP: np.ndarray, share: float, blurred_P: np.ndarray) -> dict[str, Any]:
    """Return a network on a device; the interval of its gain is of differences, photograph by photograph."""
    factor = 1 + cell.split_half
    ms = Interval(cell.ms, cell.ms / factor, cell.ms * factor)
    return _plain({
        "ms": plain(ms), "steady": cell.steady, "psnr": plain(interval(weights_DP @ cell.test)),
        "gain_db": plain(interval(weights_DP @ (cell.test - blurred_P))),
        "ssim": plain(interval(weights_DP @ cell.ssim)), "validation_psnr": float(np.mean(cell.validation)),
        "parity_db": cell.parity_db, "front_share": share, "predicted_ms": cell.predicted_ms,
    })  # fmt: skip


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: None for what is no number."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else
        value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }  # fmt: skip
