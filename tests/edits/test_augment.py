"""Test-time augmentation: which views there are, what is taken of them, and what they cost."""

from __future__ import annotations

from unittest import mock

import families
import numpy as np
import pytest
import reference
import torch

from itae.base.errors import UserError
from itae.edits.attenuate import Fade
from itae.edits.augment import Augment, View
from itae.edits.detect import VectorNorm
from itae.edits.edit import Edit, passes_of
from itae.embed.replay import SharedPass
from itae.images.transform import Transform, normalise
from itae.store.entry import canonical

ATTENTION = Edit(VectorNorm(vector="value", rule="quantile", quantile=0.2, side="high"), Fade(), (1, 2))


def made(**options):
    return Augment(**options).make(None, None, "last", mock.Mock(depth=3))


def digest_of(one):
    return canonical(one.spec(3, "cls"))


@pytest.mark.parametrize("view", [view for flip in (False, True) for view in Augment(9 + 9 * flip, flip, 3).listed()])
def test_a_view_is_the_picture_moved_and_mirrored_pixel_by_pixel(view):
    picture = np.random.default_rng(0).integers(0, 256, (2, 11, 11, 3), dtype=np.uint8)
    transform = Transform(11)
    found = view.of(normalise(torch.from_numpy(picture), transform))
    want = np.stack([reference.view(one, *view) for one in picture])
    assert torch.equal(found, normalise(torch.from_numpy(want), transform)), "the same pixels, to the last bit"
    assert found.is_contiguous()


def test_a_shift_past_the_edge_leaves_the_edge():
    ramp = torch.arange(5.0).expand(1, 3, 5, 5)
    assert View(0, 64).of(ramp).eq(0).all()
    assert View(0, -64).of(ramp).eq(4).all()


def test_the_views_in_their_order():
    assert made().views == (View(), View(mirrored=True))
    assert made(views=3, flip=False, shift=2).views == (View(), View(0, 2), View(0, -2))
    ten = made(views=10, shift=5).views
    assert ten[2:4] == (View(0, 5), View(0, 5, True))
    for views in (ten, made(views=18).views, made(views=5, flip=False).views, made(views=9, flip=False).views):
        assert len({*views}) == len(views)
        assert np.sum([view[:2] for view in views], axis=0).tolist() == [0, 0], "they lie evenly around the image"


@pytest.mark.parametrize(
    ("family", "pool"),
    [*((name, pool) for name in ("dinov2", "registers", "dinov3", "rope_mixed") for pool in ("cls", "mean")),
     ("siglip", "head"), ("siglip", "mean")],
)  # fmt: skip
def test_it_is_the_mean_of_what_the_model_gives_of_each_view(family, pool):
    model = families.small(family)
    pixels = families.pixels(model)
    one = made(views=5, shift=3)
    untouched, found = SharedPass(model, model.num_prefix_tokens, pool, [None, one])(pixels, families.digests(3))

    def plain(view):
        with torch.inference_mode():
            tokens = model.forward_features(view)
        if pool == "head":
            return model.forward_head(tokens, pre_logits=True)
        return tokens[:, 0] if pool == "cls" else tokens[:, model.num_prefix_tokens :].mean(dim=1)

    assert torch.equal(untouched, plain(pixels))
    each = [plain(view.of(pixels)) for view in one.views]
    torch.testing.assert_close(found, torch.stack(each).double().mean(dim=0).float(), atol=1e-6, rtol=1e-6)
    assert (found - untouched).abs().max() > 0.01, "else nothing was tested"


def test_each_view_passes_once_whoever_wants_it_and_the_image_is_the_baseline():
    model = families.small("dinov2")
    model.forward_features = mock.Mock(wraps=model.forward_features)
    two, ten, straight = made(), made(views=10, shift=2), made(views=3, flip=False, shift=2)
    pixels, digests = families.pixels(model), families.digests(3)
    edits = [straight, ATTENTION, two, None, ten, two]
    together = SharedPass(model, 1, "cls", edits)(pixels, digests)
    assert model.forward_features.call_count == len({*two.views, *ten.views, *straight.views}) == 10
    for one, found in zip(edits, together, strict=True):
        (alone,) = SharedPass(model, 1, "cls", [one])(pixels, digests)
        if isinstance(one, Edit):
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)
        else:
            assert torch.equal(found, alone), "whoever else is in the pass, to the last bit"


def test_an_image_is_embedded_the_same_in_any_batch():
    model = families.small("dinov2")
    pixels = families.pixels(model, 6)
    shared = SharedPass(model, 1, "cls", [made(views=4, shift=2)])
    (together,) = shared(pixels, families.digests(6))
    for i in range(6):
        (one,) = shared(pixels[i : i + 1], families.digests(1))
        torch.testing.assert_close(one[0], together[i], atol=1e-5, rtol=1e-5)


def test_the_key_has_the_views_and_nothing_that_they_do_not_depend_on():
    assert digest_of(made()) == digest_of(made(shift=9)), "nothing is moved"
    assert digest_of(made(views=2, flip=False)) != digest_of(made())
    several = [made(), made(views=3), made(views=3, shift=5), made(views=10), made(views=3, flip=False)]
    assert len({digest_of(one) for one in several}) == len(several)
    spec = made().spec(3, "cls")
    assert spec["augment"] == {"class": "itae.augment.Augment", "views": [[0, 0, False], [0, 0, True]]}
    assert {*spec} == {"method", "augment"}, "detector, attenuator and layers are not read"


def test_what_it_costs():
    assert [passes_of(one) for one in (None, ATTENTION, made(), made(views=10))] == [1, 1, 2, 10]


def test_one_view_and_no_layers_are_no_edit():
    assert made(views=1) is None
    assert Augment().make(None, None, "none", mock.Mock(depth=3)) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"views": 0}, "edit.views=0"),
        ({"views": 2.0}, "edit.views=2.0"),
        ({"views": 19}, "edit.views=19: with edit.flip=true there are 18 views; use 18 at most"),
        ({"views": 10, "flip": False}, "edit.views=10: with edit.flip=false there are 9 views"),
        ({"flip": "no"}, "edit.flip='no' must be true or false"),
        ({"shift": 0}, "edit.shift=0 must be a whole number of at least 1 and at most 64"),
        ({"shift": 65}, "edit.shift=65"),
    ],
)
def test_mistakes_are_told(options, told):
    with pytest.raises(UserError, match=told):
        Augment(**options)
