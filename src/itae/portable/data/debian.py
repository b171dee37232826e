"""More photographs, from packages of Debian that the user's own machine has, or fetches: none of them is shipped here.

Which of a package's pictures are photographs was seen by eye; illustrations and patterns are left out.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itae.base.checks import one_of, whole
from itae.base.disk import disk_trouble_told, flush_folder, replace_file
from itae.base.errors import UserError
from itae.base.lock import Lock
from itae.base.place import at_home
from itae.portable.data.photographs import CREDITS, Folder, Photograph

log = logging.getLogger(__name__)

_BACKGROUNDS, _WALLPAPERS = "usr/share/backgrounds", "usr/share/wallpapers"
_LOMIRI = (
    "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede "
    "aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich "
    "life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt "
    "sunset_by_Aitzol_Berasategi"
)
_MATE = "Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm TwoWings Wood YellowFlower"
_PLASMA = "BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow FallenLeaf Grey Kite OneStandsOut Path summer_1am"
PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "lomiri-wallpapers-16.04": tuple(f"{_BACKGROUNDS}/{name}.jpg" for name in _LOMIRI.split()),
        "lomiri-wallpapers-20.04": (f"{_BACKGROUNDS}/Kleiber_by_Lukas_Baubkus.jpg",),
        "mate-backgrounds": tuple(f"{_BACKGROUNDS}/mate/nature/{name}.jpg" for name in _MATE.split()),
        "plasma-workspace-wallpapers": tuple(f"{_WALLPAPERS}/{name}/contents/images" for name in _PLASMA.split()),
    }
)
"""Packages, and which of their pictures are photographs: a file, or a folder of one picture in many sizes."""
_SIZE = re.compile(r"(\d+)x(\d+)")
_MINUTES = 20


@dataclass(frozen=True)
class Debian:
    """Photographs that `prepare` took out of packages of Debian.

    Parameters
    ----------
    root
        Folder below which `prepare` put them: ``portable/photographs`` in the cache.
    packages
        Which; default all four, ``lomiri-wallpapers-16.04`` (13 photographs), ``lomiri-wallpapers-20.04`` (1),
        ``mate-backgrounds`` (12), ``plasma-workspace-wallpapers`` (11).
    longest
        As of `Folder`.

    Raises
    ------
    UserError
        When a package isn't one of those.
    """

    root: str
    packages: Sequence[str] = tuple(PACKAGES)
    longest: int = 1280

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.root, str) or not self.root:
            raise UserError(f"data.root={self.root!r} must name a folder.")
        if isinstance(self.packages, str) or not self.packages:
            raise UserError(f"data.packages={self.packages!r} must be a list of {', '.join(PACKAGES)}.")
        for package in self.packages:
            one_of("data.packages", package, PACKAGES)
        object.__setattr__(self, "packages", tuple(dict.fromkeys(self.packages)))
        whole("data.longest", self.longest, low=64)

    def settings(self) -> dict[str, Any]:
        """Return its options, but for where they lie."""
        return {"packages": list(self.packages), "longest": self.longest}

    def prepare(self) -> None:
        """Take them out of the packages, those that aren't there yet; see `prepare`."""
        prepare(self.packages, at_home(self.root))

    def check(self) -> None:
        """Raise a `UserError` if a package wasn't prepared."""
        for package in self.packages:
            if not _is_whole(at_home(self.root) / package):
                raise UserError(
                    f"Photographs of {package} aren't in {self.root}; `itae portable prepare data=debian` takes them "
                    "out of Debian's package."
                )

    def photographs(self) -> list[Photograph]:
        """Return them, by package and name.

        Raises
        ------
        UserError
            If a package wasn't prepared.
        """
        self.check()
        return [
            Photograph(f"{package}/{each.name}", each.sha256, each.credit, each.read, each.size)
            for package in self.packages
            for each in Folder(str(at_home(self.root) / package), self.longest).photographs()
        ]


def prepare(packages: Sequence[str], folder: Path, system: Path = Path("/")) -> None:
    """Put the photographs of packages below a folder, with their credits: of each package all or none.

    Where a package is installed, they are copied; else apt-get fetches it, without root and without installing it.

    Parameters
    ----------
    packages
        Of `PACKAGES`.
    folder
        ``portable/photographs`` in the cache.
    system
        Where installed packages are. Default the root of the file system.

    Raises
    ------
    UserError
        If there is no apt-get here, it can't get one, or the disk is in trouble.
    """
    for package in packages:
        one_of("data.packages", package, PACKAGES)
    with disk_trouble_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for package in packages:
            with Lock(folder / f".{package}.lock").held(f"the photographs of {package} by another process"):
                if not _is_whole(folder / package):
                    _take(package, folder, system)
                    log.info("Photographs of %s: %d, in %s.", package, len(PACKAGES[package]), folder / package)


def _take(package: str, folder: Path, system: Path) -> None:
    for left in (*folder.glob(f".{package}-*.tmp"), folder / package):
        shutil.rmtree(left, ignore_errors=True)
    draft = folder / f".{package}-{uuid.uuid4().hex}.tmp"
    draft.mkdir()
    try:
        top = system if _has(system, package) else _unpacked(package, draft / "unpacked")
        copied = draft / package
        copied.mkdir()
        copyright_ = (top / f"usr/share/doc/{package}/copyright").read_text(encoding="utf-8", errors="replace")
        credits_: dict[str, dict[str, str]] = {}
        for inside in PACKAGES[package]:
            file = _largest(top / inside)
            name = Path(inside).parents[1].name if file.parent == top / inside else file.stem
            shutil.copyfile(file, copied / f"{name}{file.suffix}")
            told = credit_of(copyright_, str(file.relative_to(top)))
            credits_[name] = {**told, "source": f"Debian package {package}", "file": f"{name}{file.suffix}"}
        replace_file(copied / CREDITS, json.dumps(credits_, indent=1, ensure_ascii=False).encode())
        flush_folder(copied)
        copied.rename(folder / package)
    except FileNotFoundError as error:
        raise UserError(f"{package} here has no {error.filename}: it is another version than itae knows.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unpacked(package: str, folder: Path) -> Path:
    """Fetch a package and return the folder into which it was unpacked."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(
                f"There is no {program} here to get Debian's package {package}; run on Debian or Ubuntu, or name a "
                "folder of photographs of your own (data=folder data.root=...)."
            )
    folder.mkdir()
    log.info("Fetching Debian's package %s.", package)
    _run(["apt-get", "download", "-q", package], folder, f"{package} can't be fetched")
    (archive,) = list(folder.glob("*.deb"))[:1] or [folder / f"{package}.deb"]
    _run(["dpkg-deb", "-x", str(archive), str(folder)], folder, f"{package} can't be unpacked")
    return folder


def _run(command: Sequence[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
            timeout=60 * _MINUTES, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{what}: {command[0]} took more than {_MINUTES} minutes; try again.") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it doesn't say why"]
        raise UserError(f"{what} ({said[-1].strip()}); `apt-get update` may help, and so may a network.")


def _has(top: Path, package: str) -> bool:
    """Return whether a package with all of its photographs is installed."""
    inside = (f"usr/share/doc/{package}/copyright", *PACKAGES[package])
    return all((top / name).exists() for name in inside)


def _largest(path: Path) -> Path:
    """Return a file; of a folder with one picture in many sizes, the largest by its name."""
    if not path.is_dir():
        return path
    sizes = {file: _SIZE.fullmatch(file.stem) for file in sorted(path.iterdir())}
    areas = {file: int(size[1]) * int(size[2]) for file, size in sizes.items() if size}
    if not areas:
        raise FileNotFoundError(2, "no picture", str(path))
    return max(areas, key=lambda file: areas[file])


def _is_whole(folder: Path) -> bool:
    try:
        told = json.loads((folder / CREDITS).read_text(encoding="utf-8"))
        return bool(told) and all((folder / each["file"]).is_file() for each in told.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def credit_of(copyright_: str, file: str) -> dict[str, str]:
    """Return author and licence that a package's file ``copyright`` tells of an installed file.

    It is in Debian's format 1.0: of paragraphs whose ``Files`` match, the last one holds. They name files as the source
    has them, so a path counts by each of its ends, and by its name where no pattern is in that.

    Parameters
    ----------
    copyright_
        The text.
    file
        Path of the installed file, from the root.
    """
    found = {"author": "", "licence": ""}
    ends = ["/".join(Path(file).parts[i:]) for i in range(len(Path(file).parts))]
    for paragraph in re.split(r"\n\s*\n", copyright_):
        fields = _fields(paragraph)
        for pattern in fields.get("files", "").split():
            exact = Path(pattern).name if not re.search(r"[*?]", Path(pattern).name) else None
            if any(fnmatchcase(end, pattern) for end in ends) or exact == Path(file).name:
                found = {
                    "author": ", ".join(line.strip() for line in fields.get("copyright", "").splitlines()),
                    "licence": (fields.get("license", "").splitlines() or [""])[0].strip(),
                }
    return found


def _fields(paragraph: str) -> dict[str, str]:
    """Return the fields of a paragraph, in lower case; lines that begin with a space go on with the one before."""
    out: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            out[name] = f"{out.get(name, '')}\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            out[name] = value.strip()
    return out
