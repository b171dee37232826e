"""The page of one answer, opened from the disk in a real browser with the network off."""

from __future__ import annotations

import re
import subprocess

import pytest
from PIL import Image
from told_bases import a_row, an_answer, ids, picture

from itae.base.errors import UserError
from itae.look.page.knowledge_data import Neighbour, Turn
from itae.look.page.why_page import write_why_page

HOSTILE = "<img src=x onerror=document.title='owned'>\"'"
SCRIPT = "</script><script>document.title='owned'</script>{{ 7 * 7 }}\n$(touch owned)"


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the page of an answer, some of it replaced, and returns its file."""

    def write(query=None, read=picture, **other):
        query = query or Image.new("RGB", (900, 600), "green")
        write_why_page(an_answer(**other), query, read, tmp_path / "why.html")
        return tmp_path / "why.html"

    return write


def words_of(line):
    """Return what bash makes of a line."""
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, text=True)
    return told.stdout.split("\0")[:-1]


@pytest.mark.slow
class TestInABrowser:
    """What someone sees who opens it."""

    def test_it_tells_the_answer_and_because_of_what(self, written, look):
        page = look(written())
        assert page.title() == "bird: /queries/a bird.png · itae"
        assert page.inner_text("h1") == "bird"
        rows = [row.split() for row in page.locator("#answer .bars tr").all_inner_texts()]
        assert rows == [["bird", "60.0", "%"], ["bug", "30.0", "%"], ["clock", "10.0", "%"]]
        assert page.locator(".query img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [448, 299]
        answer = page.inner_text("#answer")
        for told in ("usual for this base (p = 0.43)", "knows these very bytes: bird photos/0005.png", "500 of 1,000",
                     "rank, k 6", "animals, version 12", "3f3f"):  # fmt: skip
            assert told in answer
        near = page.locator(".neighbours li")
        assert near.count() == 6
        assert "30.0 % of the vote, similarity 0.9000" in near.first.inner_text()
        assert "source 0, 2026-11-03 09:12 UTC" in near.first.inner_text()
        assert near.nth(3).locator(".gone").inner_text() == "moved"
        assert near.evaluate_all("all => all.map((one) => one.classList.contains('taken'))") == [
            True, False, True, False, False, False]  # fmt: skip
        labels = [an_answer().details[name].labels[0] for name in ids(6)]
        agree = near.evaluate_all("all => all.map((one) => one.classList.contains('agrees'))")
        assert agree == [label == "bird" for label in labels]
        assert "relink" in page.inner_text("#neighbours > .shell")
        assert words_of(page.locator("#again code").inner_text()) == an_answer().again

    def test_it_tells_what_turns_it(self, written, look):
        page = look(written())
        assert "Without these 2 rows the answer would be bug" in page.inner_text("#turn")
        assert "Fewer don't turn it" in page.inner_text("#turn")
        lines = [words_of(line)[2:] for line in page.locator("#turn code").all_inner_texts()]
        two = ["photos/0000.png", "photos/0002.png"]
        assert lines == [["correct", "/bases/animals", "LABEL", *two], ["delete", "/bases/animals", *two]]
        page = look(written(turn=Turn((ids(1)[0],), None, False)))
        assert "Without this one row the answer would be none" in page.inner_text("#turn")
        assert "not known" in page.inner_text("#turn")
        page = look(written(turn=None))
        assert "Nothing was found that turns it" in page.inner_text("#turn .empty")

    def test_no_answer_says_why(self, written, look):
        page = look(written(label=None, p=0.004, abstain=0.05, turn=None))
        assert page.inner_text("h1") == "No answer"
        assert "p = 0.004 is below 0.05" in page.inner_text(".error")
        assert "would say bird" in page.inner_text(".error")
        assert "very unusual" in page.inner_text("#answer")
        page = look(written(label=None, scores={}, neighbours=[], turn=None, p=None, known=[], notes=["none may vote"]))
        assert "none may vote" in page.inner_text("#answer")
        assert "No single rows voted" in page.inner_text("#neighbours")
        assert page.locator("#turn").count() == 0

    def test_light_dark_narrow_and_without_scripts(self, written, look):
        file = written()
        light, dark = look(file), look(file, "dark", width=390)
        grounds = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
        assert grounds[0] != grounds[1]
        assert dark.evaluate("document.documentElement.scrollWidth") == 390
        bare = look(file, scripts=False)
        assert bare.locator(".neighbours img").count() == 4
        assert bare.locator("button.copy").count() == 0

    def test_names_stay_text_everywhere(self, written, look):
        """Ids, labels, sources, the picture's path, notes, the voter's words, the base's name: all hostile."""
        name = f"{HOSTILE}/{SCRIPT}"
        row = a_row(0).__class__((HOSTILE, SCRIPT), SCRIPT, HOSTILE, f"/{SCRIPT}")
        page = look(written(
            read=lambda _: "changed", base=HOSTILE,
            place=f"/{SCRIPT}", root=SCRIPT, image=f"/{SCRIPT}", label=SCRIPT, voter=SCRIPT,
            scores={SCRIPT: 0.7, HOSTILE: 0.3}, again=["itae", SCRIPT, HOSTILE], known=[(name, SCRIPT)],
            neighbours=[Neighbour(name, 0.5, 1.0)], turn=Turn((name,), HOSTILE, True), details={name: row},
            notes=[SCRIPT],
        ))  # fmt: skip
        assert page.locator("img[src=x]").count() == 0
        assert page.title().startswith("</script>")
        for section in ("#answer", "#turn", "#neighbours", "#again"):
            assert "owned" in page.text_content(section)
            assert "49" not in page.text_content(section)
        assert words_of(page.locator("#again code").text_content()) == ["itae", SCRIPT, HOSTILE]
        assert words_of(page.locator("#turn code").last.text_content())[2:] == ["delete", f"/{SCRIPT}", name]


def test_it_is_one_small_file_without_an_address_in_it(written):
    file = written(neighbours=[Neighbour(name, 0.9, 0.01) for name in ids(200)], turn=None,
                   details={name: a_row(i) for i, name in enumerate(ids(200))})  # fmt: skip
    text = file.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert file.stat().st_size < 1e6, "there are no plots in it"


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^/proc/x/why.html can't be written .*; give another file with --page\.$"):
        write_why_page(an_answer(), None, picture, tmp_path / "/proc/x/why.html")
