"""Signing in as a real browser does it, which knows more of cookies, sites and frames than any test: Chromium."""

from __future__ import annotations

import http.server
import threading

import pytest

pytest.importorskip("fastapi")

from asgi_client import listening_app
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from itae.serve.door.guard import Guard
from itae.serve.door.hosts import Hosts
from itae.serve.door.keys import Keys

PIXEL = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"


def toy(seen):
    app = FastAPI()

    @app.get("/")
    def page(request: Request):
        return HTMLResponse(f"<title>The page of {request.scope['itae.user']}</title>")

    @app.get("/api/pictures/1")
    def picture():
        return Response(PIXEL, media_type="image/gif")

    @app.post("/api/edits")
    def edit(request: Request):
        seen.append(request.scope["itae.user"])
        return JSONResponse({})

    return app


class Here:
    """A guarded server on 127.0.0.1, and what was written to it."""

    def __init__(self):
        self.codes, self.seen, self.address = {}, [], ""
        self.keys = Keys(["anna"], self.codes.__setitem__)
        self.keys.begin()

    def make(self, port):
        self.address = f"http://127.0.0.1:{port}"
        return Guard(toy(self.seen), Hosts(port), self.keys)

    @property
    def link(self):
        return f"{self.address}/enter?code={self.codes['anna']}"


@pytest.fixture
def here():
    one = Here()
    with listening_app(one.make):
        yield one


@pytest.fixture
def elsewhere():
    """Return a function that puts a page of a stranger under an address: of another site, or of another port alone."""
    pages = {}

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def put(text, host="localhost"):
            pages["/"] = text
            return f"http://{host}:{server.server_address[1]}/"

        yield put
        server.shutdown()


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    made = context.new_page()
    made.set_default_timeout(15_000)
    yield made
    context.close()


def title(page, text):
    page.wait_for_function("text => document.title === text", arg=text)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_link_that_stands_on_another_page_lets_a_browser_in(here, elsewhere, page, host):
    page.goto(elsewhere(f"<a href='{here.link}'>the link</a>", host))
    page.get_by_role("link").click()
    title(page, "The page of anna")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert page.evaluate("document.cookie") == ""
    page.goto(elsewhere(f"<a href='{here.address}/'>the page</a>", host))
    page.get_by_role("link").click()  # for which the browser sends no cookie at first
    title(page, "The page of anna")
    page.go_back()
    page.go_forward()
    title(page, "The page of anna")


def test_a_link_works_once_and_says_so(here, page):
    first = here.link
    page.goto(first)
    title(page, "The page of anna")
    page.goto(first)  # reloaded
    title(page, "The page of anna")
    page.context.clear_cookies()
    page.goto(first)
    assert "This link has been used" in page.inner_text("h1")
    page.goto(here.address)
    assert "Not signed in" in page.inner_text("h1")
    page.goto(here.link)
    title(page, "The page of anna")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_a_stranger_can_do_nothing(here, elsewhere, page, host):
    page.goto(here.link)
    title(page, "The page of anna")
    page.goto(
        elsewhere(
            f"""<img id=one src="{here.address}/api/pictures/1">
        <iframe id=frame src="{here.address}/"></iframe>
        <form method=post action="{here.address}/api/edits" enctype="text/plain"><input name=x value=y></form>""",
            host,
        )
    )
    page.wait_for_function("document.getElementById('one').complete")
    assert page.evaluate("document.getElementById('one').naturalWidth") == 0
    for how in ({"method": "POST"}, {"method": "POST", "mode": "no-cors", "credentials": "include"},
                {"credentials": "include"}, {"method": "DELETE"}):  # fmt: skip
        told = page.evaluate(
            """([url, how]) => fetch(url, how).then(answer => `${answer.type} ${answer.status}`, () => "refused")""",
            [f"{here.address}/api/edits" if "method" in how else f"{here.address}/api/pictures/1", how],
        )
        assert told in ("refused", "opaque 0")
    assert all("The page of" not in frame.title() for frame in page.frames)
    with page.expect_navigation():
        page.evaluate("document.forms[0].submit()")
    assert "error" in page.content()
    assert here.seen == []
    page.goto(here.address)
    told = page.evaluate("fetch('/api/edits', {method: 'POST'}).then(answer => answer.status)")
    assert (told, here.seen) == (200, ["anna"])  # which the page itself can
