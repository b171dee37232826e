"""The rules that the tests themselves keep: what may take long, and that what is left out is said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cost
import left_out
import pytest
import slurm
from groups import ONE_A_SESSION

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
BURN = """
import subprocess, sys, time, pytest

def burn():
    until = time.process_time() + 0.4
    while time.process_time() < until:
        pass

def child():
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)

@pytest.fixture
def dear():
    burn()

@pytest.fixture(scope="module")
def inner():
    burn()

@pytest.fixture(scope="module")
def shared(inner):
    burn()
"""
CONFTEST = """
import left_out
def pytest_configure(config):
    config.addinivalue_line("markers", "slow")
    config.pluginmanager.register(left_out.LeftOut(config))
"""


@pytest.fixture(scope="module", autouse=True)
def dear_imports():
    """Import what costs do: with `pytester`, what comes in first is forgotten, and torch can't come in twice."""
    cost.Costs().pytest_collection_finish()


@pytest.mark.parametrize(
    ("test", "fails"),
    [
        ("def test(): pass", False),
        ("def test(): burn()", True),
        ("def test(): child()", True),
        ("def test(): time.sleep(0.4)", False),
        ("def test(dear): pass", True),
        ("def test(shared): pass", False),
        ("def test(shared): burn()", True),
        ("@pytest.mark.slow\ndef test(): burn()", False),
    ],
)
def test_an_unmarked_test_that_takes_long_fails(pytester, test, fails):
    pytester.makepyfile(BURN + test)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "ignore", plugins=[cost.Costs(limit=0.2)])
    done.assert_outcomes(failed=int(fails), passed=int(not fails))
    if fails:
        done.stdout.fnmatch_lines(["*CPU seconds, children included*"])


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_how_many_slow_tests_were_left_out_is_the_last_line(pytester, monkeypatch, workers):
    monkeypatch.setenv("PYTHONPATH", str(Path(cost.__file__).parent))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        "import pytest\n@pytest.mark.slow\n@pytest.mark.parametrize('i', range(3))\ndef test_slow(i): pass\n"
        "def test_quick(): pass"
    )
    some = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", str(workers), "-m", "not slow")
    assert some.outlines[-1] == "3 slow tests not run: make test-all"
    assert "1 passed" in some.outlines[-2]
    whole = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert "4 passed" in whole.outlines[-1]


@pytest.mark.parametrize("ci", [True, False])
@pytest.mark.parametrize(
    ("reason", "missing"),
    [
        ("pytest.importorskip('nowhere')", True),
        ("pytest.skip(debian.why_not(['nowhere'], ['a', 'b']), allow_module_level=True)", True),
        ("pytest.skip('no CUDA device here', allow_module_level=True)", False),
    ],
)
@pytest.mark.parametrize("where", ["def test():\n    {}", "{}\ndef test(): pass"], ids=["in a test", "in a module"])
def test_in_ci_what_is_not_installed_fails(pytester, monkeypatch, ci, reason, missing, where):
    monkeypatch.setattr(left_out, "CI", ci)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("import debian, pytest\n" + where.format(reason))
    outcomes = pytester.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes()
    assert ("skipped" in outcomes) != (ci and missing)
    assert bool({"failed", "error", "errors"} & set(outcomes)) == (ci and missing)


def test_ci_runs_both_parts_and_installs_what_they_need():
    script = (ROOT / ".ci" / "run").read_text()
    told = [line.split()[:2] for line in script.splitlines() if line.startswith("make ")]
    assert told == [["make", "test"], ["make", "test-slow"]]
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "ARGS")}
    for target, part in (("test", '-m "not slow"'), ("test-slow", "-m slow"), ("test-all", "--fail-slow")):
        command = ["make", "-n", target]
        done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
        assert done.stdout.partition(" loadgroup ")[2].strip() == part
    assert {"chromium", *slurm.PACKAGES} <= set(script.split())


def test_those_who_share_a_dear_fixture_run_in_one_process(request):
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("all tests run in one process")
    for item in request.session.items:
        for name in set(ONE_A_SESSION) & set(getattr(item, "fixturenames", ())):
            assert item.nodeid.endswith(f"@{name}")


def test_no_two_files_of_tests_share_a_name():
    """One of the two would not be collected: pytest takes both for one module."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
