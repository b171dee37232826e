"""The document of the API is whole and valid, and its page shows all of it, without a script."""

from __future__ import annotations

import html
import re
import shlex
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from bases import base, made
from desks import client_of, desk_of
from openapi_spec_validator import validate

from itae.serve.app import application
from itae.serve.document import docs_page
from itae.serve.document.api_fields import Line, kind_of, lines
from itae.serve.settings import Settings

HOSTILE = "</code><script>alert(1)</script>\"'&`"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    kb = base("memory", folder)
    kb.commit(kb.add(made(["a/1", "b/1"])))
    return application(desk_of(kb), Settings(folder, ("ada",)))


@pytest.fixture(scope="module")
def told(app):
    return client_of(app).get("/openapi.json").json()


@pytest.fixture(scope="module")
def page(app):
    answer = client_of(app).get("/api")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def routes(told):
    return [(method, path, route) for path, some in told["paths"].items() for method, route in some.items()]


def test_the_document_is_valid_and_says_how_to_sign_in(told):
    validate(told)
    assert told["security"] == [{"token": []}]
    assert told["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert "HTTPValidationError" not in told["components"]["schemas"]


def test_each_route_says_what_it_does_takes_and_gives(told):
    for method, path, route in routes(told):
        where = f"{method} {path}"
        assert route["summary"], where
        assert route["tags"], where
        for each in route.get("parameters", []):
            assert each.get("description"), f"{where}: {each['name']}"
        for status in ("401", "421", *(("403",) if method != "get" else ())):
            assert status in route["responses"], f"{where}: {status}"
        assert "422" not in route["responses"], where
        if route.get("parameters") or "application/json" in route.get("requestBody", {}).get("content", {}):
            assert "400" in route["responses"], where
        for status, answer in route["responses"].items():
            assert answer["description"] not in ("", "Successful Response"), f"{where}: {status}"
            if not status.startswith("2"):
                (schema,) = [content["schema"] for content in answer["content"].values()]
                assert schema == {"$ref": "#/components/schemas/Failed"}, f"{where}: {status}"


def test_each_field_says_what_it_means(told):
    for name, schema in told["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, about in schema.get("properties", {}).items():
            assert about.get("description"), f"{name}.{field}"


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.loads, self.wrong, self.within, self.codes = set(), [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        told = dict(attributes)
        self.wrong += [name for name in told if name.startswith("on") or name == "style"]
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if tag == "a" else []
        self.loads += [told["href"]] if tag == "link" else []
        self.within.append(tag)
        if self.within[-2:] == ["pre", "code"]:
            self.codes.append("")

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if self.within[-2:] == ["pre", "code"]:
            self.codes[-1] += data


def test_the_page_has_all_routes_and_no_script(told, page):
    seen = Page(page)
    assert not seen.tags & {"script", "style", "iframe", "object", "base"}
    assert not seen.wrong
    assert len(set(seen.ids)) == len(seen.ids)
    assert {link.removeprefix("#") for link in seen.links if link.startswith("#")} <= set(seen.ids)
    assert set(seen.loads) == {"/static/frame.css", "/static/api.css", "/static/icon.svg"}
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    for _, path, route in routes(told):
        assert path in text
        assert route["summary"] in text
    fields = {name for schema in told["components"]["schemas"].values() for name in schema.get("properties", {})}
    assert all(name in text for name in fields)


def test_each_line_for_curl_asks_its_route(app, told, page):
    """Each as a shell takes it: no route is missed, and no body or parameter is of a wrong form."""
    _, *commands = Page(page).codes
    assert len(commands) == len(routes(told))
    client = client_of(app)
    for (method, *_), command in zip(sorted_as_shown(told), commands, strict=True):
        words = shlex.split(command)
        assert words[:3] == ["curl", "-H", "Authorization: Bearer $(cat TOKENFILE)"]
        headers, sent, verb, address = {}, None, None, words[-1]
        for word, value in zip(words[3:-1:2], words[4:-1:2], strict=True):
            if word == "-H":
                headers.update([value.split(": ")])
            elif word in ("-d", "--data-binary"):
                sent = value
            else:
                assert word == "-X"
                verb = value
        verb = verb or ("POST" if sent is not None else "GET")
        assert verb == method.upper(), command
        parts = urlsplit(address.replace("NUMBER", "0"))
        assert f"{parts.scheme}://{parts.netloc}" == "http://127.0.0.1"
        answer = client.request(verb, f"{parts.path}?{parts.query}", content=sent, headers=headers)
        if answer.headers["content-type"] == "application/json" and answer.status_code >= 400:
            error = answer.json()["error"]
            assert "There is nothing at" not in error, command
            assert "/api tells what is taken" not in error, f"{command}: {error}"
            assert answer.status_code != 405, command


def sorted_as_shown(told):
    order = ("Rows", "Search", "Know", "Edit")
    return sorted(routes(told), key=lambda one: order.index(one[2]["tags"][0]))


def test_what_stands_in_a_document_is_text(told):
    strange = {**told, "info": {**told["info"], "description": HOSTILE, "version": HOSTILE}}
    strange["paths"] = {
        "/api/x/{name}": {
            "post": {
                "summary": HOSTILE,
                "description": HOSTILE,
                "parameters": [{"name": "name", "in": "path", "required": True, "description": HOSTILE}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/X"}}}},
                "responses": {"200": {"description": HOSTILE}, "400": {"description": f"`{HOSTILE}`"}},
            }
        }
    }
    strange["components"] = {
        "schemas": {"X": {"description": HOSTILE, "properties": {HOSTILE: {"type": HOSTILE, "description": HOSTILE}}}}
    }
    made_page = docs_page.page(strange, f"http://x{HOSTILE}")
    assert "<script" not in made_page
    assert made_page.count("&lt;script&gt;") >= 10
    assert not Page(made_page).wrong


def test_fields_are_told_in_words():
    parts = {
        "Row": {
            "type": "object",
            "description": "A row.",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
        },
        "Whole": {
            "required": ["rows", "n"],
            "properties": {
                "rows": {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "description": "All."},
                "n": {"type": "integer", "minimum": 1, "maximum": 1000},
                "one": {"anyOf": [{"$ref": "#/components/schemas/Row"}, {"type": "null"}]},
                "by": {"type": "object", "additionalProperties": {"type": "number"}},
                "on": {"type": "boolean", "default": False},
                "verb": {"const": "undo"},
            },
        },
    }
    found = list(lines({"$ref": "#/components/schemas/Whole"}, parts, asked=True))
    assert found == [
        Line("rows", "list of object", "needed", "All."),
        Line("rows[].id", "text", "needed", ""),
        Line("n", "whole number, 1 to 1,000", "needed", ""),
        Line("one", "object or null", "", "A row."),
        Line("one.id", "text", "needed", ""),
        Line("by", "object of number", "", ""),
        Line("on", "true or false", "false", ""),
        Line("verb", '"undo"', "", ""),
    ]
    assert kind_of({"type": "integer", "minimum": 0.0}, {}) == "whole number, at least 0"
    assert kind_of({}, {}) == "anything"


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_read_on_any_screen(app, chromium, scheme, width):
    client, wrong = client_of(app), []
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=False, offline=True
    )
    try:
        context.route("**/*", lambda asked: answer(client, asked, wrong))
        shown = context.new_page()
        shown.on("console", lambda message: wrong.append(message.text))
        shown.goto("http://127.0.0.1/api")
        box = shown.locator("body").bounding_box()
        assert box["width"] <= width
        for article in shown.get_by_role("article").all():
            where = article.bounding_box()
            assert where["x"] >= 0
            assert where["x"] + where["width"] <= width
        shown.get_by_role("link", name="Make an edit").click()
        about = shown.get_by_role("article", name="Make an edit")
        heading = about.get_by_role("heading", name="Make an edit").bounding_box()
        assert 40 <= heading["y"] < 300  # not below the header
        about.get_by_text("Fields of the answer").click()
        assert about.get_by_text("The version that there is now.").is_visible()
    finally:
        context.close()
    assert not wrong


def answer(client, asked, wrong):
    path = urlsplit(asked.request.url).path
    told = client.get(path)
    if told.status_code != 200:
        wrong.append(f"{path}: {told.status_code}")
    asked.fulfill(status=told.status_code, headers=dict(told.headers), body=told.content)
