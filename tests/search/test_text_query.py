"""Words as a query: by themselves at first, and without the modality gap once images are judged."""

from __future__ import annotations

import numpy as np

from itae.search.text.encoder import TextEncoder
from itae.search.text.query import text_queries


class Words(TextEncoder):
    """Words whose vectors are their letters."""

    usual = ("ab", "ba")

    def _encode(self, texts):
        return np.array([[text.count(letter) + 0.5 for letter in "abcd"] for text in texts])


def test_words_stand_for_what_sets_them_apart_from_usual_ones():
    encoder = Words()
    (query,) = text_queries(encoder, ["aab"], judging=True)
    plain = np.array([2.5, 1.5, 0.5, 0.5]) / np.linalg.norm([2.5, 1.5, 0.5, 0.5])
    np.testing.assert_allclose(query.vector_E, plain, rtol=1e-6)
    special = plain - np.array([1.5, 1.5, 0.5, 0.5]) / np.linalg.norm([1.5, 1.5, 0.5, 0.5])
    np.testing.assert_allclose(query.among_images_E, special / np.linalg.norm(special), rtol=1e-5)
    assert query.is_text


def test_without_a_judgement_usual_texts_are_not_embedded():
    (alone,) = text_queries(encoder := Words(), ["aab"], judging=False)
    assert alone.among_images_E is None
    assert "mean_E" not in vars(encoder)
