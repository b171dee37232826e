"""Entries that others may take rows from are found, and the images in them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itae.store.donors import donors, places
from itae.store.store import Key, Store

DIGESTS = st.lists(st.binary(min_size=2, max_size=2), max_size=12)


def as_digests(few):
    """Return digests of which many are alike, and many begin alike: those of one first byte."""
    return np.array([[one[0]] * 8 + [one[1]] * 24 for one in few], np.uint8).reshape(-1, 32)


@given(DIGESTS, DIGESTS)
def test_places_are_those_of_a_slow_search(some, there):
    found = places(as_digests(some), as_digests(there))
    assert found.shape == (len(some),)
    for one, place in zip(some, found.tolist(), strict=True):
        if place >= 0:
            assert there[place] == one
        else:
            assert one not in there or sum(other[0] == one[0] for other in there) > 1, "only the first of those alike"


@given(st.permutations(range(50)), st.sets(st.integers(0, 80)))
def test_what_begins_otherwise_is_always_found(there, some):
    rng = np.random.default_rng(0)
    digests, wanted = rng.integers(0, 256, (81, 32), np.uint8), sorted(some)
    expected = [there.index(i) if i in there else -1 for i in wanted]
    assert places(digests[wanted], digests[list(there)]).tolist() == expected


def publish(store, key, n=3):
    with store.claim([key]) as missing:
        work = store.draft(missing[0], n, n)
        work.write(0, {"vectors": np.ones((n, 2), np.float32)}, {})
        return work.publish([str(i) for i in range(n)], None, [bytes([i]) * 32 for i in range(n)], {})


def test_entries_of_a_backbone_are_donors_in_whatever_data_set(tmp_path):
    store = Store(tmp_path)
    entries = [publish(store, Key({"edit": None, "i": i}, {}, (f"set{i}-all", "vit"))) for i in range(3)]
    publish(store, Key({"edit": None}, {}, ("set0-all", "vit_large")))
    unfinished = Key({"edit": None, "i": 9}, {}, ("set0-all", "vit"))
    with store.claim([unfinished]):
        store.draft(unfinished, 3, 3)
    (tmp_path / ".facts" / "vit" / "x").mkdir(parents=True)
    (tmp_path / "set0-all" / "vit" / ".trash-0123456789abcdef-00000000").mkdir()
    (tmp_path / "set0-all" / "vit" / "a file").write_text("")
    found = list(donors(tmp_path, "vit"))
    assert [donor.path for donor in found] == [entry.path for entry in entries]
    assert found[0].digests().tolist() == [[i] * 32 for i in range(3)]
    assert found[0].read().meta["seal"] == entries[0].meta["seal"]


def test_an_entry_that_was_made_again_meanwhile_is_not_the_one_that_was_found(tmp_path):
    store, key = Store(tmp_path), Key({"edit": None}, {}, ("set-all", "vit"))
    publish(store, key)
    (donor,) = donors(tmp_path, "vit")
    later = donor._replace(meta={**donor.meta, "seal": "of before"})
    assert later.read() is None
    assert donor.read() is not None
