"""Lines for a shell: bash reads what was meant, and what is pasted hides nothing."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.look.page.commands import command, misread, relink, shell_word

AWKWARD = [
    "plain/a-1.png", "", "two words", "it's", 'say "no"', "$(touch owned)", "`touch owned`", "a\nb", "\x03",
    "\x1b[201~; touch owned\n", "\u202egnp.exe", "tab\there", "back\\slash'\n", "dash—é", "\U0001f468\u200d\U0001f469",
    "-rf", "--", "*", "~", "#x", "voter=rank", "\u2028", "\udcff",
]  # fmt: skip


def read(lines):
    """Return what bash makes of each line's words."""
    script = b"".join(
        b"printf '%s\\0' " + line.encode("utf-8", "surrogateescape") + b"; printf '\\n\\0'\n" for line in lines
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    found, words = [], []
    for one in told.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        if one == "\n":
            found.append(words)
            words = []
        else:
            words.append(one)
    return found


def test_bash_reads_each_text_as_one_word():
    assert read([shell_word(text) for text in AWKWARD]) == [[text] for text in AWKWARD if text != "\n"]


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=8))
def test_bash_reads_any_texts_as_they_are(texts):
    texts = [text for text in texts if text != "\n"]
    assert read([" ".join(map(shell_word, texts)) or "''"]) == [texts or [""]]


@pytest.mark.parametrize("text", AWKWARD)
def test_a_line_is_one_and_hides_nothing(text):
    line = command("correct", text, text, text)
    assert line.replace("\udcff", "").isprintable()
    assert "\n" not in line


def test_a_command_says_where_its_options_end_only_if_it_must():
    assert command("correct", "/a base", "bird", "x y.png") == "itae knowledge correct '/a base' bird 'x y.png'"
    assert command("delete", "kb", "a", "-rf") == "itae knowledge delete kb -- a -rf"
    assert command("delete", "kb", "voter=rank") == "itae knowledge delete kb -- voter=rank"
    assert [text for text in ("-x", "--", "a=b", "a.b=c", "a/b=c", "a-b", "=", "") if misread(text)] == [
        "-x",
        "--",
        "a=b",
        "a.b=c",
    ]


def test_relink_names_the_folder_that_lost_pictures_have_in_common():
    assert relink("kb", ["/a b/c/1.png", "/a b/d/e/2.png"]) == "itae knowledge relink kb '/a b' NEW_FOLDER"
    assert relink("kb", ["/x/1.png"]) == "itae knowledge relink kb /x NEW_FOLDER"
    assert (
        relink("kb", ["s3://x/1.png", "/a/2.png"])
        == relink("kb", [])
        == "itae knowledge relink kb OLD_FOLDER NEW_FOLDER"
    )
