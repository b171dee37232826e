"""A network as a file that holds no code and no pickle: its operators in order, as JSON, and its weights as arrays.

It is what torch traces (`torch.export`), so that no class of the network's is needed to run it again: in another
process, or in an environment that doesn't have this package. For the latter it imports nothing of it.

Operators are torch's own (`aten`) and named, so that a file can call nothing else.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

GRAPH, WEIGHTS = "graph.json", "weights.npz"
_ITEM = "getitem"


class NoProgramError(ValueError):
    """A network that can't be written so; the message names the operator and its node."""


def write_program(net: nn.Module, size: tuple[int, int], folder: Path) -> None:
    """Write a network for pictures [1, 3, *size] into a folder.

    Raises
    ------
    NoProgramError
        Where it calls something other than an operator of torch's own.
    """
    import numpy as np
    import torch

    with torch.no_grad():
        traced = torch.export.export(net.eval(), (torch.zeros(1, 3, *size),))
    signature, state = traced.graph_signature, {**traced.state_dict, **traced.constants}
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    nodes, output = [], None
    for node in traced.graph.nodes:
        if node.op == "call_function":
            nodes.append(
                {"name": node.name, "op": _name(node)}
                | {"args": _plain(node.args, node), "kwargs": _plain(node.kwargs, node)}
            )
        elif node.op == "output":
            output = node.args[0][-1].name  # what it changes of its own state comes before
    arrays = {name: state[name].detach().numpy() for name in sorted(set(held.values()))}
    np.savez(folder / WEIGHTS, **arrays)
    graph = {"size": list(size), "input": list(signature.user_inputs), "held": held, "nodes": nodes, "output": output}
    (folder / GRAPH).write_text(json.dumps(graph), encoding="utf-8")


def read_program(folder: Path) -> nn.Module:
    """Return the network of a folder, in eval mode: its operators in their order, and in `meta` its ``size``."""
    import numpy as np
    import torch

    graph = json.loads((folder / GRAPH).read_text(encoding="utf-8"))
    with np.load(folder / WEIGHTS, allow_pickle=False) as arrays:
        weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    built, root = torch.fx.Graph(), torch.nn.Module()
    seen = {name: built.placeholder(name) for name in graph["input"]}
    for name, path in graph["held"].items():
        attribute = path.replace(".", "__")
        if not hasattr(root, attribute):
            root.register_buffer(attribute, weights[path])
        seen[name] = built.get_attr(attribute)
    for node in graph["nodes"]:
        args, kwargs = _alive(node["args"], seen), _alive(node["kwargs"], seen)
        seen[node["name"]] = built.call_function(_operator(node["op"]), tuple(args), kwargs)
    built.output(seen[graph["output"]])
    net = torch.fx.GraphModule(root, built).eval()
    net.meta["size"] = tuple(graph["size"])
    return net


def _name(node: Any) -> str:
    if node.target is operator.getitem:  # one of what an operator returns several of
        return _ITEM
    words = str(node.target).split(".")
    if len(words) != 3 or words[0] != "aten":
        raise NoProgramError(f"the operator {node.target} at {_where(node)}")
    return ".".join(words[1:])


def _where(node: Any) -> str:
    """Return the module of the network that a node comes from, or its name."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return f"{paths[-1].removeprefix('L__self___')} ({node.name})" if paths else node.name


def _operator(name: str) -> Callable[..., Any]:
    import torch

    if name == _ITEM:
        return operator.getitem
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


def _plain(value: Any, node: Any) -> Any:
    """Return an argument as JSON has it: nodes and torch's words for kinds of numbers as {kind: name}."""
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each, node) for each in value]
    if isinstance(value, Mapping):
        return {name: _plain(each, node) for name, each in value.items()}
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    raise NoProgramError(f"{value!r}, an argument of the operator {node.target} at {_where(node)}")


def _alive(value: Any, seen: Mapping[str, Any]) -> Any:
    import torch

    if isinstance(value, list):
        return [_alive(each, seen) for each in value]
    if isinstance(value, Mapping):
        if value.keys() == {"node"}:
            return seen[value["node"]]
        if value.keys() == {"torch"}:
            return getattr(torch, value["torch"])
        if value.keys() == {"device"}:
            return torch.device(value["device"])
        return {name: _alive(each, seen) for name, each in value.items()}
    return value
