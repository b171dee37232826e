"""The rounds of a search on the page in a real browser: forth, back and out."""

from __future__ import annotations

import re

import pytest
from browsing import ask, dock, ids, tile

pytestmark = pytest.mark.slow


def test_a_round_of_before_is_shown_as_it_was_gone_on_from_and_replayed(site, visit):
    page = visit(site)
    ask(page, "seven")
    before = ids(page)
    tile(page, 2).focus()
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"\+1 no")).wait_for()
    assert page.get_by_role("button", name="Show a diverse page").is_visible(), "as nothing is marked yes"
    page.get_by_role("link", name=re.compile("start")).click()
    page.get_by_text("This is round 0 as it was.").wait_for()
    assert ids(page) == before
    tile(page, 1).focus()
    page.keyboard.press("y")
    assert "marked" not in tile(page, 1).locator(".name").inner_text()
    assert page.get_by_label("rule", exact=True).is_disabled()
    said = page.locator(".toast").filter(has_text="This is round 0 as it was: go on from here to mark.")
    said.get_by_role("button", name="Go on from here").click()
    page.get_by_role("link", name=re.compile("2 round")).wait_for()
    assert ids(page) == before
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Replay all rounds").click()
    page.get_by_text("All 3 rounds came out the same.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Copy the command").click()
    page.locator(".toast").filter(has_text="Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("itae search ")


def test_the_keyboard_goes_on_where_something_is_after_each_step(site, visit):
    page = visit(site)
    ask(page, "seven")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"\+1 no")).wait_for()
    first, start = page.locator(".cell[data-i='0']:focus"), page.get_by_role("link", name=re.compile("start"))
    first.wait_for()
    start.press("Enter")
    page.get_by_text("This is round 0 as it was.").wait_for()
    assert start.evaluate("link => link === document.activeElement")
    page.get_by_role("button", name="Go on from here").press("Enter")
    page.get_by_role("link", name=re.compile("2 round")).wait_for()
    first.wait_for()
    page.go_back()
    page.get_by_text("This is round 0 as it was.").wait_for()
    first.wait_for()
    page.get_by_role("link", name="New search").press("Enter")
    page.get_by_role("heading", name="All 640 rows").wait_for()
    first.wait_for()


def test_many_rounds_are_one_line_and_the_last_is_in_sight(site, visit):
    def many(route):
        told = route.fetch().json()
        last = told["rounds"][0]
        told["rounds"] = [last | {"round": i, "yes": i, "diverse": i == 20} for i in range(30)]
        route.fulfill(json=told)

    page = visit(site, width=800)
    ask(page, "seven")
    page.route(re.compile("/api/searches/[0-9a-f]+$"), many)
    page.route(
        "**/rounds/29",
        lambda route: route.fulfill(json=route.fetch(url=route.request.url[:-2] + "0").json() | {"round": 29}),
    )
    page.reload()
    strip = page.get_by_role("navigation", name="Rounds")
    last = strip.get_by_role("link", name="29 round, +1 yes")
    last.wait_for()
    strip.get_by_role("link", name="20 round, +1 yes, unlike all").wait_for()
    page.wait_for_function(  # both at once, since the strip may be drawn anew meanwhile
        """() => {
            const strip = document.querySelector("nav[aria-label='Rounds']");
            const last = strip && [...strip.querySelectorAll("a")].at(-1);
            if (!last?.textContent.includes("29")) return false;
            const [band, here] = [strip, last].map((one) => one.getBoundingClientRect());
            return band.height < 50 && band.left <= here.left && here.right <= band.right;
        }"""
    )


def test_a_session_goes_out_and_comes_in_by_a_file(site, visit, tmp_path):
    page = visit(site)
    ask(page, "three")
    tile(page, 1).focus()
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile("1 yes")).wait_for()
    shown = ids(page)
    page.get_by_text("More", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export the session").click()
    download.value.save_as(tmp_path / "session.jsonl")
    page.get_by_role("button", name=re.compile("Earlier")).click()
    page.get_by_role("button", name="Forget “three”").click()
    page.get_by_text("No search yet.").wait_for()
    page.locator("#session-file").set_input_files(tmp_path / "session.jsonl")
    tile(page, 1).wait_for()
    assert ids(page) == shown


def test_what_nothing_is_right_on_is_followed_by_another_page(site, visit):
    page = visit(site)
    ask(page, "seven")
    seen = ids(page)
    page.get_by_role("button", name="Nothing here is right").click()
    page.locator(".toast").filter(has_text="marked no; here are others").wait_for()
    page.get_by_role("link", name=re.compile("unlike all")).last.wait_for()
    assert not set(seen[:7]) & set(ids(page))
    assert page.get_by_role("button", name="Show a diverse page").count() == 0, "it is one"
    page.get_by_role("button", name="Undo the marks").click()
    assert dock(page)[1] == "✗ No 0"
