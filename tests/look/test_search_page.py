"""The page of a search: what it says, and how it looks from the disk with the network off."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from PIL import Image
from search_results import DEVICES
from search_run_results import SCRIPT, lengths, whole

from itae.base.errors import UserError
from itae.look.page import write_page
from itae.look.page.front_part import front_part
from itae.look.page.quality_part import number, with_interval
from itae.look.page.search_part import search_part
from itae.portable.search.figures import FIGURES
from itae.portable.written import write
from itae.results.run import Run

HOSTILE = "<img src=x onerror=document.title='owned'>"
browser = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]


def page_of(folder, result):
    write(folder, result)
    return write_page([folder]).read_text()


def words(html, label):
    """Return the words of each row of the table in the region of that name."""
    table = html[html.index(f'aria-label="{label}"') :]
    table = table[table.index("<tbody>") : table.index("</tbody>")]
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in re.findall("<tr.*?</tr>", table, re.DOTALL)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run's folder, its result, and its page as text."""
    folder = tmp_path_factory.mktemp("search")
    result = whole(folder)
    result["quality"] |= {"by_length": lengths()}
    (folder / "figures").mkdir()
    for name in FIGURES:
        Image.new("RGB", (8, 8)).save(folder / "figures" / f"{name}.png")
    figures = {"figures": [f"figures/{name}.png" for name in FIGURES]}
    result |= figures | {"captions": {name: caption for name, (caption, _) in FIGURES.items()}, "notes": [HOSTILE]}
    return folder, result, page_of(folder, result)


def test_each_device_has_its_area_against_networks_made_by_hand(made):
    _, result, html = made
    assert "Which network for which device? 30 measured on 4 devices" in html
    rows = words(html, "The front of each device against networks made by hand")
    for row, (name, of) in zip(rows, result["search"]["devices"].items(), strict=True):
        gain = of["hypervolume"]["gain"]
        told = [f"{gain[end]:+.0%}".replace("%", " %") for end in ("value", "low", "high")]
        assert row.startswith(f"{name} {len(of['front'])} ")
        assert f"{told[0]} {told[1]} to {told[2]}" in row
    assert "slowest of the 10 networks made by hand, which were listed before the search" in html
    assert "On 4 of 4 devices the front of the search has more area" in html
    assert "27.70" in words(html, "Floor and ceiling")[0]
    assert "+2.20 +1.95 to +2.45" in words(html, "Floor and ceiling")[1]


def test_each_network_is_told_with_its_intervals(made):
    _, result, html = made
    rows = {row.split()[0]: row for row in words(html, "Networks on torch")}
    of, nets = result["search"]["devices"]["torch"], result["search"]["nets"]
    assert len(rows) == len(nets)
    for name, row in rows.items():
        cell = of["nets"][name]
        assert f"{cell['psnr']['value']:.2f} {cell['psnr']['low']:.2f} to {cell['psnr']['high']:.2f}" in row
        gain = [f"{cell['gain_db'][end]:+.2f}" for end in ("value", "low", "high")]
        assert f" {gain[0]} {gain[1]} to {gain[2]} " in row
        assert ("~" in row) == (not cell["steady"])
        assert (" front " in row) == (name in of["front"])
        assert (" by hand " in row) == (nets[name]["role"] == "hand_made")
        assert (" portable " in row) == (name in result["search"]["portable"]["nets"])


def test_the_matrix_has_every_regret_and_the_portable_set(made):
    _, result, html = made
    rows = words(html, "Area lost by running the best of one device on another")
    found = result["search"]
    cells = {(one["best_of"], one["on"]): one for one in (*found["regret"], *found["portable"]["regret"])}
    for row, name in zip(rows, [*DEVICES, "portable"], strict=True):
        shares = [number(cells[name, on]["share"], ".0%") for on in DEVICES]
        told = " ".join(f"{share} x{cells[name, on]['times']:.2f}" for share, on in zip(shares, DEVICES, strict=True))
        assert row == f"{'the portable set' if name == 'portable' else name} {told}"
    assert f"loses at most {number(found['portable']['worst'], '.0%')} of a device" in html


def test_predictions_ranks_and_counts_are_told(made):
    _, result, html = made
    for row, (name, of) in zip(
        words(html, "How predicted times err"), result["search"]["predictor"].items(), strict=True
    ):
        assert row.startswith(f"{name} {len(of['measured_ms'])} {number(of['mean_error'][0], '.1%')} ")
        later = of["afterwards"]
        assert f" {len(later['measured_ms'])} {number(later['mean_error'][0], '.1%')} " in row
    assert "a rank correlation (Spearman) of 0.91 (0.70 to 0.98); 0.8 was asked for, so it may be searched by" in html
    assert re.search(r"<dt>not judged, since slower[^<]+</dt><dd>19</dd>", html)
    assert "<dt>judged by a run before</dt>" not in html
    assert "<dt>measuring networks to predict others from</dt><dd>200.0 s</dd>" in html
    assert "<dt>networks in it</dt><dd>48,384</dd>" in html
    assert "is no good judge here" not in html


def test_a_supernet_that_ranks_otherwise_is_told_to_be_no_judge(tmp_path, made):
    other = made[1] | {"ranks": made[1]["ranks"] | {"holds": False, "spearman": 0.31}, "pictures": [], "figures": []}
    html = page_of(tmp_path, other)
    assert "of 0.31 (0.70 to 0.98); 0.8 was asked for, so it is no good judge here" in html
    assert "front.json isn" in html


def test_figures_stand_where_they_belong_and_the_matrix_is_a_table(made):
    _, _, html = made
    assert re.findall('<figure class="(?!compare)([^"]+)"', html) == [
        "fronts", "lengths", "predicted", "searched_macs", "supernet_ranks"
    ]  # fmt: skip
    assert len(re.findall("<img", html)) == len(re.findall('<img[^>]* alt="[^"]+"', html)) == 2 * 4 + 5


def test_files_have_their_checksums_and_their_use(made):
    folder, result, html = made
    assert hashlib.sha256((folder / "front.json").read_bytes()).hexdigest() in html
    assert html.count(SCRIPT.splitlines()[1]) == len(DEVICES)
    net = result["search"]["devices"]["ort"]["front"][0]
    was = hashlib.sha256((folder / "nets" / "ort" / net / "net.onnx").read_bytes()).hexdigest()
    assert re.search(
        f"nets/ort/{net}, 12 bytes</h3>\\s*<dl[^>]*><dt>net.onnx</dt><dd>12 bytes <code>{was}</code>", html
    )
    assert "ef" * 32 in html


def test_no_file_outside_of_the_run_is_read(tmp_path):
    run = tmp_path / "run"
    whole(run)
    (tmp_path / "secret.py").write_text("the word is tulip")
    front = json.loads((run / "front.json").read_text())
    for use in ("../secret.py", str(tmp_path / "secret.py"), "nets/link.py"):
        (run / "nets" / "link.py").unlink(missing_ok=True)
        (run / "nets" / "link.py").symlink_to(tmp_path / "secret.py")
        front["devices"]["ort"]["use"] = use
        (run / "front.json").write_text(json.dumps(front))
        assert next(one for one in front_part(run)["devices"] if one["name"] == "ort")["script"] is None
    front["devices"]["ort"]["use"] = "nets/use_ort.py"
    (run / "front.json").write_text(json.dumps(front))
    assert front_part(run)["devices"][0]["script"] == SCRIPT
    (run / "front.json").write_text("[" * 100_000)
    assert front_part(run) is None
    (run / "front.json").unlink()
    (run / "front.json").symlink_to(tmp_path / "secret.py")
    assert front_part(run) is None


def test_nothing_of_a_stranger_s_result_is_markup(tmp_path):
    def strange(value):
        if isinstance(value, dict):
            return {HOSTILE if key in ("ort", "net_12", "net_15", "wiener") else key: strange(one)
                    for key, one in value.items()}  # fmt: skip
        if isinstance(value, list):
            return [strange(one) for one in value]
        return HOSTILE if isinstance(value, str) and not value.startswith("pictures/") else value

    result = strange(whole(tmp_path))
    front = strange(json.loads((tmp_path / "front.json").read_text()))
    (tmp_path / "front.json").write_text(json.dumps(front))
    html = page_of(tmp_path, result | {"status": "ok", "kind": "search"})
    assert HOSTILE not in html
    assert "<img src=x" not in html
    assert html.count("onerror=document") > 20, "it is told, as text"


def test_what_is_missing_is_left_out(tmp_path):
    one = whole(tmp_path)
    kept = {name: one[name] for name in ("status", "kind")}
    assert "0 measured on 0 devices" in page_of(tmp_path, kept)
    for name in one.keys() - kept.keys():
        search_part(Run(tmp_path, {key: value for key, value in one.items() if key != name}))
        search_part(Run(tmp_path, one | {name: None}))
    found = one["search"]
    for name in found:
        search_part(Run(tmp_path, one | {"search": {key: value for key, value in found.items() if key != name}}))
        search_part(Run(tmp_path, one | {"search": found | {name: None}}))
    bare = found | {
        "devices": {name: dict.fromkeys(of) for name, of in found["devices"].items()},
        "nets": {name: {} for name in found["nets"]},
        "predictor": {name: {} for name in found["predictor"]},
        "portable": {"nets": found["portable"]["nets"]},
        "regret": [{"best_of": "ort", "on": "torch", "share": None, "times": None}],
    }
    html = page_of(tmp_path, one | {"search": bare, "ranks": {}, "supernet": {}, "candidates": {}, "quality": {}})
    assert "30 measured on 4 devices" in html
    for cell in found["devices"]["ort"]["nets"].values():
        cell.clear()
    assert "30 measured on 4 devices" in page_of(tmp_path, one)


def test_of_a_run_that_failed_it_says_why(tmp_path):
    failed = {"status": "failed", "kind": "search", "error": f"No device: {HOSTILE}", "settings": {}, "versions": {}}
    assert "No device: &lt;img" in page_of(tmp_path, failed)
    with pytest.raises(UserError, match="is damaged, or of another version of itae"):
        page_of(tmp_path, whole(tmp_path) | {"search": {"devices": ["ort"]}})


def test_words_of_numbers():
    assert number(-0.0004, ".1%") == "0.0 %"
    assert number(-0.001, "+.2f") == "+0.00"
    assert number(0.123, "+.0%") == "+12 %"
    assert number(None, ".2f") == ""
    assert with_interval({"value": 1.0, "low": 0.5, "high": 2}, ".1f") == ("1.0", "0.5 to 2.0")
    assert with_interval({"mean": 1.0, "low": None, "high": None}, ".1f") == ("1.0", "")
    assert with_interval(None, ".1f") == ("", "")


class TestInABrowser:
    pytestmark = browser

    @pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
    def test_it_is_all_there_and_does_not_scroll_sideways(self, made, look, scheme, width):
        page = look(made[0] / "report.html", scheme=scheme, width=width)
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_role("slider").count() == 2
        assert (
            page.evaluate("getComputedStyle(document.querySelector('figure.compare')).getPropertyValue('--at')")
            == "50%"
        )

    def test_no_link_of_the_sections_leads_nowhere(self, made, look):
        page = look(made[0] / "report.html")
        lost = "[...document.querySelectorAll('nav a')].filter(one => !document.querySelector(one.hash)).length"
        assert page.evaluate(lost) == 0
