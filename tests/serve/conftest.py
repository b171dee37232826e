"""A base of digits that is asked in words, and one who asks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import browsing
import debian
import pytest
import serving


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return a folder with ``kb``, 640 digits in the space of the embedded CLIP, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("served")
    for words in ("init kb backbone=digits_clip --images embed", "add kb dataset=digits dataset.split=test"):
        subprocess.run([sys.executable, "-m", "itae", "knowledge", *words.split(), f"paths.cache={folder}/cache"],
                       cwd=folder, check=True, capture_output=True)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def digits_desk(digits):
    """Return that base as it is served, its model built."""
    desk = serving.desk_of(digits / "kb", digits / "cache")
    desk.warm()
    return desk


@pytest.fixture
def client(digits_desk, tmp_path):
    """Return who asks it, and has no searches yet."""
    return serving.client_of(digits_desk, tmp_path / "state")


@pytest.fixture
def own(digits, tmp_path):
    """Return a copy of the base that the test may edit, as it is served."""
    shutil.copytree(digits / "kb", tmp_path / "kb")
    return serving.desk_of(tmp_path / "kb", digits / "cache")


@pytest.fixture(scope="session")
def axe():
    """Return the script of axe-core, npm's, which finds what keeps people from using a page."""
    if not debian.AXE.is_file():
        pytest.skip("axe-core needs Debian's package npm, by which make setup installs it")
    return debian.AXE.read_text()


@pytest.fixture
def site(digits_desk, tmp_path):
    """Return the base of digits under an address, with Anna and Bert as its users."""
    with browsing.served(digits_desk, tmp_path / "state") as made:
        yield made


@pytest.fixture
def own_site(own, tmp_path):
    """Return a base of digits that may be edited under an address, with Anna and Bert as its users."""
    own.warm()
    with browsing.served(own, tmp_path / "state") as made:
        yield made


@pytest.fixture
def visit(chromium):
    """Return a function that signs a user in and returns the page; errors of it, and requests off it, fail the test.

    The browser also tells of each answer of 400 and more; ``refused`` is how many of those there may be.
    """
    contexts, wrong, refusals = [], [], []

    def _of(told):
        return f"{told.text} {told.location.get('url', '')}"

    def visit(site, user="anna", scheme="light", width=1280, fold=False, refused=0, before=lambda page: None):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append((context, refused))
        taste = json.dumps(json.dumps({"count": 60, "fold": fold, "size": 150}))
        context.add_init_script(f"localStorage.getItem('itae.view') ?? localStorage.setItem('itae.view', {taste})")
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda told: (refusals if "Failed to load resource" in told.text else wrong).append(_of(told))
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((site.address, "blob:")) or wrong.append(asked.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        before(page)
        page.goto(site.link(user))
        page.locator(".cell .name").first.wait_for(state="attached")  # a row is there, not a place that waits for one
        return page

    yield visit
    for context, _ in contexts:
        context.close()
    assert not wrong
    refusals = [told for told in refusals if "favicon.ico" not in told]
    assert len(refusals) <= sum(refused for _, refused in contexts), refusals
