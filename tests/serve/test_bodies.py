"""Bodies of requests: how large, how many at a time, and pictures among them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import run

pytest.importorskip("fastapi")

from asgi_client import ask, asked, listening_app, raw, scope_of, status_of
from bombs import bombs, saved

from itae.base.errors import UserError
from itae.serve.door import uploads
from itae.serve.door.bodies import Bodies, Room
from itae.serve.door.guard import USER
from itae.serve.door.uploads import upload
from itae.serve.errors import RefusedError
from itae.serve.settings import Limits

SMALL = Limits(json=100, session=200, picture=300, held=600, waiting=3, patience=0.3, silence=0.3)
PATHS = {"/api/edits": 100, "/api/searches/import": 200, "/api/searches/picture": 300}


class Echo:
    """Tells what it was sent, and how often it was asked."""

    def __init__(self, work=0.0):
        self.count, self.work, self.after, self.now, self.most = 0, work, None, 0, 0

    async def __call__(self, scope, receive, send):
        self.count += 1
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.now += len(body)
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.work)
        self.now -= len(body)
        told = json.dumps([len(body), hashlib.sha256(body).hexdigest()]).encode()
        length = str(len(told)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": told})
        if self.after is not None:
            self.after = await receive()


def told(body):
    return [len(body), hashlib.sha256(body).hexdigest()]


CHUNKED = [("Transfer-Encoding", "chunked")]


@pytest.mark.parametrize(("path", "most"), PATHS.items())
def test_a_body_may_be_so_large_and_no_larger(path, most):
    app = Bodies(Echo(), SMALL)
    for body in (b"", b"x", bytes(most)):
        length = [("Content-Length", str(len(body)))]
        assert ask(app, "POST", path, length, chunks=[body]).json == told(body)
        assert ask(app, "POST", path, CHUNKED, chunks=[body]).json == told(body)
    for headers in ([("Content-Length", str(most + 1))], CHUNKED, [("Content-Length", "1")], []):
        answer = ask(app, "POST", path, headers, chunks=[bytes(most + 1)])
        assert answer.status == 413
        assert f"at most {most / 1e6:g} MB" in answer.json["error"]
    assert app.app.count == 6


@given(chunks=st.lists(st.binary(max_size=60), min_size=1, max_size=8), lies=st.sampled_from([None, 0, 7, 100]))
def test_a_body_is_counted_while_it_comes(chunks, lies):
    app, body = Bodies(Echo(), SMALL), b"".join(chunks)
    headers = CHUNKED if lies is None else [("Content-Length", str(lies))]
    answer = ask(app, "PUT", "/api/tags/x", headers, chunks=chunks)
    assert answer.status == (200 if len(body) <= 100 else 413)
    assert len(body) > 100 or answer.json == told(body)
    assert app.app.count == (len(body) <= 100)
    assert app._rooms[0].free == SMALL.held


def test_a_body_that_says_it_is_too_large_is_not_read():
    async def receive():
        raise AssertionError("it was")

    async def send(message):
        sent.append(message)

    sent: list[dict] = []
    scope = scope_of("POST", "/api/searches/picture", [("Content-Length", "999999999999")])
    run(Bodies(Echo(), SMALL)(scope, receive, send))
    assert sent[0]["status"] == 413


def test_no_more_is_read_than_it_takes_to_know():
    left = [b"x" * 50] * 100

    async def receive():
        return {"type": "http.request", "body": left.pop(), "more_body": True}

    async def send(message):
        pass

    run(Bodies(Echo(), SMALL)(scope_of("POST", "/api/edits", CHUNKED), receive, send))
    assert len(left) == 97


@pytest.mark.parametrize(("name", "value", "status"), [("Content-Encoding", "gzip", 415), ("Content-Length", "x", 400),
                                                       ("Content-Length", "9" * 21, 400)])  # fmt: skip
def test_a_body_that_is_packed_or_of_no_size_is_refused(name, value, status):
    app = Bodies(Echo(), SMALL)
    assert ask(app, "POST", "/api/edits", [(name, value)], chunks=[b"x"]).status == status
    assert app.app.count == 0
    assert ask(app, "POST", "/api/edits", [("Content-Encoding", "identity")], chunks=[b"x"]).status == 200


def test_who_falls_silent_is_given_up():
    app = Bodies(Echo(), SMALL)
    scope = scope_of("POST", "/api/edits", [("Content-Length", "50")])
    answer = run(asked(app, scope, [b"x"], pause=9))
    assert (answer.status, answer.header("connection")) == (408, "close")
    assert "0.3 seconds" in answer.json["error"]
    assert (app.app.count, app._rooms[0].free) == (0, SMALL.held)


def test_who_goes_away_is_not_answered():
    app = Bodies(Echo(), SMALL)
    scope = scope_of("POST", "/api/edits", [("Content-Length", "50")])
    answer = run(asked(app, scope, [b"x"], pause=0.01))
    assert (answer.status, app.app.count, app._rooms[0].free) == (0, 0, SMALL.held)


def test_the_application_hears_that_a_client_has_gone():
    echo = Echo()
    echo.after = ()
    ask(Bodies(echo, SMALL), "POST", "/api/edits", CHUNKED, chunks=[b"x"])
    assert echo.after == {"type": "http.disconnect"}


def test_reading_passes_through():
    echo = Echo()
    assert ask(Bodies(echo, SMALL), "GET", "/api/rows", CHUNKED, chunks=[bytes(500)]).json == told(bytes(500))


# --- many at once


def at_once(app, requests):
    """Return the answers to requests that come together, each a path and a body."""

    async def all_of_them():
        scopes = [(scope_of("POST", path, [("Content-Length", str(len(body)))]), body) for path, body in requests]
        return await asyncio.gather(*(asked(app, scope, [body]) for scope, body in scopes))

    return run(all_of_them())


def test_so_many_bytes_are_there_at_a_time_and_the_others_wait():
    echo = Echo(work=0.05)
    answers = at_once(Bodies(echo, SMALL), [("/api/searches/picture", bytes(300))] * 5)
    assert [answer.status for answer in answers] == [200] * 5
    assert echo.most == 600


def test_a_body_of_no_size_takes_the_room_of_the_largest():
    echo = Echo(work=0.05)
    app = Bodies(echo, SMALL)

    async def all_of_them():
        scope = scope_of("POST", "/api/searches/picture", CHUNKED)
        return await asyncio.gather(*(asked(app, scope, [bytes(100)]) for _ in range(5)))

    assert [answer.status for answer in run(all_of_them())] == [200] * 5
    assert echo.most == 200


def test_a_queue_has_an_end():
    echo = Echo(work=0.05)
    answers = at_once(Bodies(echo, SMALL), [("/api/searches/picture", bytes(300))] * 8)
    assert [answer.status for answer in answers] == [200] * 5 + [503] * 3
    assert answers[-1].header("retry-after") == "2"
    assert "try again" in answers[-1].json["error"]
    assert echo.most == 600


def test_nobody_waits_for_ever():
    answers = at_once(Bodies(Echo(work=1.0), SMALL), [("/api/searches/picture", bytes(300))] * 3)
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert "0.3 seconds" in answers[-1].json["error"]


def test_nobody_waits_for_one_who_never_ends_a_body():
    """Bert begins ten bodies and goes on with each of them, a byte at a time; Ann is answered."""
    app = Bodies(Echo(), Limits(json=100, picture=300, held=600, waiting=4, patience=0.3, silence=5))

    async def both():
        async def receive():
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b" ", "more_body": True}

        async def send(message):
            pass

        path = "/api/searches/picture"
        berts = [scope_of("POST", path, [("Content-Length", "300")]) | {USER: "Bert"} for _ in range(10)]
        slow = [asyncio.create_task(app(scope, receive, send)) for scope in berts]
        await asyncio.sleep(0.1)
        ann = scope_of("POST", path, [("Content-Length", "300")]) | {USER: "Ann"}
        answer = await asked(app, ann, [bytes(300)])
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return answer

    assert run(both()).status == 200


def test_a_click_waits_for_nobodys_pictures():
    echo = Echo(work=0.2)
    requests = [("/api/searches/picture", bytes(300))] * 3 + [("/api/edits", b"{}")] * 40
    began = time.monotonic()
    answers = at_once(Bodies(echo, SMALL), requests)
    assert [answer.status for answer in answers] == [200] * 43
    assert time.monotonic() - began < 2


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=12))
def test_room_is_given_in_turn_and_never_twice(wanted):
    """Who comes first has room first; all of it is there again in the end."""
    room, now, most, order = Room(10, 100, 60.0), [0], [0], []

    async def one(i, size, steps):
        async with room.taken(size):
            order.append(i)
            now[0] += min(size, 10)
            most[0] = max(most[0], now[0])
            for _ in range(steps):
                await asyncio.sleep(0)
            now[0] -= min(size, 10)

    async def all_of_them():
        await asyncio.gather(*(one(i, *each) for i, each in enumerate(wanted)))

    run(all_of_them())
    assert (order, room.free, room._queue) == (list(range(len(wanted))), 10, 0)
    assert most[0] <= 10


def test_room_is_free_again_when_somebody_gives_up_waiting():
    async def scene():
        room = Room(10, 100, 60.0)
        async with room.taken(10):
            waits = [asyncio.create_task(hold(room)) for _ in range(3)]
            await asyncio.sleep(0.01)
            waits[0].cancel()
            await asyncio.sleep(0.01)
        await asyncio.gather(*waits[1:])
        assert (room.free, room._queue) == (10, 0)

    async def hold(room):
        async with room.taken(7):
            await asyncio.sleep(0)

    run(asyncio.wait_for(scene(), 5))


@pytest.mark.parametrize("name", ["json", "session", "picture", "pixels", "held"])
def test_limits_are_numbers(name):
    with pytest.raises(UserError, match=name):
        Limits(**{name: 0})


# --- through a socket


@pytest.fixture(scope="module")
def live():
    with listening_app(lambda _: Bodies(Echo(), Limits(json=1000, silence=0.5))) as port:
        yield port


def head(*lines):
    return "\r\n".join(["POST /api/edits HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def chunks(body, size):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def test_chunks_are_counted_through_a_socket(live):
    fits, long = bytes(1000), bytes(100_000)
    assert raw(live, head("Transfer-Encoding: chunked") + chunks(fits, 64)).endswith(json.dumps(told(fits)).encode())
    assert status_of(raw(live, head("Transfer-Encoding: chunked") + chunks(long, 64))) == 413
    assert status_of(raw(live, head("Content-Length: 100000") + long)) == 413
    endless = head("Transfer-Encoding: chunked") + b"5000\r\n" + bytes(0x5000)  # which never ends
    assert status_of(raw(live, endless)) == 413


def test_who_asks_first_whether_to_send_is_told_no(live):
    asks = raw(live, head("Content-Length: 100000", "Expect: 100-continue"))
    assert status_of(asks) == 413
    with socket.create_connection(("127.0.0.1", live), timeout=10) as link:
        link.sendall(head("Content-Length: 3", "Expect: 100-continue"))
        assert link.recv(1000).startswith(b"HTTP/1.1 100 ")


def test_a_length_that_is_a_lie_is_no_harm(live):
    answer = raw(live, head("Content-Length: 500") + b"short")
    assert status_of(answer) == 408
    assert b"connection: close" in answer.lower()
    more = raw(live, head("Content-Length: 2") + b"{}GET /smuggled HTTP/1.1\r\n")  # no request of anybody's
    assert json.dumps(told(b"{}")).encode() in more
    assert raw(live, head("Content-Length: 500") + b"short", end=True) in (b"", answer)


# --- pictures

PIXELS = Limits(picture=10**6, pixels=10**6)


@pytest.mark.parametrize("kind", bombs())
def test_a_bomb_is_told_and_never_decoded(kind, monkeypatch):
    monkeypatch.setattr(uploads, "check", lambda path: pytest.fail("it was decoded"))
    with (
        pytest.raises(RefusedError, match=r"^bomb.png has [0-9,.]+ megapixels: at most 1 ") as error,
        upload(bombs()[kind], "bomb.png", PIXELS),
    ):
        pass
    assert error.value.status == 413


def refused(data, limits=PIXELS, name="cat.png"):
    with pytest.raises(RefusedError) as error, upload(data, name, limits):
        pass
    return error.value.status, str(error.value)


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"", 415, "cat.png can't be read as a picture (the file is empty)"),
        (b"MZ" + bytes(500), 415, "not an image in a format that can be read"),
        (b"(2, 2)abcd", 415, "not an image"),  # as a base keeps pixels that lay in no file
        (b"<?xml version='1.0'?><SVG xmlns='http://www.w3.org/2000/svg'><rect/></SVG>", 415, "an SVG drawing"),
        (b"\0\0\0\x18ftypheic" + bytes(50), 415, "a HEIC picture"),
        (saved("PNG", (300, 300))[:400], 400, "cat.png can't be read ("),
        (saved("JPEG", (300, 300))[:1500], 400, "cat.png can't be read ("),
        (bytes(10**6 + 1), 413, "at most 1 MB"),
        (saved("PNG", (1001, 1000)), 413, "cat.png has 1.0 megapixels"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_in_a_sentence(data, status, sentence):
    found, told = refused(data)
    assert found == status
    assert sentence in told
    assert "\n" not in told
    assert "/tmp" not in told


def test_names_are_what_a_stranger_says():
    assert "\x1b" not in refused(b"x", name="\x1b[31m\n.png")[1]
    assert len(refused(b"x", name="x" * 9999)[1]) < 300
    assert refused(b"x", name="")[1].startswith("The picture can't")


def test_a_picture_lies_in_a_file_for_a_while():
    data = saved("PNG", (1000, 1000))
    with upload(data, "cat.png", PIXELS) as found:
        assert Path(found.path).read_bytes() == data
        assert found.notes == ()
    assert not Path(found.path).exists()


def test_further_frames_are_a_note():
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("L", (8, 8)).save(out, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    with upload(out.getvalue(), "cat.gif", PIXELS) as found:
        assert found.notes == ("cat.gif has more than one frame; the first is looked for.",)
