"""A base from the command line: what each verb does, prints and refuses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from app_bases import draw_photos

import itae
from itae.app.knowledge.main import VERBS
from itae.images.datasets import DigitPairs

pytest.importorskip("lance")


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path)


@pytest.fixture
def told(itae_):
    """Return a function that runs a verb and gives back what it printed; with --json, as values."""

    def run(line):
        status, out, err = itae_("knowledge", *shlex.split(line))
        assert (status, err) == (0, ""), err
        return json.loads(out) if "--json" in line else out

    return run


@pytest.fixture
def base(told, photos):
    told("init kb")
    told("add kb dataset=imagefolder dataset.root=photos --source album")
    return photos


def labels(found):
    return {Path(one["path"]).parent.name: one["label"] for one in found}


@pytest.mark.usefixtures("base")
def test_pictures_are_told_by_their_neighbours(told):
    found = told("classify kb asked voter=plurality voter.k=5 --json")
    assert len(found) == 12
    assert sum(Path(one["path"]).parent.name == one["label"] for one in found) >= 10
    first = found[0]
    assert list(first["scores"]) == sorted(first["scores"], key=first["scores"].get, reverse=True)
    assert sum(first["scores"].values()) == pytest.approx(1)
    assert sum(one["share"] for one in first["neighbours"]) == pytest.approx(1)
    assert {one["id"].split("/")[0] for one in first["neighbours"]} == {"album"}
    assert first["version"] == 1
    out = told("classify kb asked/one/08.png voter.k=3")
    assert "asked/one/08.png  one" in out
    assert "chosen by leave-one-group-out inside the base" in out
    assert "k 3 as given" in out


@pytest.mark.parametrize(
    ("preset", "words"),
    [("dinov2_knn", "voter=softmax voter.k=20 voter.temperature=0.07"), ("visual_memory", "voter=rank voter.k=100")],
)
@pytest.mark.usefixtures("base")
def test_a_preset_is_a_voter_with_its_numbers(told, preset, words):
    assert told(f"classify kb asked/one voter={preset} --json") == told(f"classify kb asked/one {words} --json")


@pytest.mark.usefixtures("base")
def test_a_picture_that_is_there_is_told_and_does_not_vote(told):
    (found,) = told("classify kb photos/one/00.png voter=plurality voter.k=3 --json")
    assert found["known"] == [{"id": "album/one/00.png", "label": "one"}]
    assert "album/one/00.png" not in {one["id"] for one in found["neighbours"]}


@pytest.mark.usefixtures("base")
def test_why_names_rows_whose_removal_turns_the_answer(told):
    found = told("why kb asked/one/08.png voter=plurality voter.k=3 --json")
    assert (found["label"], found["sources"]) == ("one", [{"source": "album", "share": pytest.approx(1), "rows": 3}])
    gone = [row["id"] for row in found["turn"]["rows"]]
    told(f"delete kb {' '.join(gone)}")
    (now,) = told("classify kb asked/one/08.png voter=plurality voter.k=3 --json")
    assert now["label"] == found["turn"]["label"] != "one"
    assert "rows without which it is" in told("why kb asked/one/09.png voter.k=1 voter=rank --at 1")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(("factory", "file"), [("IVF2,Flat", "index.faiss"), ("lance:IVF_FLAT", "*.idx")])
def test_an_index_is_kept_in_the_cache_and_goes_with_a_purge(told, tmp_path, factory, file):
    words = "classify kb asked voter=rank voter.k=3"
    exact, found = told(f"{words} --json"), told(f"{words} knowledge.index={factory} --json")
    assert [one["label"] for one in found] == [one["label"] for one in exact]
    assert "100.0% of the 20 nearest that exact search finds" in found[0]["notes"][0]
    assert list((tmp_path / "cache/.indexes").rglob(file))
    assert not list((tmp_path / "kb").rglob(file)), "it is no part of the base"
    told("delete kb --label two")
    told("purge kb")
    assert not list((tmp_path / "cache/.indexes").rglob(file))


def test_the_library_gives_the_same_as_the_command(told, base):
    found = itae.open_knowledge("kb").snapshot()
    assert len(found) == 24
    assert found.version == 1
    assert found.root == told("status kb --json")["root"]


def test_new_pictures_become_rows_and_what_is_there_is_no_change(told, base):
    again = told("add kb dataset=imagefolder dataset.root=photos --source album --json")
    assert (again["edit"], again["same"]) == (None, 24)
    shutil.copy("asked/one/08.png", base / "one" / "new.png")
    (base / "two" / "07.png").unlink()
    words = "add kb dataset=imagefolder dataset.root=photos --source album --sync"
    look = told(f"{words} --dry-run --json")
    assert (look["added"], look["deleted"], look["edit"]) == (["album/one/new.png"], ["album/two/07.png"], None)
    assert told("status kb --json")["version"] == 1
    told(f"{words} --why 'a new one'")
    assert told("log kb --json")[-1]["why"] == "a new one"
    assert told("status kb --json")["labels"] == {"one": 9, "two": 7, "zero": 8}


def test_other_labels_are_refused_unless_they_replace(itae_, told, base):
    (base / "two").rename(base / "deux")
    (base / "deux").rename(base / "two")
    status, _, err = itae_("knowledge", "add", "kb", "dataset=imagefolder", "dataset.root=photos", "--source", "album",
                           "--label", "digit")  # fmt: skip
    assert status == 2
    assert "is there with the labels ['one'] and not ['digit']" in err or "['zero'] and not ['digit']" in err
    assert told("status kb --json")["version"] == 1
    found = told("add kb dataset=imagefolder dataset.root=photos --source album --label digit --replace --json")
    assert len(found["changed"]) == 24


def test_labels_groups_and_metadata_come_from_files(told, base):
    Path("labels.csv").write_text("id,label\none/00.png,uno\none/00.png,single\none/01.png,uno\n")
    Path("groups.csv").write_text("id,group\none/00.png,p1\none/01.png,p1\n")
    Path("meta.csv").write_text("id,year,ward\none/00.png,2019,north\n")
    told("add kb dataset=imagefolder dataset.root=photos --source second --label labels.csv --group groups.csv "
         "--meta meta.csv")  # fmt: skip
    snapshot = itae.open_knowledge("kb").snapshot()
    both = [snapshot.position[f"second/one/0{n}.png"] for n in (0, 1)]
    assert sorted(snapshot.labels_of(both[0])) == ["single", "uno"]
    assert snapshot.labels_of(snapshot.position["second/two/00.png"]) == ()
    assert snapshot.groups_M[both[0]] == snapshot.groups_M[both[1]]
    assert [snapshot.column(name, both[0]) for name in ("group", "year", "ward")] == ["p1", 2019, "north"]
    found = told("delete kb --where 'year = 2019' --dry-run --json")
    assert found["deleted"] == ["second/one/00.png"]


def test_what_a_data_set_knows_of_its_images_is_kept_and_asked(told):
    told("init kb")
    told("add kb dataset=digit_pairs dataset.split=test dataset.count=300")
    found = told("""delete kb --where "left = '3' and right = '7'" --dry-run --json""")
    pairs = DigitPairs(split="test", count=300).open()
    wanted = [f"digit_pairs/{id_}" for id_, label in zip(pairs.ids, pairs.labels, strict=True) if label == 37]
    assert found["deleted"] == wanted != []
    snapshot = itae.open_knowledge("kb").snapshot()
    assert snapshot.labels_of(snapshot.position[wanted[0]]) == ("3", "7")
    told("add kb dataset=digits_conditions dataset.condition=colour dataset.limit=90 --group parent")
    found = told("""delete kb --where "colour = 'red' and label = '4'" --dry-run --json""")["deleted"]
    assert found
    assert all(id_.startswith("digits_conditions/all/") and id_.endswith("/red") for id_ in found)


@pytest.mark.usefixtures("base")
def test_edits_can_be_looked_at_taken_back_and_named(told):
    before = told("status kb --json")["root"]
    told("tag kb clean")
    assert "would be" in told("correct kb two album/one/00.png --dry-run")
    told("correct kb two album/one/00.png --who Ann --why 'I saw it'")
    told("delete kb --label zero")
    assert [edit["verb"] for edit in told("log kb --json")] == ["add", "correct", "delete"]
    assert told("log kb --json")[1]["who"] == "Ann"
    assert told("diff kb 1 2 --json")["changed"] == {"album/one/00.png": {"labels": [["one"], ["two"]]}}
    assert "8 deleted" in told("diff kb clean 3")
    told("undo kb 2")
    assert told("diff kb 1 4 --json")["changed"] == {}
    told("restore kb clean")
    assert told("status kb --json")["root"] == before
    assert told("tag kb").split() == ["1", "clean"]
    old = told("classify kb asked/zero/08.png voter.k=1 voter=rank --at 3 --json")
    assert old[0]["label"] != "zero"


@pytest.mark.usefixtures("base")
def test_several_labels_and_none(told):
    told("correct kb --labels one --labels ink album/one/00.png")
    told("correct kb none album/one/01.png")
    assert told("status kb --json")["labels"] == {"": 1, "ink": 1, "one": 7, "two": 8, "zero": 8}


@pytest.mark.usefixtures("base")
def test_many_rows_are_corrected_by_a_file_and_the_others_stay_as_they_are(told):
    lines = ["two,album/one/00.png,a slip", "ink,album/one/00.png,", ",album/one/01.png,", "one,album/one/02.png,"]
    Path("right.csv").write_text("\n".join(["label,id,note", *lines]) + "\n")
    assert "would be changed  2" in told("correct kb --csv right.csv --dry-run")
    told("correct kb --csv right.csv --why 'looked at'")
    changed = {"album/one/00.png": {"labels": [["one"], ["ink", "two"]]}, "album/one/01.png": {"labels": [["one"], []]}}
    assert told("diff kb 1 2 --json")["changed"] == changed
    told("undo kb 2")
    assert told("diff kb 1 3 --json")["changed"] == {}


def test_a_mislabelled_source_is_unlearned_at_once(told, base):
    told("add kb dataset=imagefolder dataset.root=asked --source bad --label zero")
    assert told("delete kb --source bad --json")["deleted"]
    assert told("diff kb 1 3 --json") == {"added": [], "deleted": [], "changed": {}}


def test_what_is_purged_is_nowhere(told, base, tmp_path):
    shutil.copy("asked/one/08.png", base / "one" / "secret-name.png")
    told("init other --images embed")
    words = "dataset=imagefolder dataset.root=photos --source album"
    told(f"add other {words}")
    told("delete other album/one/secret-name.png --why 'secret-name asked for it'")
    data = (base / "one" / "secret-name.png").read_bytes()
    vector = itae.open_knowledge("other").snapshot(1)
    vector = vector.vectors_ME[vector.position["album/one/secret-name.png"]].tobytes()
    (base / "one" / "secret-name.png").unlink()

    def holding(what):
        files = [path for top in ("other", "cache") for path in (tmp_path / top).rglob("*") if path.is_file()]
        return [path for path in files if what in path.read_bytes() or what in str(path).encode()]

    assert holding(b"secret-name")
    assert holding(data)
    assert told("purge other --dry-run --json") == {
        "edit": None, "rows": 1, "places": [str(base / "one" / "secret-name.png")]
    }  # fmt: skip
    found = told("purge other --json")
    assert found["rows"] == 1
    assert found["places"] == [str(base / "one" / "secret-name.png")]
    for what in (b"secret-name", data, vector):
        assert holding(what) == []
    assert told("status other --json")["rows"] == 24


def test_a_base_is_rebuilt_in_another_space(told, base):
    told("init kept --images embed")
    told("add kept dataset=imagefolder dataset.root=photos --source album")
    told("correct kept two album/one/00.png --who Ann")
    told("delete kept --label zero")
    told("tag kept before-rebuild")
    base.rename(base.with_name("moved"))
    told("rebuild kept edited detector.rule=quantile layers=all")
    old, new = (itae.open_knowledge(name) for name in ("kept", "edited"))
    names = ("edit", "verb", "who", "when", "why", "asked")
    assert [[getattr(edit, name) for name in names] for edit in old.log()] == [
        [getattr(edit, name) for name in names] for edit in new.log()
    ]
    a, b = old.snapshot(), new.snapshot()
    assert [a.ids[i] for i in a.live] == [b.ids[i] for i in b.live]
    assert [a.labels_of(i) for i in a.live] == [b.labels_of(i) for i in b.live]
    assert a.space["edit"] is None
    assert b.space["edit"]["layers"] == [0, 1, 2, 3, 4, 5]
    assert new.tags() == old.tags()
    assert new.image(b, int(b.live[0])) == old.image(a, int(a.live[0]))
    assert told("verify edited --json")["problems"] == []


def test_a_rebuild_is_there_whole_or_not_at_all(itae_, told, base, monkeypatch):
    """One that was killed would pass for a base of fewer edits."""
    from itae.knowledge.exchange import rebuild

    told(f"correct kb two {next(iter(told('log kb --json')[0]['added']))}")
    tell, there = rebuild._told, []

    def stop(edit, first):
        there.append(Path("new").exists())
        if edit.edit == 2:
            raise KeyboardInterrupt
        return tell(edit, first)

    with monkeypatch.context() as patched:
        patched.setattr(rebuild, "_told", stop)
        assert itae_("knowledge", "rebuild", "kb", "new", "layers=all")[0] == 130
    assert (there, [path.name for path in Path().iterdir() if "new" in path.name]) == ([False, False], [])
    told("rebuild kb new layers=all")
    assert len(told("log new --json")) == 2
    status, _, err = itae_("knowledge", "rebuild", "kb", "new", "layers=all")
    assert (status, err.count("\n")) == (2, 1)
    assert f"There is something at {Path('new').absolute()} already" in err


def test_places_of_a_file_are_as_on_the_command_line(told, base):
    base.rename(base.with_name("moved"))
    id_, *_ = told("log kb --json")[0]["added"]
    Path("places.csv").write_text(f"id,place\n{id_},{id_.replace('album', 'moved')}\n")
    told("relink kb --csv places.csv")
    snapshot = itae.open_knowledge("kb").snapshot()
    place = snapshot.column("place", snapshot.position[id_])
    assert place == str(Path(id_.replace("album", "moved")).absolute()), "found from any folder"


def test_an_empty_base_is_put_together(told):
    told("init kb")
    assert told("compact kb") == "0 small files, 0 now\n"


def test_a_rebuild_names_pictures_that_are_gone(itae_, told, base):
    base.rename(base.with_name("moved"))
    status, _, err = itae_("knowledge", "rebuild", "kb", "new", "backbone.pool=mean")
    assert (status, err.count("\n")) == (2, 1)
    assert "The pictures of 24 rows" in err
    assert not Path("new").exists()
    told(f"relink kb {shlex.quote(str(base))} {shlex.quote(str(base.with_name('moved')))}")
    told("rebuild kb new backbone.pool=mean")
    told("delete kb album/one/00.png")
    base.with_name("moved").joinpath("one", "00.png").unlink()
    status, _, err = itae_("knowledge", "rebuild", "kb", "newer", "backbone.pool=mean")
    assert (status, err.count("\n")) == (2, 1)
    assert "The picture of 1 row ('album/one/00.png') can't be found" in err
    assert "only earlier versions have them" in err
    assert "itae knowledge purge" in err
    told("purge kb")
    told("rebuild kb newer backbone.pool=mean")
    assert told("status new --json")["space"]["pool"] == "mean"


@pytest.mark.usefixtures("base")
def test_a_rebuild_over_a_base_is_refused_before_anything_is_embedded(itae_, told, monkeypatch):
    told("init other backbone.pool=mean")
    monkeypatch.setattr("itae.knowledge.exchange.rebuild.extract", lambda *_: pytest.fail("it embeds"))
    status, _, err = itae_("knowledge", "rebuild", "kb", "other", "backbone.pool=mean")
    assert (status, err.count("\n")) == (2, 1)
    assert "There is something at" in err


def test_what_is_printed_counts_one_as_one_and_has_no_spaces_at_the_end_of_lines(told, photos):
    told("init kb")
    shutil.copytree(photos / "one", "few/one")
    for file in sorted(Path("few/one").iterdir())[1:]:
        file.unlink()
    out = [told("add kb dataset=imagefolder dataset.root=few --group parent"), told("why kb asked/one/09.png")]
    out += [told(f"{verb} kb") for verb in ("compact", "verify", "log", "suspects", "outliers", "duplicates")]
    told("delete kb few/one/00.png")
    told("undo kb 2")
    out += [told("export kb out"), told("rebuild kb new backbone.pool=mean"), told("purge kb --dry-run")]
    out += [told("purge kb")]
    text = "\n".join(out)
    assert not re.search(r"(?<![\d.,])1 (rows|groups|entries|edits|small files|deleted or earlier states)\b", text), (
        text
    )
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@pytest.mark.usefixtures("base")
def test_what_is_imported_has_no_pictures_to_keep(itae_, told):
    told("export kb rows.parquet")
    told("init keeps --images embed")
    status, _, err = itae_("knowledge", "import", "keeps", "rows.parquet")
    assert (status, err.count("\n")) == (2, 1)
    assert "was not given: add the pictures themselves" in err


def test_a_base_may_be_of_an_edited_model(told, itae_, photos):
    told("init kb detector.rule=quantile detector.quantile=0.1 layers=all")
    told("add kb dataset=imagefolder dataset.root=photos")
    assert labels(told("classify kb asked voter.k=5 --json")) == {"one": "one", "two": "two", "zero": "zero"}
    told("classify kb asked/one/08.png voter.k=5 detector.quantile=0.1 layers=all")
    status, _, err = itae_(*shlex.split("knowledge classify kb asked/one/08.png layers=none"))
    assert status == 2
    assert "edit is set in it, and none here; leave out the words of one (detector," in err


MISTAKES = [
    ("knowledge clasify kb", "Did you mean 'classify'?"),
    ("knowledge classify", "the following arguments are required: KB"),
    ("knowledge classify none x.png", "none is no knowledge base", "itae knowledge init"),
    ("knowledge classify kb", "give pictures, or folders of pictures"),
    ("knowledge classify kb none.png", "none.png: there is no such file"),
    ("knowledge classify kb labels.csv", "labels.csv can't be read as a picture"),
    (
        "knowledge classify kb asked backbone.pool=mean",
        'pool is "cls" in it, and "mean" here',
        "itae knowledge rebuild",
    ),
    (
        "knowledge classify kb asked layers=all",
        "is of another space: edit",
        "edit is none in it, and set here",
        "leave out",
    ),
    ("knowledge classify kb asked dataset=digits", "has no use for it"),
    ("knowledge classify kb asked --at 7", "There is no version 7", "0 to 1"),
    ("knowledge classify kb asked --at claen", "is called 'claen'", "Did you mean 'clean'?"),
    ("knowledge classify kb asked --abstain 2", "--abstain"),
    ("knowledge classify kb asked voter=rnak", "Did you mean 'rank'?"),
    ("knowledge classify kb asked voter.k=0", "voter.k=0"),
    ("knowledge classify kb asked knowledge.index=foo", "knowledge.index='foo' is no index", "IVF1024,PQ64"),
    ("knowledge classify kb asked knowledge.index=lance:foo", "knowledge.index='lance:foo'", "lance:IVF_PQ"),
    ("knowledge classify kb asked knowledge.indx=x", "knowledge.index"),
    ("knowledge classify empty asked knowledge.index=Flat", "This base is empty"),
    ("knowledge classify empty asked", "This base is empty", "itae knowledge add KB"),
    ("knowledge why kb asked", "holds 12 pictures"),
    ("knowledge init kb", "There is a knowledge base at"),
    ("knowledge init new detector.rule=bimodal", "detector.calibration=FILE"),
    ("knowledge init new edit=test_time_registers", "searches its neurons"),
    ("knowledge init new photos", "takes one folder"),
    ("knowledge add kb", "dataset=imagefolder dataset.root=PICTURES"),
    ("knowledge add kb photos", "dataset=imagefolder dataset.root=PICTURES"),
    ("knowledge add kb dataset=imagefolder dataset.root=none", "does not exist"),
    ("knowledge add kb dataset=digits dataset.resize=crop", "another space"),
    ("knowledge add kb dataset=digits --group none.csv", "--group=none.csv can't be read"),
    ("knowledge add kb dataset=digits --group patient", "--group=patient: give parent"),
    ("knowledge add kb dataset=digits --source a/b", "--source='a/b' is no name"),
    (
        "knowledge add kb dataset=imagefolder dataset.root=photos --source album --label labels.csv",
        "no picture 'nobody.png'",
    ),
    ("knowledge correct kb two", "give a label, and the ids"),
    ("knowledge correct kb two album/one/0.png", "Did you mean 'album/one/0"),
    ("knowledge correct kb --csv none.csv", "--csv=none.csv can't be read"),
    ("knowledge correct kb --csv labels.csv", "No row of the base has the id 'nobody.png'"),
    ("knowledge correct kb --csv half.csv", "--csv=half.csv, line 2, has no label"),
    ("knowledge correct kb two album/one/00.png --csv labels.csv", "the file says which rows"),
    ("knowledge delete kb", "give one of these, and no two"),
    ("knowledge delete kb --label on", "Did you mean 'one'?"),
    ("knowledge delete kb --source albun", "Did you mean 'album'?"),
    ("knowledge delete kb --where 'lable = 1'", "lable"),
    ("knowledge undo kb first", "'first' is no number of an edit"),
    ("knowledge undo kb 9", "There is no edit 9"),
    (f"knowledge undo kb {'9' * 5000}", "is no number of an edit"),
    ("knowledge restore kb", "a version or a tag"),
    (f"knowledge restore kb {'9' * 5000}", "No version of", "there are 0 to 1"),
    ("knowledge init labels.csv", "can't be written (Not a directory): give a folder that you may write to"),
    ("knowledge init ''", "The name of a knowledge base is empty"),
    ("knowledge relink kb --csv short.csv", "short.csv, line 2, has no place"),
    ("knowledge relink kb --csv twice.csv", "twice.csv, line 3", "two places"),
    ("knowledge relink kb --csv named.csv", "named.csv has two columns 'place'"),
    ("knowledge tag kb 12", "can't be tagged '12'"),
    ("knowledge diff kb 1", "give two versions or tags"),
    (
        "knowledge relink kb photos /x",
        "None of the pictures",
        "one/00.png is not there, and so of 23 more",
        "same bytes",
    ),
    ("knowledge relink kb phots /x", "nor where a place of the base begins such as"),
    ("knowledge relink kb /x", "give how places began"),
    ("knowledge status kb --at 9", "There is no version 9"),
    ("knowledge status kb backbone=dinov2_s14", "reads no words of the config"),
    ("knowledge log kb --jsno", "unrecognized arguments: --jsno"),
]


@pytest.mark.usefixtures("base")
def test_status_is_of_the_version_that_is_asked(told):
    told("delete kb album/one/00.png")
    now, then = told("status kb --json"), told("status kb --at 1 --json")
    assert (now["version"], then["version"]) == (2, 1)
    assert then["rows"] == now["rows"] + 1
    assert then["labels"]["one"] == now["labels"]["one"] + 1
    assert then["edits"] == 1


@pytest.mark.parametrize(("line", "words"), [(line, words) for line, *words in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_told_in_one_sentence(itae_, mistaken, line, words):
    status, out, err = itae_(*shlex.split(line))
    assert (status, out) == (2, ""), err
    assert err.startswith("itae: ")
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert "Traceback" not in err
    assert itae.open_knowledge("kb").snapshot().version == 1
    assert not Path("new").exists()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("mistakes")


@pytest.fixture
def mistaken(told, shared, monkeypatch):
    """Stand where a base, an empty one and a list of labels are; none of it is changed."""
    monkeypatch.chdir(shared)
    monkeypatch.setenv("ITAE_CACHE", str(shared / "cache"))
    if not (shared / "kb").exists():
        draw_photos(shared)
        told("init kb")
        told("add kb dataset=imagefolder dataset.root=photos --source album")
        told("tag kb clean")
        told("init empty")
        Path("labels.csv").write_text("id,label\nnobody.png,one\n")
        Path("half.csv").write_text("id,label\na\n")
        Path("short.csv").write_text("id,place\nalbum/one/08.png\n")
        Path("named.csv").write_text("id,place,place\nalbum/one/08.png,a.png,b.png\n")
        Path("twice.csv").write_text("id,place\nalbum/one/08.png,a.png\nalbum/one/08.png,b.png\n")


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_every_word_is(itae_, verb):
    status, out, err = itae_("knowledge", verb, "--help")
    assert (status, err) == (0, "")
    words = out.partition("positional arguments:")[2].partition("options:")[0]
    for line in filter(None, words.splitlines()):
        assert "  " in line.strip() or line.startswith(" " * 8), f"{line!r} has no explanation"
