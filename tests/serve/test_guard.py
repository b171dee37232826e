"""Who may ask a served base: hosts, pages, links, cookies, tokens; as an application sees it, and through a socket."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import run

pytest.importorskip("fastapi")

from asgi_client import ask, listening_app, raw, scope_of, status_of
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from itae.base.errors import UserError
from itae.serve.door import keys as keys_
from itae.serve.door.guard import CSP, Guard, user_of
from itae.serve.door.hosts import Hosts, check_allowed, host_name
from itae.serve.door.keys import Keys
from itae.serve.errors import RefusedError

PORT = 8000
OWN = ("Host", f"127.0.0.1:{PORT}")
PAGE = ("Origin", f"http://127.0.0.1:{PORT}")
CODE = re.compile("[A-Za-z0-9_-]{43}")


def toy():
    """Return an application that says who asks."""
    app = FastAPI()

    @app.api_route("/api/who", methods=["GET", "POST", "PUT", "DELETE"])
    def who(user: Annotated[str, Depends(user_of)]):
        return {"who": user}

    @app.get("/api/kept")
    def kept():
        return JSONResponse({}, headers={"Cache-Control": "private, max-age=60", "X-Frame-Options": "SAMEORIGIN"})

    @app.get("/static/page.css")
    def style(request: Request):
        return PlainTextResponse(f"of {request.scope['itae.user']!r}")

    @app.get("/")
    def page():
        return PlainTextResponse("the page")

    @app.get("/api/broken")
    def broken():
        raise ZeroDivisionError

    return app


class Served:
    """A guarded application, its links as they were told, and requests to it."""

    def __init__(self, users=("Ann", "Bo"), port=PORT, clock=lambda: 0.0, **more):
        self.told = []
        self.keys = Keys(users, lambda user, code: self.told.append((user, code)), clock)
        self.keys.begin()
        self.guard = Guard(toy(), Hosts(port, **more), self.keys)

    def code(self, user):
        return [code for name, code in self.told if name == user][-1]

    def ask(self, method, target, *headers, host=OWN, **more):
        return ask(self.guard, method, target, [*([host] if host else []), *headers], **more)

    def cookie(self, user="Ann", **more):
        told = self.ask("GET", f"/enter?code={self.code(user)}", **more).header("set-cookie")
        return ("Cookie", told.partition(";")[0])

    def bearer(self, user="Ann"):
        return ("Authorization", f"Bearer {self.keys.tokens[user]}")


@pytest.fixture
def served():
    return Served()


# --- hosts


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000", "[0:0::1]:8000",
                                  "10.0.0.7:8000", "photos.example.org", "photos.example.org:8443"])  # fmt: skip
def test_a_server_answers_to_its_own_names(host):
    served = Served(allowed=check_allowed(["Photos.Example.org"]))
    answer = served.ask("GET", "/api/who", served.bearer(), host=("Host", host), server=("10.0.0.7", PORT))
    assert (answer.status, answer.body) == (200, b'{"who":"Ann"}')


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1", "localhost", "127.0.0.1:8001", "localhost.:8000",
                                  "", "localhost:8000:8000", "ann@localhost:8000", "localhost:8000/", "localhost:",
                                  "127.0.0.1:8000,evil", "[::1:8000", "[::2]:8000", "127.1:8000", "localhost:99999",
                                  "10.0.0.8:8000", "localhost:800\xb2", " localhost:8000", "localhost:8000\n",
                                  "evil.photos.example.org"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/who", "/static/page.css", "/enter?code=x"])
def test_a_server_answers_to_no_other_name(host, path):
    served = Served(allowed=("photos.example.org",))
    answer = served.ask("GET", path, served.bearer(), host=("Host", host), server=("10.0.0.7", PORT))
    assert answer.status == 421
    assert b"127.0.0.1:8000" in answer.body
    assert answer.header("content-security-policy") == CSP


def test_a_name_that_is_refused_is_told_with_what_allows_it(served):
    told = served.ask("GET", "/api/who", host=("Host", "shelf.local:9000")).json["error"]
    assert "--allow-host" in told
    assert "shelf.local" in told
    page = served.ask("GET", "/", host=("Host", "<b>.example")).body.decode()
    assert "<b>" not in page.partition("<main>")[2].replace("<b>itae</b>", "")


@pytest.mark.parametrize("count", [0, 2])
def test_one_host_is_told(served, count):
    answer = ask(served.guard, "GET", "/api/who", [OWN] * count + [served.bearer()])
    assert answer.status == 421
    assert "Host header" in answer.json["error"]


def test_port_80_may_be_left_out():
    served = Served(port=80)
    assert served.ask("GET", "/api/who", served.bearer(), host=("Host", "localhost")).status == 200
    assert served.ask("GET", "/api/who", served.bearer(), host=("Host", "localhost:8000")).status == 421
    assert served.ask("POST", "/api/who", served.bearer(), ("Origin", "http://localhost"),
                      host=("Host", "localhost:80")).status == 200  # fmt: skip


def refused(work):
    """Return the status of a refusal, None where there is none."""
    try:
        work()
    except RefusedError as error:
        return error.status
    return None


NAMES = st.sampled_from(
    ["127.0.0.1", "localhost", "[::1]", "evil.example", "proxy.example", "127.0.0.1.evil.example", ""]
)
PORTS = st.sampled_from(["", ":8000", ":80", ":443", ":08000", ":0", ":8000 ", ":9"])
ODD = st.text(st.characters(max_codepoint=255), max_size=12)


@given(host=st.one_of(st.builds(str.__add__, NAMES, PORTS), ODD), scheme=st.sampled_from(["http", "https"]))
def test_hosts_agree_with_a_list_of_them(host, scheme):
    listed = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]") for port in ("8000", "08000")}
    fits = host.lower() in listed or re.fullmatch(r"proxy\.example(:0*[1-9]\d{0,3})?", host.lower()) is not None
    hosts = Hosts(PORT, allowed=("proxy.example",))
    assert refused(lambda: hosts.check_host([host.encode("latin-1")], scheme)) == (None if fits else 421)


@pytest.mark.parametrize("name", ["", "http://a.example", "a.example:80", "a b", "a/b", "é.example", "a..b", "[::1"])
def test_a_name_that_no_request_can_have_is_not_allowed(name):
    with pytest.raises(UserError, match="--allow-host"):
        check_allowed([name])


def test_names_are_as_a_request_has_them():
    assert check_allowed(["A.example", "::1", "a.example"]) == ("a.example", "[::1]")
    assert [host_name(each) for each in ("FE80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1")] == [
        "[fe80::1]",
        "10.0.0.1",
        "10.0.0.1",
    ]


# --- pages


OTHERS = ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:8001", "https://127.0.0.1:8000",
          "http://localhost:8000", "http://127.0.0.1:8000.evil.example", "http://127.0.0.1:8000/", "127.0.0.1:8000",
          "http://ann@127.0.0.1:8000", "", "file://", "http://127.0.0.1:8000 http://evil.example"]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_a_page_of_ours_writes(served, method):
    cookie = served.cookie()
    assert served.ask(method, "/api/who", cookie, PAGE).json == {"who": "Ann"}
    for origin in OTHERS:
        for shown in (cookie, served.bearer()):
            answer = served.ask(method, "/api/who", shown, ("Origin", origin))
            assert answer.status == 403, origin
            assert "page" in answer.json["error"]
    assert served.ask(method, "/api/who", cookie, PAGE, PAGE).status == 403
    assert served.ask(method, "/api/who", cookie, PAGE, ("Origin", OTHERS[0])).status == 403
    assert served.ask(method, "/api/who", cookie).status == 403  # nobody says which page it was
    assert served.ask(method, "/api/who", served.bearer()).json == {"who": "Ann"}  # no browser adds that by itself


@given(
    origin=st.one_of(st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "ftp", ""]), NAMES, PORTS), ODD)
)
def test_origins_agree_with_a_list_of_them(origin):
    for host, scheme, own in (
        ("127.0.0.1:8000", "http", {"http://127.0.0.1:8000", "http://127.0.0.1:08000"}),
        ("proxy.example", "http", {"http://proxy.example", "https://proxy.example", "http://proxy.example:80",
                                   "https://proxy.example:443"}),
        ("proxy.example", "https", {"https://proxy.example", "https://proxy.example:443"}),
    ):  # fmt: skip
        hosts = Hosts(PORT, allowed=("proxy.example",))
        name = hosts.check_host([host.encode()], scheme)
        told = refused(
            lambda hosts=hosts, scheme=scheme, name=name: hosts.check_origin([origin.encode("latin-1")], scheme, name)
        )
        assert told == (None if origin.lower() in own else 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_server_reads_nothing(served, site):
    cookie = served.cookie()
    for method in ("GET", "HEAD", "POST"):
        assert (
            served.ask(method, "/api/who", cookie, *([PAGE] * (method == "POST")), ("Sec-Fetch-Site", site)).status
            == 403
        )
    assert served.ask("GET", "/openapi.json", cookie, ("Sec-Fetch-Site", site)).status == 403
    assert served.ask("GET", "/api/who", cookie, ("Origin", "http://evil.example")).status == 403
    assert (
        served.ask("GET", "/", cookie, ("Sec-Fetch-Site", site)).body == b"the page"
    )  # a link to it may stand anywhere
    for own in ("same-origin", "none"):
        assert served.ask("GET", "/api/who", cookie, ("Sec-Fetch-Site", own)).status == 200


def test_a_link_from_elsewhere_comes_without_the_cookie_and_once_more_with_it(served):
    first = served.ask("GET", "/", ("Sec-Fetch-Site", "cross-site"))
    assert first.status == 200
    assert b'content="0; url=/"' in first.body
    assert served.ask("GET", "/", ("Sec-Fetch-Site", "same-origin")).status == 401  # and not for ever


# --- links and cookies


def test_a_link_lets_one_browser_in(served):
    code = served.code("Ann")
    assert CODE.fullmatch(code)
    answer = served.ask("GET", f"/enter?code={code}")
    name, cookie, *flags = re.split("[=;] *", answer.header("set-cookie"), maxsplit=2)
    assert (answer.status, name, answer.header("cache-control")) == (200, "itae_8000", "no-store")
    assert {flag.lower() for flag in re.split("; *", flags[0])} == {"httponly", "path=/", "samesite=strict"}
    assert CODE.fullmatch(cookie)
    assert cookie != code
    assert b'<meta http-equiv="refresh" content="0; url=/">' in answer.body
    assert served.ask("GET", "/api/who", ("Cookie", f"a=b; itae_8000={cookie}; c=d")).json == {"who": "Ann"}
    assert served.ask("GET", "/", ("Cookie", f"itae_8000={cookie}")).body == b"the page"
    again = served.ask("GET", f"/enter?code={code}")
    assert (again.status, again.header("set-cookie"), again.header("www-authenticate")) == (401, None, "Bearer")
    assert b"has been used" in again.body
    assert served.ask("GET", f"/enter?code={code}", ("Cookie", f"itae_8000={cookie}")).status == 200  # reloaded


def test_there_is_always_a_link_for_another_browser(served):
    assert [user for user, _ in served.told] == ["Ann", "Bo"]
    first, second = served.cookie(), served.cookie()
    assert first != second
    assert [user for user, _ in served.told] == ["Ann", "Bo", "Ann", "Ann"]
    assert len({code for _, code in served.told}) == 4
    assert served.ask("GET", "/api/who", first).json == served.ask("GET", "/api/who", second).json == {"who": "Ann"}
    assert served.ask("GET", "/api/who", served.cookie("Bo")).json == {"who": "Bo"}


def test_who_only_looks_at_a_link_does_not_use_it(served):
    link = f"/enter?code={served.code('Ann')}"
    assert served.ask("HEAD", link).header("set-cookie") is None
    for name in ("Sec-Purpose", "Purpose"):
        answer = served.ask("GET", link, (name, "prefetch;prerender"))
        assert (answer.status, answer.header("set-cookie")) == (503, None)
    assert served.ask("POST", link, PAGE).status == 405
    assert served.ask("GET", link, ("Sec-Fetch-Site", "cross-site")).header("set-cookie")  # from a chat


def test_cookies_are_of_one_port_and_secure_behind_https():
    served = Served(allowed=("photos.example.org",))
    host = ("Host", "photos.example.org")
    link = f"/enter?code={served.code('Ann')}"
    assert "; Secure" in served.ask("GET", link, host=host, scheme="https").header("set-cookie")
    other = Served(port=8001)
    name, _, value = other.cookie(host=("Host", "127.0.0.1:8001"))[1].partition("=")
    assert name == "itae_8001"
    assert other.ask("GET", "/api/who", ("Cookie", f"itae_8000={value}"), host=("Host", "127.0.0.1:8001")).status == 401


@pytest.mark.parametrize(
    "cookie", ["itae_8000=", "itae_8000", "itae_8000=x", "x=y", ";;=;", "itae_8000=x; itae_8000=ÿ"]
)
def test_a_cookie_of_nobody_lets_nobody_in(served, cookie):
    assert served.ask("GET", "/api/who", ("Cookie", cookie)).status == 401
    right = served.cookie()[1]
    assert served.ask("GET", "/api/who", ("Cookie", cookie), ("Cookie", right)).json == {"who": "Ann"}


def test_browsers_of_a_user_are_bounded(served):
    other, cookies = served.cookie("Bo"), [served.cookie() for _ in range(keys_._BROWSERS + 1)]
    status = [served.ask("GET", "/api/who", cookie).status for cookie in (other, *cookies)]
    assert status == [200, 401, *[200] * keys_._BROWSERS]


@pytest.mark.parametrize("query", ["", "?", "?code=", "?code=x", "?code=%ff%00", "?kode=1", "?code=x&code=y", "?;;=&&"])
def test_a_wrong_link_lets_nobody_in(served, query):
    answer = served.ask("GET", f"/enter{query}")
    assert (answer.status, answer.header("set-cookie")) == (401, None)
    assert answer.header("content-type").startswith("text/html")


# --- tokens


def test_a_token_is_for_scripts(served):
    token = served.keys.tokens["Bo"]
    for kind in ("Bearer", "bearer", "BEARER"):
        assert served.ask("GET", "/api/who", ("Authorization", f"{kind} {token}")).json == {"who": "Bo"}
    for wrong in ("x", "", token[:-1], f"{token}x", served.code("Bo")):
        answer = served.ask("GET", "/api/who", ("Authorization", f"Bearer {wrong}"), served.cookie())
        assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer")
    assert served.ask("GET", "/api/who", served.bearer(), served.bearer("Bo")).status == 400
    proxy = ("Authorization", "Basic YTpi")  # a password of its own
    assert served.ask("GET", "/api/who", proxy).status == 401
    assert served.ask("GET", "/api/who", proxy, served.cookie()).json == {"who": "Ann"}


def test_wrong_links_and_tokens_are_counted_and_keep_nobody_out():
    now = [0.0]
    served = Served(clock=lambda: now[0])
    wrong = [served.ask("GET", "/api/who", ("Authorization", "Bearer x")).status for _ in range(15)]
    wrong += [served.ask("GET", "/enter?code=x").status for _ in range(15)]
    assert wrong == [401] * 20 + [429] * 10
    assert served.ask("GET", "/enter?code=x").header("retry-after") == "5"
    assert served.ask("GET", "/api/who", served.bearer()).status == 200
    assert served.ask("GET", "/api/who", served.cookie()).status == 200
    assert served.ask("GET", "/api/who", ("Cookie", "itae_8000=x")).status == 401  # a page of a server that was stopped
    now[0] += 3
    assert [served.ask("GET", "/enter?code=x").status for _ in range(4)] == [401] * 3 + [429]


# --- all answers


def test_every_answer_says_what_a_browser_may_do_with_it(served):
    cookie = served.cookie()
    answers = [served.ask("GET", path, cookie) for path in ("/", "/api/who", "/static/page.css", "/nothing", "/enter")]
    answers += [served.ask("GET", "/api/who"), served.ask("GET", "/"), served.ask("POST", "/api/who", cookie)]
    answers += [served.ask("GET", "/", host=("Host", "evil")), served.ask("TRACE", "/"), served.ask("GET", "http://x/")]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200, 401, 401, 403, 421, 405, 400]
    for answer in answers:
        for name, value in (
            ("Content-Security-Policy", CSP),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("X-Frame-Options", "DENY"),
        ):
            assert [each for key, each in answer.headers if key == name.lower()] == [value]
        assert answer.header("cache-control") == (None if answer.body == b"of ''" else "no-store")
    assert answers[-2].header("allow").startswith("GET, HEAD")


def test_a_handler_decides_on_caching_and_nothing_else(served):
    answer = served.ask("GET", "/api/kept", served.bearer())
    assert answer.header("cache-control") == "private, max-age=60"
    assert [value for name, value in answer.headers if name == "x-frame-options"] == ["DENY"]


def test_pages_for_people_are_pages_and_data_is_data(served):
    kinds = dict.fromkeys(("/", "/api", "/other"), "text/html")
    for path, kind in {**kinds, "/api/who": "application/json", "/openapi.json": "application/json"}.items():
        answer = served.ask("GET", path)
        assert (answer.status, answer.header("content-type").partition(";")[0]) == (401, kind)
    page = served.ask("GET", "/").body.decode()
    assert "the terminal printed" in page
    assert not re.search("<script|<style|style=| on[a-z]+=", page)  # which the policy would not let run


def test_what_is_ours_alone_needs_no_user(served):
    assert served.ask("GET", "/static/page.css").body == b"of ''"
    for path in (
        "/static/",
        "/static/..",
        "/static/../api/who",
        "/static/a/b",
        "/static/.hidden",
        "//api/who",
        "/static",
    ):
        assert served.ask("GET", path).status == 401, path
    assert served.ask("POST", "/static/page.css", PAGE).status == 401


def test_there_are_no_web_sockets(served):

    sent = []

    async def send(message):
        sent.append(message)

    run(served.guard({**scope_of("GET", "/api/who"), "type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


HEADERS = {
    "Host": ["127.0.0.1:8000", "proxy.example", "evil.example"],
    "Origin": ["http://127.0.0.1:8000", "https://proxy.example", "ws://proxy.example", "null"],
    "Cookie": ["COOKIE", "itae_8000=x", "x; COOKIE; itae_8000"],
    "Authorization": ["Bearer TOKEN", "bearer  TOKEN", "Bearer", "Bearer TOKEN x", "Basic TOKEN"],
    "Sec-Fetch-Site": ["cross-site", "same-origin", "Same-Site"],
    "Content-Length": ["0", "x"],
    "Transfer-Encoding": ["chunked"],
    "Sec-Purpose": ["prefetch"],
}
ONE = st.sampled_from(list(HEADERS)).flatmap(
    lambda name: st.tuples(st.just(name), st.one_of(st.sampled_from(HEADERS[name]), ODD))
)
PATHS = st.sampled_from(["/", "/api/who", "/api/edits", "/enter?code=CODE", "/enter?code=x", "/openapi.json", "/api"])
SCHEMES = st.sampled_from(["http", "https", "ws"])


@settings(max_examples=400)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH", "TRACE"]), path=st.one_of(PATHS, ODD),
    headers=st.lists(ONE, max_size=4), usual=st.booleans(), scheme=SCHEMES,
    key=st.lists(st.sampled_from([("Cookie", "COOKIE"), ("Authorization", "Bearer TOKEN"), ("Origin", "null"), PAGE]),
                 max_size=2),
)  # fmt: skip
def test_nothing_that_a_stranger_sends_gets_through_or_fails(method, path, headers, usual, scheme, key):
    """Whatever gets through has one Host of ours, a key, and, to write, a page of ours or a token."""
    reached = []

    async def inside(scope, receive, send):
        reached.append(scope["itae.user"])
        await PlainTextResponse("in")(scope, receive, send)

    served = Served(allowed=("proxy.example",))
    served.guard.app = inside
    known = {"COOKIE": served.cookie()[1], "TOKEN": served.keys.tokens["Ann"], "CODE": served.code("Ann")}
    headers = [*([OWN] if usual else []), *((name, known_in(value, known)) for name, value in [*key, *headers])]
    answer = served.ask(method, known_in(path, known), *headers, host=None, scheme=scheme)
    assert answer.header("content-security-policy") == CSP
    assert answer.status in (200, 400, 401, 403, 405, 421, 429, 503)
    sent = {name: [value for each, value in headers if each == name] for name in HEADERS}
    if reached == [""]:
        assert re.fullmatch("/static/[^/]+", path.partition("?")[0])
    elif reached:
        assert reached == ["Ann"]
        assert sent["Host"] in (["127.0.0.1:8000"], ["proxy.example"])
        token = any(known["TOKEN"] in value and not value.startswith("Basic") for value in sent["Authorization"])
        assert token or any(known["COOKIE"] in value for value in sent["Cookie"])
        assert method in ("GET", "HEAD") or token or len(sent["Origin"]) == 1
        assert len(sent["Origin"]) <= 1
        assert len([value for value in sent["Authorization"] if value.lower().startswith("bearer ")]) <= 1
        assert not sent["Origin"] or sent["Host"][0] in sent["Origin"][0]


def known_in(text, known):
    for name, value in known.items():
        text = text.replace(name, value)
    return text


# --- through a socket, where a client would hide it


@pytest.fixture(scope="module")
def live():
    found = []

    def make(port):
        found.append(Served(port=port))
        return found[0].guard

    with listening_app(make) as port:
        found[0].port = port
        yield found[0]


def sent(live, lines, body=b"", **more):
    told = {"host": f"127.0.0.1:{live.port}", "token": live.keys.tokens["Ann"]}
    head = "\r\n".join(line.format(**told) for line in lines)
    return raw(live.port, f"{head}\r\n\r\n".encode("latin-1") + body, **more)


AUTH, HOST = "Authorization: Bearer {token}", "Host: {host}"
WHO = b'{"who":"Ann"}'


def test_a_server_answers_through_a_socket(live):
    assert sent(live, ["GET /api/who HTTP/1.1", HOST, AUTH]).endswith(WHO)
    assert status_of(sent(live, ["GET /api/who HTTP/1.1", HOST])) == 401


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /api/who HTTP/1.1", AUTH], 400),
        (["GET /api/who HTTP/1.0", AUTH], 421),
        (["GET /api/who HTTP/1.1", HOST, HOST, AUTH], 400),
        (["GET /api/who HTTP/1.1", HOST, "Host: evil.example", AUTH], 400),
        (["GET /api/who HTTP/1.1", "Host: evil.example", AUTH], 421),
        (["GET /api/who HTTP/1.1", "Host: evil.example", "X-Forwarded-Host: {host}", AUTH], 421),
        (["GET /api/who HTTP/1.1", "Host : {host}", AUTH], 400),
        (["GET /api/who HTTP/1.1", "Host: evil.example\n\r Host: {host}", AUTH], 400),
        (["GET http://{host}/api/who HTTP/1.1", HOST, AUTH], 400),
        (["OPTIONS * HTTP/1.1", HOST, AUTH], 405),
        (["CONNECT {host} HTTP/1.1", HOST, AUTH], 405),
        (["OPTIONS /api/who HTTP/1.1", HOST, "Origin: http://evil.example",
          "Access-Control-Request-Method: POST"], 405),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Origin: http://{host}\0"], 400),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Content-Length: 1", "Content-Length: 2"], 400),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Content-Length: -1"], 400),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Content-Length: 4", "Transfer-Encoding: chunked"], 400),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Transfer-Encoding: gzip, chunked"], 501),
        (["POST /api/who HTTP/1.1", HOST, AUTH, "Transfer-Encoding: chunked", "Transfer-Encoding: x"], 501),
    ],
)  # fmt: skip
def test_a_request_that_can_be_understood_twice_is_refused(live, lines, status):
    answer = sent(live, lines, b"0\r\n\r\n" if "POST" in lines[0] else b"")
    assert b'{"who"' not in answer
    assert status_of(answer) in (status, 400)
    assert status != 421 or status_of(answer) == 421


@pytest.mark.parametrize("path", ["/static/%2e%2e/api/who", "/static/..%2fapi/who", "/static/../api/who", "/%61pi/who",
                                  "//api/who", "/./api/who", "/api//who", "/static/page.css%00/../../api/who",
                                  "/static/page.css;/../api/who"])  # fmt: skip
def test_no_spelling_of_a_path_gets_past(live, path):
    answer = sent(live, [f"GET {path} HTTP/1.1", HOST])
    assert status_of(answer) in (400, 401, 404)
    assert b'{"who"' not in answer


def test_a_link_works_once_through_a_socket(live):
    link = f"/enter?code={live.code('Bo')}"
    assert b"set-cookie" not in sent(live, [f"HEAD {link} HTTP/1.1", HOST])
    first = sent(live, [f"GET {link} HTTP/1.1", HOST])
    cookie = re.search(rb"set-cookie: (itae_\d+=[^;]+); HttpOnly; Path=/; SameSite=strict\r", first)
    assert status_of(first) == 200
    assert sent(live, ["GET /api/who HTTP/1.1", HOST, f"Cookie: {cookie[1].decode()}"]).endswith(b'{"who":"Bo"}')
    again = sent(live, [f"GET {link} HTTP/1.1", HOST])
    assert (status_of(again), b"set-cookie" in again) == (401, False)


def test_what_fails_within_has_the_headers_too(live):
    answer = sent(live, ["GET /api/broken HTTP/1.1", HOST, AUTH])
    assert status_of(answer) == 500
    assert b"content-security-policy: " + CSP.encode() in answer


def test_a_request_behind_another_is_looked_at_as_well(live):
    """The second of two that come at once has no token."""
    told = {"host": f"127.0.0.1:{live.port}", "token": live.keys.tokens["Ann"]}
    first = "\r\n".join(["POST /api/who HTTP/1.1", HOST, AUTH, "Content-Length: 2", "", ""]).format(**told)
    second = "\r\n".join(["GET /api/who HTTP/1.1", HOST, "Connection: close", "", ""]).format(**told)
    import socket

    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as link:
        link.sendall(f"{first}{{}}{second}".encode())
        got = b""
        while part := link.recv(65536):
            got += part
    assert got.count(b"HTTP/1.1 ") == 2
    assert got.count(WHO) == 1
    assert b"HTTP/1.1 401" in got
