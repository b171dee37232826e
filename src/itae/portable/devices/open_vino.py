"""OpenVINO: f32, bf16 and f16 by a hint to its compiler, int8 by NNCF, on the processor, a GPU or an NPU."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of, true_or_false
from itae.portable.devices.device import InProcess, Runner
from itae.portable.devices.library import absent, library, versions_of
from itae.portable.devices.onnx_export import export_onnx, node_of, unsupported
from itae.portable.devices.processor import emulated
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_BUDGETS = {"f32": 90.0, "bf16": 50.0, "f16": 50.0, "int8": None}
_LOOK_THROUGH = ("Result", "Clamp", "Minimum", "Maximum", "Convert", "Slice", "StridedSlice", "Reshape")
FILE = "net.xml"


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO.

    Parameters
    ----------
    precision
        ``f32`` (default), ``bf16``, ``f16``, or ``int8``: quantised after training on the calibration pictures.
    place
        ``CPU`` (default), ``GPU`` or ``NPU``: OpenVINO's name of the device.
    residual
        With int8: whether the last addition is quantised like all else. A network that adds its input to what it
        computes sends the picture itself through it, in eight bits. Default: false.
    ranges
        With int8: of what a range is made. ``extremes`` (default), the least and greatest value of all calibration
        pictures; ``mean``, NNCF's own way, the means of each picture's: whatever is brighter than pictures are on
        average at their brightest is cut off.
    name
        What tables call it.
    """

    precision: str = "f32"
    place: str = "CPU"
    residual: bool = False
    ranges: str = "extremes"
    name: str = ""
    pip: str = field(default="", init=False)
    budget_db: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        one_of("device.precision", self.precision, _BUDGETS)
        one_of("device.place", self.place, ("CPU", "GPU", "NPU"))
        true_or_false("device.residual", self.residual)
        one_of("device.ranges", self.ranges, ("extremes", "mean"))
        words = ["openvino"] + [word for word in (self.precision, self.place.lower()) if word not in ("f32", "cpu")]
        object.__setattr__(self, "name", self.name or "_".join(words))
        object.__setattr__(self, "pip", f"pip install onnx openvino{' nncf' if self.precision == 'int8' else ''}")
        object.__setattr__(self, "budget_db", _BUDGETS[self.precision])

    def missing(self) -> str | None:
        """Return what of it isn't installed here: a package, or a GPU or NPU that OpenVINO sees."""
        gone = absent(self.name, ("onnx", "openvino", *(("nncf",) if self.precision == "int8" else ())))
        if gone or self.place == "CPU":
            return gone or self._not_taken()
        seen = library("openvino", self.pip).Core().available_devices
        if any(each.partition(".")[0] == self.place for each in seen):
            return None
        return f"{self.name} needs a {self.place}, and OpenVINO sees none here (it sees {', '.join(seen)})"

    def facts(self) -> Mapping[str, Any]:
        """Return its runtime, versions, precision, place, and whether the precision is emulated here."""
        slow = self.place == "CPU" and emulated(self.precision)
        versions = versions_of("onnx", "openvino", *(("nncf",) if self.precision == "int8" else ()))
        where = {"precision": self.precision, "provider": self.place, "emulated": slow}
        return {"runtime": "OpenVINO", **versions, **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the network as OpenVINO has it, quantised where it is to be."""
        ov = library("openvino", self.pip)
        source = folder / "net.onnx"
        export_onnx(net, size, source, self.name)
        try:
            with quiet():
                model = ov.Core().read_model(source)
        except RuntimeError as error:
            operator = _operator(str(error))
            raise unsupported(self.name, "OpenVINO", operator, node_of(source, operator)) from error
        if self.precision == "int8":
            model = self._quantised(model, calibration)
        with quiet():
            ov.save_model(model, folder / FILE, compress_to_fp16=False)
        source.unlink()

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the compiled network, in one stream of so many threads."""
        import numpy as np

        ov = library("openvino", self.pip)
        hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if self.place == "CPU":
            # int8 leaves in f32 what isn't quantised, or a processor with bf16 would take that for it.
            hints |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
            hints |= {"INFERENCE_PRECISION_HINT": "f32" if self.precision == "int8" else self.precision}
        elif self.precision != "int8":
            hints |= {"INFERENCE_PRECISION_HINT": self.precision}
        with quiet():
            request = ov.Core().compile_model(folder / FILE, self.place, hints).create_infer_request()

        def given(picture: np.ndarray) -> Any:
            held = np.ascontiguousarray(picture)
            request.set_input_tensor(ov.Tensor(held, shared_memory=True))
            return held  # the request has its address alone

        # Outputs are views of the request's own memory, taken afterwards: its benchmark tool times no copies either.
        return InProcess(
            lambda _: request.infer(share_outputs=True), before=given, after=lambda returned: returned[0].copy()
        )

    def _not_taken(self) -> str | None:
        """Return what OpenVINO computes in on this processor in place of the precision, in words; None if in that.

        Where a processor has no f16, its compiler takes bf16 or f32 and doesn't say so: a smallest network is asked.
        """
        if self.precision not in ("bf16", "f16"):
            return None
        import numpy as np

        ov, ops = library("openvino", self.pip), library("openvino.opset13", self.pip)
        picture = ops.parameter([1, 1, 4, 4], np.float32)
        weight = ops.constant(np.ones((1, 1, 1, 1), np.float32))
        model = ov.Model([ops.convolution(picture, weight, [1, 1], [0, 0], [0, 0], [1, 1])], [picture])
        with quiet():
            compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": self.precision})
            taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if taken == self.precision:
            return None
        return f"{self.name} would compute in {taken}: OpenVINO has no {self.precision} on this processor"

    def _quantised(self, model: Any, calibration: Sequence[np.ndarray]) -> Any:
        os.environ.setdefault("NNCF_CI", "1")  # it would tell its makers of each use
        nncf = library("nncf", self.pip)
        last = None if self.residual else residual_of(model)
        how: dict[str, Any] = {} if last is None else {"ignored_scope": nncf.IgnoredScope(names=[last])}
        if self.ranges == "extremes":
            estimators = library("nncf.quantization.range_estimator", self.pip).RangeEstimatorParametersSet
            how["advanced_parameters"] = nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=estimators.MINMAX
            )
        with quiet():
            return nncf.quantize(model, nncf.Dataset(list(calibration)), subset_size=len(calibration), **how)


def residual_of(model: Any) -> str | None:
    """Return the name of the addition by which an OpenVINO model ends, if it adds up two things that it computed.

    A bias is added, too, but it is a constant. What doesn't change values, and a clamp, may stand behind it.
    """
    node = model.outputs[0].get_node()
    while node.get_type_name() in _LOOK_THROUGH:
        node = next(each for each in _sources(node) if not _is_constant(each))
    added = _sources(node)
    if node.get_type_name() != "Add" or any(map(_is_constant, added)):
        return None
    return str(node.friendly_name)


def _is_constant(node: Any) -> bool:
    """Whether a node has the same value for every picture: nothing before it is the network's input."""
    left, seen = [node], set()
    while left:
        each = left.pop()
        kind = each.get_type_name()
        if kind == "Parameter":
            return False
        if kind == "ShapeOf" or each.friendly_name in seen:
            continue
        seen.add(each.friendly_name)
        left += _sources(each)
    return True


def _sources(node: Any) -> list[Any]:
    return [each.get_source_output().get_node() for each in node.inputs()]


def _operator(said: str) -> str:
    found = re.search(r"rule found for operations:\s*(?:[\w.]+::)?(\w+)", said)
    return found.group(1) if found else said.strip().splitlines()[-1]
