"""What nobody is to read in a run's folder: hidden wherever it is written, and given to the run."""

from __future__ import annotations

import logging

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from itae.base.secrets import HIDDEN, Veil, hidden, hidden_word, hide_in_files

WORDS = {
    "runtime.ray.runtime_env={env_vars:{HF_TOKEN:tops3cret,MODE:'1'}}": "runtime.ray.runtime_env={env_vars:***}",
    "runtime.ray.runtime_env.env_vars.ANYTHING=tops3cret": "runtime.ray.runtime_env.env_vars.ANYTHING=***",
    "+runtime.ray.runtime_env.env_vars={A:tops3cret}": "+runtime.ray.runtime_env.env_vars=***",
    "++tracker.api_key=tops3cret": "++tracker.api_key=***",
    "hydra.sweeper.storage=postgresql://me:tops3cret@host/db": "hydra.sweeper.storage=postgresql://me:***@host/db",
    "hydra.sweeper.storage=mysql+pymysql://me:tops3cret@host:3306/db": "hydra.sweeper.storage=mysql+pymysql://me:***@host:3306/db",
    "dataset.root=https://tops3cret@host/set": "dataset.root=https://***@host/set",
    "dataset.root='s3://host/set?X-Amz-Signature=tops3cret&a=1'": "dataset.root='s3://host/set?X-Amz-Signature=***&a=1'",
    "hydra.sweeper.storage=mysql://me:tops/3cret@host/db": "hydra.sweeper.storage=mysql://me:***@host/db",
    "x.password='tops3cret'": "x.password=***",
    "x.password=tops3cret and more": "x.password=***",
    "x.password=tops3cret,another": "x.password=***",
    "x.token.of_mine=tops3cret": "x.token.of_mine=***",
    "detector.api_key=tops3cret": "detector.api_key=***",
    "detector={scope:token,api_key:tops3cret}": "detector={scope:token,api_key:***}",
    'x.db={user:me,password:"tops3cret, too",port:3}': "x.db={user:me,password:***,port:3}",
    "x.aws_secret_access_key=tops3cret": "x.aws_secret_access_key=***",
}  # fmt: skip
PLAIN = [
    "detector.scope=token", "layers=[8,9,-1]", "paths.cache=/data/token/cache", "x.tokens=3", "x.author=me", "seed=1",
    "hydra.run.dir=outputs/${now:%Y}-${itae_token:run}", "x.key=3", "dataset.root=https://host/a@b", "x.monkey=3",
    "detector=key_norm", "control=random", "runtime.ray.address=ray://host:10001", "x.tokenizer=a", "x.secretary=",
    "detector.token=cls", "++control.match.use_token=true", "task.token_kind=cls,register", "x.url=http://host:80/a@b",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_told_without_its_secret(word):
    assert hidden_word(word) == WORDS[word]
    assert hidden_word(WORDS[word]) == WORDS[word], "once more changes nothing"
    OverridesParser.create().parse_override(WORDS[word])  # what reads words goes on reading them


@pytest.mark.parametrize("word", PLAIN)
def test_other_words_are_told_as_they_are(word):
    assert hidden_word(word) == word


def test_what_a_rule_calls_a_token_is_told():
    """In a table of a sweep over them, all would be one setting, and in a log each such word a secret."""
    settings = {"detector": {"token": "cls", "match": {"token": "register", "password": "tops3cret"}}}
    assert hidden(settings) == {"detector": {"token": "cls", "match": {"token": "register", "password": HIDDEN}}}
    assert Veil(settings)("pool=cls") == "pool=cls"


SETTINGS = {
    "runtime": {"ray": {"runtime_env": {"env_vars": {"A": "tops3cret", "B": 12345}, "pip": ["x"]}}},
    "dataset": {"root": "s3://me:tops3cret@host/set", "limit": 3},
    "x": [{"api_key": "tops3cret", "password": None, "scope": "token", "tokens": 5}],
}


def test_settings_are_told_without_secrets_and_are_not_changed():
    assert hidden(SETTINGS) == {
        "runtime": {"ray": {"runtime_env": {"env_vars": {"A": HIDDEN, "B": HIDDEN}, "pip": ["x"]}}},
        "dataset": {"root": "s3://me:***@host/set", "limit": 3},
        "x": [{"api_key": HIDDEN, "password": None, "scope": "token", "tokens": 5}],
    }
    assert SETTINGS["x"][0]["api_key"] == "tops3cret"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(
    st.sampled_from(["password", "hf_token", "scope", "layers", "env_vars"]), s)))  # fmt: skip
def test_hiding_keeps_all_keys_and_what_was_hidden_stays_so(node):
    def shape(one):
        return {key: shape(value) for key, value in one.items()} if isinstance(one, dict) else len(one) if isinstance(
            one, list) else one is None  # fmt: skip

    assert shape(hidden(node)) == shape(node)
    assert hidden(hidden(node)) == hidden(node)


def test_a_log_and_an_error_are_told_without_secrets(tmp_path):
    veil, file = Veil(SETTINGS), tmp_path / "run.log"
    assert veil("no host for s3://me:tops3cret@host/set (tops3cret)") == "no host for s3://me:***@host/set (***)"
    handler, log = logging.FileHandler(file), logging.getLogger()
    log.addHandler(handler)
    try:
        with veil.over_logs():
            logging.getLogger("a.b").warning("with %s", "tops3cret")
            try:
                raise ValueError("tops3cret is wrong")
            except ValueError:
                logging.getLogger("a").error("it failed", exc_info=True)
        log.warning("after")
    finally:
        log.removeHandler(handler)
    text = file.read_text()
    assert "tops3cret" not in text
    assert "with ***" in text
    assert "ValueError: *** is wrong" in text
    assert "after" in text
    assert not handler.filters


def test_files_of_hydras_are_told_without_secrets(tmp_path):
    file, other = tmp_path / "config.yaml", tmp_path / "hydra.yaml"
    file.write_text(yaml.safe_dump(SETTINGS | {"task": list(WORDS), "dir": "a-${itae_token:run}"}))
    other.write_text("# as it is\nlayers: last\ndir: a-${itae_token:run}\nstream: ext://sys.stderr\n")
    before = other.stat().st_mtime_ns
    hide_in_files([file, other, tmp_path / "none.yaml"])
    assert yaml.safe_load(file.read_text()) == hidden(SETTINGS) | {
        "task": [*WORDS.values()],
        "dir": "a-${itae_token:run}",
    }
    assert other.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "secret",
    [["tops3cret", "x"], {"a": {"b": "tops3cret"}}, "tops3cret " * 40, "tops3cret\n" * 4],
    ids=["a list", "a mapping", "words", "lines"],
)
def test_so_are_files_whose_secrets_take_several_lines(tmp_path, secret):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"x": {"api_key": secret}}))
    hide_in_files([file])
    assert "tops3cret" not in file.read_text()
