"""``itae report``: the page of a run, of many, or of a knowledge base."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from itae.base.checks import whole
from itae.base.console import say
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.disk.folder import is_url
from itae.knowledge.ledger.about import is_base
from itae.look.page import MOST, PAGE, write_page
from itae.results.find import find_results


def main(argv: Sequence[str]) -> int:
    """Run ``itae report`` with what stands after it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="itae report", description="Make one self-contained HTML page of a run, a sweep or a knowledge base."
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a run, a sweep, folders with runs, or a base, also an s3:// one"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"where it goes ({PAGE} in the first PATH; of a base album, album.html beside it, and of one in an object "
        "store album.html here)",
    )
    parser.add_argument("--images", type=int, default=MOST, metavar="N", help=f"in the gallery, at most ({MOST})")
    parser.add_argument("--at", metavar="VERSION", help="of a knowledge base, the version or tag (the newest)")
    parser.add_argument(
        "--best", metavar="METRIC", help="of many runs, what chooses the one that is shown whole (silhouette)"
    )
    parser.add_argument(
        "--trust", action="store_true",
        help="import the class of a data set that isn't itae's own: only of runs whose makers you trust",
    )  # fmt: skip
    options = parser.parse_args(argv)
    whole("--images", options.images, low=1)
    if any(is_url(path) or is_base(at_home(path)) for path in options.paths):
        return _of_base(options)
    paths = [at_home(path) for path in options.paths]
    if options.best is not None and len(files := find_results(paths)) == 1:
        raise UserError(f"--best={options.best}: there is one run only, {files[0].parent}; leave --best out.")
    out = options.out and at_home(options.out)
    page = write_page(paths, out, options.best, options.images, trust=options.trust)
    say(f"page       {page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def _of_base(options: argparse.Namespace) -> int:
    """Make the page of a knowledge base."""
    from itae.knowledge.base import open_knowledge
    from itae.knowledge.pages.page_of_base import page_of_base
    from itae.look.page.base_page import write_base_page

    path = options.paths[0]
    if len(options.paths) > 1 or options.best is not None or options.trust:
        raise UserError(f"{path} is a knowledge base: its page takes that one path, --at and --out.")
    # Beside it and not in it: a purge leaves nothing of what was deleted in a base.
    base = Path(path.rstrip("/").rpartition("/")[2]) if is_url(path) else at_home(path)
    base = base if base.name else base.absolute()
    out = base.with_name(f"{base.name}.html") if options.out is None else at_home(options.out)
    out = out / PAGE if out.is_dir() else out
    write_base_page(*page_of_base(open_knowledge(path), options.at), out)
    say(f"page       {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0
