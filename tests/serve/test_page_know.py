"""The page of a served base in a real browser: what it knows, and how it is corrected."""

from __future__ import annotations

import re

import pytest
import serving
from browsing import ask, ids, served, tile

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=document.title='owned'>"
OVERRIDE = "a\u202eb"  # turns the direction of writing


def labels_of(desk, *some):
    desk.edited()
    snapshot = desk.snapshot()
    return [list(snapshot.labels_of(snapshot.position[id_])) for id_ in some]


def test_marks_become_labels_after_a_look_and_an_undo_takes_them_back(own_site, own, visit):
    page = visit(own_site)
    ask(page, "seven")
    yes = ids(page)[:2]
    before = labels_of(own, *yes)
    for rank in (1, 2):
        tile(page, rank).focus()
        page.keyboard.press("y")
    page.get_by_role("button", name="Label the yes…").click()
    task = page.get_by_role("dialog", name="Label 2 rows")
    assert task.get_by_label("why").input_value() == 'marked yes in a search for "seven", round 0'
    commit = task.get_by_role("button", name="Label 2 rows")
    assert commit.is_disabled(), "before a look there is nothing to commit to"
    task.get_by_label("labels", exact=True).fill(HOSTILE)
    page.keyboard.press("Enter")
    task.get_by_text("2 rows would change.").wait_for()
    assert task.get_by_text(re.compile(r"of 640 looked at")).is_visible()
    assert task.get_by_text(f"{HOSTILE}: a new label").is_visible()
    rows = task.get_by_role("group", name="Labels, old and new").get_by_role("figure")
    assert [text.split() for text in rows.all_inner_texts()] == [
        [old, "→", "becomes", *HOSTILE.split()] for (old,) in before
    ]
    assert labels_of(own, *yes) == before, "a look changes nothing"
    commit.click()
    page.locator(".toast").filter(has_text="2 rows labelled: edit 2").wait_for()
    assert labels_of(own, *yes) == [[HOSTILE], [HOSTILE]]
    assert f"label {HOSTILE}," in tile(page, 1).locator(".name").inner_text()
    told = own.base.log()[-1]
    assert (told.who, told.why) == ("anna", 'marked yes in a search for "seven", round 0')
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo edit 2").click()
    page.locator(".toast").filter(has_text="Edit 2 undone").wait_for()
    assert labels_of(own, *yes) == before
    page.get_by_role("gridcell", name=re.compile(f"^rank 1, label {before[0][0]},")).wait_for()
    assert "owned" not in page.title()


def test_an_edit_from_an_open_image_can_be_taken_back_when_it_is_closed(own_site, own, visit):
    page = visit(own_site)
    ask(page, "seven")
    row = ids(page)[0]
    before = labels_of(own, row)
    tile(page, 1).focus()
    page.keyboard.press("o")
    opened = page.get_by_role("dialog", name=row)
    opened.get_by_role("button", name="Label…").click()
    task = page.get_by_role("dialog", name="Label 1 row")
    task.get_by_label("labels", exact=True).fill("8")
    page.keyboard.press("Enter")
    task.get_by_role("button", name="Label 1 row").click()
    opened.get_by_text("2 edits touched it").wait_for()
    page.keyboard.press("Escape")
    page.locator(".toast").filter(has_text="1 row labelled").get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo edit 2").click()
    page.locator(".toast").filter(has_text="Edit 2 undone").wait_for()
    assert labels_of(own, row) == before
    page.locator(".cell[data-i='0']:focus").wait_for()


def test_an_edit_is_undone_before_the_page_has_heard_of_the_newest_version(own_site, own, visit):
    page = visit(own_site, before=lambda page: page.route("**/api/version*", lambda route: None))  # never answered
    row = ids(page)[0]
    for label in ("alpha", "beta"):
        _label_the_first(page, label)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo edit 3").click()
    page.locator(".toast").filter(has_text="Edit 3 undone").wait_for()
    assert labels_of(own, row) == [["alpha"]]


def test_rows_are_edited_again_and_undone_though_another_has_edited_other_rows_before(own_site, own, visit):
    page = visit(own_site)
    row, other = ids(page)[:2]
    own.base.commit(own.base.correct_each({other: ["gamma"]}), who="bert")
    own.edited()
    for label in ("alpha", "beta"):
        _label_the_first(page, label)
        page.locator(".banner").filter(has_text="bert").wait_for()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo edit 4").click()
    page.locator(".toast").filter(has_text="Edit 4 undone").wait_for()
    assert labels_of(own, row, other) == [["alpha"], ["gamma"]]


def _label_the_first(page, label):
    page.get_by_role("gridcell").first.focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Label…").click()
    task = page.get_by_role("dialog", name="Label 1 row")
    task.get_by_label("labels", exact=True).fill(label)
    page.keyboard.press("Enter")
    task.get_by_role("button", name="Label 1 row").click()
    page.locator(".toast").filter(has_text="1 row labelled").wait_for()


def test_names_are_text_in_every_view(own_site, own, visit):
    labels = {"digits/all/01670": [HOSTILE], "digits/all/01690": [OVERRIDE]}
    own.base.commit(own.base.correct_each(labels), who=HOSTILE, why=HOSTILE)
    own.edited()
    page = visit(own_site)
    page.get_by_role("searchbox").fill("id:digits/all/01670")
    page.keyboard.press("Enter")
    tile(page, 1).wait_for()
    page.goto(f"{own_site.address}/#/journal")
    page.get_by_role("cell", name=HOSTILE).first.wait_for()
    assert page.get_by_role("cell", name=HOSTILE).count() == 2
    for view in ("lists/suspects", "lists/duplicates", "lists/outliers"):
        page.goto(f"{own_site.address}/#/{view}")
        page.locator(".list-body:not([aria-busy])").wait_for()
    assert "owned" not in page.title()
    assert page.locator("main img[onerror]").count() == 0


def test_an_edit_of_what_another_has_changed_is_refused_till_one_has_looked_again(own_site, own, visit):
    anna, bert = visit(own_site, refused=1), visit(own_site, user="bert")
    for page in (anna, bert):
        page.get_by_role("gridcell").first.focus()
        page.keyboard.press("x")
        page.get_by_role("button", name="Label…").click()
    for page, label in ((anna, "alpha"), (bert, "beta")):
        task = page.get_by_role("dialog", name="Label 1 row")
        task.get_by_label("labels", exact=True).fill(label)
        page.keyboard.press("Enter")
        task.get_by_text("1 row would change.").wait_for()
    bert.get_by_role("button", name="Label 1 row").click()
    bert.locator(".toast").filter(has_text="1 row labelled").wait_for()
    anna.get_by_role("button", name="Label 1 row").click()
    alert = anna.get_by_role("dialog").get_by_role("alert")
    alert.filter(has_text="bert").wait_for()
    alert.get_by_role("button", name="Look again").click()
    anna.get_by_role("dialog").get_by_text("1 row would change.").wait_for()
    anna.get_by_role("button", name="Label 1 row").click()
    anna.locator(".toast").filter(has_text="1 row labelled").wait_for()
    assert [edit.who for edit in own.base.log()[-2:]] == ["bert", "anna"]


def test_edits_by_others_are_told_and_shown_when_one_asks(own_site, own, visit):
    page = visit(own_site)
    first = page.get_by_role("gridcell").first.locator(".name").inner_text().rpartition(" ")[2]
    own.base.commit(own.base.correct([first], ["omega"]), who="carl", why="seen")
    own.edited()
    page.get_by_text("The base was edited by carl").wait_for()
    page.get_by_role("button", name="Show the newest").click()
    page.get_by_role("gridcell", name=f"label omega, {first}").wait_for()
    page.get_by_text("The base was edited by carl").wait_for(state="detached")


def test_a_suspect_is_one_click_from_its_dry_run(own_site, own, visit):
    page = visit(own_site)
    page.get_by_role("link", name="Work lists").click()
    card = page.get_by_role("article").first
    card.wait_for()
    row = card.locator(".id").inner_text()
    suggested = card.locator(".to").first.inner_text()
    card.get_by_role("button", name=f"Label it {suggested}…").click()
    task = page.get_by_role("dialog", name="Label 1 row")
    task.get_by_text("1 row would change.").wait_for()
    task.get_by_role("button", name="Label 1 row").click()
    page.locator(".toast").filter(has_text="1 row labelled").wait_for()
    assert labels_of(own, row) == [[suggested]]
    page.get_by_role("link", name="Duplicates").click()
    page.get_by_role("button", name=re.compile("^Keep this")).first.click()
    page.get_by_role("dialog").get_by_text(re.compile("deleted.$")).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Outliers").click()
    page.get_by_role("heading", name="Of all rows").wait_for()


def test_a_row_and_a_query_are_classified_with_their_neighbours(site, visit):
    page = visit(site)
    page.get_by_role("gridcell").first.focus()
    page.keyboard.press("o")
    page.keyboard.press("c")
    opened = page.get_by_role("dialog")
    opened.get_by_role("heading", name="Neighbours that voted").wait_for()
    assert opened.get_by_role("table", name="The share of each label").is_visible()
    assert opened.locator(".voters li").count() > 0
    assert opened.get_by_role("heading", name="What turns it").is_visible()
    page.keyboard.press("Escape")
    page.get_by_role("gridcell").first.focus()
    page.keyboard.press("s")
    page.get_by_role("heading", name="Like digits").wait_for()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Classify the query").click()
    page.get_by_role("dialog").get_by_role("heading", name="Neighbours that voted").wait_for()


def test_the_journal_tags_and_undoes(own_site, own, visit):
    page = visit(own_site)
    page.get_by_role("link", name="Journal").click()
    page.get_by_role("button", name="Tag version 1…").click()
    page.get_by_label("name").fill("clean")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove tag clean").wait_for()
    assert own.base.tags() == {"clean": 1}
    page.get_by_role("button", name="Remove tag clean").click()
    page.locator(".toast").get_by_role("button", name="Put it back").click()
    page.get_by_role("button", name="Move tag clean", exact=True).wait_for()
    assert own.base.tags() == {"clean": 1}
    page.get_by_role("button", name="Undo edit 1").click()
    page.get_by_role("dialog").get_by_text("640 rows would be deleted.").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Undo edit 1").click()
    page.get_by_role("button", name="Go back here: to version 1").click()
    page.get_by_role("dialog").get_by_text("640 rows would be added.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Search").click()
    page.get_by_text("Nothing is in it yet.").wait_for()


def test_what_can_be_read_only_hides_edits_and_says_why(digits, tmp_path, visit):
    desk = serving.desk_of(digits / "kb", digits / "cache", read_only="This base is for looking at.")
    with served(desk, tmp_path / "state") as site:
        page = visit(site)
        page.get_by_text("This base is for looking at.").first.wait_for()
        page.get_by_role("gridcell").first.focus()
        page.keyboard.press("x")
        assert page.get_by_role("button", name=re.compile("Label|Delete")).count() == 0
        page.get_by_role("link", name="Journal").click()
        page.get_by_role("cell", name="add", exact=True).wait_for()
        assert page.get_by_role("button", name=re.compile("Undo|Tag|Go back")).count() == 0
