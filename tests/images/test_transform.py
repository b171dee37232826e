"""What a backbone is fed: sizes, values, order, and threads that end."""

import gc
import json
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itae.base.errors import UserError
from itae.base.threads import in_threads
from itae.images.batches import PREFETCH, batches, decoded, in_batches
from itae.images.decode import DECODER
from itae.images.image_set import ImageSet
from itae.images.transform import Transform, normalise

RNG = np.random.default_rng(0)


def picture(width, height):
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def array_set(n, side=8):
    pixels = RNG.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return ImageSet("test", "all", [f"all/{i:05d}" for i in range(n)], list(pixels), None, [])


# -------------------------------------------------------------------------------------------- transform


@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.integers(1, 40),
    st.sampled_from(["squash", "crop", "pad"]),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
@settings(max_examples=60, deadline=None)
def test_any_image_comes_out_square_and_uint8(width, height, side, resize, interpolation):
    out = Transform(side, resize, interpolation)(picture(width, height))
    assert out.shape == (side, side, 3)
    assert out.dtype == np.uint8


def test_squash_is_one_resize():
    image = picture(50, 31)
    assert np.array_equal(Transform(28)(image), np.asarray(image.resize((28, 28), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 128), (32, 48), (640, 512)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crop_is_resize_to_256_224_then_centre_crop(width, height, interpolation):
    """The readable way, in sizes where nothing has to be rounded: short side to 64, central 56."""
    image = picture(width, height)
    scale = 64 / min(width, height)
    whole = image.resize((round(width * scale), round(height * scale)), Image.Resampling[interpolation.upper()])
    left, top = (whole.width - 56) // 2, (whole.height - 56) // 2
    reference = np.asarray(whole.crop((left, top, left + 56, top + 56))).astype(int)
    assert np.abs(Transform(56, "crop", interpolation)(image) - reference).max() <= 1


def test_crop_of_a_very_long_strip_needs_no_gigabytes():
    assert Transform(224, "crop")(Image.new("RGB", (200_000, 1), "red")).shape == (224, 224, 3)


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (1, 1000)])
def test_pad_keeps_the_aspect_ratio_on_white(width, height):
    out = Transform(40, "pad")(Image.new("RGB", (width, height), "black"))
    inked = (out < 128).all(axis=2)
    rows, columns = inked.any(axis=1).sum(), inked.any(axis=0).sum()
    scale = 40 / max(width, height)
    assert (rows, columns) == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert (out[~inked] == 255).all()
    assert abs(inked[:20].sum() - inked[20:].sum()) <= 40 // 2  # centred
    assert abs(inked[:, :20].sum() - inked[:, 20:].sum()) <= 40


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    out = Transform(8, "squash", "bilinear")(Image.fromarray(stripes)).astype(int)
    assert np.abs(out - 127).max() <= 5


def test_spec_is_plain_and_tells_transforms_apart():
    first = Transform(224, "crop", "bicubic", [0.5, 0.5, 0.5], [0.5, 0.25, 1])
    assert json.loads(json.dumps(first.spec())) == first.spec()
    assert Transform.of(first.spec()) == first
    assert first.spec()["decoder"] == DECODER
    old = {name: value for name, value in first.spec().items() if name != "decoder"}
    assert Transform.of(old) == first, "a run made before there was a version"
    others = [
        Transform.of(first.spec() | change)
        for change in (
            {"image_size": 196},
            {"resize": "squash"},
            {"interpolation": "bilinear"},
            {"mean": (0.5, 0.5, 0.4)},
            {"std": (0.5, 0.25, 0.9)},
            {"decode": "reduced"},
        )
    ]
    assert len({json.dumps(t.spec(), sort_keys=True) for t in [first, *others]}) == 7
    assert "decode" not in first.spec(), "keys are what they were before there was a choice"
    assert Transform.of(others[-1].spec()) == others[-1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": 22.5}, r"image_size=22\.5"),
        ({"image_size": True}, "image_size=True"),
        ({"resize": "croop"}, "Did you mean 'crop'"),
        ({"interpolation": "cubic"}, "Did you mean 'bicubic'"),
        ({"mean": (0.5, 0.5)}, "mean=.*three numbers"),
        ({"mean": "abc"}, "mean='abc'"),
        ({"mean": 0.5}, "mean=0.5"),
        ({"mean": (True, 0.5, 0.5)}, "mean=.*three numbers"),
        ({"std": (0.5, float("nan"), 1)}, "std="),
        ({"std": (0.5, 0, 1)}, "positive"),
        ({"decode": "reduce"}, "dataset.decode='reduce'.*Did you mean 'reduced'"),
    ],
)
def test_mistakes_in_a_transform(change, told):
    with pytest.raises(UserError, match=told):
        Transform(**({"image_size": 224} | change))


def test_normalise_agrees_with_the_formula_in_double_precision():
    pixels = RNG.integers(0, 256, (3, 14, 14, 3), dtype=np.uint8)
    transform = Transform(14)
    got = normalise(torch.from_numpy(pixels), transform)
    mean, std = (np.array(v) for v in (transform.mean, transform.std))
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    assert np.abs(got.numpy() - expected).max() < 1e-6


# ----------------------------------------------------------------------------------------------- loader


def decoders():
    return [t for t in threading.enumerate() if t.name.startswith("itae-")]


@given(st.integers(0, 23), st.integers(0, 23), st.integers(1, 9), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_batches_are_all_images_in_order(a, b, batch_size, workers):
    images, transform = array_set(23), Transform(4)
    start, stop = sorted((a, b))
    got = list(batches(images, transform, start, stop, batch_size, workers))
    expected = [transform(images.read(i)) for i in range(start, stop)]
    assert all(len(batch) == batch_size for batch in got[:-1])
    assert [image.tolist() for batch in got for image in batch] == [image.tolist() for image in expected]
    assert not decoders()


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=9, unique=True), max_size=5), st.integers(1, 4), st.integers(0, 2)
)
@settings(deadline=None, max_examples=30)
def test_any_images_are_decoded_in_parts_that_no_batch_crosses(parts, batch_size, workers):
    images, transform = array_set(31), Transform(4)
    spans = [span for part in parts for span in in_batches(part, batch_size)]
    assert [row for span in spans for row in span] == [row for part in parts for row in part]
    assert all(1 <= len(span) <= batch_size for span in spans)
    assert len(spans) == sum(-(-len(part) // batch_size) for part in parts)
    got = list(decoded(images, transform, spans, workers))
    assert [batch.tolist() for batch in got] == [[transform(images.read(i)).tolist() for i in span] for span in spans]


def test_a_batch_that_was_yielded_is_never_written_to_again():
    images, transform = array_set(40), Transform(4)
    got = list(batches(images, transform, 0, 40, 4, 2))
    assert len({id(batch) for batch in got}) == 10
    assert np.array_equal(np.concatenate(got), [transform(images.read(i)) for i in range(40)])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_lie_in_pinned_memory(monkeypatch, workers):
    """Each in memory of its own, as a copy may still go on when the next one is made."""
    empty, pinned = torch.empty, []

    def counting(*shape, pin_memory=False, **options):
        pinned.append(pin_memory)
        return empty(*shape, **options)

    images, transform = array_set(11), Transform(4)
    plain = list(batches(images, transform, 0, 11, 4, workers))
    monkeypatch.setattr(torch, "empty", counting)
    got = list(batches(images, transform, 0, 11, 4, workers, pinned=True))
    assert pinned == [True] * 3
    assert [batch.tolist() for batch in got] == [batch.tolist() for batch in plain]
    assert len({batch.ctypes.data for batch in got}) == 3


class Slow(ImageSet):
    """Counts what was read, and takes its time."""

    def pixels(self, i, transform):
        time.sleep(0.002)
        self.seen.append(i)
        return super().pixels(i, transform)


def slow_set(n):
    images = Slow(**vars(array_set(n)))
    object.__setattr__(images, "seen", [])
    return images


def test_no_more_than_two_batches_are_decoded_ahead():
    images = slow_set(60)
    loader = batches(images, Transform(4), 0, 60, 5, 2)
    next(loader)
    time.sleep(0.3)
    assert len(images.seen) == 5 * (1 + PREFETCH)
    loader.close()


@pytest.mark.parametrize("how", ["close", "forget", "raise"])
def test_threads_end_when_the_consumer_stops_early(how):
    images = slow_set(200)
    loader = batches(images, Transform(4), 0, 200, 5, 2)
    next(loader)
    assert decoders()
    if how == "close":
        loader.close()
    elif how == "forget":
        del loader
        gc.collect()
    else:
        with pytest.raises(RuntimeError, match="consumer"):
            loader.throw(RuntimeError("consumer"))
    assert not decoders()
    assert len(images.seen) <= 5 * (1 + PREFETCH) + 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_reaches_the_consumer_by_its_id(tmp_path, workers):
    (tmp_path / "x.png").write_bytes(b"nope")
    good = array_set(9)
    items = [*good.items[:7], str(tmp_path / "x.png"), good.items[8]]
    images = ImageSet("test", "all", [*good.ids[:7], "class/x.png", good.ids[8]], items, None, [])
    loader = batches(images, Transform(4), 0, 9, 3, workers)
    next(loader)
    next(loader)
    with pytest.raises(UserError, match=r"image 'class/x\.png' cannot be read: not an image.*bad_image=skip"):
        next(loader)
    assert not decoders()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_names_the_image_too(workers):
    def transform(image):
        raise ZeroDivisionError("oops")

    transform.image_size, transform.least = 4, None
    with pytest.raises(RuntimeError, match="image 'all/00000': ZeroDivisionError: oops"):
        list(batches(array_set(2), transform, 0, 2, 2, workers))


# ------------------------------------------------------------------------------------------- in_threads


@given(st.integers(0, 300))
@settings(max_examples=20, deadline=None)
def test_work_in_threads_comes_back_in_order(n):
    assert list(in_threads(lambda x: x * x, range(n), n, "squaring")) == [x * x for x in range(n)]
    assert not decoders()


def test_a_bar_is_shown_when_it_takes_long_and_only_then(capsys, monkeypatch):
    list(in_threads(lambda x: x, range(1000), 1000, "counting"))
    assert "counting" not in capsys.readouterr().err
    late = iter(range(0, 10**6, 2))
    monkeypatch.setattr(time, "monotonic", lambda: next(late))
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(in_threads(lambda x: x, range(1000), 1000, "counting"))
    captured = capsys.readouterr()
    assert "counting" in captured.err
    assert captured.out == ""
