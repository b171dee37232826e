"""Works inside works: one set of bars, in which each has a line while it lasts."""

import contextlib
import io

import pytest
from rich.console import Console

from itae.base import progress as module
from itae.base.progress import progress
from itae.base.threads import in_threads


@pytest.fixture
def shown(monkeypatch):
    """What a terminal is sent; every work takes long enough to be shown."""
    stream = io.StringIO()
    monkeypatch.setattr(module, "console", lambda stderr: Console(file=stream, force_terminal=True))
    monkeypatch.setattr(module, "_QUICK", -1.0)
    return stream


def test_a_work_inside_another_has_its_bar_below_and_takes_it_along(shown):
    with progress(2, "clustering", "seeds") as outer:
        for _ in range(2):
            with progress(5, "TURTLE", "steps") as inner:
                inner(1)
                bars = module._around.get()
                assert [(task.description, task.completed) for task in bars.tasks][1:] == [("TURTLE", 1)]
                bars.refresh()
            assert [task.description for task in bars.tasks] == ["clustering"]
            outer(1)
        assert bars.live.is_started
        assert bars.tasks[0].completed == 2
    assert not bars.live.is_started
    assert module._around.get() is None
    assert "clustering" in shown.getvalue()
    assert "steps" in shown.getvalue()


def test_a_work_that_fails_leaves_no_bar(shown):
    with contextlib.suppress(KeyboardInterrupt), progress(2, "a", "b"), progress(2, "c", "d") as inner:
        inner(1)
        bars = module._around.get()
        raise KeyboardInterrupt
    assert not bars.live.is_started
    assert module._around.get() is None


def test_what_began_first_may_end_first(shown):
    """A generator shows a bar until it is read to its end, whatever has begun since."""
    items = in_threads(str, range(3), 3, "reading")
    next(items)
    bars = module._around.get()
    with progress(1, "later", "steps") as later:
        assert list(items) == ["1", "2"]
        later(1)
        assert [task.description for task in bars.tasks] == ["later"]
        assert bars.live.is_started
    assert not bars.live.is_started
    with progress(1, "next", "steps"):
        assert module._around.get() is not bars


def test_where_nobody_looks_there_is_no_bar(capsys):
    with progress(1, "a", "b") as outer, progress(1, "[red]c", "d") as inner:
        inner(1)
        outer(1)
    assert capsys.readouterr().err == ""
