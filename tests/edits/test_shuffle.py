"""Values of other images: what is kept of calibration images, and who gets which."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.edits.controls import RegisterMean, Shuffle, edit_under
from itae.edits.detect import Nothing, Random, VectorNorm
from itae.edits.edit import Attention, Edit
from itae.edits.shuffle import MOST, Flagged, Pool, flagged_values
from itae.edits.shuffle import Shuffle as ShuffledValue
from itae.edits.site import Flags, Site

PREFIX, HEADS, PATCHES, WIDTH = 2, 3, 6, 4


def name(i):
    return bytes([i]) * 32


def site_of(images, digests=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, images, HEADS, PREFIX + PATCHES, WIDTH, generator=generator)
    x = torch.zeros(images, PREFIX + PATCHES, HEADS * WIDTH)
    return Site(q, k, v, x, PREFIX, 5, 0.5, digests or [name(i) for i in range(images)])


def flags_of(mask):
    return Flags(mask, mask.float(), mask.float()[..., :1])


def some_flags(images, parts, seed=1):
    return flags_of(torch.rand(images, parts, PATCHES, generator=torch.Generator().manual_seed(seed)) < 0.4)


@pytest.mark.parametrize("parts", [1, HEADS])
def test_values_are_those_of_the_flagged_patches(parts):
    site, flags = site_of(4), some_flags(4, parts)
    found = flagged_values(site, flags)
    want = []
    for b in range(4):
        for s in range(parts):
            for j in range(PATCHES):
                if flags.mask[b, s, j]:
                    token = site.v[b, :, PREFIX + j] if parts == 1 else site.v[b, s : s + 1, PREFIX + j]
                    want.append((s, j, site.digests[b], token.flatten().tolist()))
    got = [(int(s), int(j), o.tobytes(), v.tolist()) for s, j, o, v in zip(*found, strict=True)]
    assert got == want


def test_a_pool_is_the_same_in_whatever_order_its_images_come_and_a_file_counts_once():
    site, flags = site_of(5), some_flags(5, HEADS)
    whole = Pool.of([flagged_values(site, flags)], HEADS)
    order = [3, 1, 4, 0, 2, 3]  # one of them twice
    single = []
    for i in order:
        one = Site(*(t[i : i + 1] for t in (site.q, site.k, site.v, site.x)), PREFIX, 5, 0.5, [site.digests[i]])
        single.append(flagged_values(one, flags_of(flags.mask[i : i + 1])))
    again = Pool.of(single, HEADS)
    assert whole.digest == again.digest
    assert whole.counts.tolist() == flags.mask.sum(dim=(0, 2)).tolist()
    assert pickle.loads(pickle.dumps(whole)).digest == whole.digest


def test_of_very_many_values_some_of_every_image_are_kept():
    images = 8
    owners = np.repeat(np.array([np.frombuffer(name(i), np.uint8) for i in range(images)]), 400, axis=0)
    n = len(owners)
    patches, values = np.tile(np.arange(400), images), np.arange(n, dtype=np.float32)[:, None]
    pool = Pool.of([Flagged(np.zeros(n, np.int64), patches, owners, values)], 1)
    assert pool.counts.tolist() == [MOST]
    kept, counts = np.unique(pool.owners[0][:, 0], return_counts=True)
    assert kept.tolist() == list(range(images))
    assert set(counts.tolist()) == {MOST // images}


def candidates(pool, part, digest):
    """Return the values that an image may get, in the order of the pool, one after the other."""
    rows = range(pool.counts[part])
    return [pool.values[part, i] for i in rows if pool.owners[part, i].tobytes() != digest]


@given(
    st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 2**31)
)
def test_each_patch_gets_a_value_of_another_image_evenly_by_its_draw(owners, images, seed):
    """The slow twin: a list of what others have, and the place in it that the draw names."""
    found = np.array([np.frombuffer(name(i), np.uint8) for i in owners], np.uint8).reshape(-1, 32)
    count = len(owners)
    places = np.arange(count)
    pool = Pool.of([Flagged(np.zeros(count, np.int64), places, found, places[:, None].astype(np.float32))], 1)
    draws = np.random.default_rng(seed).random((len(images), 7))
    rows, there = pool.drawn([name(i) for i in images], draws)
    table = pool.table.on(torch.device("cpu")).numpy()
    for b, image in enumerate(images):
        others = candidates(pool, 0, name(image))
        assert there[b, 0] == bool(others)
        for j in range(7 if others else 0):
            assert table[rows[b, 0, j]] == others[int(draws[b, j] * len(others))]
            assert owners[int(table[rows[b, 0, j]][0])] != image


def replaced(parts, strength, site, flags, seed=3):
    """Return the values of an attention call with those of a pool, and that pool."""
    calibration = site_of(6, [name(i) for i in range(6)], seed=9)
    pool = Pool.of([flagged_values(calibration, some_flags(6, parts, seed=7))], parts)
    made = ShuffledValue(strength, seed=seed).with_pool(5, pool).at(site)
    padded = torch.nn.functional.pad(flags.mask, (PREFIX, 0))
    k, v, bias = made.operands(site.k, site.v, padded, PREFIX)
    assert k is site.k
    assert bias is None
    return v, pool


@pytest.mark.parametrize("parts", [1, HEADS])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_flagged_patches_get_exactly_the_value_of_another_image_and_no_other_token_moves(parts, strength):
    site, flags = site_of(5), some_flags(5, parts)
    v, pool = replaced(parts, strength, site, flags)
    moved = 0
    for b, digest in enumerate(site.digests):
        draws = np.random.default_rng((3, int.from_bytes(digest))).random(PATCHES)
        assert torch.equal(v[b, :, :PREFIX], site.v[b, :, :PREFIX])
        for h in range(HEADS):
            part = h if parts > 1 else 0
            others = candidates(pool, part, digest)
            for j in range(PATCHES):
                before, after = site.v[b, h, PREFIX + j], v[b, h, PREFIX + j]
                if not flags.mask[b, part, j]:
                    assert torch.equal(before, after)
                    continue
                value = others[int(draws[j] * len(others))].reshape(-1, WIDTH)[h if parts == 1 else 0]
                want = torch.from_numpy(value)
                moved += 1
                if strength == 1:
                    assert torch.equal(after, want), "exactly, to the last bit"
                torch.testing.assert_close(after, (1 - strength) * before + strength * want)
    assert moved > 10


def test_an_image_gets_the_same_alone_and_in_a_batch():
    site, flags = site_of(5), some_flags(5, 1)
    v, _ = replaced(1, 1.0, site, flags)
    for i in range(5):
        one = Site(*(t[i : i + 1] for t in (site.q, site.k, site.v, site.x)), PREFIX, 5, 0.5, [site.digests[i]])
        alone, _ = replaced(1, 1.0, one, flags_of(flags.mask[i : i + 1]))
        assert torch.equal(alone[0], v[i])


def test_another_seed_draws_others():
    site, flags = site_of(5), some_flags(5, 1)
    assert not torch.equal(replaced(1, 1.0, site, flags)[0], replaced(1, 1.0, site, flags, seed=4)[0])


def test_with_nothing_flagged_in_any_other_image_nothing_is_changed():
    site, flags = site_of(3), some_flags(3, 1)
    padded = torch.nn.functional.pad(flags.mask, (PREFIX, 0))
    nothing = Pool.of([flagged_values(site, flags_of(torch.zeros(3, 1, PATCHES, dtype=torch.bool)))], 1)
    assert nothing.counts.tolist() == [0]
    _, v, _ = ShuffledValue().with_pool(5, nothing).at(site).operands(site.k, site.v, padded, PREFIX)
    assert torch.equal(v, site.v)
    mask = torch.zeros(3, 1, PATCHES, dtype=torch.bool)
    mask[1, 0, 2] = True
    own = Pool.of([flagged_values(site, flags_of(mask))], 1)  # of one image, which has no other to draw from
    _, v, _ = ShuffledValue().with_pool(5, own).at(site).operands(site.k, site.v, padded, PREFIX)
    assert torch.equal(v[1], site.v[1])
    assert all(not torch.equal(v[i], site.v[i]) for i in (0, 2))


def test_low_precision_gets_the_value_as_it_was():
    site, flags = site_of(3), some_flags(3, 1)
    low = Site(site.q, site.k, site.v.bfloat16(), site.x, PREFIX, 5, 0.5, site.digests)
    calibration = site_of(4, [name(10 + i) for i in range(4)], seed=9)
    there = Site(calibration.q, calibration.k, calibration.v.bfloat16(), calibration.x, PREFIX, 5, 0.5,
                 calibration.digests)  # fmt: skip
    pool = Pool.of([flagged_values(there, some_flags(4, 1, seed=7))], 1)
    padded = torch.nn.functional.pad(flags.mask, (PREFIX, 0))
    _, v, _ = ShuffledValue().with_pool(5, pool).at(low).operands(low.k, low.v, padded, PREFIX)
    assert v.dtype == torch.bfloat16
    known = {tuple(row) for row in pool.values[0].tolist()}
    for b, _, j in flags.mask.nonzero().tolist():
        assert tuple(v[b, :, PREFIX + j].float().flatten().tolist()) in known


def test_the_control_takes_the_edits_strength_rows_and_calibration_images():
    detector = VectorNorm(rule="bimodal", calibration_images=60, calibration_seed=4)
    attenuator = ShuffledValue(0.5, "cls")
    assert Shuffle(seed=2)(detector, attenuator) == (detector, ShuffledValue(0.5, "cls", 2, 60, 4))
    assert Shuffle()(Random(match=detector), attenuator)[1] == ShuffledValue(0.5, "cls", 0, 60, 4)
    assert Shuffle()(Nothing(), attenuator)[1] == ShuffledValue(0.5, "cls", 0, 256, 0)
    with pytest.raises(UserError, match=r"control\.seed=-1"):
        Shuffle(seed=-1)


def test_a_key_has_the_settings_and_not_the_values():
    site, flags = site_of(3), some_flags(3, 1)
    made = ShuffledValue(1, seed=2)
    want = {"strength": 1.0, "queries": "all", "seed": 2, "calibration_images": 256, "calibration_seed": 0}
    assert made.spec() == made.with_pool(5, Pool.of([flagged_values(site, flags)], 1)).spec() == want
    edit = Edit(VectorNorm(), made, (4, 5))
    assert edit.ungathered
    assert edit.does() == {}
    known = made.with_pool(4, Pool.of([flagged_values(site, flags)], 1))
    assert list(Edit(VectorNorm(), known, (4, 5)).does()) == [4]
    other = made.with_pool(4, Pool.of([flagged_values(site, some_flags(3, 1, seed=5))], 1))
    assert Edit(VectorNorm(), known, (4,)).at(4) != Edit(VectorNorm(), other, (4,)).at(4)


def test_a_control_with_a_make_is_run_in_the_place_of_the_edit():
    own, control = Attention(), RegisterMean()
    assert edit_under(Shuffle(), own) is own
    assert edit_under(control, own) is control
    assert control("detector", "attenuator") == ("detector", "attenuator")
    for option in ("calibration_images", "calibration_seed"):
        with pytest.raises(UserError, match=rf"control\.{option}=-1"):
            RegisterMean(**{option: -1})
