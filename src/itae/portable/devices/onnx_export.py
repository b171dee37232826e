"""A network as an ONNX file, which five devices begin with: one way to export for all, so that they get the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from itae.base.errors import UserError
from itae.portable.devices.library import library
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

OPSET = 17  # the newest that all of them read and torch's exporter by tracing writes in full
INPUT, OUTPUT = "picture", "restored"
PIP = "pip install onnx"


def export_onnx(net: nn.Module, size: tuple[int, int], path: Path, device: str) -> None:
    """Write a network for pictures [1, 3, *size] as ONNX (opset `OPSET`), by torch's exporter that traces.

    That one, and not the newer of torch: it takes a hundredth of the time, and a study exports often.

    Parameters
    ----------
    device
        For which it is, for errors.

    Raises
    ------
    UserError
        If an operator has no ONNX; it is named, with its node.
    """
    import torch

    try:
        with quiet() as said, torch.no_grad():
            torch.onnx.export(
                net.eval(),
                (torch.zeros(1, 3, *size),),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                do_constant_folding=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise unsupported(device, f"ONNX (opset {OPSET})", *_named(str(error), said.text)) from error


def unsupported(device: str, runtime: str, operator: str, node: str = "") -> UserError:
    """Return the error of an operator that a runtime doesn't have: which, where, and the nearest that all have."""
    what = f"{operator} at {node}" if node else operator
    return UserError(f"{device}: {runtime} has no operator {what}; {_nearest(operator)}, or leave {device} out.")


def node_of(path: Path, operator: str) -> str:
    """Return the name of the first node of an ONNX file that has an operator; empty if none has."""
    nodes = library("onnx", PIP).load(str(path)).graph.node
    return next((node.name for node in nodes if node.op_type == operator), "")


_NEAREST = (
    (r"gelu|mish|silu|swish|elu|softplus|tanh|sigmoid|prelu|erf", "the nearest that all have is relu"),
    (r"deconv|transpose|shuffle|unfold|fold|resize|upsampl|interpol|grid", "the nearest that all have is nearest"),
    (r"pool|unshuffle|depth", "the nearest that all have is a convolution with stride 2"),
    (r"norm|softmax|attention|einsum|matmul", "the nearest that all have is a 1x1 convolution"),
    (r"fft|complex|stft", "all have convolutions"),
)


def _nearest(operator: str) -> str:
    found = (words for pattern, words in _NEAREST if re.search(pattern, operator, re.IGNORECASE))
    return next(found, "take a network without it")


def _named(error: str, said: str) -> tuple[str, str]:
    """Return operator and node from the exporter's error and the graph that it prints with it."""
    found = re.search(r"(?:operator|node)\s+'?(?:aten::)?([\w:.]+)'?", error)
    operator = found.group(1) if found else error.splitlines()[0]
    lines = [line for line in said.splitlines() if f"aten::{operator}(" in line]
    scope = re.search(r"scope: (\S+)", lines[0]) if lines else None
    path = ""
    for part in scope.group(1).split("/") if scope else ():
        name = part.rpartition("::")[2]  # some are whole paths, others the last part of one
        path = name if not path or name.startswith(f"{path}.") else f"{path}.{name}"
    return operator, path
