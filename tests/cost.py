"""What a test costs: CPU seconds of this process and of the children it has waited for."""

from __future__ import annotations

import importlib
import resource

import pytest

LIMIT = 5.0
COST, SHOWN = "CPU seconds", 10
DEAR = ("torch", "timm", "faiss", "sklearn.metrics", "scipy.signal", "matplotlib.figure", "pandas")


def cpu_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Costs:
    """Fails a test that takes more than `limit` CPU seconds and isn't marked ``slow``.

    What counts is its set-up and its call. A fixture that several tests share is made once, so its cost is not that of
    the test which happens to come first, and neither are dear imports; a child counts once it has ended and was waited
    for.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self.began = self.shared = 0.0
        self.depth = 0

    def pytest_collection_finish(self):
        for name in DEAR:
            importlib.import_module(name)

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
        item.user_properties.append((COST, cost))
        if cost > self.limit and not item.get_closest_marker("slow"):
            pytest.fail(
                f"This test took {cost:.1f} CPU seconds, children included, and a test that isn't marked slow may take "
                f"{self.limit:g}: have it do less, or mark it and say why.",
                pytrace=False,
            )
        return outcome

    def pytest_terminal_summary(self, terminalreporter):
        reports = [report for some in ("passed", "failed") for report in terminalreporter.getreports(some)]
        costs = [(dict(report.user_properties)[COST], report.nodeid) for report in reports if report.when == "call"
                 and COST in dict(report.user_properties) and "slow" not in report.keywords]  # fmt: skip
        terminalreporter.section(f"dearest of the tests that are not marked slow, in CPU seconds of {LIMIT:g}")
        for cost, name in sorted(costs, reverse=True)[:SHOWN]:
            terminalreporter.write_line(f"{cost:5.1f} {name}")
