"""Texts as values of options; what Hydra makes of them is asked in ``tests/app/test_words.py``."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itae.base.errors import UserError
from itae.base.typed import quoted, to_type, told
from itae.images.datasets import Cifar, ImageFolder


def test_quotes_backslashes_and_dollars():
    assert quoted('a "b"') == r'"a \"b\""'
    assert quoted("a\\") == r'"a\\"'
    assert quoted("a\\b${c}$d") == r'"a\b\${c}$d"'
    assert to_type("dataset.root", "odd/p (1)") == """'dataset.root="odd/p (1)"'"""
    assert to_type("dataset.root", "it's") == """'dataset.root="it'"'"'s"'"""
    assert told("dataset.root", "/a/b c") == "dataset.root='/a/b c'"
    assert told("dataset.root", "/a/é") == """'dataset.root="/a/é"'"""


def test_a_sentence_that_names_another_folder_has_the_word_to_type(tmp_path):
    top = tmp_path / "photos (1)"
    for name in "ab":
        (top / "in é" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(top / "in é" / name / "1.png")
    with pytest.raises(UserError) as caught:
        ImageFolder(root=str(top)).open()
    assert to_type("dataset.root", str(top / "in é")) in str(caught.value)


def test_so_has_the_command_that_fetches_a_data_set(tmp_path):
    with pytest.raises(UserError) as caught:
        Cifar(name="cifar10", variant=10, root=str(tmp_path / "é (1)")).open()
    assert str(caught.value).endswith(
        f"itae prepare dataset=cifar10 {to_type('dataset.root', str(tmp_path / 'é (1)'))}"
    )
