"""The page of a knowledge base, opened from the disk in a real browser with the network off."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from told_bases import LOST, a_base, an_edit, ids, picture

from itae.base.errors import UserError
from itae.look.page.base_page import write_base_page
from itae.look.page.knowledge_data import AboutBase, Duplicates, Map, Outlier, Row, Source, Suspect
from itae.look.page.pictures import BUDGET

HOSTILE = "<img src=x onerror=document.title='owned'>\"'"
SCRIPT = "</script><script>document.title='owned'</script>{{ 7 * 7 }}\n$(touch owned)"
UNNAMED = """() => {
  const name = (one) => (one.getAttribute("aria-label") || one.textContent || one.title || "").trim();
  const label = (one) => one.labels?.length ? [...one.labels].map(name).join("") : name(one);
  return [
    ...[...document.querySelectorAll("button, a[href], summary, dialog[open] h3")].filter((one) => !name(one)),
    ...[...document.querySelectorAll("input, select")].filter((one) => !label(one)),
    ...[...document.querySelectorAll("img")].filter((one) => !one.hasAttribute("alt")),
    ...[...document.querySelectorAll("[role=region], [role=group], [role=img], nav, aside")]
      .filter((one) => !one.getAttribute("aria-label")),
  ].map((one) => one.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return the page of a base of sixty rows."""
    out = tmp_path_factory.mktemp("base") / "report.html"
    write_base_page(a_base(), picture, out)
    return out


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the page of a base and returns its file."""

    def write(about, read=picture):
        write_base_page(about, read, tmp_path / "report.html")
        return tmp_path / "report.html"

    return write


def data_of(file):
    return json.loads(re.search(r'id="data">(.*?)</script>', file.read_text(), re.DOTALL)[1])


def words_of(line):
    """Return what bash makes of a line."""
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, text=True)
    return told.stdout.split("\0")[:-1]


@pytest.mark.slow
class TestInABrowser:
    """What is drawn by scripts."""

    def test_what_is_in_it_is_told_at_once(self, file, look):
        page = look(file)
        assert page.title() == "animals, version 12 · itae"
        facts = " ".join(page.locator(".facts li").all_inner_texts())
        for told in ("60 rows", "5 labels", "3 without a label", "2 sources", "30 groups", "12 suspects shown"):
            assert told in re.sub(r"\s+", " ", facts)
        assert "2 pictures moved or changed" in re.sub(r"\s+", " ", facts)
        assert "digits_vit" in page.text_content("#summary dl")
        counts = page.locator("#labels .bars td:last-child").all_inner_texts()
        assert [int(told) for told in counts] == sorted(map(int, counts), reverse=True)
        assert "2 labels have fewer than 5 rows" in page.text_content("#labels")
        assert page.locator("#sources tbody tr").count() == 2
        assert page.locator("#edits tbody tr th").first.inner_text().split() == ["12", "newest"]
        marks = page.evaluate("document.getElementById('growth-plot').data.slice(1).flatMap((trace) => trace.x)")
        assert sorted(marks) == list(range(1, 13))

    def test_a_suspect_shows_its_neighbours_and_the_command_that_corrects_it(self, file, look):
        page = look(file)
        card = page.locator("#suspect-list .card").first
        assert card.locator(".labels").inner_text().split() == ["bug", "→", "suggested:", "bird", "1.00"]
        assert "3 of its 3 nearest are bird" in card.inner_text()
        names = card.locator(".near .tile").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
        assert [name.split(",")[0] for name in names] == ["photos/0001.png", "photos/0002.png", "photos/0003.png"]
        assert names[0].endswith("similarity 0.99")
        assert card.locator(".near .gone").all_inner_texts() == ["moved"]
        assert words_of(card.locator(".shell code").inner_text()) == [
            "itae", "knowledge", "correct", "/bases/animals", "bird", "photos/0000.png"
        ]  # fmt: skip
        page.select_option("#suspects-form [name=source]", label="source 1")
        assert page.locator("#suspect-list .card").count() == 6
        assert page.locator("#suspects-form output").inner_text() == "6 of 12 suspects"

    def test_pictures_that_are_not_there_say_so(self, file, look):
        page = look(file)
        group = page.locator("#duplicate-list .group").first
        assert group.locator(".gone").all_inner_texts() == ["changed", "no picture"]
        assert "relink" in group.locator(".tile").nth(1).get_attribute("aria-label")
        assert words_of(page.locator("#pictures .shell code").inner_text())[2:] == [
            "relink",
            "/bases/animals",
            "/photos",
            "NEW_FOLDER",
        ]
        page.click("#pictures summary")
        assert page.locator("#pictures tbody tr").all_inner_texts()[0].split() == [
            "photos/0003.png",
            "moved",
            "/photos/3.png",
        ]

    def test_in_a_group_of_duplicates_other_labels_stand_out(self, file, look):
        page = look(file)
        told = data_of(file)["duplicates"]
        rows = [tuple(a_base().details[one].labels) for one in a_base().duplicates[0].ids]
        usual = max(set(rows), key=rows.count)
        odd = page.locator("#duplicate-list .group").first.locator("figure.odd b").all_inner_texts()
        assert odd == [row[0] for row in rows if row != usual]
        assert odd
        assert told[0]["similarity"] is None

    def test_by_keyboard_alone(self, file, look):
        page = look(file)
        page.focus("#suspect-list .tile.big >> nth=0")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid", "where one is, is seen"
        page.keyboard.press("Enter")
        assert page.text_content("#image-title") == "photos/0000.png"
        assert "group 0" in page.text_content("dialog dl")
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
        assert "0000.png" in page.evaluate("document.activeElement.getAttribute('aria-label')")
        for n in (0, 1, 2):
            page.focus(f"#suspect-list input >> nth={n}")
            page.keyboard.press("Space")
        lines = [words_of(line)[2:] for line in page.locator("#tray code").all_inner_texts()]
        place = "/bases/animals"
        assert lines == [
            ["correct", place, LABEL, f"photos/{i:04d}.png"] for LABEL, i in (("bird", 0), ("clock", 5), ("bug", 10))
        ]
        page.focus("#tray select")
        page.keyboard.press("ArrowDown")
        (line,) = page.locator("#tray code").all_inner_texts()
        assert words_of(line)[2:] == ["delete", place, "photos/0000.png", "photos/0005.png", "photos/0010.png"]
        page.focus("#tray >> text=Clear")
        page.keyboard.press("Enter")
        assert not page.locator("#tray").is_visible()
        assert page.evaluate("document.activeElement.type") == "checkbox", "the focus isn't lost"
        assert page.locator("input:checked").count() == 0

    def test_a_row_is_picked_wherever_it_stands(self, file, look):
        page = look(file)
        page.locator("#duplicate-list .group").first.locator("input").nth(2).check()
        assert page.locator("#suspect-list input").nth(1).is_checked(), "row 5, a suspect too"
        page.locator("#outlier-list input").first.check()
        assert "No label is suggested for 1 of them" in page.text_content("#tray")
        page.select_option("#tray select", label="bug")
        assert words_of(page.locator("#tray code").inner_text())[2:] == [
            "correct",
            "/bases/animals",
            "bug",
            "photos/0005.png",
            "photos/0009.png",
        ]

    def test_names_like_options_stand_behind_two_dashes(self, written, look):
        names = ["-rf", "a=b"]
        suspects = [Suspect(names[0], 0.5, (), "bird"), Suspect(names[1], 0.4), Suspect(ids(1)[0], 0.3, (), "-x")]
        details = a_base(12).details | dict.fromkeys(names, Row())
        page = look(written(replace(a_base(12), suspects=suspects, details=details)))
        lines = [words_of(line)[3:] for line in page.locator("#suspect-list .shell code").all_inner_texts()]
        assert lines == [
            ["/bases/animals", "--", "bird", "-rf"],
            ["/bases/animals", "--", "a=b"],
            ["/bases/animals", "--", "-x", ids(1)[0]],
        ]

    def test_a_label_that_is_called_none_is_given_as_an_option(self, written, look):
        names = ids(2)
        about = a_base(12, suspects=0)
        page = look(written(replace(about, suspects=[Suspect(names[0], 0.5, (), "none"), Suspect(names[1], 0.4)])))
        first, second = page.locator("#suspect-list .shell code").all_inner_texts()
        assert words_of(first)[2:] == ["correct", "/bases/animals", "--labels", "none", names[0]]
        assert words_of(second)[2:] == ["delete", "/bases/animals", names[1]]

    def test_a_command_is_copied(self, file, look):
        page = look(file)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        box = page.locator("#suspect-list .shell").first
        box.locator(".copy").click()
        box.locator("text=Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == box.locator("code").inner_text()

    def test_the_map_shows_what_is_pointed_at(self, file, look):
        page = look(file)
        page.locator("#map-plot").scroll_into_view_if_needed()
        page.wait_for_selector("#map-plot .points path")
        assert page.evaluate("document.getElementById('map-plot').data.flatMap((trace) => trace.x).length") == 60
        page.select_option("#map-form select", "source")
        assert page.evaluate("document.getElementById('map-plot').data.map((trace) => trace.name)") == [
            "source 0",
            "source 1",
        ]
        for _ in range(50):  # until the plot lies still
            box = page.locator("#map-plot .points path").first.bounding_box()
            page.mouse.move(box["x"] - 2, box["y"])
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.wait_for_timeout(200)
            if page.locator("#peek img").is_visible():
                break
        name = page.locator("#peek span").last.inner_text()
        page.mouse.down()
        page.mouse.up()
        page.wait_for_selector("dialog[open]")
        assert page.text_content("#image-title") == name

    def test_light_dark_and_narrow(self, file, look):
        def ground(page):
            return page.evaluate("getComputedStyle(document.body).backgroundColor")

        light, dark = look(file), look(file, "dark", width=390)
        assert ground(light) != ground(dark)
        light.click("#theme")
        assert ground(light) == ground(dark)
        assert dark.evaluate("document.documentElement.scrollWidth") == 390
        dark.locator("#suspect-list input").first.check()
        assert dark.evaluate("document.documentElement.scrollWidth") == 390

    def test_a_narrow_page_cuts_no_number_and_breaks_no_verb(self, file, look):
        page = look(file, width=390)
        cut = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"
        distances = page.locator("figcaption span:text-matches('^distance')")
        assert distances.count() > 0
        assert distances.evaluate_all(cut) == []
        lines = """(all) => all.map((one) => {
          const text = document.createRange();
          text.selectNodeContents(one.lastChild);
          return text.getClientRects().length;
        })"""
        lefts = "(all) => all.slice(-2).map((one) => one.getBoundingClientRect().left)"
        head, row = (page.locator(f"#sources tr >> nth={n} >> :is(th, td)").evaluate_all(lefts) for n in (0, 1))
        assert head == row, "what stands above a column is its name"
        assert set(page.locator("#edits tbody td:nth-child(2)").evaluate_all(lines)) == {1}

    def test_everything_has_a_name_for_a_screen_reader(self, file, look):
        page = look(file)
        page.locator("#suspect-list input").first.check()
        page.click("#suspect-list .tile.big >> nth=0")
        assert page.evaluate(UNNAMED) == []
        twice = (
            "[...document.querySelectorAll('[id]')].map((one) => one.id).filter((id, i, all) => all.indexOf(id) !== i)"
        )
        assert [one for one in page.evaluate(twice) if not one.startswith(("clip", "legend", "top", "g"))] == []

    def test_without_scripts_what_is_counted_is_there(self, file, look):
        page = look(file, scripts=False)
        assert page.locator("#labels .bars tr").count() == 5
        assert page.locator("#edits tbody tr").count() == 12
        assert "JavaScript" in page.text_content("noscript")

    def test_an_empty_base_says_how_to_fill_it(self, written, look):
        page = look(written(AboutBase("new", "/bases/new", 0, "0" * 64, 0)))
        assert "Nothing is in it yet" in page.text_content("#summary")
        assert words_of(page.locator("#summary .shell code").inner_text())[:4] == [
            "itae",
            "knowledge",
            "add",
            "/bases/new",
        ]
        assert page.locator("#suspects, #duplicates, #labels, #sources, #edits, #map").count() == 0

    def test_what_was_looked_for_and_not_found_is_told_from_what_nobody_looked_for(self, written, look):
        page = look(
            written(a_base(12, suspects=0, duplicates=(), outliers=None, lost=(), pictures={"there": 12}, map=None))
        )
        assert "No row looks wrong" in page.text_content("#suspects .empty")
        assert "No picture is there twice" in page.text_content("#duplicates .empty")
        assert page.locator("#outliers, #map").count() == 0
        assert "they are all there" in page.text_content("#pictures")

    def test_a_base_without_labels_says_what_to_do(self, written, look):
        details = {name: Row(source="s") for name in ids(3)}
        page = look(written(AboutBase("b", "/b", 1, "0" * 64, 3, unlabelled=3, details=details, suspects=None,
                                      pictures={"none": 3}, sources=[Source("s", 3, None, None, {})],
                                      edits=[an_edit(1, 3)])))  # fmt: skip
        assert "No row has a label" in page.text_content("#labels .empty")
        assert page.locator("#pictures p").inner_text().startswith("No row says where its picture is.")
        assert page.locator("#suspects").count() == 0

    def test_names_stay_text_everywhere(self, written, look):
        """Ids, labels, groups, places, sources, reasons, people, tags, notes, the base's own name: all hostile."""
        names = [f"{HOSTILE}/{i}{SCRIPT}" for i in range(4)]
        row = Row((HOSTILE, SCRIPT), SCRIPT, HOSTILE, f"/{SCRIPT}", datetime(2026, 1, 1, tzinfo=UTC))
        about = AboutBase(
            HOSTILE, f"/{SCRIPT}", 1, "0" * 64, 4, {HOSTILE: 4, SCRIPT: 1}, 0, 1, {SCRIPT: 1}, "refer",
            {SCRIPT: HOSTILE}, {SCRIPT: HOSTILE}, [Source(SCRIPT, 4, None, None, {HOSTILE: 4})],
            [replace(an_edit(1, 4), verb=SCRIPT, who=HOSTILE, why=SCRIPT)], {"there": 2, "moved": 2}, names[2:],
            [Suspect(names[0], 0.5, (SCRIPT, HOSTILE), SCRIPT, ((names[1], 0.5),))], [Duplicates(tuple(names))],
            [Outlier(names[3], 0.5, HOSTILE)], Map(names, [(0, 0), (1, 1), (0, 1), (1, 0)], (HOSTILE, SCRIPT)),
            dict.fromkeys(names, row) | {names[3]: replace(row, labels=("<b>b</b> & c",))},
            dict.fromkeys(("suspects", "duplicates", "outliers", "map"), SCRIPT),
        )  # fmt: skip
        page = look(written(about, lambda name: "moved" if name in names[2:] else picture(name)))
        page.wait_for_selector("#map-plot .points path")
        page.locator("#suspect-list input").first.check()
        (line,) = page.locator("#tray code").all_inner_texts()
        assert words_of(line)[2:] == ["correct", f"/{SCRIPT}", SCRIPT, names[0]]
        page.click("#suspect-list .tile.big >> nth=0")
        assert page.text_content("#image-title") == names[0]
        page.keyboard.press("Escape")
        page.locator("#map-plot .points path").first.hover(force=True)
        page.wait_for_timeout(200)
        legend = page.locator("#map-plot .legendtext").all_text_contents()
        assert "<b>b</b> & c" in legend, "markup that a plot knows is text, too"
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == f"{HOSTILE}, version 1 · itae"
        for section in ("#summary", "#suspects", "#duplicates", "#outliers", "#labels", "#sources", "#edits", "#map"):
            assert "owned" in page.text_content(section)
            assert "49" not in page.text_content(section)

    def test_two_thousand_suspects_stay_quick(self, written, look):
        """What is not looked at costs no element: 60 cards are made at a time."""
        file = written(a_base(2100, suspects=2000, edits=3000))
        page = look(file)
        assert page.locator("#suspect-list .card").count() == 60
        assert page.evaluate("document.querySelectorAll('body *').length") < 25_000
        assert page.evaluate("performance.timing.domContentLoadedEventStart - performance.timing.responseEnd") < 10_000
        page.focus("#suspect-list .more")
        page.keyboard.press("Enter")
        assert page.locator("#suspect-list .card").count() == 120
        assert "0060.png" in page.evaluate("document.activeElement.getAttribute('aria-label')"), "the focus goes on"
        assert page.inner_text("#suspect-list .more") == "Show 60 more of 2,000 suspects"
        assert (
            page.evaluate("document.getElementById('growth-plot').data.slice(1).flatMap((trace) => trace.x).length")
            == 2000
        )
        assert "The last 2,000 of 3,000 edits" in page.text_content("#edits")
        assert page.locator("#edits tbody tr").count() == 520


@pytest.mark.slow
def test_a_page_full_of_noise_stays_below_15_megabytes(written):
    """Pictures that no codec makes small, of more rows than there is room for."""
    draw = np.random.default_rng(0)
    noise = [Image.fromarray(draw.integers(0, 256, (100, 120, 3), dtype=np.uint8)) for _ in range(16)]
    file = written(a_base(3500, suspects=3500), lambda name: LOST.get(name) or noise[sum(map(ord, name)) % 16].copy())
    assert file.stat().st_size < 15e6
    pictures = data_of(file)["rows"]["pictures"]
    assert sum(len(one.get("source", "")) for one in pictures) < BUDGET
    assert sum("source" in one for one in pictures) == 3000 - 3
    assert {one.get("gone") for one in pictures} == {None, "moved", "changed", "none", "left out"}


def test_what_comes_first_is_sharp_and_no_picture_is_read_twice(written):
    asked = []

    def read(name):
        asked.append(name)
        return "unreadable" if name.endswith("0009.png") else LOST.get(name) or Image.new("RGB", (500, 400), "red")

    rows = data_of(written(a_base(30), read))["rows"]
    told = dict(zip(rows["ids"], rows["pictures"], strict=True))
    assert sorted(asked) == ids(30), "each once"
    assert told["photos/0009.png"] == {"gone": "unreadable"}
    assert (told["photos/0003.png"], told["photos/0004.png"]) == ({"gone": "moved"}, {"gone": "changed"})
    assert size(told["photos/0000.png"]) == (128, 102), "a suspect"
    assert size(told["photos/0013.png"]) == (64, 51), "only a neighbour"


def size(told):
    import base64
    import io

    return Image.open(io.BytesIO(base64.b64decode(told["source"].split(",")[1]))).size


def test_a_page_is_one_file_without_an_address_in_it(file):
    text = file.read_text()
    ours = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "default-src 'none'" in ours
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", ours)


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^/proc/x/report.html can't be written .*; give another file with --out\.$"):
        write_base_page(AboutBase("b", "/b", 0, "0", 0), picture, tmp_path / "/proc/x/report.html")
