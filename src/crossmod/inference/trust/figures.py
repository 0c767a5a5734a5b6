"""The pictures of a trust report, each a PNG in a data URL."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.volume import Volume
from crossmod.inference.contract import Translation
from crossmod.inference.trust.checks import Uncertainty
from crossmod.inference.trust.likeness import Likeness
from crossmod.report.figures import COLOURS, data_url, display_range, gray, outline, plain

SHOWN = 5
INCHES = 2.2
# Values that a display range is taken of; more change it little.
ENOUGH = 500_000


def slices_panel(
    translation: Translation, *, unit: str, truth: Num[np.ndarray, "slices rows columns"] | None = None
) -> str:
    """Source | synthetic | real | uncertainty | S's outlines, of some slices from head to feet.

    Args:
        translation: what was made.
        unit: of its uncertainty.
        truth: a real scan on its grid, NaN where it shows nothing.
    """
    image, spread = translation.image, translation.uncertainty
    rows = shown_slices(translation)
    source, ranges = translation.sources[0], [source_range(translation), image_range(translation)]
    titles = [source.modality.upper(), f"synthetic {image.modality.upper()}"]
    titles += [f"real {image.modality.upper()}"] if truth is not None else []
    titles += ["uncertainty"] if spread is not None else []
    titles += ["what S finds"] if translation.labels is not None else []
    size = (len(titles) * INCHES, len(rows) * INCHES * _ratio(image))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    aspect = image.spacing[1] / image.spacing[2]
    truth_range = ranges[1] if truth is None or image.modality == "ct" else _ends(truth[translation.body])
    for row, index in zip(axes, rows, strict=True):
        columns = iter(row)
        _show(next(columns), source.voxels[index], ranges[0], aspect)
        row[0].text(0.02, 0.03, f"slice {index + 1}", color="w", fontsize=7, transform=row[0].transAxes)
        _show(next(columns), image.voxels[index], ranges[1], aspect)
        if truth is not None:
            _show(next(columns), np.nan_to_num(truth[index], nan=truth_range[0]), truth_range, aspect)
        if spread is not None:
            _uncertain(figure, axes, next(columns), translation, index, unit)
        if translation.labels is not None:
            _outlines(next(columns), translation, index, ranges[1], aspect)
    return data_url(figure)


def reformats_panel(translation: Translation) -> str:
    """Coronal and sagittal cuts through the middle of the body, head upwards: source above synthetic."""
    image, shape = translation.image, translation.image.voxels.shape
    middle = [_middle(np.asarray(translation.body.any(axis=(0, 3 - axis)))) for axis in (1, 2)]
    along, down, across = image.spacing
    sides = (
        (translation.sources[0], source_range(translation), translation.sources[0].modality.upper()),
        (image, image_range(translation), f"synthetic {image.modality.upper()}"),
    )
    figure = Figure(figsize=(6.6, 6.6 * shape[0] * along / (shape[2] * across) + 0.6), layout="constrained")
    axes = figure.subplots(2, 2, squeeze=False)
    for (volume, limits, name), row in zip(sides, axes, strict=True):
        cuts = (volume.voxels[:, middle[0]], volume.voxels[:, :, middle[1]])
        for axis, cut, mm, words in zip(row, cuts, (across, down), ("coronal", "sagittal"), strict=True):
            # As they are: a smooth picture would hide steps from slice to slice.
            axis.imshow(cut[::-1], cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
            axis.set_aspect(along / mm)
            axis.set_axis_off()
            axis.set_title(f"{name}, {words}", fontsize=9)
    return data_url(figure)


def uncertainty_curve(found: Uncertainty, jumps: Sequence[int]) -> str:
    """Mean uncertainty of each slice, from feet to head; the slices that are shown are marked."""
    figure, axis = _plot()
    numbers = np.arange(1, len(found.by_slice) + 1)
    axis.plot(numbers, found.by_slice, color=COLOURS[5], linewidth=1.2, marker=".", markersize=3)
    for index in jumps:
        axis.axvline(index + 1, color="0.8", linewidth=0.8, zorder=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("slice, feet to head")
    axis.set_ylabel(f"mean uncertainty, {found.unit}")
    return data_url(figure)


def histogram_figure(likenesses: Sequence[Likeness]) -> str:
    """Gray values of the body, of each input and of its training patients."""
    figure, axis = _plot()
    for one, colour in zip(likenesses, itertools.cycle(COLOURS), strict=False):
        edges = np.linspace(-1, 1, len(one.histogram) + 1)
        axis.stairs(100 * one.trained, edges, color=colour, fill=True, alpha=0.25, label=f"training: {plain(one.name)}")
        axis.stairs(100 * one.histogram, edges, color=colour, linewidth=1.3, label=f"this input: {plain(one.name)}")
    axis.set_xlabel("value as the network sees it")
    axis.set_ylabel("% of the body")
    axis.legend(fontsize=7)
    return data_url(figure)


def _ends(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return display_range(known) if known.size else (0.0, 1.0)


def shown_slices(translation: Translation) -> list[int]:
    """Evenly over those with a body, from the head down; the ends, which show little, are left out."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if not len(seen):
        return [len(translation.image.voxels) // 2]
    at = np.rint(np.linspace(0.08, 0.92, SHOWN) * (len(seen) - 1)).astype(int)
    return [int(seen[i]) for i in np.unique(at)][::-1]


def source_range(translation: Translation) -> tuple[float, float]:
    """The CT window of the model, or what the body of MR spans."""
    source = translation.sources[0]
    return translation.about.window if source.modality == "ct" else _spanned(source, translation)


def image_range(translation: Translation) -> tuple[float, float]:
    """The same of what was made."""
    about, image = translation.about, translation.image
    return (about.low, about.high) if image.modality == "ct" else _spanned(image, translation)


def _middle(shows: Bool[np.ndarray, " length"]) -> int:
    return int(np.median(np.flatnonzero(shows))) if shows.any() else len(shows) // 2


def _spanned(volume: Volume, translation: Translation) -> tuple[float, float]:
    inside = volume.voxels[translation.body] if translation.body.any() else volume.voxels.ravel()
    return display_range(np.append(inside[:: max(1, len(inside) // ENOUGH)], volume.voxels.min()))


def _show(axis: Axes, image: np.ndarray, limits: tuple[float, float], aspect: float) -> None:
    axis.set_axis_off()
    gray(axis, image, *limits)
    axis.set_aspect(aspect)


def _uncertain(figure: Figure, axes: np.ndarray, axis: Axes, translation: Translation, index: int, unit: str) -> None:
    """The map, on one scale for all slices; its colour bar stands beside the first."""
    spread, about = translation.uncertainty, translation.about
    assert spread is not None
    scale = 1.0 if unit == "HU" else 100 / (about.high - about.low)
    inside = spread[shown_slices(translation)] * scale
    most = max(float(np.percentile(inside, 99.5)), 1e-6)
    axis.set_axis_off()
    shown = axis.imshow(spread[index] * scale, cmap="magma", vmin=0, vmax=most)
    axis.set_aspect(translation.image.spacing[1] / translation.image.spacing[2])
    if axis is axes[0][2]:
        bar = figure.colorbar(shown, ax=list(axes[:, 2]), location="bottom", fraction=0.03, pad=0.01, extend="max")
        bar.set_label(f"standard deviation, {unit}", fontsize=8)
        bar.ax.tick_params(labelsize=7)


def _outlines(axis: Axes, translation: Translation, index: int, limits: tuple[float, float], aspect: float) -> None:
    assert translation.labels is not None
    _show(axis, translation.image.voxels[index], limits, aspect)
    for number, colour in zip(range(1, len(translation.about.organs) + 1), itertools.cycle(COLOURS), strict=False):
        outline(axis, (translation.labels[index] == number).astype(np.uint8), colour)


def _ratio(image: Volume) -> float:
    _, rows, columns = image.voxels.shape
    _, down, across = image.spacing
    return rows * down / (columns * across)


def _plot() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    return figure, axis
