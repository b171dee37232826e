"""The page of a task that is not clustering: its own metrics, figures and parts, and nothing of them as markup."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from spreads import SAID, spread_result, write_results

from itae.base.errors import UserError
from itae.look.page import write_page
from itae.look.page.run_part import run_part
from itae.results.run import read_run

HOSTILE = "<script>document.title='owned'</script>"
BEFORE = Path(__file__).parents[1] / "data" / "before_rooms" / "runs"


def text_of(folder, **more):
    """Return the part of a page that people read, without its scripts and styles, as it is written."""
    page = write_page([folder], **more).read_text()
    return re.search(r"<main.*</main>", page, re.DOTALL)[0]


def rows_of(text, heading):
    """Return the cells of the first table after a heading."""
    table = re.search(r"<table.*?</table>", text[text.index(heading) :], re.DOTALL)[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    return [[unescape(cell) for cell in row] for row in cells]


@pytest.mark.parametrize("delta", [True, False])
def test_a_run_is_shown_by_its_own_metrics(tmp_path, delta):
    write_results(tmp_path, spread_result(2.0, 0.75, delta=delta, draws=3 if delta else 1))
    text = text_of(tmp_path / "0")
    std = " ± 0.0200" if delta else ""
    change = [f"-1.0000{std}", "-1.5000 to -0.5000"] if delta else []
    head, width, _ = rows_of(text, "<h1>")
    assert head == [
        "",
        "baseline (untouched backbone)",
        "edited",
        *(["delta (paired)", "95 % interval"] if delta else []),
    ]
    assert width == ["Width", f"3.0000{std}", f"2.0000{std}", *change]
    assert ("over 3 draws" in text, "of the same images and draws" in text, "none for Tone" in text) == (delta,) * 3
    assert "of all images: 17" in text
    for word in ("ACC", "inertia", "seed", "k-means", "gallery", "cluster", "no pictures"):
        assert word not in text[: text.index('id="settings"')], word


def test_its_own_parts_are_drawn_and_escaped(tmp_path):
    parts = [
        {
            "kind": "table",
            "title": f"Bins {HOSTILE}",
            "columns": ["bin", HOSTILE],
            "rows": [[1, HOSTILE], [None, 0.25]],
        },
        {"kind": "text", "title": "Words", "text": f"{HOSTILE}\nand {{{{ 7 * 7 }}}}"},
        {"kind": "film", "title": "No such part"},
    ]
    result = spread_result(
        parts=parts, details=[[HOSTILE, HOSTILE]], figures=["figures/bins.png"], captions={"bins": HOSTILE}
    )
    result["shown"] = SAID | {"about": HOSTILE, "metrics": SAID["metrics"] | {"tone": {"title": HOSTILE}}}
    write_results(tmp_path, result)
    (tmp_path / "0" / "figures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "0" / "figures" / "bins.png")
    text = text_of(tmp_path / "0")
    assert "<script" not in text
    assert rows_of(text, "Bins") == [["bin", HOSTILE], ["1", HOSTILE], ["", "0.2500"]]
    assert unescape(re.search(r'<p class="text">(.*?)</p>', text, re.DOTALL)[1]) == parts[1]["text"]
    assert unescape(re.search(r"<figcaption>(.*?)</figcaption>", text)[1]) == HOSTILE
    assert "a part of kind &#39;film&#39;" in text
    assert "Clusters" not in text


def test_a_figure_has_a_plain_name_and_its_own_file(tmp_path):
    """A stranger's result must not choose which of the reader's files are put into a page."""
    write_results(
        tmp_path, spread_result(figures=["figures/../../secret.png", "/etc/passwd", "a b.png", 3, "figures/own.png"])
    )
    for path in (
        tmp_path / "secret.png",
        tmp_path / "0" / "figures" / "own.png",
        tmp_path / "0" / "figures" / "a b.png",
    ):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    part = run_part(read_run(tmp_path / "0"), 10)
    assert [(one["name"], one["caption"]) for one in part["figures"]] == [("own", "")]


BAD_PARTS = [3, [3], [{"kind": "table", "rows": 3}], [{"kind": "table", "rows": [], "columns": 3}], [{"kind": "text"}]]


@pytest.mark.parametrize("parts", BAD_PARTS)
def test_a_part_that_is_none_is_one_sentence(tmp_path, parts):
    write_results(tmp_path, spread_result(parts=parts))
    with pytest.raises(UserError, match="is damaged, or of another version"):
        write_page([tmp_path / "0"])


def test_many_runs_are_shown_by_what_their_task_says(tmp_path):
    write_results(tmp_path, *(spread_result(width, 0.6, k=k) for width, k in ((2.0, 3.0), (1.0, 5.0), (4.0, 7.0))))
    text = text_of(tmp_path)
    head, first, *others = rows_of(text, "Best by <b>width</b>, a criterion that needs no labels")
    assert head == ["settings", "width", "delta of Width (paired)", "95 % interval", "flagged", "folder"]
    assert first == ["k=5", "1.0000", "-2.0000 ± 0.0200", "-2.5000 to -1.5000", "5.00 %", "1"]
    assert [row[0] for row in others] == ["k=3", "k=7"]
    assert "paired over draws" in text
    assert "width is measured in each edit's own space" in text
    page = (tmp_path / "report.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["explore"]["first"] == "delta.width"
    assert data["explore"]["metrics"][:3] == ["edited.width", "delta.width", "baseline.width"]
    for word in ("ACC", "k-means", "inertia", "silhouette"):
        assert word not in text[: text.index('id="runs"')]


def test_a_sweep_without_criterion_and_delta_is_shown_too(tmp_path):
    said = SAID | {"criterion": None}
    write_results(tmp_path, *(spread_result(delta=False, k=k, shown=said) for k in (3.0, 5.0)))
    assert "name no criterion that needs no labels" in text_of(tmp_path)
    text = text_of(tmp_path, best="tone")
    assert "an oracle" in text
    assert rows_of(text, "Best by <b>tone")[0] == ["settings", "tone", "flagged", "folder"]


def test_runs_of_two_tasks_are_on_one_page(tmp_path):
    old = json.loads((BEFORE / "sweep/0/result.json").read_text())
    write_results(tmp_path, old, spread_result(2.0, settings=old["settings"]))
    text = text_of(tmp_path, best="width")
    assert [row[0] for row in rows_of(text, "Best by <b>width")[1:]] == ["kind=spread"]
    assert "1 of the runs have no width and are not ranked" in text


def test_runs_of_several_tasks_leave_blank_what_another_task_has(tmp_path):
    other = {"headline": "tone", "criterion": None, "table": ["tone"], "metrics": {"tone": SAID["metrics"]["tone"]}}
    tones = spread_result(shown=other, kind="tones")
    tones["settings"]["repair"] = {"_target_": "somebody.Mend", "rate": 0.25}
    for side in ("baseline", "edited", "delta"):
        tones[side].pop("width", None)
    write_results(tmp_path, spread_result(2.0), tones)
    page = write_page([tmp_path]).read_text()
    rows = rows_of(page, 'id="runs-table_fallback"')
    assert {"edited.width", "repair.rate"} <= set(rows[0])
    cells = {cell for row in rows[1:] for cell in row}
    assert "" in cells
    assert not cells & {"None", "nan", "NaN", "<NA>"}
