"""What a search might come to: real times of ``unet_times.csv``, and qualities made up of MACs and operators."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import numpy as np

from itae.portable.nets.costs import cost
from itae.portable.nets.spec import Spec
from itae.portable.search.predictor import Predictor
from itae.portable.search.summary import Known, OnDevice, summary

DEVICES = ("ort", "openvino", "ncnn", "torch")
SIZE = (144, 144)
_WHOLE = ("channels", "depth", "blocks", "unshuffle")


def measured():
    """Return the networks, and their times on each device in ms."""
    with (Path(__file__).parent / "unet_times.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    specs = [Spec(**{k: int(v) if k in _WHOLE else v for k, v in row.items() if k not in DEVICES}) for row in rows]
    return specs, {name: np.array([float(row[name]) for row in rows]) for name in DEVICES}


def known(photographs=8, by_hand=10, searched=20):
    """Return networks as a search knows them, and the blurred input's PSNR on validation and test photographs."""
    rng = np.random.default_rng(0)
    specs, ms = measured()
    blurred = rng.normal(28.5, 1, (2, photographs))
    nets = []
    for i, spec in enumerate(specs[: by_hand + searched]):
        of = cost(spec, *SIZE)
        gain = 0.35 * np.log2(of.macs / 5e6) + 0.2 * (spec.skip == "concat") - 0.3 * (i < by_hand)
        told = blurred + gain + rng.normal(0, 0.15, (2, photographs))
        on = {}
        for name in DEVICES:
            steady = (i, name) != (by_hand + 1, "torch")
            on[name] = OnDevice(float(ms[name][i]), 0.03, steady, 110.0, *told, np.full(photographs, 0.8))
        role = "hand_made" if i < by_hand else "searched"
        nets.append(Known(f"net_{i:02}", spec.architecture(), role, of.macs, of.parameters, on))
    return nets, blurred


def result(devices=DEVICES):
    """Return the summary of a search."""
    nets, blurred = known()
    return summary(nets, devices, *blurred, 5, {name: errors(name) for name in devices})


@functools.cache
def errors(device):
    """Return how the predictor of a device errs, as a search tells it."""
    specs, ms = measured()
    predictor = Predictor(device, specs[:36], ms[device][:36], SIZE)
    later = predictor.afterwards(specs[36:], ms[device][36:])
    return predictor.held_out.plain() | {"afterwards": later and later.plain()}
