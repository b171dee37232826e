"""The box of the page in a real browser: words, ids and pictures."""

from __future__ import annotations

import pytest
from browsing import ask, ids, tile

pytestmark = pytest.mark.slow


def test_pictures_are_pasted_dropped_and_picked(site, visit, tmp_path):
    page = visit(site)
    give = """async ([name, kind]) => {
      const bytes = await (await fetch("/api/pictures/12?side=160")).blob();
      const data = new DataTransfer();
      data.items.add(new File([bytes], name, { type: "image/webp" }));
      if (kind === "paste") document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
      else for (const one of ["dragenter", "drop"])
        dispatchEvent(new DragEvent(one, { dataTransfer: data, cancelable: true }));
    }"""
    for name, kind in (("pasted.webp", "paste"), ("dropped.webp", "drop")):
        page.evaluate(give, [name, kind])
        page.get_by_role("heading", name=f"Like {name}").wait_for()
        tile(page, 1).wait_for()
    (tmp_path / "picked.webp").write_bytes(page.request.get(f"{site.address}/api/pictures/12?side=160").body())
    page.locator("#picture-file").set_input_files(tmp_path / "picked.webp")
    page.get_by_role("heading", name="Like picked.webp").wait_for()
    page.locator(".cell[data-i='0']:focus").filter(has_text="rank 1,").wait_for()
    page.get_by_role("button", name="Earlier searches").click()
    page.locator(".searches img[src*='/picture?']").nth(2).wait_for()  # of each that was sent its own
    page.keyboard.press("Escape")
    tile(page, 1).focus()
    page.keyboard.press("s")
    page.get_by_role("heading", name="Like digits/all/").wait_for()
    tile(page, 2).focus()
    second = ids(page)[1]
    page.keyboard.press("o")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("s")
    page.get_by_role("heading", name=f"Like {second}").wait_for()


def test_a_base_without_a_text_tower_says_so_and_takes_ids(site, visit):
    def mute(route):
        told = route.fetch().json()
        route.fulfill(json=told | {"text": "The space of dinov2_s14 has no text tower."})

    page = visit(site, before=lambda page: page.route("**/api/base", mute))
    page.get_by_text("This space has no words").wait_for()
    page.get_by_text("Why no words").click()
    page.get_by_text("The space of dinov2_s14 has no text tower.").wait_for()
    page.get_by_role("searchbox", name="The id of a row").fill("digits/all/01670")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Like digits/all/01670").wait_for()


def test_the_end_of_an_id_is_offered_where_words_say_nothing_and_a_note_stays(site, visit):
    page = visit(site, refused=1)
    ask(page, "purple seven")
    note = page.get_by_text("doesn't know the word 'purple'")
    note.wait_for()
    page.get_by_role("searchbox").fill("01670")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Search like digits/all/01670").click()
    page.get_by_role("heading", name="Like digits/all/01670").wait_for()
    assert note.count() == page.locator(".toast").count() == 0, "both were of what was asked before"
    page.get_by_role("searchbox").fill("id: 1662")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Like digits/all/01662").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Like digits/all/01670").wait_for()
    page.go_back()
    note.wait_for()
