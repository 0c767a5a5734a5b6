"""The trust report of a translation: an HTML page, and its numbers as JSON."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.volume import Volume
from crossmod.files import PathName, write_json
from crossmod.html.figures import COLOURS, data_url, display_range, escaped, gray, outline
from crossmod.html.page import check_free, write_page
from crossmod.inference.paired import AgainstTruth
from crossmod.inference.trust.checks import outcomes
from crossmod.inference.trust.findings import Organ, Trust, Uncertainty
from crossmod.inference.trust.similarity import Likeness
from crossmod.inference.types import About, Translation

SHOWN = 5
INCHES = 2.2
# Values from which a display range is computed; more change it little.
ENOUGH = 500_000


def slices_panel(
    translation: Translation, *, unit: str, truth: Num[np.ndarray, "slices rows columns"] | None = None
) -> str:
    """Source | synthetic | real, NaN beyond it | uncertainty | S's outlines, of some slices from head to feet."""
    image, spread, source = translation.image, translation.uncertainty, translation.sources[0]
    rows, made_range = shown_slices(translation), _range(translation, image)
    columns: dict[str, Callable[[Axes, int], object]] = {
        source.modality.upper(): _drawing(source.voxels, _range(translation, source)),
        f"synthetic {image.modality.upper()}": _drawing(image.voxels, made_range),
    }
    if truth is not None:
        seen = truth[translation.body & np.isfinite(truth)]
        limits = made_range if image.modality == "ct" else display_range(seen) if seen.size else (0.0, 1.0)
        columns[f"real {image.modality.upper()}"] = _drawing(np.nan_to_num(truth, nan=limits[0]), limits)
    if spread is not None:
        scale = 1.0 if unit == "HU" else 100 / (translation.about.high - translation.about.low)
        # One scale for all slices, with one colour bar.
        most = max(float(np.percentile(spread[rows] * scale, 99.5)), 1e-6)
        columns["uncertainty"] = lambda axis, index: axis.imshow(spread[index] * scale, cmap="magma", vmin=0, vmax=most)
    if translation.labels is not None:
        columns["what S finds"] = _outlines(translation, made_range)
    _, down, across = image.spacing
    ratio = image.voxels.shape[1] * down / (image.voxels.shape[2] * across)
    figure = Figure(figsize=(len(columns) * INCHES, len(rows) * INCHES * ratio), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for column, (title, draw) in enumerate(columns.items()):
        axes[0][column].set_title(title, fontsize=9)
        for axis, index in zip(axes[:, column], rows, strict=True):
            axis.set_axis_off()
            draw(axis, index)
            axis.set_aspect(down / across)
        if title == "uncertainty":
            drawn, places = axes[0][column].images[0], list(axes[:, 2])
            bar = figure.colorbar(drawn, ax=places, location="bottom", fraction=0.03, pad=0.01, extend="max")
            bar.set_label(f"standard deviation, {unit}", fontsize=8)
            bar.ax.tick_params(labelsize=7)
    for axis, index in zip(axes[:, 0], rows, strict=True):
        axis.text(0.02, 0.03, f"slice {index + 1}", color="w", fontsize=7, transform=axis.transAxes)
    return data_url(figure)


def _drawing(voxels: np.ndarray, limits: tuple[float, float]) -> Callable[[Axes, int], object]:
    return lambda axis, index: gray(axis, voxels[index], *limits)


def _outlines(translation: Translation, limits: tuple[float, float]) -> Callable[[Axes, int], object]:
    def draw(axis: Axes, index: int) -> None:
        assert translation.labels is not None
        gray(axis, translation.image.voxels[index], *limits)
        for number, colour in zip(range(1, len(translation.about.organs) + 1), itertools.cycle(COLOURS), strict=False):
            outline(axis, (translation.labels[index] == number).astype(np.uint8), colour)

    return draw


def reformats_panel(translation: Translation) -> str:
    """Coronal and sagittal cuts through the middle of the body, head upwards: source above synthetic."""
    image, shape = translation.image, translation.image.voxels.shape
    middle = [_middle(np.asarray(translation.body.any(axis=(0, 3 - axis)))) for axis in (1, 2)]
    along, down, across = image.spacing
    sides = (
        (translation.sources[0], translation.sources[0].modality.upper()),
        (image, f"synthetic {image.modality.upper()}"),
    )
    figure = Figure(figsize=(6.6, 6.6 * shape[0] * along / (shape[2] * across) + 0.6), layout="constrained")
    axes = figure.subplots(2, 2, squeeze=False)
    for (volume, name), row in zip(sides, axes, strict=True):
        low, high = _range(translation, volume)
        cuts = (volume.voxels[:, middle[0]], volume.voxels[:, :, middle[1]])
        for axis, cut, mm, words in zip(row, cuts, (across, down), ("coronal", "sagittal"), strict=True):
            # Not smoothed, which would hide steps from slice to slice.
            axis.imshow(cut[::-1], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set_aspect(along / mm)
            axis.set_axis_off()
            axis.set_title(f"{name}, {words}", fontsize=9)
    return data_url(figure)


def uncertainty_curve(uncertainty: Uncertainty, shown: Sequence[int]) -> str:
    """Mean uncertainty of each slice, from feet to head, with marks at the shown slices."""
    figure, axis = _plot()
    numbers = np.arange(1, len(uncertainty.by_slice) + 1)
    axis.plot(numbers, uncertainty.by_slice, color=COLOURS[5], linewidth=1.2, marker=".", markersize=3)
    for index in shown:
        axis.axvline(index + 1, color="0.8", linewidth=0.8, zorder=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("slice, feet to head")
    axis.set_ylabel(f"mean uncertainty, {uncertainty.unit}")
    return data_url(figure)


def histogram_figure(likenesses: Sequence[Likeness]) -> str:
    """Gray values of the body, of each input and of its training patients."""
    figure, axis = _plot()
    for one, colour in zip(likenesses, itertools.cycle(COLOURS), strict=False):
        edges = np.linspace(-1, 1, len(one.histogram) + 1)
        axis.stairs(
            100 * one.trained, edges, color=colour, fill=True, alpha=0.25, label=f"training: {escaped(one.name)}"
        )
        axis.stairs(100 * one.histogram, edges, color=colour, linewidth=1.3, label=f"this input: {escaped(one.name)}")
    axis.set_xlabel("value as the network sees it")
    axis.set_ylabel("% of the body")
    axis.legend(fontsize=7)
    return data_url(figure)


def shown_slices(translation: Translation) -> list[int]:
    """Slices evenly spaced over the body, from head to feet, without its ends, which show little."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if not len(seen):
        return [len(translation.image.voxels) // 2]
    at = np.rint(np.linspace(0.08, 0.92, SHOWN) * (len(seen) - 1)).astype(int)
    return [int(seen[i]) for i in np.unique(at)][::-1]


def _range(translation: Translation, volume: Volume) -> tuple[float, float]:
    """Of the source or the image: the range of the model for CT, that of the values in the body for MR."""
    about = translation.about
    if volume.modality == "ct":
        return (about.low, about.high) if volume is translation.image else about.window
    inside = volume.voxels[translation.body] if translation.body.any() else volume.voxels.ravel()
    return display_range(np.append(inside[:: max(1, len(inside) // ENOUGH)], volume.voxels.min()))


def _middle(shows: Bool[np.ndarray, " length"]) -> int:
    return int(np.median(np.flatnonzero(shows))) if shows.any() else len(shows) // 2


def _plot() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    return figure, axis


def write_trust(translation: Translation, trust: Trust, path: PathName, *, truth: AgainstTruth | None = None) -> None:
    """Write the page, and the numbers to the same path with `.json`; an earlier report is overwritten.

    Args:
        truth: scores of the translation, if a truth is known.

    Raises:
        InputError: there is something else at `path`, or the disk is full.
    """
    path = Path(path)
    check_free(path)
    write_page("crossmod.inference.trust", "trust.html", path, **_parts(translation, trust, truth))
    scores = {} if truth is None else {"against_truth": truth.plain()}
    write_json(path.with_suffix(".json"), {**trust.plain(), **scores})


def _parts(translation: Translation, trust: Trust, truth: AgainstTruth | None) -> dict[str, object]:
    about, image, spread = translation.about, translation.image, trust.uncertainty
    unit = "HU" if image.unit == "HU" else "% of the range"
    shape, spacing = image.voxels.shape, image.spacing
    organs = about.organs if translation.labels is not None else ()
    return {
        "name": about.name,
        "what": f"{about.source.upper()} to {about.target.upper()} by {about.name}: {shape[0]} slices of {shape[1]} x "
        f"{shape[2]} pixels, {spacing[0]:.3g} x {spacing[1]:.3g} x {spacing[2]:.3g} mm",
        "status": trust.status,
        "verdict": trust.verdict,
        "warnings": trust.warnings,
        "unknown": trust.unknown,
        "slices": slices_panel(translation, unit=unit, truth=None if truth is None else truth.placed),
        "reformats": reformats_panel(translation),
        "uncertain": spread is not None,
        "keys": [
            {"name": name, "colour": colour} for name, colour in zip(organs, itertools.cycle(COLOURS), strict=False)
        ],
        "checks": outcomes(trust, translation)[1],
        "outcomes": trust.checks,
        "truth": None if truth is None else truth.words,
        "stack": about.stack,
        "organs": [_organ(organ) for organ in trust.organs],
        "curve": spread and uncertainty_curve(spread, shown_slices(translation)),
        "histogram": histogram_figure(trust.likenesses) if trust.likenesses else None,
        "model": list(_model(about)),
    }


def _organ(organ: Organ) -> dict[str, str]:
    change = organ.change
    pieces = None if change is None else change.pieces
    return {
        "organ": organ.title,
        "before": "" if organ.before is None else f"{organ.before:.0f}",
        "after": "" if organ.after is None else f"{organ.after:.0f}",
        "change": f"{change.growth - 1:+.0%}" if change is not None and organ.before else "",
        "dice": "" if change is None else f"{change.dice:.2f}",
        "moved": "" if change is None or change.shift_mm != change.shift_mm else f"{change.shift_mm:.1f} mm",
        "pieces": "" if pieces is None else f"{pieces.before} to {pieces.after}",
        "invented": "" if pieces is None else f"{pieces.invented:.0f}",
        "lost": "" if pieces is None else f"{pieces.lost:.0f}",
    }


def _model(about: About) -> Iterator[tuple[str, str]]:
    counts = about.trained_on.items()
    people = (f"{count['patients']} {side.upper()} patients, {count['slices']} slices" for side, count in counts)
    yield "Family", about.family
    yield "Inputs", ", ".join(about.inputs)
    yield "Trained on", "; ".join(people) or "not known"
    yield "CT window", f"{about.window[0]:g} to {about.window[1]:g} {about.ct_words}"
    yield "Pixels per side", str(about.size)
    yield "Pixel of the model", about.pixel_words
    if about.stack_mm is not None:
        yield "Slices seen together", f"{about.stack}, {about.stack_mm:.1f} mm apart"
    yield "Weights", about.weights[:12]
    yield "Made with", f"crossmod {about.version}"
    yield "Licence", about.licence or "not stated"
