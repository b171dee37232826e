"""The page of a served base in a real browser: searching, judging, and searching again."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from browsing import ask, dock, ids, tile

pytestmark = pytest.mark.slow

MOVED = re.compile(r"(up|down) \d+|new: |unchanged")


def test_a_search_by_keyboard_alone_gives_what_the_command_gives(site, visit, digits, tmp_path):
    page = visit(site)
    page.keyboard.press("/")
    page.keyboard.type("an odd number y n u ?")
    assert page.get_by_role("searchbox").input_value() == "an odd number y n u ?", "no key acts while one types"
    page.keyboard.press("Control+a")
    page.keyboard.type("an odd number")
    page.keyboard.press("Enter")
    tile(page, 1).wait_for()
    first = ids(page)
    for key in ("y", "ArrowRight", "ArrowRight", "n", "ArrowDown", "y", "n", "u", "Home", "End", "Home"):
        page.keyboard.press(key)
    columns = int(page.get_by_role("grid").get_attribute("aria-colcount"))
    yes, no = [first[0], first[2 + columns]], [first[2]]
    assert dock(page) == ["✓ Yes 2", "✗ No 1", "Next round: 2 yes, 1 no"]
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"\+2 yes, \+1 no")).wait_for()
    tile(page, 1).wait_for()
    assert tile(page, 1).evaluate("tile => tile === document.activeElement"), "the keyboard goes on with the first"
    page.keyboard.press("PageDown")
    page.keyboard.press("Home")
    marks = [word for id_ in yes for word in ("--yes", id_)] + [word for id_ in no for word in ("--no", id_)]
    line = [sys.executable, "-m", "itae", "search", str(digits / "kb"), "--session", str(tmp_path / "keys.jsonl"),
            "-n", "60", "--json", f"paths.cache={digits}/cache"]  # fmt: skip
    told = [json.loads(subprocess.run([*line, *more], check=True, capture_output=True, text=True).stdout)
            for more in (["--text", "an odd number"], marks)]  # fmt: skip
    wanted = [[row["id"] for row in one["results"]] for one in told]
    assert first == wanted[0][: len(first)]
    assert ids(page) == wanted[1][: len(ids(page))]
    assert len(first) > 20


def test_each_tile_says_its_rank_what_moved_and_why_it_is_there(site, visit):
    page = visit(site)
    ask(page, "seven")
    name = tile(page, 1).locator(".name").inner_text()
    assert re.fullmatch(r"rank 1, label 7, digits/all/\d+", name)
    tile(page, 1).focus()
    page.keyboard.press("y")
    assert tile(page, 1).locator(".name").inner_text() == f"{name}, marked yes"
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"\+1 yes")).wait_for()
    yes = name.rpartition(" ")[2]
    for text in page.locator(".name").all_inner_texts():
        assert MOVED.search(text)
        assert yes in text.partition("nearest to")[2] or "nearest to" not in text
    tile(page, 1).focus()
    page.keyboard.press("o")
    opened = page.get_by_role("dialog")
    assert opened.get_by_text("Here because it is nearest to this yes").is_visible()
    before = opened.get_by_role("heading", level=2).inner_text()
    page.keyboard.press("ArrowRight")
    opened.get_by_role("heading", name=ids(page)[1]).wait_for()
    assert opened.get_by_role("heading", level=2).inner_text() != before
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    assert tile(page, 2).evaluate("tile => tile === document.activeElement")
    assert "marked no" in tile(page, 2).locator(".name").inner_text()


def test_marks_outlive_a_reload_and_each_can_be_taken_back(site, visit):
    page = visit(site)
    ask(page, "seven")
    for rank, mark in ((1, "Yes"), (2, "No"), (3, "Yes")):
        tile(page, rank).hover()
        tile(page, rank).get_by_role("button", name=mark, exact=True).click()
    page.reload()
    tile(page, 3).wait_for()
    assert dock(page) == ["✓ Yes 2", "✗ No 1", "Next round: 2 yes, 1 no"]
    page.get_by_role("button", name=f"Take back yes: {ids(page)[0]}").click()
    assert dock(page)[0] == "✓ Yes 1"
    page.get_by_role("button", name="Undo", exact=True).click()
    assert dock(page)[0] == "✓ Yes 2"
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert dock(page) == ["✓ Yes 1", "✗ No 0", "Next round: 1 yes"], "the marks were undone, the last one first"
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert dock(page) == ["✓ Yes 0", "✗ No 0", "Next round"]


def test_those_alike_are_one_tile_and_marked_together(site, visit):
    def folds(route):
        told = route.fetch().json()
        for row in told["results"]:
            row["same_as"] = told["results"][0]["id"] if 0 < row["rank"] - 1 < 4 else None
        route.fulfill(json=told)

    page = visit(site, fold=True, before=lambda page: page.route("**/rounds", folds))
    ask(page, "seven")
    assert [row.split(",")[0] for row in page.locator(".name").all_inner_texts()[:2]] == ["rank 1", "rank 5"]
    tile(page, 1).focus()
    page.keyboard.press("y")
    assert dock(page)[0] == "✓ Yes 4"
    page.get_by_role("button", name="Yes", exact=True).first.click()  # and not what folds those alike
    assert dock(page)[0] == "✓ Yes 0"
    page.keyboard.press("u")
    page.keyboard.press("u")
    page.keyboard.press("f")
    assert tile(page, 4).is_visible()
    page.keyboard.press("y")
    assert dock(page)[0] == "✓ Yes 1"
    page.get_by_role("button", name=re.compile("Filters")).click()
    page.get_by_label("fold nearly identical images").uncheck()
    assert "alike" not in tile(page, 1).locator(".name").inner_text()


def test_filters_hold_for_rows_and_rounds_and_a_wrong_condition_is_told_at_its_field(site, visit):
    page = visit(site, refused=2)
    page.get_by_role("button", name=re.compile("Filters")).click()
    page.get_by_label("label", exact=True).fill("7")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile(r"\d+ rows of 640")).wait_for()
    assert all("label 7," in name for name in page.locator(".name").all_inner_texts())
    page.get_by_label("condition (SQL)").fill("purple = 3")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="purple = 3").wait_for()
    page.get_by_label("condition (SQL)").fill("")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile(r"\d+ rows of 640")).wait_for()
    ask(page, "nine")
    assert all("label 7," in name for name in page.locator(".name").all_inner_texts())
    page.get_by_label("rule", exact=True).select_option("rocchio")
    page.get_by_label("beta").fill("0.5")
    page.get_by_role("button", name="Rank again by rocchio").click()
    page.locator("#round-says").filter(has_text="Round 1 by rocchio").wait_for()
    page.get_by_label("condition (SQL)").fill("id like '%5'")
    page.keyboard.press("Tab")
    assert dock(page)[2] == "Apply", "the rule is that of the round"
    page.get_by_label("condition (SQL)").press("Enter")
    page.get_by_role("link", name="2 round, filtered").wait_for()
    assert {id_[-1] for id_ in ids(page)} == {"5"}


def test_only_tiles_near_the_window_are_in_the_document_and_none_moves(site, visit):
    page = visit(site)
    grid, cells = page.get_by_role("grid"), page.get_by_role("gridcell")
    assert int(grid.get_attribute("aria-rowcount")) * int(grid.get_attribute("aria-colcount")) >= 640
    height = grid.bounding_box()["height"]
    most = 0
    for _ in range(0, int(height), 700):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(30)
        most = max(most, cells.count())
    assert most < 90
    assert grid.bounding_box()["height"] == height
    cells.last.focus()
    page.keyboard.press("End")
    last = page.get_by_role("gridcell").last
    last.get_by_role("button", name="Search like this").wait_for(state="attached")
    assert last.evaluate("tile => tile === document.activeElement && tile.dataset.i === '639'")


def test_taps_select_while_the_button_says_so(site, visit):
    page = visit(site, width=390)
    select = page.get_by_role("button", name="Select", exact=True)
    select.click()
    for i in (0, 1):
        page.get_by_role("gridcell").nth(i).click()
    page.get_by_role("group", name="Selected rows").wait_for()
    select.click()
    page.get_by_role("group", name="Selected rows").wait_for(state="hidden")
    page.get_by_role("gridcell").first.click()
    page.get_by_role("dialog").wait_for()


def test_a_server_that_is_gone_is_told_and_nothing_is_lost(site, visit):
    page = visit(site, refused=9)
    ask(page, "seven")
    tile(page, 1).focus()
    page.keyboard.press("y")
    page.route("**/rounds", lambda route: route.fulfill(status=503, json={"error": "The server is busy; come again."}))
    page.keyboard.press("Enter")
    page.locator(".toast").filter(has_text="The server is busy; come again.").wait_for()
    page.unroute("**/rounds")
    page.route("**/api/**", lambda route: route.abort())
    page.keyboard.press("Enter")
    page.get_by_text("The server doesn't answer").wait_for()
    assert dock(page)[2] == "Next round: 1 yes"
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("The server doesn't answer").wait_for(state="detached")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile("1 yes")).wait_for()


def test_each_user_has_searches_of_their_own(site, visit):
    anna, bert = visit(site), visit(site, user="bert")
    ask(anna, "seven")
    tile(anna, 1).focus()
    anna.keyboard.press("y")
    bert.get_by_role("button", name=re.compile("Earlier")).click()
    bert.get_by_text("No search yet.").wait_for()
