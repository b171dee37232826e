"""Words in the space of images: text towers of the same weights, and the gap between the two kinds of vectors.

`choose`          the tower of a base's space, by its recipe
`encoder`         what every tower does
`towers`          which tower belongs to which backbone, and what is refused
`both_towers`     the file with the text tower that belongs to a base's images
`open_clip_tower` those of CLIP and SigLIP, by open_clip
`digits_tower`    the embedded one, of `backbone=digits_clip`
`word_tower`      its model
`bridge`          a text's vector among those of images
`query`           words as what a search goes by

None of them imports torch or open_clip before a text is encoded.
"""

from __future__ import annotations

from itae.search.text.bridge import bridged, gap
from itae.search.text.choose import text_encoder
from itae.search.text.encoder import TextEncoder
from itae.search.text.query import text_queries

__all__ = ["TextEncoder", "bridged", "gap", "text_encoder", "text_queries"]
