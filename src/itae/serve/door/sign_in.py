"""Pages for who is not, or not yet, let in: a few words each, without any script."""

from __future__ import annotations

from html import escape

from fastapi.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{on}
<title>{title} - itae</title>
<link rel="stylesheet" href="/static/sign_in.css">
<link rel="icon" href="/static/icon.svg">
</head>
<body>
<main>
<p class="brand"><b>itae</b> serve</p>
<h1>{title}</h1>
{told}
</main>
</body>
</html>
"""


def page(title: str, *told: str, status: int = 200, on: str | None = None) -> HTMLResponse:
    """Return a page of some sentences.

    Parameters
    ----------
    title, told
        Its heading and its paragraphs, texts.
    status
        Of HTTP.
    on
        A path of this server that the browser goes on to by itself. A redirect in its place would be a part of the way
        that began with a link on some other page, on which a browser sends no cookie that is SameSite=Strict.
    """
    refresh = f'\n<meta http-equiv="refresh" content="0; url={escape(on)}">' if on else ""
    paragraphs = "\n".join(f"<p>{escape(each)}</p>" for each in told)
    if on:
        paragraphs += f'\n<p><a href="{escape(on)}">Go on</a></p>'
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return HTMLResponse(_PAGE.format(title=escape(title), told=paragraphs, on=refresh), status, headers)


def not_signed_in() -> HTMLResponse:
    """Return the page of who has no cookie."""
    return page(
        "Not signed in",
        "Open the link that the terminal printed: the one with your name, which has /enter in it.",
        "A link lets one browser in. For another browser there is another link: the last one with your name.",
        status=401,
    )


def wrong_code() -> HTMLResponse:
    """Return the page of a link that lets nobody in."""
    return page(
        "This link has been used",
        "Each link lets one browser in, and this one has been used, or is of a server that was stopped, or not whole.",
        "The terminal has printed a new one for you: open the last link with your name.",
        status=401,
    )


def signed_in() -> HTMLResponse:
    """Return the page of who has just been let in."""
    return page("Signed in", "The page of the base opens by itself.", on="/")


def by_itself(path: str) -> HTMLResponse:
    """Return a page that opens another once more, with the cookie that a link from elsewhere left out."""
    return page("Opening", "The page opens by itself.", on=path)
