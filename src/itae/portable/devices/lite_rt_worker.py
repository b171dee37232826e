"""LiteRT by its XNNPACK, for `worker.py`: run where litert-torch is installed, with ai-edge-litert and -quantizer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "net.tflite"
_PACKAGES = {"litert-torch": "litert_torch", "ai-edge-litert": "ai_edge_litert", "torch": "torch", "numpy": "numpy"}


def facts() -> dict[str, Any]:
    """Return versions, or what is missing."""
    for name, module in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            return {"missing": f"the package {name} is not in its environment"}
    return {name: importlib.metadata.version(name) for name in ("torch", "litert-torch", "ai-edge-litert")}


def convert(net: Any, size: tuple[int, int], folder: Path, calibration: list[Any], options: dict[str, Any]) -> None:
    """Write the network as LiteRT has it."""
    import litert_torch
    import torch

    with torch.no_grad():
        made = litert_torch.convert(net, (torch.zeros(1, 3, *size),))
    made.export(str(folder / FILE))
    if options["precision"] == "int8":
        _quantise(folder / FILE, calibration)


def open_net(folder: Path, threads: int, options: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a call of the network; where its ends are int8, they are scaled here, and that is timed."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(model_path=str(folder / FILE), num_threads=threads)
    net.allocate_tensors()
    first, last = net.get_input_details()[0], net.get_output_details()[0]

    def call(picture: Any) -> Any:
        if first["dtype"] == np.int8:
            scale, zero = first["quantization"]
            picture = np.clip(np.round(picture / scale) + zero, -128, 127).astype(np.int8)
        net.set_tensor(first["index"], picture)
        net.invoke()
        output = net.get_tensor(last["index"])
        if last["dtype"] == np.int8:
            scale, zero = last["quantization"]
            output = (output.astype(np.float32) - zero) * scale
        return output

    return call


def _quantise(file: Path, calibration: list[Any]) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    runner = Interpreter(model_path=str(file)).get_signature_runner()
    name = next(iter(runner.get_input_details()))
    made = quantizer.Quantizer(str(file), recipe.static_wi8_ai8())
    pictures = [{name: picture} for picture in calibration]
    ranges = made.calibrate({"serving_default": pictures})
    content = made.quantize(ranges).quantized_model
    file.write_bytes(bytes(content))
