"""What a run of the tests leaves out is said at its end; in CI, where all is installed, a missing thing fails."""

from __future__ import annotations

import os

import pytest

CI = os.environ.get("CI", "").lower() in ("1", "true")
MISSING = ("could not import", "needs Debian's")  # as importorskip and debian.py say it


class LeftOut:
    """Counts the slow tests that ``-m`` leaves out, also where pytest-xdist's processes do."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.slow = 0

    def pytest_deselected(self, items):
        if self.config.option.markexpr:
            self.slow += sum(item.get_closest_marker("slow") is not None for item in items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.slow = getattr(node, "workeroutput", {}).get("slow", self.slow)  # each of them has left out the same

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self):
        worker = hasattr(self.config, "workeroutput")
        if worker:
            self.config.workeroutput["slow"] = self.slow
        yield
        if self.slow and not worker:
            tests = "test" if self.slow == 1 else "tests"
            self.config.get_terminal_writer().line(f"{self.slow} slow {tests} not run: make test-all")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        return _failed_in_ci((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self):
        return _failed_in_ci((yield))


def _failed_in_ci(report):
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2]
        if any(words in reason for words in MISSING):
            report.outcome, report.longrepr = "failed", f"In CI everything is installed, but: {reason}"
    return report
