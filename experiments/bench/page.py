"""Print how long a person waits for the page of a served base, as Debian's Chromium sees it, and what it takes.

    python experiments/bench/page.py              1,797 digits
    python experiments/bench/page.py KB           a base, of DINOv2's space or any other
    python experiments/bench/page.py KB --shots FOLDER

Browser and server share the machine. Times are from a key to pictures that are drawn.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright
from serve import digits, served

ROUNDS = 12
FLAGS = ["--no-sandbox", "--disable-background-networking"]
DRAWN = """n => {
  const tiles = [...document.querySelectorAll("#grid img")];
  const seen = tiles.filter(one => one.getBoundingClientRect().top < innerHeight);
  return seen.length >= n && seen.every(one => one.complete && one.naturalWidth);
}"""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("kb", nargs="?", help="the folder of a base")
    asked.add_argument("--shots", type=Path, help="a folder for pictures of the page")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        kb = options.kb or digits(folder)
        with served(kb, 1, Path(folder)) as (url, links, _, process):
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            measured(page, links[0], url, process)
            browser.close()


def measured(page: Page, link: str, url: str, server: psutil.Process) -> None:
    began = time.monotonic()
    page.goto(link)
    page.wait_for_url(re.compile(r"/(#.*)?$"))
    page.wait_for_function(DRAWN, arg=6)
    print(f"from the link to the first pictures     {1e3 * (time.monotonic() - began):.0f} ms")
    page.keyboard.press("ArrowDown")
    firsts, rounds = [], []
    for n in range(ROUNDS):
        id_ = page.evaluate(
            "n => fetch(`/api/rows?offset=${n}&count=1`).then(a => a.json()).then(a => a.rows[0].id)", 7 * n
        )
        page.fill("#words", f"id:{id_}")
        firsts.append(after(page, lambda: page.press("#words", "Enter"), "/rounds"))
        for key in ("y", "ArrowRight", "y", "ArrowRight", "n"):
            page.keyboard.press(key)
        rounds.append(after(page, lambda: page.keyboard.press("Enter"), "/rounds"))
    for told, some in (("from Enter to the first results", firsts), ("from Enter to the next round", rounds)):
        print(f"{told:39} median {statistics.median(some):.0f} ms, most {max(some):.0f} ms, of {len(some)}")
    peak = 0
    while True:
        before = page.evaluate("scrollY")
        for _ in range(5):
            page.mouse.wheel(0, 600)
            page.wait_for_timeout(60)
        peak = max(peak, renderer(server))
        page.wait_for_timeout(150)
        if page.evaluate("scrollY") == before:
            break
    tiles = page.evaluate("document.querySelectorAll('#grid [role=row]').length")
    print(f"the whole collection scrolled through   the tab had {peak} MB at most, and {tiles} rows of tiles")
    print(f"the server's memory                     {server.memory_info().rss >> 20} MB")


def after(page: Page, act: object, path: str) -> float:
    """Return the milliseconds from an act to its pictures."""
    began = time.monotonic()
    with page.expect_response(lambda answer: answer.url.endswith(path)):
        act()  # type: ignore[operator]
    page.wait_for_function(DRAWN, arg=6)
    return 1e3 * (time.monotonic() - began)


def renderer(server: psutil.Process) -> int:
    """Return the memory of the largest tab of this process's browser, MB."""
    return max(
        child.memory_info().rss >> 20
        for child in psutil.Process().children(recursive=True)
        if child.pid != server.pid and "--type=renderer" in " ".join(child.cmdline())
    )


if __name__ == "__main__":
    main()
