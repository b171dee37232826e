"""A base that is really served, guard and all, and browsers that are signed in to it, for tests."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

import uvicorn

from itae.app.serve.listening import listening
from itae.serve.app import application
from itae.serve.door.bodies import Bodies
from itae.serve.door.guard import Guard
from itae.serve.door.hosts import Hosts
from itae.serve.door.keys import Keys
from itae.serve.settings import Settings


class Site:
    """A base under an address of this machine.

    Parameters
    ----------
    address
        Without a slash at its end.
    codes
        The code that lets each user's next browser in.
    """

    def __init__(self, address: str, codes: dict[str, str]) -> None:
        self.address, self.codes = address, codes

    def link(self, user: str) -> str:
        """Return what the terminal prints for a user."""
        return f"{self.address}/enter?code={self.codes[user]}"


@contextmanager
def served(desk, state, users=("anna", "bert")):
    """Serve a desk while it lasts, and return the `Site`."""
    settings = Settings(state, tuple(users))
    codes: dict[str, str] = {}
    keys = Keys(settings.users, codes.__setitem__)
    keys.begin()
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = Guard(Bodies(application(desk, settings), settings.limits), Hosts(port), keys)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{port}", codes)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def ids(page) -> list[str]:
    """Return the ids of the drawn tiles, in their order."""
    names = page.get_by_role("gridcell").locator(".name").all_inner_texts()
    return [re.findall(r"digits/all/\d+", name)[0] for name in names]


def ask(page, words: str) -> None:
    """Type words into the box and wait for the results."""
    page.get_by_role("searchbox").fill(words)
    page.keyboard.press("Enter")
    page.get_by_role("gridcell", name=re.compile("^rank 1,")).wait_for()


def tile(page, rank: int):
    """Return the tile of a rank."""
    return page.get_by_role("gridcell", name=re.compile(f"^rank {rank},"))


def dock(page) -> list[str]:
    """Return what the dock says of yes, of no, and of the next round."""
    heads = page.locator("#dock .head")
    return [heads.nth(0).inner_text(), heads.nth(1).inner_text(), page.locator("#dock .main").inner_text()]
