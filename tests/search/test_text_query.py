"""Words as a query: by themselves at first, and among images once some are judged."""

from __future__ import annotations

import numpy as np
from snapshots import snapshot_of

from itae.search.text.encoder import TextEncoder
from itae.search.text.query import mean_of, text_queries


class Words(TextEncoder):
    """Words whose vectors are their letters."""

    usual = ("ab", "ba")

    def _encode(self, texts):
        return np.array([[text.count(letter) + 0.5 for letter in "abcd"] for text in texts])


def drawn(n=500):
    vectors = np.random.default_rng(0).standard_normal((n, 4)) + 2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_words_stand_where_the_gap_between_the_means_leads_them():
    snapshot, encoder = snapshot_of(drawn()), Words()
    (query,) = text_queries(encoder, ["aab"], snapshot, judging=True)
    plain = np.array([2.5, 1.5, 0.5, 0.5]) / np.linalg.norm([2.5, 1.5, 0.5, 0.5])
    np.testing.assert_allclose(query.vector_E, plain, rtol=1e-6)
    moved = plain - encoder.mean_E + snapshot.vectors_ME.astype(float).mean(axis=0)
    np.testing.assert_allclose(query.among_images_E, moved / np.linalg.norm(moved), rtol=1e-5)
    assert query.is_text
    (alone,) = text_queries(encoder, ["aab"], snapshot, judging=False)
    assert alone.among_images_E is None


def test_a_mean_is_the_same_to_the_last_bit_in_any_order_of_rows():
    vectors = drawn(9000)
    order = np.random.default_rng(1).permutation(len(vectors))
    here, there = mean_of(snapshot_of(vectors)), mean_of(snapshot_of(vectors[order]))
    assert here.tobytes() == there.tobytes()
    np.testing.assert_allclose(here, vectors.astype(float).mean(axis=0), atol=1e-12)
