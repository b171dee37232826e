"""ExecuTorch by its XNNPACK, for `worker.py`: run where executorch and torch are installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "net.pte"


def facts() -> dict[str, Any]:
    """Return versions, or what is missing."""
    for name in ("torch", "executorch", "numpy"):
        if importlib.util.find_spec(name) is None:
            return {"missing": f"the package {name} is not in its environment"}
    return {name: importlib.metadata.version(name) for name in ("torch", "executorch")}


def convert(net: Any, size: tuple[int, int], folder: Path, calibration: list[Any], options: dict[str, Any]) -> None:
    """Write the network as ExecuTorch has it."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = (torch.zeros(1, 3, *size),)
    with torch.no_grad():
        if options["precision"] == "int8":
            net = _quantised(net, example, calibration)
        traced = torch.export.export(net, example)
        made = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / FILE).write_bytes(made.buffer)


def open_net(folder: Path, threads: int, options: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a call of the network."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    vars(portable_lib)["_unsafe_reset_threadpool"](
        threads
    )  # a name of its own; there is no other way, and none is public
    method = Runtime.get().load_program(folder / FILE).load_method("forward")

    def call(picture: Any) -> Any:
        return method.execute([torch.from_numpy(picture.copy())])[0].numpy()

    return call


def _quantised(net: Any, example: tuple[Any, ...], calibration: list[Any]) -> Any:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    how = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(net, example).module(), how)
    for picture in calibration:
        prepared(torch.from_numpy(picture))
    return convert_pt2e(prepared)
