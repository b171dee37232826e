"""The page of a study of operators, opened from the disk in a real browser with the network off."""

from __future__ import annotations

import pytest
from operator_results import TIMES, result_of

from itae.look.figures import save
from itae.look.page import write_page
from itae.portable.operators.figures import FIGURES
from itae.portable.written import write

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a study on five devices, one of which has a name that is markup, with its page."""
    folder = tmp_path_factory.mktemp("run")
    times = TIMES | {HOSTILE: (30.2, 28.2, 25.8, 37.7, None, 13.8, 74.4)}
    result = result_of(times, unsteady=[("prelu", "openvino_int8")], wrong=[("kernel_5", "torch")])
    drawn = [path for name, (_, draw) in FIGURES.items() for path in save(draw(result), folder / "figures", name)]
    result |= {"figures": [f"figures/{path.name}" for path in drawn]}
    result |= {"captions": {name: caption for name, (caption, _) in FIGURES.items()}}
    write(folder, result)
    write_page([folder])
    return folder


def test_the_page_has_the_table_the_figures_and_what_was_not_run(run, look):
    page = look(run / "report.html")
    assert page.title().startswith("What does an operator cost? unet on 5 devices")
    rows = page.locator("table.operators tbody tr")
    assert rows.count() == 7
    prelu = rows.nth(3).inner_text()
    assert [word for word in ("prelu", "46.2", "+72 %", "+68 to +75 %", "~10.6") if word not in prelu] == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    names = page.eval_on_selector_all("figure", "all => all.map(one => one.className)")
    assert names == ["ratios", "ranks", "macs"]
    machine = page.locator("#machine").inner_text()
    assert [
        word for word in ("pip install litert-torch", "Erf", "it is a stale one", "avx2") if word not in machine
    ] == []
    assert "Devices disagree about prelu" in page.locator("#guidelines").inner_text()
    assert page.locator("#parity tbody tr").count() == 8


def test_slower_and_faster_cells_are_told_apart_in_both_themes(run, look):
    for scheme in ("light", "dark"):
        page = look(run / "report.html", scheme=scheme)
        colours = page.evaluate(
            "['slower', 'faster', 'unsteady'].map(one => getComputedStyle(document.querySelector(`td.${one}`)))"
            ".map(one => one.backgroundColor + one.backgroundImage)"
        )
        assert len(set(colours)) == 3


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_itself_does_not_scroll_sideways(run, look, width):
    page = look(run / "report.html", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
