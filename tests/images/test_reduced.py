"""JPEGs that are decoded at a half, a quarter or an eighth of their size: which, and what difference it makes."""

import numpy as np
import pytest
import torch
from PIL import Image

from itae.embed.source import Source
from itae.images.datasets import ImageFolder
from itae.images.decode import with_picture
from itae.images.image_set import ImageSet
from itae.images.transform import ENOUGH, Transform, normalise
from itae.store.store import Store
from itae.vit.backbone import Backbone


def like_a_photo(width, height, seed):
    """Return a picture whose amplitudes fall with the frequency, as photographs' do."""
    draw = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / max(width, height))
    planes = []
    for _ in range(3):
        waves = amplitude * np.exp(2j * np.pi * draw.random(amplitude.shape))
        plane = np.fft.irfft2(waves, (height, width))
        planes.append((plane - plane.mean()) / plane.std())
    grey, *rest = planes
    return np.clip(128 + 45 * np.stack([grey, *(0.8 * grey + 0.6 * plane for plane in rest)], -1), 0, 255)


def noise(width, height, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3))


def edges(width, height, seed):
    blocks = np.random.default_rng(seed).integers(0, 2, (height // 8 + 1, width // 8 + 1, 1)) * 255
    return blocks.repeat(8, 0).repeat(8, 1).repeat(3, 2)[:height, :width]


def jpeg(path, pixels, **options):
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90, **options)
    return str(path)


def both(path, *settings):
    """Return what comes of a file with all of its pixels, and with a part of them."""
    full, reduced = Transform(*settings), Transform(*settings, decode="reduced")
    return with_picture(path, full, full.least).astype(int), with_picture(path, reduced, reduced.least).astype(int)


@pytest.mark.parametrize(
    ("size", "resize", "decoded"),
    [
        ((4000, 3000), "squash", (1000, 750)),  # 3000 / 4 is more than 2 * 224
        ((4000, 3000), "crop", (1000, 750)),
        ((4000, 3000), "pad", (500, 375)),  # the long side counts
        ((4000, 896), "squash", (2000, 448)),
        ((4000, 895), "squash", (4000, 895)),
        ((4000, 1023), "crop", (4000, 1023)),  # the short side comes to 256
        ((4000, 1024), "crop", (2000, 512)),
        ((4001, 3001), "pad", (501, 376)),
        ((100, 3000), "squash", (100, 3000)),
        ((100, 3600), "pad", (25, 900)),
        ((300, 200), "squash", (300, 200)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_no_less_is_decoded_than_twice_what_is_needed(tmp_path, size, resize, decoded, turned):
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    transform = Transform(224, resize, decode="reduced")
    for format_ in ("JPEG", "MPO"):
        path = tmp_path / f"a.{format_.lower()}"
        Image.new("RGB", size).save(path, format_, exif=exif)
        got = with_picture(str(path), lambda image: image.size, transform.least)
        assert got == (decoded[::-1] if turned else decoded)
    Image.new("RGB", size).save(tmp_path / "a.png")
    assert with_picture(str(tmp_path / "a.png"), lambda image: image.size, transform.least) == size
    assert Transform(224, resize).least is None
    assert ENOUGH == 2


@pytest.mark.parametrize(("size", "factor"), [((600, 520), 2), ((1100, 1030), 4)])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize(("kind", "most", "mean"), [(like_a_photo, 8, 1.3), (edges, 24, 4), (noise, 20, 4)])
def test_the_difference_is_a_few_levels(tmp_path, size, factor, resize, kind, most, mean):
    """Of 256, at most and on average."""
    for options in ({}, {"subsampling": 0}, {"progressive": True}):
        path = jpeg(tmp_path / "a.jpg", kind(*size, factor), **options)
        full, reduced = both(path, 112, resize)
        difference = np.abs(full - reduced)
        assert 0 < difference.max() <= most
        assert difference.mean() <= mean


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_a_size_that_cannot_be_halved_moves_nothing(tmp_path, orientation, resize):
    """A last column that is an eighth of one would, by its being taken for a whole one."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = jpeg(tmp_path / "a.jpg", edges(905, 969, 0), exif=exif)
    full, reduced = both(path, 56, resize)
    assert np.abs(full - reduced).mean() <= 3

    def stretched(image):
        image.info.pop("box")
        return Transform(56, resize)(image)

    moved = with_picture(path, stretched, Transform(56, resize, decode="reduced").least)
    assert np.abs(full - moved).mean() > 1.5 * np.abs(full - reduced).mean()


def test_where_nothing_is_far_larger_nothing_changes(tmp_path):
    for name, pixels in (("a.jpg", noise(300, 440, 0)), ("b.png", noise(1000, 900, 1))):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
        assert np.array_equal(*both(str(tmp_path / name), 224))
    array = ImageSet("x", "all", ["a"], [noise(999, 999, 0).astype(np.uint8)], None, [])
    assert np.array_equal(array.pixels(0, Transform(24)), array.pixels(0, Transform(24, decode="reduced")))


def test_the_choice_is_part_of_the_key_and_pages_show_what_the_model_saw(tmp_path):
    (tmp_path / "photos").mkdir()
    jpeg(tmp_path / "photos" / "0.jpg", noise(1000, 900, 0))
    dataset = ImageFolder(root=str(tmp_path / "photos"))
    reduced = ImageFolder(root=str(tmp_path / "photos"), decode="reduced")
    backbone = Backbone("digits_vit", checkpoint="pkg://itae/weights/digits_vit.safetensors", module="itae.digits_vit")
    store = Store(tmp_path / "cache")
    one, other = (Source.open(each, backbone, store) for each in (dataset, reduced))
    assert one.key(None).space["transform"] | {"decode": "reduced"} == other.key(None).space["transform"]
    assert not np.array_equal(one.picture("0.jpg"), other.picture("0.jpg"))


@pytest.mark.slow  # a real model
@pytest.mark.weights
def test_embeddings_of_real_weights_hardly_move(assets, tmp_path):
    """Cosines of the same picture decoded both ways, beside those of different pictures."""
    emoji = sorted((assets / "images" / "emoji").rglob("*.png"))[::40][:6]
    for i, path in enumerate(emoji):
        image = Image.open(path).convert("RGBA").resize((2000, 1500), Image.Resampling.LANCZOS)
        ground = Image.fromarray(like_a_photo(2000, 1500, i).astype(np.uint8))
        ground.paste(image, mask=image)
        jpeg(tmp_path / f"{i}.jpg", np.asarray(ground))
    weights = str(assets / "weights" / "dinov2_vits14.safetensors")
    backbone = Backbone("vit_small_patch14_dinov2.lvd142m", checkpoint=weights)
    sources = [Source.open(ImageFolder(root=str(tmp_path), decode=decode), backbone, Store(tmp_path / ".cache"))
               for decode in ("full", "reduced")]  # fmt: skip
    model = backbone.build(sources[0].facts, torch.device("cpu"))
    vectors = []
    for source in sources:
        pixels = torch.from_numpy(np.stack([source.picture(name) for name in source.images.ids]))
        with torch.inference_mode():
            vectors.append(model.forward_features(normalise(pixels, source.transform))[:, 0])
    full, reduced = (torch.nn.functional.normalize(each) for each in vectors)
    assert not torch.equal(full, reduced)
    cosines = full @ reduced.T
    assert cosines.diag().min() > 0.9995  # .99998 was seen
    assert cosines.fill_diagonal_(-1).max() < 0.95
