"""``itae calibrate``: fit thresholds without labels, and write them to a file that travels with a paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from itae.app.compose import plain_config, verb_config, verb_words
from itae.base.errors import UserError
from itae.base.place import at_home

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit


def main(argv: Sequence[str]) -> int:
    """Run ``itae calibrate`` with what stands after it; return the exit status."""
    about = "Fit the thresholds of a run of the same words, without labels, for detector.calibration=FILE to take."
    parser = verb_words("calibrate", about)
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write them, for example paper.json")
    options, cfg = verb_config(parser, argv)

    from itae.results.report import print_fits

    path = at_home(options.file)
    print_fits(calibrate(cfg, path), path)
    return 0


def calibrate(cfg: DictConfig, path: Path) -> dict[int, Fit]:
    """Fit the thresholds of a config's edit on its unlabelled images, write them to `path` and return them.

    Those that a run of the same words has fitted are taken, so that its embeddings go on to do.

    Raises
    ------
    UserError
        If there is nothing to fit, or `path` can't be written.
    """
    from itae.app.job import open_job
    from itae.app.settings import Settings
    from itae.edits.found import ByDetector
    from itae.embed.calibration import write_calibration
    from itae.embed.settle import fitted
    from itae.embed.source import whole_images
    from itae.embed.worker import Worker

    if path.exists():
        raise UserError(f"{path} is there already; remove it, or choose another name.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path} can't be written: there is no such folder; choose another place.")
    job = open_job(Settings.of(plain_config(cfg)))
    if not isinstance(job.edit, ByDetector) or not job.edit.unfitted:
        raise UserError(
            "itae calibrate fits the thresholds of detector.rule=bimodal; set it, with layers and a strength that "
            "leave something to edit, and without detector.calibration."
        )
    if job.edit.ungathered:
        raise UserError(
            "itae calibrate fits the thresholds of the edit itself; leave out control=shuffle, which takes them, too."
        )
    images, _ = whole_images(job.source)
    key = job.source.key(job.edit)
    engine = partial(Worker, job.source, images, job.settings.runtime)
    fits = fitted(job.source, images, engine, {key: job.edit})[key]
    write_calibration(path, job.source, job.edit, fits)
    return fits
