"""Words as a query: by themselves for what is shown first, and without the modality gap for when images are judged."""

from __future__ import annotations

from collections.abc import Sequence

from itae.search.judged import Query
from itae.search.text.bridge import bridged
from itae.search.text.encoder import TextEncoder


def text_queries(encoder: TextEncoder, texts: Sequence[str], judging: bool) -> list[Query]:
    """Return a query for each text.

    Parameters
    ----------
    encoder
        The text tower of the base's space.
    texts
        What is looked for.
    judging
        Whether images are, or will be, judged: else the usual texts need not be embedded.

    Raises
    ------
    UserError
        For a text that is empty, or none of whose words the tower knows.
    """
    vectors_TE = encoder.encode(texts)
    if not judging:
        return [Query(vector_E, is_text=True) for vector_E in vectors_TE]
    return [Query(vector_E, is_text=True, among_images_E=bridged(vector_E, encoder.mean_E)) for vector_E in vectors_TE]
