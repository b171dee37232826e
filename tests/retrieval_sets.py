"""The benchmarks of metric learning in miniature, in their official layouts, as their makers write them."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

CUB_CLASSES = {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross", 100: "100.Brown_Pelican",
               101: "101.White_Pelican", 102: "102.Western_Wood_Pewee", 200: "200.Common_Yellowthroat"}  # fmt: skip
CARS_CLASSES = (1, 2, 98, 99, 100, 196)
CARS_NAMES = [f"Make {number} Sedan 2012" for number in range(1, 197)]
CARS_LAYOUTS = ("car_ims", "devkit", "kaggle")
PRODUCTS = {"train": {1: "bicycle", 2: "bicycle", 3: "chair"}, "test": {11319: "bicycle", 11320: "chair"}}
CLOTHES = {"train": {1: "WOMEN/Dresses", 7: "MEN/Denim"}, "test": {2: "WOMEN/Dresses", 3: "MEN/Pants", 5: "MEN/Pants"}}


def cub200(root: Path, each: int = 4) -> Path:
    """Write CUB_200_2011 below a folder: three classes on each side of the split, and return where it lies."""
    folder = root / "CUB_200_2011"
    images: list[str] = []
    labels, parts = [], []
    for number, name in CUB_CLASSES.items():
        for i in range(each):
            id_ = len(images) + 1
            path = f"{name}/{name[4:]}_{i:04d}_{id_ * 7}.jpg"
            picture(folder / "images" / path, number / 200, i)
            images.append(f"{id_} {path}\n")
            labels.append(f"{id_} {number}\n")
            parts.append(f"{id_} {i % 2}\n")
    write(folder / "images.txt", images)
    write(folder / "image_class_labels.txt", labels)
    write(folder / "train_test_split.txt", parts)
    write(folder / "classes.txt", [f"{number} {name}\n" for number, name in CUB_CLASSES.items()])
    write(folder / "bounding_boxes.txt", [f"{i + 1} 1.0 2.0 9.0 9.0\n" for i in range(len(images))])
    return folder


def cars196(folder: Path, layout: str, each: int = 4, **options: Any) -> Path:
    """Write Cars196 into a folder, in one of `CARS_LAYOUTS`; the bytes of the images are the same in all."""
    classes = [number for number in CARS_CLASSES for _ in range(each)]
    boxes = [np.uint8(1), np.uint8(2), np.uint16(300), np.uint16(260)]
    if layout == "car_ims":
        rows = []
        for i, number in enumerate(classes):
            name = f"car_ims/{i + 1:06d}.jpg"
            picture(folder / name, number / 196, i)
            rows.append((name, *boxes, np.uint8(number), np.uint8(i % 2)))
        fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
        matlab(folder / "cars_annos.mat", fields, rows, {"class_names": cells(CARS_NAMES)}, **options)
        return folder
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    for part, table in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = []
        for i, number in enumerate(classes):
            if (i % 2 == 1) == (part == "test"):
                name = f"{len(rows) + 1:05d}.jpg"
                inside = f"cars_{part}/cars_{part}" if layout == "kaggle" else f"cars_{part}"
                picture(folder / inside / name, number / 196, i)
                rows.append((*boxes, np.uint8(number), name))
        matlab(folder / table, fields, rows, {}, **options)
    matlab(folder / "devkit/cars_meta.mat", [], [], {"class_names": cells(CARS_NAMES)}, **options)
    return folder


def sop(root: Path, each: int = 3) -> Path:
    """Write Stanford_Online_Products below a folder: three things of train, two of test."""
    folder = root / "Stanford_Online_Products"
    kinds = ("bicycle", "chair")
    image = 0
    for part, things in PRODUCTS.items():
        lines = ["image_id class_id super_class_id path\n"]
        for number, kind in things.items():
            for i in range(each):
                image += 1
                path = f"{kind}_final/{111085122871 + number}_{i}.JPG"
                picture(folder / path, number % 100 / 100, i)
                lines.append(f"{image} {number} {kinds.index(kind) + 1} {path}\n")
        write(folder / f"Ebay_{part}.txt", lines)
    return folder


def inshop(folder: Path, inside: str = "img", table: str = "Eval", each: int = 4) -> Path:
    """Write In-Shop into a folder: two items of train, three of which half the images are queries."""
    lines = []
    for part, items in CLOTHES.items():
        for number, category in items.items():
            for i in range(each):
                name = f"{category}/id_{number:08d}/{i + 1:02d}_{i % 4 + 1}_front.jpg"
                picture(folder / inside / name, number / 10, i)
                status = "train" if part == "train" else ("query", "gallery")[i % 2]
                lines.append(f"{f'img/{name}':80} {f'id_{number:08d}':12} {status}\n")
    write(folder / table / "list_eval_partition.txt",
          [f"{len(lines)}\n", "image_name item_id evaluation_status\n", *lines])  # fmt: skip
    return folder


def write(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines))


def picture(file: Path, hue: float, i: int) -> None:
    """Save an image of its class's colour, each a little different."""
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = [round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 0.6 + 0.4 * (i % 8) / 8)]
    pixels = np.full((24, 32, 3), colour, np.uint8)
    pixels[:8, :8] = i % 256
    Image.fromarray(pixels).save(file, "JPEG", quality=95)


def cells(names: Sequence[str]) -> np.ndarray:
    """Return a cell array of one row, as MATLAB has it."""
    array = np.empty((1, len(names)), object)
    array[0, :] = names
    return array


def matlab(
    file: Path, fields: Sequence[str], rows: Sequence[tuple[Any, ...]], more: dict[str, Any], **options: Any
) -> None:
    """Write a struct array ``annotations`` of one row, and what comes with it."""
    content = dict(more)
    if fields:
        array = np.empty((1, len(rows)), [(name, object) for name in fields])
        for i, row in enumerate(rows):
            array[0, i] = row
        content["annotations"] = array
    stream = io.BytesIO()
    savemat(stream, content, **options)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(stream.getvalue())
