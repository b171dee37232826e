"""``study=deploy``: one network is trained, optimised and converted, and judged as each device restores pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.app.portable.study import Figures, Result, Study
from itae.base.construct import construct, named
from itae.base.errors import UserError, did_you_mean
from itae.portable.cells.asked import Measuring
from itae.portable.data.layouts import Layout
from itae.portable.data.noise import NoNoise
from itae.portable.data.shake import NoBlur
from itae.portable.deploy.asked import Deploy
from itae.portable.deploy.result import FILES, flat, show, texts
from itae.portable.devices.device import Net
from itae.portable.devices.library import absent

if TYPE_CHECKING:
    from itae.track.tracking import Log

_NEEDED = ("skimage", "torchmetrics")
_PIP = "pip install itae[portable]"


def deploy_study(plain: Mapping[str, Any], common: Callable[[], Measuring]) -> Study:
    """Return the study that a config asks for.

    Raises
    ------
    UserError
        For an option or a size that is not allowed, weights of another network, a step that is none or that the network
        or the devices don't go with, and photographs that aren't there.
    """
    if gone := absent("study=deploy", _NEEDED):
        raise UserError(f"{gone}; install it: {_PIP}")
    net, teacher = net_of(plain["net"]), teacher_of(plain.get("teacher"))
    data = data_of(plain)
    steps = steps_of(plain["steps"], plain.get("optimise"))
    asked = Deploy(**vars(common()), **data, net=net, steps=steps, teacher=teacher)
    asked.source.check()
    asked.blur.check()
    _check_weights(net, "net")
    if teacher is not None:
        _check_weights(teacher, "teacher")

    def work(folder: Path, told: Callable[[str], None]) -> Result:
        from itae.portable.deploy import study  # numpy and what it brings: a config error comes before

        return study.deploy(asked, folder, told)

    name = f"deploy {net.name} {', '.join(asked.devices)}"
    return Study("deploy", name, work, _figures, FILES, texts, show, track)


DATA = ("data", "blur", "noise", "pairs", "train")
"""Groups that say what a network learns from, and how."""


def data_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config has for `DATA`: source, blur, noise, pairs and train.

    Raises
    ------
    UserError
        For an option that is not allowed, and where nothing is to be restored.
    """
    source, blur, noise, pairs, train = (construct(name, plain[name]) for name in DATA)
    if not isinstance(source, Layout) and not hasattr(source, "photographs"):
        raise UserError(f"data._target_={plain['data']['_target_']} can't be a data: it has no 'photographs'.")
    if isinstance(blur, NoBlur) and isinstance(noise, NoNoise) and not isinstance(source, Layout):
        raise UserError("blur=none and noise=none leave nothing to restore; choose one of them otherwise.")
    return {"source": source, "blur": blur, "noise": noise, "pairs": pairs, "train": train}


def net_of(node: Any) -> Any:
    """Return the network of a config, whose class may be anybody's, if it can be told and trained."""
    net = construct("net", node)
    if not isinstance(name := getattr(net, "name", None), str) or not name.strip():
        raise UserError(f"net.name={name!r} must be a text, by which tables call the net.")
    if not is_dataclass(net) or not hasattr(net, "weights"):
        raise UserError(
            f"net._target_={node['_target_']} can't be trained: it has to be a dataclass with an option 'weights', the "
            "file that it reads them from."
        )
    return net


def teacher_of(node: Any) -> Net | None:
    """Return the network that ours is to resemble, too; None where there is none.

    Raises
    ------
    UserError
        Where it is none, or has no weights: what has learned nothing teaches nothing.
    """
    if node is None:
        return None
    if not isinstance(node, Mapping) or not node.get("_target_"):
        raise UserError(f"teacher={node!r} is no network; write +net@teacher=unet teacher.weights=FILE, or null.")
    with named("teacher", "net"):
        teacher: Any = construct("net", node)
    if getattr(teacher, "weights", None) is None:
        raise UserError(
            "teacher.weights is not set, and a network that has learned nothing teaches nothing; give its .safetensors "
            "file, or set teacher=null."
        )
    return teacher


def steps_of(nodes: Any, wanted: Any) -> dict[str, Any]:
    """Return the optimisations to apply by name, in the order in which they are asked for.

    Parameters
    ----------
    nodes
        The config's ``steps``: a node for each name.
    wanted
        Names, or one; none of them if it is empty.

    Raises
    ------
    UserError
        For a name that is none, or is there twice, or an option that a step hasn't.
    """
    if not isinstance(nodes, Mapping):
        raise UserError(f"steps={nodes!r} must be a mapping of names to nodes: NAME: node.")
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(f"optimise={wanted!r} must be a list of steps, in their order, as in [prune,post_training].")
    for name in names:
        if name not in nodes:
            known = ", ".join(nodes) or "none"
            raise UserError(f"optimise={name}: there is no such step; there are {known}.{did_you_mean(name, nodes)}")
        if names.count(name) > 1:
            raise UserError(
                f"optimise={list(names)} names {name} twice; name each once, and add a step for a second time, as in "
                f"+steps.{name}_2={{...}}."
            )
    made = {}
    for name in names:
        with named(f"steps.{name}", r"steps\.\w+"):
            made[name] = construct(f"steps.{name}", nodes[name])
    return made


def _check_weights(net: Any, word: str) -> None:
    """Raise a `UserError` if a network's file has weights of another one; drawn weights always fit."""
    if net.weights is not None:
        with named(word, "net"):
            net.build()


def _figures() -> Figures:
    from itae.portable.deploy.figures import FIGURES

    return FIGURES


def track(tracker: Log, result: Mapping[str, Any], folder: Path) -> None:
    """Log what each device restores and how fast, between which two that lies, the table, and the figures."""
    from itae.portable.deploy.crops import as_rows  # numpy: a config error comes before

    quality, training = result["quality"], result["training"]
    found: dict[str, Any] = {"devices": {}, "timing": result["timing"]}
    found["psnr"] = {name: quality[name]["psnr"]["mean"] for name in ("blurred", "wiener", "torch") if quality[name]}
    found["training"] = {"cpu_s": training["cpu_s"], "validation_psnr": training["curve"][-1]["validation_psnr"]}
    found["training"]["blurred_psnr"] = training["blurred_psnr"]
    names = ("psnr", "ssim", "gain_db", "drop_db", "parity_db", "ms", "steady")
    for row in flat(result):
        told = {name: float(row[name]) if name == "steady" else row[name] for name in names if row[name] is not None}
        found["devices"][row["device"]] = told
    tracker.metrics(found)
    tracker.table("devices", lambda: flat(result))
    tracker.table("pictures", lambda: as_rows(result["pictures"], folder))
    tracker.figures([folder / name for name in result["figures"]])
