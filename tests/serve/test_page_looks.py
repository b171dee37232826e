"""The page of a served base in a real browser: for everybody, narrow and wide, light and dark."""

from __future__ import annotations

import re

import pytest
from browsing import ask, tile

pytestmark = pytest.mark.slow

VIOLATIONS = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .map((one) => [one.id, one.help, one.nodes.map((node) => node.html.slice(0, 160))])"""


def states(page):
    """Go through the states of the page, and tell the name of each while it is shown."""
    yield "rows"
    page.get_by_role("button", name=re.compile("^Filters")).click()
    yield "filters"
    page.get_by_role("button", name=re.compile("^Filters")).click()
    ask(page, "an odd number")
    yield "results"
    tile(page, 1).focus()
    for key in ("y", "ArrowRight", "n", "x"):
        page.keyboard.press(key)
    yield "marks and a selection"
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"\+1 yes, \+1 no")).wait_for()
    page.get_by_text("More", exact=True).click()
    yield "second round and its menu"
    page.get_by_text("More", exact=True).click()
    tile(page, 1).focus()
    page.keyboard.press("o")
    page.get_by_role("dialog").get_by_text("source", exact=True).wait_for()
    page.keyboard.press("c")
    page.get_by_role("heading", name="Neighbours that voted").wait_for()
    yield "an image and its answer"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    yield "keys"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Label the yes…").click()
    page.get_by_role("dialog").get_by_label("labels", exact=True).fill("three")
    page.keyboard.press("Enter")
    page.get_by_text("1 row would change.").wait_for()
    yield "a dry run"
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Earlier")).click()
    page.get_by_role("button", name=re.compile("^Forget")).wait_for()
    yield "earlier searches"
    page.keyboard.press("Escape")
    page.get_by_role("link", name=re.compile("start")).click()
    page.get_by_text("This is round 0 as it was.").wait_for()
    yield "a round as it was"
    for view in ("lists/suspects", "lists/duplicates", "lists/outliers", "journal"):
        page.evaluate("view => { location.hash = `#/${view}`; }", view)
        page.locator("main > section:not([hidden]) :is(article, tbody tr, .outliers)").first.wait_for()
        yield view


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_nothing_keeps_anybody_out_and_nothing_is_wider_than_the_window(site, visit, axe, scheme, width):
    page = visit(site, scheme=scheme, width=width)
    seen = []
    for state in states(page):
        page.evaluate(axe)
        assert page.evaluate(VIOLATIONS) == [], state
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state
        seen.append(state)
    assert len(seen) == 14


def test_the_theme_is_the_systems_till_one_chooses(site, visit):
    page = visit(site, scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Dark", exact=True).click()
    light = page.evaluate(ground)
    assert dark != light == "rgb(255, 255, 255)"
    page.reload()
    page.get_by_role("gridcell").first.wait_for()
    assert page.evaluate(ground) == light
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
