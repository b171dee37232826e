"""What a data set knows of its images comes into a base: several labels, and attributes as metadata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from bases import base

from itae.app.compose import compose, plain_config
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.images.dataset import Dataset
from itae.images.formats import Listing
from itae.knowledge.exchange.incoming import incoming
from itae.knowledge.exchange.recipe import recipe_of
from itae.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Toy(Dataset):
    """Three pictures, the last of which has no label."""

    name: str = "toy"
    split: str = "all"
    column: str = "shade"

    def _find(self) -> Listing:
        pixels = [np.full((8, 8), 90 * i, np.uint8) for i in range(3)]
        attributes = {self.column: ["dark", "grey", "light"], "age": ["old", "old", "new"]}
        return Listing(["a", "b", "c"], pixels, [0, 1, 1], ["x", "y"], [("x",), ("x", "y"), ()], attributes)


@pytest.fixture
def encoder(tmp_path):
    plain = {**plain_config(compose([])), "resize": "squash", "decode": "full"}
    return recipe_of(plain, False, Store(tmp_path / "cache"), Runtime("cpu", num_workers=0))[1]


def test_rows_have_several_labels_and_attributes(encoder, tmp_path):
    rows = incoming(encoder, Toy())
    assert rows.labels == [("x",), ("x", "y"), ()]
    assert rows.metadata == {"shade": ["dark", "grey", "light"], "age": ["old", "old", "new"]}
    kb = base("memory", tmp_path)
    kb.commit(kb.add(rows))
    snapshot = kb.snapshot()
    assert [snapshot.labels_of(snapshot.position[f"toy/{id_}"]) for id_ in "abc"] == [("x",), ("x", "y"), ()]
    assert snapshot.column("shade", snapshot.position["toy/b"]) == "grey"


def test_what_is_said_by_options_counts(encoder, tmp_path):
    table = tmp_path / "meta.csv"
    table.write_text("id,age,ward\na,7,W1\nc,9,W2\n")
    rows = incoming(encoder, Toy(limit=2), label="z")
    assert rows.labels == [("z",), ("z",)]
    assert rows.metadata["shade"] == ["dark", "grey"], "a limit takes them too"
    rows = incoming(encoder, Toy(), meta=str(table))
    assert rows.metadata == {"shade": ["dark", "grey", "light"], "age": [7, None, 9], "ward": ["W1", None, "W2"]}
    assert incoming(encoder, Toy(), label="none").labels == [()] * 3


def test_an_attribute_that_means_something_in_a_base_is_refused_ahead_of_the_work(encoder, monkeypatch):
    monkeypatch.setattr("itae.knowledge.exchange.incoming.extract", None)
    with pytest.raises(UserError, match="dataset=toy has an attribute 'source', which means something already"):
        incoming(encoder, Toy(column="source"))
