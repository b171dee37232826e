"""Pictures of the artifacts: how norms spread in every block, where in the images they are, what attention they draw.

All is drawn from what is kept beside the embeddings, so that a cached run shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.embed.diagnostics.norms import NORM_EDGES, SITES, histograms
from itae.look.figures import COLOURS, FLAGGED, KEPT, clean
from itae.look.style import plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"q": "query", "k": "key", "v": "value", "resid_post": "residual stream, behind the block"}
_PANEL_OF = {"query": "q", "key": "k", "value": "v"}
_FLOOR = 1e-4  # share of a block's patches that is drawn white
_ROWS = 6  # images below each other
_ATTENTION = "cividis"
_REST = COLOURS[-1]  # of what is not flagged
_DIM = 0.55  # of the picture under marked patches
_CELL, _GAP, _HEAD = 1.45, 0.02, 0.45  # of a grid of pictures: inches a cell, cells between and above them


@plain_style()
def norm_figure(
    diagnostics: Mapping[str, np.ndarray], layers: Sequence[Mapping[str, Any]], edit: Mapping[str, Any] | None
) -> Figure | None:
    """Draw the norms of patch tokens in every block of the untouched model, one panel a site.

    Parameters
    ----------
    diagnostics
        Of the untouched embeddings.
    layers
        Rows of `by_layer` of the diagnostics; their thresholds are marked in the panel of the detector's signal.
    edit
        The edit's spec.
    """
    found = histograms(diagnostics)
    if not found:
        return None
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure = Figure(figsize=(12.8, 3.6))  # laid out by hand: matplotlib's own layouts draw everything twice
    figure.subplots_adjust(left=0.045, right=0.91, bottom=0.14, top=0.91, wspace=0.17)
    axes = figure.subplots(1, len(SITES), squeeze=False)[0]
    detector = (edit or {}).get("detector", {})
    marked = _PANEL_OF.get(detector.get("vector", "")) if detector.get("scope") == "token" else None
    for ax, site in zip(axes, SITES, strict=True):
        shares = found[site] / np.maximum(found[site].sum(axis=1, keepdims=True), 1)
        seen = np.flatnonzero(shares.sum(axis=0))
        low, high = (seen[0], seen[-1] + 1) if len(seen) else (0, len(NORM_EDGES) - 1)
        blocks = np.arange(len(shares) + 1) - 0.5
        image = ax.pcolormesh(blocks, NORM_EDGES[low : high + 1], np.where(shares > 0, shares, np.nan)[:, low:high].T,
                              cmap="cividis_r", norm=LogNorm(_FLOOR, 1.0))  # fmt: skip
        ax.set_yscale("log")
        ax.set_ylim(NORM_EDGES[low] / 1.1, NORM_EDGES[high] * 1.1)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.minorticks_off()  # on a logarithmic axis they take most of the time
        if site == marked:
            _mark_thresholds(ax, layers)
        ax.set_title(_TITLES[site], fontsize=9)
        ax.set_xlabel("block", fontsize=9)
        ax.tick_params(labelsize=7)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("norm of a patch token", fontsize=9, labelpad=1)
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.14, 0.008, 0.77)), label="share of the block's patches")
    marks = (_FLOOR, 1e-3, 1e-2, 1e-1, 1.0)
    bar.set_ticks(marks, labels=[f"{100 * mark:g} %" for mark in marks])  # powers of ten would be typeset as formulas
    bar.minorticks_off()
    return figure


def _mark_thresholds(ax: Axes, layers: Sequence[Mapping[str, Any]]) -> None:
    for row in layers:
        if row["threshold"] is not None and row["threshold"] > 0:
            (line,) = ax.plot(row["layer"] + np.array([-0.5, 0.5]), [row["threshold"]] * 2, color=FLAGGED, linewidth=2)
            ax.legend([line], ["threshold, mean"], fontsize=7, loc="upper left")


@plain_style()
def layer_figure(
    layers: Sequence[Mapping[str, Any]], sinks: Mapping[str, Mapping[str, float]] | None = None
) -> Figure | None:
    """Draw the share of flagged patches in each edited block, the CLS token's attention on them, and their values.

    Parameters
    ----------
    layers
        Rows of `by_layer`.
    sinks
        By block, as `itae.embed.diagnostics.sinks.sinks_of` returns them.
    """
    if not layers:
        return None
    from matplotlib.figure import Figure

    known = any(row["cls_attention_before"] is not None for row in layers)
    count = 1 + known + bool(sinks)
    width = 4.6 * count
    figure = Figure(figsize=(width, 3.2))
    figure.subplots_adjust(left=0.45 / width, right=1 - 0.1 / width, bottom=0.15, top=0.91, wspace=0.12)
    axes = figure.subplots(1, count, squeeze=False)[0]
    panels: list[tuple[str, list[tuple[str, str, str, str]]]] = [
        ("patches flagged (%)", [("artifact_rate", "", KEPT, "o")])
    ]
    if known:
        lines = [("cls_attention_before", "before", FLAGGED, "s"), ("cls_attention_after", "after", KEPT, "o")]
        panels.append(("CLS attention on flagged patches (%)", lines))
    for ax, (title, lines) in zip(axes, panels, strict=False):
        _percent_by_block(ax, layers, title, lines)
    if known:
        axes[1].legend(fontsize=8, frameon=False)
    if sinks:
        _draw_sinks(axes[-1], sinks)
    return figure


def _percent_by_block(
    ax: Axes, layers: Sequence[Mapping[str, Any]], title: str, lines: Sequence[tuple[str, str, str, str]]
) -> None:
    places = np.arange(len(layers))
    for name, label, colour, marker in lines:
        values = [np.nan if row[name] is None else 100 * row[name] for row in layers]
        ax.plot(places, values, color=colour, marker=marker, markersize=5, linewidth=1.4, label=label)
    ax.set_xticks(places, [str(row["layer"]) for row in layers])
    top = max(1.0, ax.get_ylim()[1])
    ax.set_ylim(-0.02 * top, top)
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_xlabel("edited block", fontsize=9)
    clean(ax)


_SINKS = (
    ("attention_max", "attention, most attended patch", _REST, "", "--"),
    ("attention_flagged", "attention, flagged patches", FLAGGED, "s", "-"),
    ("values_flagged", "value norm, flagged patches", KEPT, "o", "-"),
)


def _draw_sinks(ax: Axes, sinks: Mapping[str, Mapping[str, float]]) -> None:
    """Draw what patches get and say against the median of the others, over all blocks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    ax.axhline(1.0, color=_REST, linewidth=0.8)
    for name, label, colour, marker, style in _SINKS:
        known = {int(block): row[name] for block, row in sinks.items() if name in row}
        if known:
            ax.plot(list(known), list(known.values()), color=colour, marker=marker, markersize=5, linewidth=1.4,
                    linestyle=style, label=label)  # fmt: skip
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.4), max(high, 2.5))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title("flagged patches / median of the others (ratio)", fontsize=9, loc="left")
    ax.set_xlabel("block", fontsize=9)
    clean(ax)
    ax.legend(fontsize=8, frameon=False)


@dataclass(frozen=True)
class Example:
    """One image of those whose masks are kept.

    Attributes
    ----------
    name
        Its id.
    picture
        What the model sees of it, uint8 [S, S, 3].
    mask
        The flagged patches, bool [h, w].
    before, after
        The CLS token's attention on its patches without and with the edit of that block, mean over heads, [h, w]; None
        where there is no CLS token.
    """

    name: str
    picture: np.ndarray
    mask: np.ndarray
    before: np.ndarray | None
    after: np.ndarray | None

    def attention(self, weights: np.ndarray | None) -> np.ndarray | None:
        """Return attention as a picture of the image's size, uint8 [S, S, 3], on one scale for before and after."""
        from matplotlib import colormaps

        if weights is None:
            return None
        most = max((float(some.max()) for some in (self.before, self.after) if some is not None), default=0.0)
        colours = np.round(255 * colormaps[_ATTENTION](weights / (most or 1.0))[..., :3]).astype(np.uint8)
        return enlarged(colours, len(self.picture))


def examples(
    diagnostics: Mapping[str, np.ndarray],
    ids: Sequence[str],
    grid: tuple[int, int],
    picture: Callable[[str], np.ndarray],
) -> tuple[int, list[Example]]:
    """Return some images, what was flagged in them and what attention they got, in one block.

    That is the last of the edited blocks in which anything was flagged.

    Parameters
    ----------
    diagnostics
        Of the edited embeddings.
    ids
        Of all images, in their order.
    grid
        Patches in height and width.
    picture
        Returns what the model sees of an image, uint8 [S, S, 3], by its id.

    Returns
    -------
    block, examples
        No examples where no masks were kept (``runtime.diagnostics=false``, or no edit).
    """
    if "example_mask" not in diagnostics:
        return -1, []
    flagged = np.flatnonzero(diagnostics["flagged_at"].sum(axis=1))
    place = int(flagged[-1]) if len(flagged) else len(diagnostics["layers"]) - 1
    found = []
    for i, row in enumerate(diagnostics["examples"]):
        name = ids[int(row)]
        paid = [weights.astype(np.float64).reshape(grid) for weights in diagnostics["example_paid"][i, :, place]]
        before, after = (weights if np.isfinite(weights).all() else None for weights in paid)
        mask = diagnostics["example_mask"][i, place].reshape(grid)
        found.append(Example(name, picture(name), mask, before, after))
    return int(diagnostics["layers"][place]), found


@plain_style()
def example_figure(block: int, found: Sequence[Example]) -> Figure | None:
    """Draw some images, what was flagged in them, and the CLS token's attention before and after the edit.

    Parameters
    ----------
    block, found
        As `examples` returns them.
    """
    if not found:
        return None
    from matplotlib.figure import Figure

    rows, wide = min(_ROWS, len(found)), -(-len(found) // _ROWS)
    columns = 2 if found[0].before is None else 4
    width, height = columns * wide, rows + _HEAD
    figure = Figure(figsize=(_CELL * width, _CELL * height))
    ax = figure.add_axes((0, 0, 1, 1))
    # One picture of them all: each one by itself takes longer to scale than all together, most of all as SVG.
    ax.imshow(_mosaic(found, rows, columns), extent=(0, width, 0, rows))
    names = ("image", "flagged", "attention before", "and after")
    for x in range(width):
        ax.text(x + 0.5, rows + 0.05, names[x % columns], fontsize=8, ha="center")
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    title = f"block {block}: flagged patches in orange"
    title += "; the CLS token's attention, mean over heads, before and after" if columns == 4 else ""
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _mosaic(found: Sequence[Example], rows: int, columns: int) -> np.ndarray:
    """Return the pictures of each image in a row, `rows` below each other, with white between them, uint8 [y, x, 3]."""
    side = len(found[0].picture)
    gap = max(1, round(_GAP * side))
    cell = side + 2 * gap
    out = np.full((rows * cell, -(-len(found) // rows) * columns * cell, 3), 255, np.uint8)
    for i, example in enumerate(found):
        attention = (example.attention(weights) for weights in (example.before, example.after))
        pictures = (example.picture, marked(example.picture, example.mask), *attention)
        for j, picture in enumerate(pictures):
            if picture is not None:
                y, x = i % rows * cell + gap, (i // rows * columns + j) * cell + gap
                out[y : y + side, x : x + side] = picture
    return out


def marked(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture uint8 [S, S, 3] with the patches of a mask [h, w] in colour and the others dimmed to grey."""
    from matplotlib.colors import to_rgb

    here = enlarged(mask, len(picture))
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2) * _DIM + 255 * (1 - _DIM) * 0.8
    colour = np.round(255 * np.array(to_rgb(FLAGGED)))
    return np.where(here[..., None], colour, grey).astype(np.uint8)


def enlarged(patches: np.ndarray, side: int) -> np.ndarray:
    """Return values of patches [h, w, ...] as pixels [side, side, ...]."""
    rows, columns = (np.arange(side) * n // side for n in patches.shape[:2])
    return patches[rows][:, columns]
