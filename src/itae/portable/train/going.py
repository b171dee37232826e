"""What all trainings have in common: each is done once and kept, goes on after a kill, and is validated as it goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.progress import progress
from itae.portable.train.kept import Place

if TYPE_CHECKING:
    from itae.portable.train.state import State

log = logging.getLogger(__name__)

Advance = Callable[[int], None]


def once(
    place: Place, name: str, bar: str, steps: int, advance: Advance | None, train: Callable[[Advance], None]
) -> dict[str, Any]:
    """Return what is known of the weights of a place, trained unless they are there or another is about to make them.

    Parameters
    ----------
    place
        Of the training.
    name
        Of what is trained, for who waits for it.
    bar
        What a bar of progress is called.
    steps
        Of the whole training.
    advance
        Is told how many steps were just done; of those done before at once. None: a bar is shown.
    train
        Trains, and keeps the weights in the place.
    """
    with ExitStack() as stack:
        if advance is None:
            advance = stack.enter_context(progress(steps, bar, "steps"))
        about = place.about()
        if about is None:
            stack.enter_context(place.held(name))
            about = place.about()  # or another has made it meanwhile
        if about is None:
            train(advance)
            about = place.about()
            assert about is not None
        else:
            advance(steps)
    return about


def gone_on(begin: Callable[[], State], checkpoint: Path, name: str) -> State:
    """Return where a training stands: where a checkpoint says, or else at its beginning."""
    state = begin()
    if checkpoint.is_file():
        try:
            state.load(checkpoint)
        except Exception as error:  # it may be damaged in any way
            log.warning("The checkpoint %s can't be read (%s); the training begins anew.", checkpoint, error)
            return begin()
        log.info("The training of %s goes on after %d of %d steps.", name, state.step, state.options.steps)
    return state


def go(
    state: State, checkpoint: Path, advance: Advance, step: Callable[[State], None], validate: Callable[[State], None]
) -> None:
    """Do the steps that are left; validate, and save a checkpoint, every so many of them and after the last."""
    options = state.options
    while state.step < options.steps:
        began = time.process_time()
        step(state)
        state.cpu_s += time.process_time() - began
        advance(1)
        if state.step % options.validated == 0 or state.step == options.steps:
            validate(state)
            state.save(checkpoint)
