"""What a test costs: CPU seconds of this process and of the children it has waited for."""

from __future__ import annotations

import resource

import pytest

LIMIT = 5.0


def cpu_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Costs:
    """Fails a test that takes more than `LIMIT` CPU seconds and isn't marked ``slow``.

    What counts is its set-up and its call. A fixture that several tests share is made once, so its cost is not that of
    the test which happens to come first; a child counts once it has ended and was waited for.
    """

    def __init__(self) -> None:
        self.began = self.shared = 0.0
        self.depth = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.began, self.shared = cpu_seconds(), 0.0
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function" or self.depth:
            return (yield)
        began = cpu_seconds()
        self.depth += 1
        try:
            return (yield)
        finally:
            self.depth -= 1
            self.shared += cpu_seconds() - began

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        outcome = yield
        cost = cpu_seconds() - self.began - self.shared
        if cost > LIMIT and not item.get_closest_marker("slow"):
            pytest.fail(
                f"This test took {cost:.1f} CPU seconds, children included, and a test that isn't marked slow may take "
                f"{LIMIT:g}: have it do less, or mark it and say why.",
                pytrace=False,
            )
        return outcome
