"""One run of ``itae portable``: from a config to ``result.json``, a table on the console, a page, and a tracker."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from itae.app.portable.settings import PortableSettings, read_alone
from itae.app.portable.study import Study
from itae.app.started import fresh_name, started
from itae.base.beside import beside
from itae.base.console import say
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.secrets import Veil, hidden, hidden_word, hidden_words
from itae.look import page
from itae.look.view import RunView
from itae.portable import written as results
from itae.results.find import RESULT

log = logging.getLogger(__name__)


def run(plain: Mapping[str, Any], words: Sequence[str] = (), config_dir: str | None = None) -> RunView:
    """Run one study and return what it wrote.

    Parameters
    ----------
    plain
        The config as plain values.
    words
        The words of the command line that it was made of.
    config_dir
        The folder of configs beside ours.

    Raises
    ------
    UserError
        For a user's mistake; once there is a folder, ``result.json`` is written all the same, with status ``failed``
        and the reason.
    """
    veil, quiet = Veil(plain), contextlib.ExitStack()
    quiet.enter_context(veil.over_logs())
    with quiet:
        folder = _folder(plain.get("out"))
        plain = read_alone(plain)
        settings = PortableSettings.of(plain)  # before there is a folder: a word that is mistyped leaves none behind
        _refuse_lost(folder, settings.study, plain)
        quiet.enter_context(_alone(words, settings))  # before an earlier run's results go
        began = started() | {"overrides": [hidden_word(word) for word in words], "config_dir": config_dir}
        result = results.begun(settings.study.name, hidden_words(hidden(dict(plain))), began)
        try:
            return _run(settings, result, folder)
        except BaseException as error:
            if result["status"] != "ok":
                told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                result |= {"status": "failed", "error": veil(told)}
                with contextlib.suppress(UserError):  # a full disk: then the first error says more
                    results.write(folder, result)
            raise


def _run(settings: PortableSettings, result: dict[str, Any], folder: Path) -> RunView:
    study = settings.study
    _clear(folder, study)
    results.write(folder, result)  # a run that is killed leaves this: status running
    config = result["settings"] | {
        "run": {"folder": str(folder.absolute()), "overrides": result["started"]["overrides"]}
    }
    with settings.tracker.run(folder, config, name=study.told, group=None, job_type=study.name) as tracker:
        result |= study.work(folder, say)
        result["devices"] = hidden_words(hidden(result["devices"]))  # a command line may hold a password
        result["files"] = results.write_texts(folder, study.texts(result))
        result["figures"] = _figures(folder, result, study)
        result["captions"] = {name: caption for name, (caption, _) in study.figures().items()}
        result |= {"status": "ok", "error": None}
        results.write(folder, result)  # before the tracker ends: whatever it does costs no result
        study.track(tracker, result, folder)
    with contextlib.suppress(OSError, UnicodeError, SystemExit):  # a closed output costs nothing but the table
        study.show(result, folder)
    if settings.report:
        page.end_with_page(folder)
    return RunView(folder.absolute(), result)


def _alone(words: Sequence[str], settings: PortableSettings) -> contextlib.AbstractContextManager[None]:
    from itae.portable.clock.alone import alone

    return alone(" ".join(["itae portable", *map(hidden_word, words)]), settings.measure.wait)


def _folder(out: object) -> Path:
    if out is None:
        return Path("outputs/portable") / fresh_name()
    if not isinstance(out, str) or not out.strip():
        raise UserError(f"out={out!r} is not a folder; set out=/path/to/the/folder, or leave it out.")
    folder = at_home(out)
    above = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not above.is_dir():
        raise UserError(f"out={out}: {above} is a file; a run needs a folder, so set out=... to another.")
    return folder


def _refuse_lost(folder: Path, study: Study, plain: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a run would write over what is somebody's, or over what it is to read."""
    if other := results.of_another_kind(folder, study.name, study.files):
        raise UserError(f"out={plain['out']} holds {other}, which would be lost; set out=... to another folder.")
    for part in ("net", "teacher"):
        weights = (plain.get(part) or {}).get("weights")
        if isinstance(weights, str) and at_home(weights).resolve() in [
            (folder / name).resolve() for name in study.files
        ]:
            raise UserError(
                f"{part}.weights={weights} is in out={plain['out']}, and this run would write over it; set out=... to "
                "another folder."
            )


def _clear(folder: Path, study: Study) -> None:
    """Remove what an earlier run in this folder has written and this one may not, and nothing else of the folder."""
    if not (folder / RESULT).is_file():
        return
    with contextlib.suppress(OSError):
        figures = [file for name in study.figures() for file in (folder / "figures").glob(f"{name}.*")]
        for file in (folder / page.PAGE, *figures, *(file for name in study.files for file in folder.glob(name))):
            if not file.is_dir():
                file.unlink(missing_ok=True)


def _figures(folder: Path, result: Mapping[str, Any], study: Study) -> list[str]:
    from itae.look.figures import save

    drawn: list[Path] = []
    for name, (_, draw) in study.figures().items():
        drawn += beside(f"The figure {name}", partial(_draw, draw, result, folder / "figures", name, save)) or []
    return [os.path.relpath(path, folder) for path in drawn]


def _draw(draw: Any, result: Mapping[str, Any], folder: Path, name: str, save: Any) -> list[Path]:
    found: list[Path] = save(draw(result), folder, name)
    return found
