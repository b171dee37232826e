"""``itae search``: what it finds, prints, writes and refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from app_bases import draw_photos

from itae.app.compose import conf_dir
from itae.base.errors import UserError

pytest.importorskip("lance")
RULES = sorted(path.stem for path in (conf_dir() / "feedback").glob("*.yaml"))


@pytest.fixture
def told(itae_):
    """Return a function that runs the command and gives back what it printed; with --json, as values."""

    def run(line):
        status, out, err = itae_(*shlex.split(line))
        assert (status, err) == (0, ""), err
        return json.loads(out) if "--json" in line else out

    return run


@pytest.fixture
def base(told, tmp_path):
    draw_photos(tmp_path)
    told("knowledge init kb")
    told("knowledge add kb dataset=imagefolder dataset.root=photos --source album")
    return tmp_path / "kb"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a base that tests read and leave as it is."""
    folder = tmp_path_factory.mktemp("made")
    draw_photos(folder)
    (folder / "dangling").symlink_to("nowhere")
    for words in ("init kb", "add kb dataset=imagefolder dataset.root=photos --source album"):
        subprocess.run([sys.executable, "-m", "itae", "knowledge", *words.split(), f"paths.cache={folder}/cache"],
                       cwd=folder, check=True, capture_output=True)  # fmt: skip
    return folder


@pytest.fixture
def there(made, itae_, monkeypatch):
    """Go to that folder."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("ITAE_CACHE", str(made / "cache"))
    return made


@pytest.fixture
def names(told, tmp_path):
    """Make a base of pictures whose names mean something to a terminal, and give them back."""
    draw_photos(tmp_path)
    found = ["\u202eevil.png", "3.45\u202fPM.png", "a\x1b[31mb.png", "=1+1.png", "c\nd.png"]
    for name, file in zip(found, sorted((tmp_path / "photos/one").iterdir()), strict=False):
        file.rename(file.with_name(name))
    told("knowledge init kb")
    told("knowledge add kb dataset=imagefolder dataset.root=photos --source album")
    return found


def ids(page):
    return [row["id"] for row in page["results"]]


@pytest.mark.slow
@pytest.mark.usefixtures("there")
def test_a_picture_finds_those_like_it_and_marks_change_what_comes_next(told):
    first = told("search kb asked/one/08.png -n 6 --json")
    assert sum(row["label"] == "one" for row in first["results"]) >= 4
    similar = [row["similarity"] for row in first["results"]]
    assert similar == sorted(similar, reverse=True)
    right = [row["id"] for row in first["results"] if row["label"] == "one"]
    wrong = told("search kb asked/two/08.png -n 2 --where \"label = 'two'\" --json")
    marks = " ".join([*(f"--yes {id_}" for id_ in right[:2]), *(f"--no {id_}" for id_ in ids(wrong))])
    again = told(f"search kb asked/one/08.png {marks} -n 6 --json")
    assert not {*right[:2], *ids(wrong)} & set(ids(again)), "what was judged is not shown again"
    assert again["version"] == 1
    assert {row["nearest"] for row in again["results"]} <= {None, *right[:2], *ids(wrong)}
    kept = told(f"search kb asked/one/08.png {marks} -n 6 --keep-judged --json")
    assert {row["id"]: row["mark"] for row in kept["results"][:4]} == {
        **dict.fromkeys(right[:2], "yes"), **dict.fromkeys(ids(wrong), "no"),
    }  # fmt: skip
    assert ids(kept)[4:] == ids(again)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("there")
def test_every_rule_ranks(told, rule):
    marks = "--yes album/one/00.png --yes album/one/01.png --no album/two/00.png"
    found = told(f"search kb album/one/02.png feedback={rule} {marks} -n 30 --json")
    assert len(found["results"]) == 20
    scores = [row["score"] for row in found["results"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.usefixtures("there")
def test_a_row_is_a_query_as_its_picture_is(told):
    row, picture = told("search kb album/one/02.png --json"), told("search kb photos/one/02.png --json")
    assert row["results"] == picture["results"]
    assert "album/one/02.png" not in ids(row), "the query itself is not found"
    assert told("search kb album/one/02.png --keep-judged --json")["results"][0]["id"] == "album/one/02.png"


@pytest.mark.usefixtures("there")
def test_several_queries_are_a_list_and_each_is_as_if_alone(told):
    found = told("search kb asked/one photos/two/00.png album/zero/00.png --json")
    assert len(found) == 6
    for page in found:
        assert told(f"search kb {page['query']} --json") == page


def test_a_condition_on_metadata_and_a_version_by_its_tag(told):
    told("knowledge init kb --images embed")
    told("knowledge add kb dataset=digit_pairs dataset.count=200")
    told("knowledge tag kb first")
    query = "digit_pairs/00974-00701"
    found = told(f"search kb {query} --where \"left = '3'\" -n 50 --json")
    assert len(found["results"]) == 20
    assert all("3" in row["label"] for row in found["results"])
    told(f"knowledge delete kb {ids(found)[0]}")
    assert ids(told(f"search kb {query} --where \"left = '3'\" -n 50 --json")) == ids(found)[1:]
    assert ids(told(f"search kb {query} --where \"left = '3'\" -n 50 --at first --json")) == ids(found)


@pytest.mark.usefixtures("there")
def test_conditions_leave_rows_out(told):
    found = told("search kb asked/one/08.png --where \"label = 'two'\" --json")
    assert {row["label"] for row in found["results"]} == {"two"}
    late = told("search kb asked/one/08.png --where \"source = 'album' AND time > timestamp '2020-01-01'\" --json")
    assert len(late["results"]) == 20


@pytest.mark.slow
@pytest.mark.usefixtures("base")
def test_what_is_printed(told, tmp_path):
    found = told("search kb asked/one/08.png -n 3 --json")
    assert told("search kb asked/one/08.png -n 3 --paths").split() == [
        str(tmp_path / "photos" / row["id"].removeprefix("album/")) for row in found["results"]
    ]
    rows = list(csv.DictReader(io.StringIO(told("search kb asked/one/08.png -n 3 --csv"))))
    assert [(row["id"], float(row["score"]), row["rank"]) for row in rows] == [
        (row["id"], row["score"], str(n)) for n, row in enumerate(found["results"], 1)
    ]
    out = told("search kb asked/one/08.png asked/two/08.png -n 3")
    assert out.count("similarity") == 2
    assert "query      asked/two/08.png" in out
    assert f"base       version 1, root {found['root'][:16]}" in out


@pytest.mark.usefixtures("base")
def test_links_lead_to_the_pictures(told, tmp_path):
    found = told("search kb asked/one/08.png -n 3 --json")
    told("search kb asked/one/08.png -n 3 --links seen")
    links = sorted((tmp_path / "seen").iterdir())
    assert [link.resolve() for link in links] == [Path(row["place"]) for row in found["results"]]
    assert [link.name[:3] for link in links] == ["1__", "2__", "3__"]
    told("search kb asked/one/08.png asked/two/08.png -n 2 --links both")
    assert sorted(len(list(inside.iterdir())) for inside in (tmp_path / "both").iterdir()) == [2, 2]


def test_places_are_as_they_are_for_a_program_and_signs_for_a_terminal(told, monkeypatch, tmp_path, names):
    query = "search kb asked/one/08.png -n 99"
    folder = str(tmp_path / "photos/one")
    lines = told(f"{query} --paths").split("\n")
    assert all(f"{folder}/{name}" in lines for name in names[:4])
    assert f"{folder}/c\\nd.png" in lines, "one a line"
    places = {row["place"] for row in csv.DictReader(io.StringIO(told(f"{query} --csv"), newline=""))}
    assert {f"{folder}/{name}" for name in names} <= places
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda self: True, raising=False)
    for form in ("--paths", "--csv"):
        out = told(f"{query} {form}")
        assert "a\\x1b[31mb.png" in out
        assert not {"\x1b", "\u202e"} & set(out)


@pytest.mark.usefixtures("base")
def test_links_to_images_that_have_moved_are_counted(told, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "moved")
    out = told("search kb album/one/02.png -n 2 --links seen")
    assert "note       2 links lead nowhere, as the images have moved; itae knowledge relink says" in out


@pytest.mark.usefixtures("there")
def test_a_score_of_many_digits_is_told_by_its_first(told):
    words = "--yes album/one/00.png feedback=kernel feedback.temperature=.02 -n 1"
    score = told(f"search kb album/one/02.png {words} --json")["results"][0]["score"]
    assert score > 1e6
    assert f" {score:.6e} " in told(f"search kb album/one/02.png {words}")


def test_images_that_lie_in_no_file_are_written_beside_the_links(told, itae_, tmp_path):
    from PIL import Image

    told("knowledge init kb --images embed")
    told("knowledge add kb dataset=digits dataset.limit=30")
    told("search kb digits/all/00000 -n 2 --links seen")
    assert [Image.open(file).size for file in sorted((tmp_path / "seen").iterdir())] == [(8, 8)] * 2
    status, out, err = itae_("search", "kb", "digits/all/00000", "-n", "2", "--paths")
    assert (status, out) == (0, "")
    assert "2 of the 2 images lie in no file" in err


@pytest.mark.usefixtures("base")
def test_a_session_goes_on_and_replays_to_the_same_ids(told, tmp_path):
    first = told("search kb asked/one/08.png --session s.jsonl -n 4 feedback=kernel --json")
    yes, no = ids(first)[:2], ids(first)[2]
    second = told(f"search kb --session s.jsonl --yes {yes[0]} --no {no} --json")
    words = "feedback=rocchio feedback.gamma=1 -n 3 --json"
    third = told(f"search kb --session s.jsonl --yes {yes[1]} --forget {no} {words}")
    assert ids(third) == ids(told(f"search kb asked/one/08.png --yes {yes[0]} --yes {yes[1]} {words}"))
    assert len(ids(second)) == 4, "what isn't said stays as it was"
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["rule"]["_target_"] for line in lines[1:]] == ["itae.feedback.Kernel"] * 2 + ["itae.feedback.Rocchio"]
    assert str(tmp_path) not in (tmp_path / "s.jsonl").read_text(encoding="utf-8")
    told("knowledge delete kb " + " ".join(ids(first)[3:]))
    told("knowledge correct kb other " + yes[0])
    replayed = told("search kb --replay s.jsonl --json")
    assert [ids(page) for page in replayed["rounds"]] == [ids(page) for page in (first, second, third)]
    assert all(page["same"] for page in replayed["rounds"])
    out = told("search kb --replay s.jsonl --at 2")
    assert "another order" in out


@pytest.mark.usefixtures("base")
def test_a_round_that_shows_what_was_judged_replays_to_the_same(told):
    first = told("search kb album/one/02.png --session s.jsonl -n 4 --keep-judged --json")
    assert ids(first)[0] == "album/one/02.png"
    told(f"search kb --session s.jsonl --yes {ids(first)[1]} --keep-judged")
    assert [page["same"] for page in told("search kb --replay s.jsonl --json")["rounds"]] == [True, True]


@pytest.mark.usefixtures("base")
def test_a_mark_whose_row_is_gone_is_taken_back(told, itae_):
    first = ids(told("search kb asked/one/08.png --session s.jsonl -n 4 --json"))
    told(f"search kb --session s.jsonl --yes {first[0]} --no {first[1]}")
    told(f"knowledge delete kb {first[1]}")
    status, _, err = itae_("search", "kb", "--session", "s.jsonl")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{first[1]!r} was marked in this session and is gone in version 2: take the mark back with --forget" in err
    told("search kb --session s.jsonl --at 1")
    told(f"search kb --session s.jsonl --forget {first[1]}")


@pytest.mark.usefixtures("base")
def test_a_page_without_images_says_why(told):
    note = "Nothing is left to show: all rows that may be found were judged, or are the query itself."
    found = told("search kb album/one/02.png --where \"id = 'album/one/02.png'\" --json")
    assert (found["results"], found["notes"]) == ([], [note])
    assert f"note       {note}" in told("search kb album/one/02.png --where \"id = 'album/one/02.png'\"")


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("words", ["--where nonsense", "--at 0", "--where nonsense --session s", "--at 0 --session s"])
def test_what_no_row_can_meet_is_told_before_a_picture_is_embedded(itae_, monkeypatch, words):
    def never(asked):
        raise AssertionError

    monkeypatch.setattr("itae.app.search.queries.opened", never)
    status, _, err = itae_(*f"search kb asked/one/08.png {words}".split())
    assert (status, err.count("\n")) == (2, 1), err


@pytest.mark.usefixtures("base")
def test_a_replay_needs_neither_picture_nor_model_and_is_equal_in_another_process(told, tmp_path):
    first = told("search kb asked/one/08.png --session s.jsonl --json")
    told(f"search kb --session s.jsonl --yes {ids(first)[0]}")
    here = told("search kb --replay s.jsonl --json")
    (tmp_path / "asked").rename(tmp_path / "moved")
    code = "import sys; sys.modules['torch'] = None; from itae.app.cli import main; main()"
    there = subprocess.run([sys.executable, "-c", code, "search", "kb", "--replay", "s.jsonl", "--json"], cwd=tmp_path,
                           capture_output=True, text=True, check=True, env=os.environ)  # fmt: skip
    assert json.loads(there.stdout) == here


@pytest.mark.usefixtures("base")
def test_a_rule_of_somebodys_own_ranks_and_is_not_imported_by_a_files_word(told, itae_, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    own = "feedback=none feedback._target_=toy_feedback.Best +feedback.share=.25"
    first = told(f"search kb asked/one/08.png {own} --session s.jsonl --json")
    assert len(first["results"]) == 20
    status, _, err = itae_("search", "kb", "--replay", "s.jsonl")
    assert status == 2
    assert "toy_feedback.Best, a rule of somebody's own" in err
    assert told(f"search kb --replay s.jsonl {own} --json")["rounds"][0]["same"]
    text = (tmp_path / "s.jsonl").read_text(encoding="utf-8")
    nested = text.replace('"_target_": "toy_feedback.Best", "share": 0.25',
                          '"_target_": "itae.feedback.Kernel", "temperature": {"_target_": "this.That"}')  # fmt: skip
    assert nested != text
    (tmp_path / "s.jsonl").write_text(nested, encoding="utf-8")
    status, _, err = itae_("search", "kb", "--replay", "s.jsonl")
    assert (status, "has an option that is no number or text" in err) == (2, True), err
    assert "this" not in sys.modules


@pytest.mark.slow
def test_words_find_images_and_a_session_of_words_replays_without_the_model(told, itae_, tmp_path):
    told("knowledge init kb backbone=digits_clip --images embed")
    told("knowledge add kb dataset=digits dataset.split=test")
    first = told("search kb --text 'please show me a seven' -n 10 --session s.jsonl --json")
    assert sum(row["label"] == "7" for row in first["results"]) >= 9
    assert first["query"] == "please show me a seven"
    marks = f"--yes {ids(first)[0]} --no {ids(first)[9]}"
    again = told(f"search kb --session s.jsonl {marks} feedback=rocchio --json")
    assert (
        again["results"]
        == told(f"search kb --text 'please show me a seven' -n 10 {marks} feedback=rocchio --json")["results"]
    )
    assert [page["same"] for page in told("search kb --replay s.jsonl --json")["rounds"]] == [True, True]
    both = told("search kb --text zero --text 'a purple one' digits/all/01200 -n 3 --json")
    assert [page["query"] for page in both] == ["digits/all/01200", "zero", "a purple one"]
    assert "purple" in both[2]["notes"][0]
    status, _, err = itae_("search", "kb", "--text", "purple")
    assert (status, "knows no word of 'purple'" in err) == (2, True), err


@pytest.mark.parametrize(
    ("line", "told_"),
    [
        ("search kb", "give what to look for"),
        ("search nowhere a.png", "nowhere is no knowledge base"),
        ("search kb gone.png", "gone.png: there is no such file, and no row of version 1 has this id"),
        ("search kb asked/one/08.png -n 0", "-n=0 must be a whole number of at least 1."),
        ("search kb asked/one/08.png --yes album/x", "There is no row 'album/x' in version 1"),
        ("search kb asked/one/08.png --at 0 --yes album/one/00.png", "There is no row 'album/one/00.png' in version 0"),
        ("search kb asked/one/08.png --at 0", "kb has no rows in version 0"),
        ("search kb asked/one/08.png --at 7", "7"),
        ("search kb asked/one/08.png --yes album/one/00.png --no album/one/00.png", "is marked yes and no"),
        ("search kb asked/one --yes album/one/00.png", "4 queries were given, and marks are of one"),
        ("search kb asked/one/08.png asked/one/09.png --session s", "2 queries were given, and marks are of one"),
        ("search kb asked/one/08.png --forget album/one/00.png", "--forget takes back a mark of a session"),
        ("search kb asked/one/08.png --replay s", "--replay runs a session as it is"),
        ("search kb --replay s", "The session s can't be read"),
        ("search kb --replay s -n 3", "give no -n, --where, --keep-judged or --diverse with it"),
        ("search kb --replay s --where 1=1", "give no -n, --where, --keep-judged or --diverse with it"),
        ("search kb --replay s --keep-judged", "give no -n, --where, --keep-judged or --diverse with it"),
        ("search kb --replay s feedback=kernel", "feedback=kernel: --replay ranks each round by its own rule"),
        (f"search kb album/one/02.png --session {'z' * 300}", "can't be written (File name too long)"),
        ("search kb asked/one/08.png --session ''", "The session . can't be read"),
        ("search kb asked/one/08.png --session s --yes album/one/00.png", "was never shown in this session"),
        ("search kb asked/one/08.png --where nonsense", "nonsense"),
        ("search kb asked/one/08.png --where \"label = 'x'\"", "no row of version 1 meets it"),
        ("search kb asked/one/08.png --links photos", "there is something already"),
        ("search kb asked/one/08.png --links dangling", "there is something already"),
        ("search kb asked/one/08.png --links asked/one/08.png/new", "can't be made (Not a directory)"),
        (f"search kb asked/one/08.png --links {'z' * 300}", "can't be made (File name too long)"),
        ("search kb asked/one/08.png --json --csv", "not allowed with argument"),
        ("search kb asked/one/08.png feedback=nearset", "feedback=nearset is not one of"),
        ("search kb asked/one/08.png feedback=rocchio feedback.beta=-1", "feedback.beta=-1 must be"),
        ("search kb asked/one/08.png voter=rank", "has no use for it"),
        ("search kb asked/one/08.png backbone.pool=mean", "kb is of another space: pool is"),
        ("search kb asked/one/08.png runtime.engine=ray", "itae search ranks in one process"),
        ("search kb --text seven", "There is no text tower in this space: digits_vit embeds images alone"),
    ],
)
def test_what_cant_be_asked_is_one_sentence(itae_, there, line, told_):
    status, out, err = itae_(*shlex.split(line))
    assert (status, out) == (2, ""), err
    assert told_ in err
    assert err.count("\n") == 1
    assert not (there / "s").exists()


@pytest.mark.usefixtures("base")
def test_a_session_has_its_query_and_its_base(told, itae_):
    told("search kb asked/one/08.png --session s.jsonl")
    status, _, err = itae_("search", "kb", "asked/one/08.png", "--session", "s.jsonl")
    assert (status, "s.jsonl has its query, 'asked/one/08.png'" in err) == (2, True), err
    told("knowledge init other")
    told("knowledge add other dataset=imagefolder dataset.root=photos --source album")
    for line in ("search other --session s.jsonl", "search other --replay s.jsonl"):
        status, _, err = itae_(*line.split())
        assert (status, "This session is of another base than other" in err) == (2, True), err


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("rule", ["nearest", "mean_difference"])
def test_past_memory_an_index_says_which_rows_may_come(told, rule):
    marks = "--yes album/one/00.png --no album/two/00.png"
    words = f"search kb asked/one/08.png feedback={rule} {marks} -n 5 --json"
    exact, found = told(words), told(f"{words} knowledge.index=IVF2,Flat")
    assert found["results"] == exact["results"]
    assert "which has 100.0% of the 20 nearest" in found["notes"][0]


def test_the_rule_of_a_file_is_one_of_ours():
    from itae.search.rounds import rule_of_file

    for target in ("os.system", "itae.feedback.Near", "itae.feedback.nothing", "itae.vote.Rank"):
        with pytest.raises(UserError):
            rule_of_file({"_target_": target})


@pytest.mark.usefixtures("base")
def test_a_diverse_page_is_unlike_what_was_shown_and_comes_again(told):
    first = told("search kb asked/one/08.png --session s.jsonl -n 2 --json")
    near = told("search kb asked/one/08.png -n 50 --json")
    found = told("search kb --session s.jsonl --diverse --json")
    assert not set(ids(found)) & set(ids(first))
    assert ids(found) != [id_ for id_ in ids(near) if id_ not in ids(first)][:2]
    assert all(row["score"] == row["similarity"] for row in found["results"])
    last = told(f"search kb --session s.jsonl --yes {ids(found)[0]} --json")
    again = told("search kb --replay s.jsonl --json")["rounds"]
    assert [page["same"] for page in again] == [True] * 3
    assert [ids(page) for page in again] == [ids(first), ids(found), ids(last)]
    alone = told(f"search kb asked/one/08.png --no {' --no '.join(ids(first))} -n 2 --diverse --json")
    assert ids(alone) == ids(found)


@pytest.mark.usefixtures("base")
def test_a_diverse_page_takes_no_judged_rows(itae_):
    status, _, err = itae_("search", "kb", "asked/one/08.png", "--diverse", "--keep-judged")
    assert status == 2
    assert "--diverse shows what is unlike all that was shown" in err
