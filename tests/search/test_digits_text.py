"""The embedded text tower: it finds what thirty wordings mean that it never saw, and names words it doesn't know."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itae.app.compose import compose, plain_values
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.images.datasets import Digits
from itae.knowledge.exchange.recipe import encoder_of
from itae.search.text import bridged, text_encoder
from itae.store.store import Store

HERE = Path(__file__).parents[2] / "experiments" / "08_text_tower"
RECIPE = {"resize": "squash", "decode": "full", "edit": None}


def script(name):
    """Import a script of the experiment, with its folder on the path as when it is run."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location(f"experiments_text_{name}", HERE / f"{name}.py")
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
    return module


@pytest.fixture(scope="module")
def train():
    return script("train")


@pytest.fixture(scope="module")
def recipe():
    return RECIPE | {"backbone": plain_values(compose(["backbone=digits_clip"]))["backbone"]}


@pytest.fixture(scope="module")
def texts(recipe):
    return text_encoder(recipe, Runtime("cpu"))


@pytest.fixture(scope="module")
def images(recipe, tmp_path_factory):
    """Return unit vectors and labels of all images, and of those that the tower didn't see."""
    found = Digits().open()
    vectors = encoder_of(recipe, Store(tmp_path_factory.mktemp("cache")), Runtime("cpu"))(found)
    unit_NE, labels_N = vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.asarray(found.labels)
    return {"all": (unit_NE, labels_N), "test": (unit_NE[Digits.TRAIN :], labels_N[Digits.TRAIN :])}


def precision(text_TE, image_NE, labels_N, meant):
    """Return the share of right ones among the ten most similar images, of each text."""
    out = []
    for text_E, some in zip(text_TE, meant, strict=True):
        best = np.argsort(-(image_NE @ text_E), kind="stable")[:10]
        out.append(np.mean([label in some for label in labels_N[best]]))
    return np.array(out)


@pytest.mark.parametrize("split", ["test", "all"])
def test_what_it_is_asked_is_found(train, texts, images, split):
    for kind, some in train.asked().items():
        some = some[:: 1 if kind == "wordings" else 7]
        wordings, meant = zip(*some, strict=True)
        found = precision(texts.encode(wordings), *images[split], meant)
        assert found.mean() >= (0.8 if kind == "wordings" else 0.95), f"{kind}: {found.mean():.3f}"


@pytest.mark.parametrize("split", ["test", "all"])
def test_without_the_gap_a_text_finds_it_as_well(train, texts, images, split):
    for kind, some in train.asked().items():
        some = some[:: 1 if kind == "wordings" else 7]
        wordings, meant = zip(*some, strict=True)
        moved = np.array([bridged(text_E, texts.mean_E) for text_E in texts.encode(wordings)])
        found = precision(moved, *images[split], meant)
        assert found.mean() >= (0.8 if kind == "wordings" else 0.95), f"{kind}: {found.mean():.3f}"


def test_to_take_the_gap_out_helps_once_a_text_and_marks_are_mixed(texts, images, monkeypatch):
    """A gap as wide as CLIP's is planted; the experiment has all rules."""
    gap = script("gap")
    monkeypatch.setattr(gap, "RULES", {name: gap.RULES[name] for name in ("rocchio", "mean_difference")})
    image_NE, labels_N = images["test"]
    usual_TE = texts.encode(texts.usual)
    space = gap.planted(gap.Space(image_NE, usual_TE, lambda text: texts.encode([text])[0]), 0.5)
    assert 0.7 < gap.gap(space.usual.mean(axis=0), space.images.mean(axis=0)) < 1
    plain, moved = (gap.rounds(space, labels_N, 10, move) for move in (lambda _: None, gap.bridge_of(space)))
    for rule in gap.RULES:
        assert moved[rule][:, 1].mean() > plain[rule][:, 1].mean() + 0.02, rule


def test_the_wordings_are_thirty_and_no_sentence_that_is_trained_on_is_one(train):
    from itae.search.text.word_tower import words_of

    wordings = {tuple(words_of(text)) for text, _ in train.wordings()}
    assert len(wordings) == 30
    assert wordings & {tuple(words_of(text)) for some in train.cores().values() for text, _ in some}, (
        "the grammar makes none of them anyway, so this shows nothing"
    )
    drawn = train.Sentences(0).draw(20_000)
    assert not wordings & {tuple(words) for words, _ in drawn}


def test_the_tower_knows_the_words_of_the_grammar_and_no_others(train, texts):
    assert list(texts._tower.vocabulary) == train.vocabulary()


def test_words_that_are_not_known_are_named_and_left_out(texts):
    assert texts.notes("Show me SEVENS, please!") == []
    (note,) = texts.notes("a purple 7, and 12 giraffes: a purple one")
    assert "'purple', '12', 'giraffes'," in note
    known, also = texts.encode(["a 7", "a purple 7"])
    assert np.array_equal(known, also), "nothing is guessed of a word that isn't known"
    for text in ("purple giraffes", "!?"):
        with pytest.raises(UserError, match="knows no word"):
            texts.encode(["seven", text])
    for text in ("", " "):
        with pytest.raises(UserError, match="is empty"):
            texts.encode([text])
    (note,) = texts.notes("seven " * 30)
    assert "reads 24 words" in note


def test_vectors_are_of_unit_length_and_the_same_alone_and_among_others(texts):
    some = ["seven", "show me all the even numbers please", "an odd digit"]
    together = texts.encode(some)
    assert together.dtype == np.float32
    assert together.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    for text, vector in zip(some, together, strict=True):
        np.testing.assert_allclose(texts.encode([text])[0], vector, atol=1e-6)
    assert texts.encode([]).shape == (0, 64)


def test_a_file_without_a_text_tower_is_told(recipe):
    other = recipe["backbone"] | {"checkpoint": "pkg://itae/weights/digits_vit.safetensors"}
    with pytest.raises(UserError, match="holds no text tower"):
        text_encoder({"backbone": other}, Runtime("cpu")).encode(["seven"])


REFUSED = {
    "backbone=digits_vit": ("digits_vit embeds images alone", "backbone=digits_clip"),
    "backbone=dinov2_s14": ("embeds images alone", "backbone=digits_clip"),
    "backbone=digits_clip backbone.pool=cls": ("CLS tokens before the projection", "NEW backbone.pool=projection"),
    "backbone=clip_b16": ("CLS tokens before the projection", "rebuild KB NEW backbone.pool=projection"),
    "backbone=clip_b32 backbone.pool=head": ("what comes before the projection", "NEW backbone.pool=projection"),
    "backbone=timm backbone.model_name=vit_base_patch16_clip_224.openai": (
        "CLS tokens", "NEW backbone.model_name=vit_base_patch16_clip_quickgelu_224.openai backbone.pool=projection",
    ),
    "backbone=siglip_b16 backbone.pool=mean": ("means of patch tokens", "NEW backbone.pool=head"),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_a_space_without_texts_is_refused_in_a_sentence_that_says_what_helps(words):
    with pytest.raises(UserError, match="There is no text tower in this space") as told:
        text_encoder({"backbone": plain_values(compose(words.split()))["backbone"]}, Runtime("cpu"))
    assert "\n" not in str(told.value)
    assert all(part in str(told.value) for part in REFUSED[words])


def test_a_refusal_imports_neither_torch_nor_open_clip():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['open_clip'] = None  # whoever imports one fails\n"
        "from itae.base.runtime import Runtime; from itae.search.text import text_encoder\n"
        "node = {'model_name': 'vit_base_patch16_clip_quickgelu_224', 'pool': 'cls'}\n"
        "try: text_encoder({'backbone': node}, Runtime())\n"
        "except Exception as error: print(type(error).__name__)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "UserError\n"
