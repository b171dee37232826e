"""Pictures for bases that commands make."""

from __future__ import annotations

from itae.images.datasets import Digits


def draw_photos(tmp_path):
    """Write pictures of three digits, eight of each, and some more to ask about."""
    digits = Digits().open()
    rows = {label: [i for i, one in enumerate(digits.labels.tolist()) if one == label] for label in (0, 1, 2)}
    for label, some in rows.items():
        for n, i in enumerate(some[:12]):
            name = ("zero", "one", "two")[label]
            file = tmp_path / ("photos" if n < 8 else "asked") / name / f"{n:02d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            digits.read(i).save(file)
    return tmp_path / "photos"
