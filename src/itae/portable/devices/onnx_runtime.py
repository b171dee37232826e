"""ONNX Runtime: fp32, or int8 by its static quantisation (QDQ), on the processor or by a provider of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of, true_or_false
from itae.base.errors import UserError
from itae.portable.devices.device import InProcess, Runner
from itae.portable.devices.library import absent, library, versions_of
from itae.portable.devices.onnx_export import INPUT, OUTPUT, export_onnx, unsupported
from itae.portable.devices.processor import emulated
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
    "qnn": ("QNNExecutionProvider", "onnxruntime-qnn"),
}
"""What an option `provider` is to ONNX Runtime, and the package that has it."""
_CPU = PROVIDERS["cpu"][0]
FILE = "net.onnx"
_LOOK_THROUGH = ("Clip", "Min", "Max", "Cast", "Identity", "Slice", "Reshape")


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime.

    Parameters
    ----------
    precision
        ``fp32`` (default), or ``int8``: weights (s8, a scale a channel) and activations (u8) quantised after training
        on the calibration pictures, by their least and greatest values.
    provider
        ``cpu`` (default), ``cuda``, ``coreml``, ``qnn``. What the provider doesn't do runs on the processor, and is
        counted: `Runner.fallbacks`. A run's time holds the copies to and from its memory.
    residual
        With int8: whether the last addition is quantised like all else: see `OpenVino`. Default: false.
    name
        What tables call it.
    """

    precision: str = "fp32"
    provider: str = "cpu"
    residual: bool = False
    name: str = ""
    pip: str = field(default="", init=False)
    budget_db: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        one_of("device.precision", self.precision, ("fp32", "int8"))
        one_of("device.provider", self.provider, PROVIDERS)
        true_or_false("device.residual", self.residual)
        words = ["ort"] + [word for word in (self.precision, self.provider) if word not in ("fp32", "cpu")]
        object.__setattr__(self, "name", self.name or "_".join(words))
        object.__setattr__(self, "pip", f"pip install onnx {PROVIDERS[self.provider][1]}")
        exact = self.precision == "fp32" and self.provider == "cpu"
        # Accelerators compute in what they have, TF32 or halves.
        object.__setattr__(self, "budget_db", 90.0 if exact else None if self.precision == "int8" else 50.0)

    def missing(self) -> str | None:
        """Return what of it isn't installed here: a package, or a provider of it."""
        gone = absent(self.name, ("onnx", "onnxruntime"))
        if gone or self.provider == "cpu":
            return gone
        wanted, package = PROVIDERS[self.provider]
        if wanted in library("onnxruntime", self.pip).get_available_providers():
            return None
        return f"{self.name} needs {wanted}, which the installed ONNX Runtime lacks ({package} has it)"

    def facts(self) -> Mapping[str, Any]:
        """Return its runtime, versions, precision, provider, and whether int8 is emulated here."""
        slow = self.provider == "cpu" and emulated(self.precision)
        versions = versions_of("onnx", "onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn")
        where = {"precision": self.precision, "provider": PROVIDERS[self.provider][0], "emulated": slow}
        return {"runtime": "ONNX Runtime", **versions, **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the network as ONNX, quantised where it is to be."""
        file = folder / FILE
        export_onnx(net, size, file, self.name)
        if self.precision == "int8":
            self._quantise(file, calibration)

    def open(self, folder: Path, threads: int) -> Runner:
        """Return a session of so many threads, and what of the network its provider left to the processor."""
        ort = library("onnxruntime", self.pip)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what is wrong, it raises
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        wanted = PROVIDERS[self.provider][0]
        try:
            with quiet():
                session = ort.InferenceSession(str(folder / FILE), options, list(dict.fromkeys((wanted, _CPU))))
        except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
            raise self._unsupported(str(error)) from error

        def call(picture: np.ndarray) -> np.ndarray:
            return session.run([OUTPUT], {INPUT: picture})[0]

        return InProcess(call, () if wanted == _CPU else fallbacks(session.get_provider_graph_assignment_info()))

    def _quantise(self, file: Path, calibration: Sequence[np.ndarray]) -> None:
        by = library("onnxruntime.quantization", self.pip)
        prepare = library("onnxruntime.quantization.shape_inference", self.pip).quant_pre_process
        left = iter(calibration)

        class Pictures(by.CalibrationDataReader):  # type: ignore[name-defined]
            """The calibration pictures, one after the other, by the name of the network's input."""

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(({INPUT: picture} for picture in left), None)

        with quiet():
            ready = file.with_name("ready.onnx")
            prepare(str(file), str(ready), skip_symbolic_shape=True)
            last = None if self.residual else residual_of(library("onnx", self.pip).load(str(ready)).graph)
            by.quantize_static(
                *(str(ready), str(file), Pictures()),
                quant_format=by.QuantFormat.QDQ,
                activation_type=by.QuantType.QUInt8,
                weight_type=by.QuantType.QInt8,
                per_channel=True,
                reduce_range=emulated("int8"),  # without VNNI, sums of u8 x s8 products saturate
                nodes_to_exclude=[] if last is None else [last],
            )
            ready.unlink()

    def _unsupported(self, said: str) -> UserError:
        import re

        found = re.search(r"for an? ([\w.]+)\S* node with name '([^']*)'|implementation for (\w+)", said)
        operator, node = (found.group(1) or found.group(3), found.group(2) or "") if found else (said[:200], "")
        return unsupported(self.name, "ONNX Runtime", operator, node)


def residual_of(graph: Any) -> str | None:
    """Return the name of the addition by which an ONNX graph ends, if it adds up two things that it computed.

    A clamp, and what doesn't change values, may stand behind it. Constants are folded by then, and a bias is one.
    """
    makers = {output: node for node in graph.node for output in node.output}
    constant = {each.name for each in graph.initializer}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in _LOOK_THROUGH:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Add":
        return None
    fixed = [each for each in node.input if each in constant or makers.get(each, node).op_type == "Constant"]
    return None if fixed else str(node.name)


def fallbacks(assigned: Sequence[Any]) -> tuple[str, ...]:
    """Return the operators of a session that run on the processor though another provider was asked for.

    Parameters
    ----------
    assigned
        Parts of the graph, each with the provider that has it: `get_provider_graph_assignment_info` of a session.
    """
    nodes = [node for part in assigned if part.ep_name == _CPU for node in part.get_nodes()]
    return tuple(f"{node.op_type} {node.name}".strip() for node in nodes)
