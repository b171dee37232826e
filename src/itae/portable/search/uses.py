"""Ten lines for each runtime that use a network of a front, without this package but for torch's.

They take the folder of a network, a blurred picture and where the sharp one goes. An export has one size of pictures;
of a larger one they take the upper left corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BEFORE = """\
# python {name} FOLDER BLURRED.png SHARP.png: {runtime}, for pictures of {height} x {width} ({pip})
import sys

import numpy as np
from PIL import Image

folder, blurred, sharp = sys.argv[1:]
picture = Image.open(blurred).convert("RGB").crop((0, 0, {width}, {height}))
x = np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255)
"""
_AFTER = """\
Image.fromarray((y[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)).save(sharp)
"""
_ORT = """\
import onnxruntime

y = onnxruntime.InferenceSession(f"{folder}/net.onnx").run(None, {"picture": x})[0]
"""
_OPENVINO = """\
import openvino

net = openvino.Core().compile_model(f"{folder}/net.xml", "@place", {"INFERENCE_PRECISION_HINT": "@precision"})
y = net(x)[0]
"""
_NCNN = """\
import ncnn

net = ncnn.Net()
net.opt.use_fp16_arithmetic = False
net.load_param(f"{folder}/net.ncnn.param"), net.load_model(f"{folder}/net.ncnn.bin")
extractor = net.create_extractor()
extractor.input("in0", ncnn.Mat(x[0]))
y = np.array(extractor.extract("out0")[1])[None]
"""
_MNN = """\
import MNN.expr
import MNN.nn

net = MNN.nn.load_module_from_file(f"{folder}/net.mnn", ["picture"], ["restored"])
y = net.forward([MNN.expr.const(x, list(x.shape), MNN.expr.NCHW)])[0]
y = np.array(MNN.expr.convert(y, MNN.expr.NCHW).read())
"""
_TORCH = """\
from pathlib import Path

import torch
from itae.portable.devices.program import read_program

with torch.inference_mode():
    y = read_program(Path(folder))(torch.from_numpy(x)).numpy()
"""
_LITERT = """\
from ai_edge_litert.interpreter import Interpreter

net = Interpreter(model_path=f"{folder}/net.tflite")
net.allocate_tensors()
first, last = net.get_input_details()[0], net.get_output_details()[0]
if first["dtype"] == np.int8:
    x = (np.round(x / first["quantization"][0]) + first["quantization"][1]).clip(-128, 127).astype(np.int8)
net.set_tensor(first["index"], x)
net.invoke()
y = net.get_tensor(last["index"])
if last["dtype"] == np.int8:
    y = (y.astype(np.float32) - last["quantization"][1]) * last["quantization"][0]
"""
_EXECUTORCH = """\
import torch
from executorch.runtime import Runtime

method = Runtime.get().load_program(f"{folder}/net.pte").load_method("forward")
y = method.execute([torch.from_numpy(x)])[0].numpy()
"""
_BY_FILE = {
    "net.onnx": ("ONNX Runtime", _ORT, "pip install onnxruntime pillow"),
    "net.xml": ("OpenVINO", _OPENVINO, "pip install openvino pillow"),
    "net.ncnn.param": ("ncnn", _NCNN, "pip install ncnn pillow"),
    "net.mnn": ("MNN", _MNN, "pip install mnn pillow"),
    "graph.json": ("torch", _TORCH, "pip install itae"),
    "net.tflite": ("LiteRT", _LITERT, "pip install ai-edge-litert pillow"),
    "net.pte": ("ExecuTorch", _EXECUTORCH, "pip install executorch pillow"),
}
"""Runtime, lines and what installs it, by a file that its exports have."""


def use_of(device: str, export: Path, size: tuple[int, int], facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name of a script that uses the exports of a device, and its text; None for a runtime unknown here.

    Parameters
    ----------
    device
        Its name.
    export
        The folder of one of its exports.
    size
        Height and width of their pictures.
    facts
        Of the device: OpenVINO's precision and place.
    """
    for file, (runtime, lines, pip) in _BY_FILE.items():
        if (export / file).is_file():
            name = f"use_{device}.py"
            precision = str(facts.get("precision", "f32"))
            lines = lines.replace("@precision", "f32" if precision == "int8" else precision)
            lines = lines.replace("@place", str(facts.get("provider", "CPU")))
            head = _BEFORE.format(name=name, runtime=runtime, pip=pip, height=size[0], width=size[1])
            return name, head + lines + _AFTER
    return None
