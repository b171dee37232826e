"""The least parity with torch, in dB of PSNR, that a conversion of a trained net has to keep on real pictures.

A device's own budget is for random weights. There is none for a precision that isn't here.
"""

from __future__ import annotations

from itae.portable.devices.device import Device

BUDGETS = {
    "fp32": 100.0, "f32": 100.0, "fp32, fp16 weights": 70.0, "fp16": 60.0, "f16": 60.0, "bf16": 60.0, "int8": 50.0,
}  # fmt: skip
"""By what a device calls its precision in its facts."""


def budget_db(device: Device) -> float | None:
    """Return a device's budget on trained nets; its own where it is no processor, or its precision is none of those."""
    facts = device.facts()
    if "CPU" not in str(facts.get("provider", "CPU")):  # accelerators compute in what they have
        return device.budget_db
    return BUDGETS.get(str(facts.get("precision")), device.budget_db)


def in_eight_bits(device: Device) -> bool:
    """Whether a device quantises to int8."""
    return device.facts().get("precision") == "int8"
