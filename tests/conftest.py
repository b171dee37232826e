"""What several test files share."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

# Before numpy, torch and FAISS are imported, here or in a child: processes run side by side, each on one thread.
for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a network

import debian  # noqa: E402
import joblib  # noqa: E402
import slurm  # noqa: E402
from cost import Costs  # noqa: E402
from groups import ONE_A_SESSION  # noqa: E402
from hydra.core.global_hydra import GlobalHydra  # noqa: E402
from hypothesis import settings  # noqa: E402
from left_out import LeftOut  # noqa: E402

from itae.app.cli import main  # noqa: E402
from itae.store.draft import Draft  # noqa: E402

settings.register_profile("unhurried", settings(), deadline=None)  # a machine that is busy is no fault of a test
settings.load_profile("unhurried")


def pytest_addoption(parser):
    parser.addoption("--fail-slow", action="store_true", help="fail tests that take long and aren't marked slow")


def pytest_configure(config):
    config.pluginmanager.register(LeftOut(config), "left out")
    if config.getoption("fail_slow"):
        config.pluginmanager.register(Costs(), "costs")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return how many processes ``-n auto`` makes: one a core, two gigabytes of memory each, eight at most."""
    cores, memory = joblib.cpu_count(), psutil.virtual_memory().available
    return max(1, min(cores, memory // 2**31, 8))


@pytest.fixture(autouse=True)
def quick_figures(request, monkeypatch):
    """Leave out the pictures and pages that take longer than a small run, but in tests marked ``figures``."""
    if request.node.get_closest_marker("figures") is None:
        import itae.look.page
        import itae.look.run_figures

        monkeypatch.setattr(itae.look.page, "end_with_page", lambda *_, **__: None)
        for name in ("norm", "layer", "example", "embedding", "cluster"):
            monkeypatch.setattr(itae.look.run_figures, f"{name}_figure", lambda *_: None)


@pytest.fixture(scope="session")
def assets() -> Path:
    """Return the folder with real weights and images, or skip."""
    folder = os.environ.get("ITAE_TEST_ASSETS")
    if not folder:
        pytest.skip("ITAE_TEST_ASSETS is not set: it names a folder with weights/ and images/")
    path = Path(folder).absolute()
    assert (path / "weights").is_dir(), f"ITAE_TEST_ASSETS={folder} has no weights/"
    return path


@pytest.fixture
def itae_(tmp_path, monkeypatch, capsys):
    """Return a function that runs ``itae`` in this process and gives back its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setenv("ITAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_MODE", "disabled")  # the tracker has tests of its own
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # pytest's own, which the command wraps
    terminated = signal.getsignal(signal.SIGTERM)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words: str) -> tuple[object, str, str]:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["itae", *words])
        root.handlers[:] = []  # as in a process of its own
        status: object = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, err

    yield run
    signal.signal(signal.SIGTERM, terminated)
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def killed_at_shard_2(monkeypatch):
    """Return a function that runs some work, which is interrupted as it comes to write shard 2."""
    write = Draft.write

    def breaking(self, i, *arrays):
        if i == 2:
            raise KeyboardInterrupt
        write(self, i, *arrays)

    def run(work, *args):
        with monkeypatch.context() as patched:
            patched.setattr(Draft, "write", breaking)
            with pytest.raises(KeyboardInterrupt):
                work(*args)

    return run


@pytest.fixture(scope="session")
def ray():
    """Start a Ray cluster of two CPUs and be connected to it."""
    module = pytest.importorskip("ray")
    module.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield module
    module.shutdown()


@pytest.fixture(scope="session")
def slurm_node():
    """Start a Slurm of one node."""
    reason = slurm.why_not()
    if reason:
        pytest.skip(f"Slurm {reason}")
    node = slurm.Slurm()
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def chromium():
    """Start a headless Chromium, Debian's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="could not import playwright, which drives it")
    reason = debian.why_not(["chromium"], ["chromium"])
    if reason:
        pytest.skip(f"the browser {reason}")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


@pytest.fixture
def look(chromium):
    """Return a function that opens a file as someone would, offline, and fails on errors and requests of the page."""
    contexts, wrong = [], []

    def look(file, scheme="light", scripts=True, width=1300):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        own = file.absolute().as_uri()
        page.on("request", lambda asked: wrong.append(asked.url[:200]) if _leaves(asked.url, own) else None)
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(own)
        return page

    def _leaves(url, own):
        return not url.startswith(("data:", "blob:")) and url != own

    yield look
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Return the CPU and, in a case that is marked ``gpu``, the first GPU."""
    import torch

    return torch.device(request.param)


@pytest.hookimpl(tryfirst=True)  # before any fixture is made
def pytest_runtest_setup(item):
    """Skip a test marked `gpu` where there is none; of a parametrised one, those of its cases that are marked."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Have those that share a dear fixture run in one process."""
    for item in items:
        for name in ONE_A_SESSION:
            if name in item.fixturenames:
                item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture
def images_seen(monkeypatch):
    """Return a list of the batches that go through the model: how many images, under how many edits."""
    from itae.embed.replay import SharedPass

    seen, call = [], SharedPass.__call__

    def counting(self, pixels, digests, *look):
        if len(digests) > 1:  # one is the proof that the model can be edited
            seen.append((len(digests), len(self.plan.edits)))
        return call(self, pixels, digests, *look)

    monkeypatch.setattr(SharedPass, "__call__", counting)
    return seen
