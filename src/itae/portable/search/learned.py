"""Networks of a search that learn: each by itself for equally many steps, side by side, and the supernet beside them.

Who judges candidates is settled here: the supernet, where its order of some networks is that of training each, or a
short training of each candidate.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from itae.base.disk import DiskError
from itae.base.errors import UserError
from itae.portable.data.pairs import Splits
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.search.asked import Searching
from itae.portable.search.judge import Judge, Ranks, by_supernet, by_training, picked, rank_check
from itae.portable.search.options import FEWEST_CHECKED
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.search.training import TrainedSupernet, trained_supernet
from itae.portable.search.workers import Workers
from itae.portable.train.loop import Trained, trained
from itae.portable.train.options import Train


@dataclass(frozen=True)
class Learned:
    """Networks that were trained by themselves, and why others weren't."""

    nets: Mapping[str, UNet]
    """With their weights, by name."""
    trained: Mapping[str, Trained]
    why: Mapping[str, str]

    def only(self, names: Collection[str]) -> Learned:
        """Return those of these names."""
        return Learned(
            {name: net for name, net in self.nets.items() if name in names},
            {name: one for name, one in self.trained.items() if name in names},
            {name: why for name, why in self.why.items() if name in names},
        )

    def idle(self) -> list[str]:
        """Return the names of those that restore validation photographs no better than doing nothing does."""
        return [name for name, one in self.trained.items()
                if one.curve[-1]["validation_psnr"] <= one.facts["blurred_psnr"]]  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Return as plain values what each one cost and came to."""
        return {
            name: {"steps": one.curve[-1]["step"], "cpu_s": one.facts["cpu_s"],
                   "validation_psnr": one.curve[-1]["validation_psnr"]}
            for name, one in self.trained.items()
        }  # fmt: skip


@dataclass(frozen=True)
class Judging:
    """Who judges candidates, and how that came about."""

    judge: Judge
    by: str
    """``supernet`` or ``training``."""
    about: Mapping[str, Any]
    """Plain values that what it says depends on."""
    prepare: Callable[[Sequence[Spec]], None] | None
    """Does beforehand, side by side, what judging some networks takes; None where that is nothing."""
    supernet: TrainedSupernet | None
    ranks: Ranks | None
    """Of the supernet."""
    short: Ranks | None
    """Of short trainings."""
    notes: tuple[str, ...]


def learned(nets: Mapping[str, UNet], splits: Splits, asked: Searching, workers: Workers, bar: str) -> Learned:
    """Return networks trained by themselves, all for the same steps; one that fails costs itself alone.

    Parameters
    ----------
    nets
        By name.
    splits, asked
        Pairs and settings.
    workers
        Who trains them.
    bar
        What a bar of progress is called.

    Raises
    ------
    UserError
        If all of them fail, or the disk is in trouble.
    """
    return _beside(nets, splits, asked, workers, bar, [])[0]


def _beside(
    nets: Mapping[str, UNet], splits: Splits, asked: Searching, workers: Workers, bar: str,
    longer: list[Callable[[], Any]],
) -> tuple[Learned, list[Any]]:  # fmt: skip
    """Return networks trained by themselves, and what works that take longer returned, which were done beside them."""
    order = sorted(nets, key=lambda name: -nets[name].cost(*asked.size).macs)
    works: list[Callable[[], Any]] = [partial(_alone, nets[name], splits, asked.train, asked.cache) for name in order]
    made = workers.do([*longer, *works], bar)
    by_name = dict(zip(order, made[len(longer) :], strict=True))
    found = {name: one for name in nets if isinstance(one := by_name[name], Trained)}
    why = {name: one for name in nets if isinstance(one := by_name[name], str)}
    if why and not found:
        raise UserError(next(iter(why.values())))
    ready = {name: replace(nets[name], weights=str(one.weights)) for name, one in found.items()}
    return Learned(ready, found, why), made[: len(longer)]


def with_judge(
    splits: Splits, asked: Searching, workers: Workers, told: Callable[[str], None]
) -> tuple[Learned, Judging]:
    """Return the networks made by hand, trained, and who judges candidates.

    The supernet is held against networks that were trained by themselves: those made by hand that are in the space, and
    some that are drawn.
    """
    search, hand_made = asked.search, {name: asked.net(name, spec) for name, spec in asked.hand_made.items()}
    if search.judge == "training":
        by_hand = learned(hand_made, splits, asked, workers, "Training by themselves")
        nets = [one for one in _in_space(asked) if one.name in by_hand.nets][: search.checked]
        return by_hand, _by_training(nets, splits, asked, workers, None, None, ())
    more = {f"checked {i + 1}": asked.net(f"checked {i + 1}", spec) for i, spec in enumerate(_drawn(asked))}
    given = asked.space, splits, asked.train, asked.supernet, asked.cache
    all_, (failed,) = _beside(
        {**hand_made, **more}, splits, asked, workers, "Training, and the supernet", [partial(_at_once, *given)]
    )
    by_hand = all_.only(hand_made)
    nets = [one for one in _in_space(asked) if one.name in all_.nets][: search.checked]
    nets += [all_.nets[name] for name in more if name in all_.nets]
    if failed:
        if search.judge == "supernet":
            raise UserError(failed)
        return by_hand, _by_training(nets, splits, asked, workers, None, None, (f"There is no supernet: {failed}",))
    return by_hand, _checked(trained_supernet(*given, _ignored), nets, splits, asked, workers, told)


def _checked(
    shared: TrainedSupernet, nets: Sequence[UNet], splits: Splits, asked: Searching, workers: Workers,
    told: Callable[[str], None],
) -> Judging:  # fmt: skip
    """Return the supernet as a judge; where it ranks networks as training doesn't, and it may be another, that."""
    ours, ranks = by_supernet(shared.supernet, splits.validation), None
    note = "Nobody has checked whether the supernet ranks networks as training each does (search.checked)."
    if asked.search.checked and len(nets) >= FEWEST_CHECKED:
        ranks = rank_check(_specs(nets), ours, _whole(splits, asked))
        note = ranks.told()
        told(f"{'supernet':10} {note}")
        if not ranks.holds and asked.search.judge == "auto":
            fell = f"So candidates were judged by a training of {asked.search.steps} steps each (search.judge=auto)."
            told(f"{'note':10} {fell}")
            return _by_training(nets, splits, asked, workers, shared, ranks, (note, fell))
    about = {"judge": "supernet", "weights": shared.facts["key"]}
    return Judging(ours, "supernet", about, None, shared, ranks, None, (note,))


def _by_training(
    nets: Sequence[UNet], splits: Splits, asked: Searching, workers: Workers, shared: TrainedSupernet | None,
    ranks: Ranks | None, notes: tuple[str, ...],
) -> Judging:  # fmt: skip
    """Return short trainings as the judge; `nets` were trained for long, and say how far these can be believed."""
    options, short = asked.short, None

    def prepare(specs: Sequence[Spec]) -> None:
        works = [partial(_alone, asked.net("candidate", spec), splits, options, asked.cache) for spec in specs]
        workers.do(works, "Training candidates")

    judge = by_training(partial(_weights, splits, options, asked.cache), splits.validation, seed=asked.seed)
    if asked.search.checked and len(nets) >= FEWEST_CHECKED:
        prepare(_specs(nets))
        short = rank_check(_specs(nets), judge, _whole(splits, asked))
        found = f"{short.spearman:.2f} ({short.low:.2f} to {short.high:.2f})"
        said = f"A training of {options.steps} steps ranks {len(nets)} networks as one of {asked.train.steps} does"
        notes = (*notes, f"{said} with Spearman's {found}.")
    about = {"judge": "training", "options": options.key(taught=False), "pairs": splits.key, "weights": asked.seed}
    return Judging(judge, "training", about, prepare, shared, ranks, short, notes)


def _whole(splits: Splits, asked: Searching) -> Judge:
    """Return the judge that has trained networks for as long as those that are chosen."""
    return by_training(partial(_weights, splits, asked.train, asked.cache), splits.validation, seed=asked.seed)


def _specs(nets: Sequence[UNet]) -> list[Spec]:
    return [Spec(**Spec.architecture(net)) for net in nets]


def _in_space(asked: Searching) -> list[UNet]:
    return [asked.net(name, spec) for name, spec in asked.hand_made.items() if spec in asked.space]


def _drawn(asked: Searching) -> list[Spec]:
    """Return networks that are trained for the check alone, beside those made by hand that are in the space."""
    there = {Spec(**Spec.architecture(net)) for net in _in_space(asked)}
    lack = max(0, asked.search.checked - len(there))
    drawn = picked(asked.space, lack + len(there), asked.search.seed) if lack else ()
    return [spec for spec in drawn if spec not in there][:lack]


def _alone(net: UNet, splits: Splits, options: Train, cache: Path) -> Trained | str:
    """Train a network, and return its weights, or why there are none; a disk in trouble would meet all others, too."""
    try:
        with _unsaid():
            return trained(net, splits, options, cache, _ignored)
    except DiskError:
        raise
    except UserError as error:
        return f"{net.name}: {error}"


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """Leave unsaid what a training warns of by itself: of many networks, all are told at the end (`Learned.idle`)."""
    of = logging.getLogger("itae.portable.train.loop")
    before = of.level
    of.setLevel(logging.ERROR)
    try:
        yield
    finally:
        of.setLevel(before)


def _at_once(space: Space, splits: Splits, options: Train, sandwich: Sandwich, cache: Path) -> str:
    """Train the supernet, and return why it can't be, or an empty text."""
    try:
        trained_supernet(space, splits, options, sandwich, cache, _ignored)
    except DiskError:
        raise
    except UserError as error:
        return str(error)
    return ""


def _weights(splits: Splits, options: Train, cache: Path, net: UNet) -> Path:
    return trained(net, splits, options, cache, _ignored).weights


def _ignored(steps: int) -> None:
    """Take the steps that were done: a bar counts networks."""
