"""The text tower that belongs to a base, by the recipe of its space."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.construct import construct
from itae.base.runtime import Runtime
from itae.search.text.encoder import TextEncoder
from itae.search.text.towers import Tower, tower_of
from itae.store.store import Store

if TYPE_CHECKING:
    from itae.vit.backbone import Backbone


def text_encoder(recipe: Mapping[str, Any], runtime: Runtime, store: Store | None = None) -> TextEncoder:
    """Return the text tower of the space that a base's recipe makes.

    An edit of attention leaves the images in the joint space, so the recipe may have one.

    Parameters
    ----------
    recipe
        The words of a base (``base.about.words``), of which ``backbone`` counts.
    runtime
        Its device.
    store
        Where what is known of models is kept; without one it is read anew.

    Raises
    ------
    UserError
        If there is no text tower in that space, its package isn't installed, or its weights aren't there.
    """
    tower_of(recipe["backbone"])
    return encoder_of(construct("backbone", recipe["backbone"]), runtime, store)


def encoder_of(backbone: Backbone, runtime: Runtime, store: Store | None = None) -> TextEncoder:
    """Return the text tower of a backbone's space, as `text_encoder` does of a recipe."""
    tower = _tower(backbone)
    if not tower.configs:
        from itae.search.text.digits_tower import DigitsText

        return DigitsText(backbone.local_checkpoint())
    from itae.search.text.both_towers import weights_of_texts
    from itae.search.text.open_clip_tower import OpenClipText, require_open_clip

    require_open_clip()
    with tempfile.TemporaryDirectory() as nowhere:
        facts = backbone.facts(store.root / ".facts" if store else Path(nowhere))
    return OpenClipText(tower, weights_of_texts(backbone, facts, tower), runtime.torch_device())


def require_tower(backbone: Backbone) -> bool:
    """Return whether a backbone's text tower is the embedded one; a `UserError` if there is none, or no package for it.

    Nothing is loaded.
    """
    if not _tower(backbone).configs:
        return True
    from itae.search.text.open_clip_tower import require_open_clip

    require_open_clip()
    return False


def _tower(backbone: Backbone) -> Tower:
    return tower_of({"model_name": backbone.model_name, "pool": backbone.pool})
