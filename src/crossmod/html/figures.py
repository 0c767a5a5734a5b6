"""Figures of pages: PNGs in data URLs, so that a page needs no other file; colours; grids of axes."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette: colour-blind readers can distinguish it.
TRUTH = "#F0E442"
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2")


def data_url(figure: Figure) -> str:
    """A figure as a PNG in a data URL."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The content of a PNG file, on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, bbox_inches="tight", facecolor="white")
    return stream.getvalue()


def escaped(name: str) -> str:
    """A name for matplotlib, in which a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def image_grid(rows: int, titles: Sequence[str], inches: float) -> tuple[Figure, np.ndarray]:
    """Axes without ticks for images: a column per title."""
    figure = Figure(figsize=(len(titles) * inches, rows * inches), layout="constrained")
    axes = figure.subplots(rows, len(titles), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure, axes


def panels(
    number: int, columns: int, width: float, height: float, *, least: float = 0.0, more: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """`number` small plots of these inches, row by row; the figure is at least `least` wide, and `more` higher."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(max(columns * width, least), rows * height + more), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[number:]:
        axis.set_axis_off()
    for axis in axes[:number]:
        axis.tick_params(labelsize=7, which="both")
        axis.grid(alpha=0.3)
    return figure, list(axes[:number])


def legend_below(figure: Figure, axis: Axes, columns: int = 5) -> None:
    """The legend of one axis, below all of them."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=min(len(labels), columns))


def display_range(image: np.ndarray) -> tuple[float, float]:
    """The values that are shown as black and as white."""
    low, high = np.percentile(image, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def gray(axis: Axes, image: np.ndarray | None, low: float | None = None, high: float | None = None) -> None:
    """An image in gray between two values (default: `display_range`), or words that its source is missing."""
    if image is None:
        text = "source not found:\ngive --source"
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, transform=axis.transAxes)
        return
    if low is None or high is None:
        low, high = display_range(image)
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic")


def outline(axis: Axes, mask: np.ndarray, colour: str) -> None:
    """The border of each organ of a mask, if it is not empty."""
    for organ in np.unique(mask[mask > 0]):
        axis.contour(mask == organ, levels=[0.5], colors=[colour], linewidths=1.2)
