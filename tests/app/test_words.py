"""A command line's words: what is meant as text is text, and what can't be read is told as a shell is given it."""

from __future__ import annotations

import importlib
import inspect
import re
import string
import subprocess
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hydra_plugins.itae_sweeps import PLUGINS, GridSweeper
from itae.app.compose import PORTABLE, compose, conf_dir, groups_of
from itae.app.words import GROUPS, LISTS, TEXTS, as_typed
from itae.base.construct import NEEDS
from itae.base.typed import quoted, to_type
from itae.portable.nets.spec import Spec

NUMBERS = ("2024", "2024_05", "1e3", "0x10", "true", "FALSE", ".5", "007", "-1", "1.50", "1.", "inf", "nan", "1_0")
SPECIAL = string.punctuation + " é日😀"


def parsed(word: str):
    return OverridesParser.create().parse_override(word)


def job_words(*words: str) -> list[list[str]]:
    """Return the words of each job of a sweep."""
    return GridSweeper.split_arguments([parsed(word) for word in as_typed(words)], None)[0]


# --- numbers as names


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_text_where_the_option_is(name):
    config = compose(
        ["dataset=imagefolder", f"dataset.root={name}", f"dataset.split={name}", f"tracker.tags=[a,{name}]"]
    )
    assert (config.dataset.root, config.dataset.split, config.tracker.tags) == (name, name, ["a", name])


@pytest.mark.parametrize("name", NUMBERS)
def test_so_it_is_for_every_option_of_the_kind(name):
    for key in TEXTS - LISTS:
        assert parsed(*as_typed([f"{key}={name}"])).value() == name


@pytest.mark.parametrize("name", ["2024", "2024_05", "1e3", "true"])
@pytest.mark.parametrize("word", ["experiment={}", "+experiment={}", "experiment=[smoke,{}]"])
def test_so_it_is_where_a_config_of_ones_own_is_chosen(tmp_path, itae_, name, word):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / f"mine/experiment/{name}.yaml").write_text("# @package _global_\nseed: 77\n")
    status, out, err = itae_("--cfg", "job", "--config-dir", "mine", word.format(name))
    assert (status, err) == (0, "")
    assert "seed: 77" in out


def test_what_is_told_of_several_has_no_quotes_of_ours(itae_):
    assert "'experiment=1,demo'; to sweep over it" in itae_("experiment=1,demo")[2]


def test_a_group_is_told_by_its_folder():
    assert {*groups_of(), *groups_of(PORTABLE)} - {"hydra"} == GROUPS
    folders = {folder.name for folder in conf_dir().iterdir() if folder.is_dir()}
    assert folders == {*groups_of(), PORTABLE}, "and itae portable is no group of a run"


@pytest.mark.parametrize("name", NUMBERS)
def test_so_it_is_in_every_way_to_set_it(name):
    key = "dataset.root"
    (word,) = as_typed([f"{key}={name}"])
    assert parsed(word).value() == name
    assert as_typed([word]) == [word], "and once more changes nothing"
    (forced,) = as_typed([f"++{key}={name}"])
    assert parsed(forced).value() == name
    first, second = ([parsed(word).value() for word in words] for words in job_words(f"{key}=x,{name}", "seed=1"))
    assert (first, second) == (["x", 1], [name, 1])


@pytest.mark.parametrize(
    ("word", "jobs"),
    [
        ("dataset.root=2023,2024_05", ["2023", "2024_05"]),
        ("dataset.root=choice(2023, 2024_05)", ["2023", "2024_05"]),
        ("dataset.root=range(2019,2021)", ["2019", "2020"]),
        ("tracker.tags=[1,a],[2_0]", [["1", "a"], ["2_0"]]),
        ("backbone.checkpoint=null,2024", [None, "2024"]),
        ("detector.k=1,2_0", [1, 20]),
    ],
)
def test_a_sweep_over_numbers_as_names(word, jobs):
    assert [parsed(one).value() for (one,) in job_words(word)] == jobs


@pytest.mark.parametrize(
    "word",
    ["seed=3", "clusterer.k=2_0", "runtime.links=true", "dataset.root=a", "dataset.root=null", "dataset.root=[1",
     "dataset.root='2024'", "dataset.root=a[1]", "detector.k=.5", "dataset.root", "layers=[1,2]"],
)  # fmt: skip
def test_other_words_stay_as_they_are(word):
    assert as_typed([word]) == [word]


def test_the_options_that_are_text_are_known():
    """All of the classes that the shipped yamls name, but for those with a few fixed values."""
    choices = {"pool", "precision", "resize", "decode", "bad_image"}
    choices |= {"protocol", "gallery", "rivals", "voters", "condition", "rules", "within"}
    choices |= {"rule", "side", "scope", "vector", "signals", "layer", "init", "mode", "queries", "gpus"}
    choices |= {"k", "linkage", "covariance", "reduce", "scale", "spaces"}
    choices |= {
        "architecture",
        "options",
        *Spec.__dataclass_fields__,
        "camera",
        "blur",
        "packages",
        "light",
        "statistic",
    }
    found = set()
    for group in (*NEEDS, "net", "data", "blur", "noise", "pairs", "train", "measure"):
        home = conf_dir() if group in NEEDS else conf_dir() / PORTABLE
        for file in (home / group).glob("*.yaml"):
            target = yaml.safe_load(file.read_text(encoding="utf-8")).get("_target_", "itae.tracking.NoTracker")
            module, _, name = target.rpartition(".")
            cls = getattr(importlib.import_module(module), name)
            found |= {f"{group}.{each.name}" for each in inspect.signature(cls).parameters.values()
                      if "str" in str(each.annotation) and each.name not in choices}  # fmt: skip
    for launcher in PLUGINS:
        found |= {f"hydra.launcher.{each.name}" for each in inspect.signature(launcher).parameters.values()
                  if str(each.annotation).startswith("str")}  # fmt: skip
    found.remove("net.name")  # which is told as what it is
    found.add("teacher.weights")
    others = ("hydra.job", "hydra.run", "hydra.sweep", "out", "paths", "runtime.ray")
    assert found == {key for key in TEXTS if not key.startswith(others)}


@given(value=st.text("a2,[]()'\"\\\\ ${}.-_:") | st.from_regex(r"[2a\[\]',.]{1,6}", fullmatch=True))
@example(value="${x}2")
@example(value="a\\,2")
@example(value="[1,2],'3',4_0")
def test_a_text_stays_what_it_is_and_what_can_be_read_still_can(value):
    word = f"dataset.root={value}"
    try:
        before = parsed(word)
    except HydraException:
        assert as_typed([word]) == [word]
        return
    after = parsed(*as_typed([word]))
    assert after.is_sweep_override() == before.is_sweep_override()
    if isinstance(before.value(), str):
        assert after.value() == before.value()


# --- any name in quotes


@given(text=st.text())
@example(text='a\\${b}\\\\${c} "q" \\\' \\')
@example(text="${no}$x{}\\")
def test_quoted_text_is_that_text(text):
    for mark in "\"'":
        value = parsed(f"dataset.root={quoted(text, mark)}").value()
        assert OmegaConf.create({"root": value}).root == text


ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def as_a_shell_has_it(word: str) -> list[str]:
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {word}"], capture_output=True, check=True)
    return [text.decode() for text in done.stdout.split(b"\0")[:-1]]


@settings(max_examples=30)  # a process each
@given(texts=st.lists(ANY, min_size=1, max_size=3))
def test_a_shell_hands_it_over_as_it_is(texts):
    words = as_a_shell_has_it(to_type("dataset.root", *texts))
    assert words == [f"dataset.root={','.join(map(quoted, texts))}"]


@pytest.mark.parametrize("character", SPECIAL)
def test_the_sentence_has_the_very_word_to_type(itae_, character):
    name = f"odd{character}p (1)"
    status, out, err = itae_("dataset=imagefolder", f"dataset.root={name}")
    assert (status, out, err.count("\n")) == (2, "", 1)
    told = re.search(r"as a text it is (.*?)(?: for one text, .*)?\.\n$", err)
    assert told, err
    (word,) = as_a_shell_has_it(told[1])
    assert f"dataset.root='{name}' does not exist" in itae_("dataset=imagefolder", word)[2]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("a,b", "a,b"),
        ("[x]", "[x]"),
        ("{a:1}", "{a:1}"),
        ("a${no}b", "a${no}b"),
        ("#a", "#a"),
        ("2024,05", "2024,05"),
        ("[2019]", "[2019]"),
        ("a,1e3", "a,1e3"),
    ],
)
def test_what_hydra_reads_as_something_else_is_told_so_too(itae_, typed, name):
    err = itae_("dataset=imagefolder", f"dataset.root={typed}")[2]
    (word,) = as_a_shell_has_it(re.search(r"'dataset\.root=\".*\"'(?=\.\n)", err)[0])
    assert f"dataset.root='{name}' does not exist" in itae_("dataset=imagefolder", word)[2]


def test_of_several_each_is_told(itae_):
    err = itae_("-m", "dataset=imagefolder", "dataset.root=a (1),b (2)")[2]
    one, several = re.search(r"as a text it is (.*) for one text, (.*) for 2\.\n$", err).groups()
    assert parsed(as_a_shell_has_it(one)[0]).value() == "a (1),b (2)"
    jobs = job_words(*as_a_shell_has_it(several))
    assert [parsed(word).value() for (word,) in jobs] == ["a (1)", "b (2)"]


def test_the_word_that_is_told_works_in_a_shell(tmp_path, itae_):
    """All of the characters at once, typed into ``sh``."""
    name = f"o {SPECIAL.replace('/', '')}"
    Path(tmp_path, name, "empty").mkdir(parents=True)
    told = re.search(r"as a text it is (.*) for one text", itae_("dataset=imagefolder", f"dataset.root={name}")[2])
    assert told
    (word,) = as_a_shell_has_it(told[1])
    assert "holds no images" in itae_("dataset=imagefolder", word)[2]
