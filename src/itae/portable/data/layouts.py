"""Data sets with pairs of their own, as their authors' archives lie when they are unpacked.

Layouts are those that the authors' and others' public code reads: seungjunnah.github.io (GoPro, REDS),
rimchang/RealBlur and rimchang/RSBlur, joanshen0508/HA_deblur (HIDE). None was tried on the real archive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from itae.base.checks import one_of, true_or_false
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.portable.data.listed import (
    Listed,
    by_stem,
    check_none_missing,
    check_same_names,
    folders_in,
    from_list,
    matched,
)

PIECES = "pieces of the pictures are judged, not whole ones, so numbers don't compare with published ones"


@dataclass(frozen=True)
class Layout(ABC):
    """A data set of pairs.

    Parameters
    ----------
    root
        Its folder.
    """

    root: str
    option: ClassVar[str] = "data.root"

    def __post_init__(self) -> None:
        """Check that there is a name."""
        if not isinstance(self.root, str) or not self.root:
            raise UserError(f"{self.option}={self.root!r} must name a folder.")

    def settings(self) -> dict[str, Any]:
        """Return its options, for results."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def check(self) -> None:
        """Raise a `UserError` where `pairs` does: it reads names alone."""
        self.pairs()

    def notes(self) -> Sequence[str]:
        """Return what is to be said beside numbers on it."""
        return (PIECES,)

    @abstractmethod
    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs by their official split, ``train``, ``test``, perhaps ``validation``; ``all`` if there is none.

        Raises
        ------
        UserError
            If a folder or a list isn't there, or a picture of a pair is missing, or there twice.
        """

    def _folder(self, *names: str) -> Path:
        """Return the first folder of these below the root, or raise a `UserError`."""
        root = at_home(self.root)
        for name in names:
            if (root / name).is_dir():
                return root / name
        raise UserError(
            f"{self.option}={self.root!r} has no folder {' or '.join(names)}, as {type(self).__name__}'s archive has; "
            "name the folder into which it was unpacked."
        )


@dataclass(frozen=True)
class GoPro(Layout):
    """GOPRO_Large: ``{train,test}/SEQUENCE/{blur,blur_gamma,sharp}/*.png`` (Nah et al. 2017).

    Parameters
    ----------
    gamma
        Whether to read ``blur_gamma``, averaged in light of gamma 2.2, instead of ``blur``. Default false, as most
        papers do.
    """

    gamma: bool = False

    def __post_init__(self) -> None:
        """Check both."""
        super().__post_init__()
        true_or_false("data.gamma", self.gamma)

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs of both splits; a sequence is a scene."""
        blur = "blur_gamma" if self.gamma else "blur"
        return {
            split: [
                pair for scene in folders_in(self._folder(split))
                for pair in matched(scene.name, scene / blur, scene / "sharp", scene.name)
            ]
            for split in ("train", "test")
        }  # fmt: skip


@dataclass(frozen=True)
class Reds(Layout):
    """REDS: ``{train,val}/{train,val}_{blur,sharp}/SEQUENCE/00000000.png`` (Nah et al. 2019).

    Sharp pictures of its test split aren't public: its validation split is the test here.

    Parameters
    ----------
    blur
        ``blur`` (default); ``blur_comp``, compressed, too; ``blur_jpeg``.
    """

    blur: str = "blur"

    def __post_init__(self) -> None:
        """Check both."""
        super().__post_init__()
        one_of("data.blur", self.blur, ("blur", "blur_comp", "blur_jpeg"))

    def notes(self) -> Sequence[str]:
        """Return what is to be said beside numbers on it."""
        return (*super().notes(), "REDS' validation split is the test, whose own has no public sharp pictures")

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs of both splits; a sequence is a scene, and 000 of one split none of the other's."""
        out = {}
        for split, name in (("train", "train"), ("test", "val")):
            sharp = self._folder(f"{name}/{name}_sharp", f"{name}_sharp")
            blurred = self._folder(f"{name}/{name}_{self.blur}", f"{name}_{self.blur}")
            check_same_names(sharp, blurred)
            out[split] = [
                pair for scene in folders_in(sharp)
                for pair in matched(f"{name}/{scene.name}", blurred / scene.name, scene, f"{name}/{scene.name}")
            ]  # fmt: skip
        return out


@dataclass(frozen=True)
class RealBlur(Layout):
    """RealBlur: lists of pairs ``RealBlur_{J,R}_{train,test}_list.txt``, sharp and blurred (Rim et al. 2020).

    Parameters
    ----------
    camera
        ``J`` (default), pictures as the camera made them; ``R``, from raw ones.
    """

    camera: str = "J"

    def __post_init__(self) -> None:
        """Check both."""
        super().__post_init__()
        one_of("data.camera", self.camera, ("J", "R"))

    def notes(self) -> Sequence[str]:
        """Return what is to be said beside numbers on it."""
        return (
            *super().notes(),
            "papers align outputs to the sharp pictures before they judge; here nothing is aligned",
        )

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs of both lists; a scene is a folder ``sceneNNN``."""
        root = at_home(self.root)
        return {
            split: from_list(root, self._list(f"RealBlur_{self.camera}_{split}_list.txt"), above=1)
            for split in ("train", "test")
        }

    def _list(self, name: str) -> Path:
        return found_list(self, name, ("",))


@dataclass(frozen=True)
class RsBlur(Layout):
    """RSBlur: lists of pairs ``RSBlur_real_{train,val,test}.txt``, sharp and blurred (Rim et al. 2022).

    Lists are in the authors' repository, ``datalist/RSBlur``; put them beside the folder ``RSBlur``, or into it.
    """

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs of the three lists; a scene is a folder of the first level."""
        root = at_home(self.root)
        lists = {"train": "train", "validation": "val", "test": "test"}
        where = ("", "RSBlur", "datalist/RSBlur")
        return {
            split: from_list(root, found_list(self, f"RSBlur_real_{name}.txt", where), above=2)
            for split, name in lists.items()
        }


@dataclass(frozen=True)
class Hide(Layout):
    """HIDE (Shen et al. 2019).

    Blurred ``train/*.png`` and ``test/{test-close-ups,test-long-shot}/*.png``, sharp ``GT/*.png`` of the same names. A
    scene is what stands behind "from" in a file's name, the film that it is of; else the file alone.
    """

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return pairs of both splits."""
        sharp, out = by_stem([self._folder("GT")]), {}
        for split in ("train", "test"):
            folder = self._folder(split)
            blurred = by_stem([folder, *folders_in(folder)], allowed_empty=True)
            check_none_missing(sorted(blurred.keys() - sharp.keys()), self._folder("GT"), "blurred", "sharp")
            out[split] = [
                Listed(stem.partition("from")[2] or stem, f"{split}/{stem}", file, sharp[stem])
                for stem, file in blurred.items()
            ]
        return out


@dataclass(frozen=True)
class TwoFolders(Layout):
    """Pairs of any origin: two folders, below `root`, with files of the same names, but for the ending.

    There is no official split: pairs are shared out by scene. A scene is a sub-folder; without any, each pair is one.

    Parameters
    ----------
    blurred, sharp
        The folders. Default ``blurred`` and ``sharp``.
    """

    blurred: str = "blurred"
    sharp: str = "sharp"

    def __post_init__(self) -> None:
        """Check all three."""
        super().__post_init__()
        for name in ("blurred", "sharp"):
            if not (value := getattr(self, name)) or not isinstance(value, str):
                raise UserError(f"data.{name}={value!r} must name a folder in data.root.")

    def pairs(self) -> Mapping[str, list[Listed]]:
        """Return all pairs."""
        blurred, sharp = self._folder(self.blurred), self._folder(self.sharp)
        if blurred.samefile(sharp):
            raise UserError(
                f"data.blurred={self.blurred!r} and data.sharp={self.sharp!r} are one folder, and nothing is left to "
                "restore; name two."
            )
        check_same_names(sharp, blurred)
        found = [
            pair for scene in folders_in(sharp)
            for pair in matched(scene.name, blurred / scene.name, scene, scene.name)
        ]  # fmt: skip
        loose = matched("", blurred, sharp, "", allowed_empty=bool(found))
        return {"all": [*(Listed(each.name, each.name, each.blurred, each.sharp) for each in loose), *found]}


def found_list(layout: Layout, name: str, folders: Iterable[str]) -> Path:
    """Return where a list of pairs lies, or raise a `UserError`."""
    for folder in folders:
        if (file := at_home(layout.root) / folder / name).is_file():
            return file
    raise UserError(
        f"{layout.option}={layout.root!r} has no {name}, the list of pairs that belongs to {type(layout).__name__}."
    )
