"""The trust report of a translation: an HTML page, and its numbers as JSON."""

import itertools
from collections.abc import Iterator, Sequence
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
from crossmod.inference.trust.assess import Trust
from crossmod.inference.trust.checks import Organ, Uncertainty
from crossmod.inference.trust.similarity import Likeness
from crossmod.inference.types import About, Translation

SHOWN = 5
INCHES = 2.2
# Values from which a display range is computed; more change it little.
ENOUGH = 500_000


def slices_panel(
    translation: Translation, *, unit: str, truth: Num[np.ndarray, "slices rows columns"] | None = None
) -> str:
    """Source | synthetic | real | uncertainty | S's outlines, of some slices from head to feet.

    Args:
        truth: a real scan on its grid, NaN beyond it.
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
            # Not smoothed, which would hide steps from slice to slice.
            axis.imshow(cut[::-1], cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
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


def _ends(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return display_range(known) if known.size else (0.0, 1.0)


def shown_slices(translation: Translation) -> list[int]:
    """Slices evenly spaced over the body, from head to feet, without its ends, which show little."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if not len(seen):
        return [len(translation.image.voxels) // 2]
    at = np.rint(np.linspace(0.08, 0.92, SHOWN) * (len(seen) - 1)).astype(int)
    return [int(seen[i]) for i in np.unique(at)][::-1]


def source_range(translation: Translation) -> tuple[float, float]:
    """The CT window of the model, or the range of MR in the body."""
    source = translation.sources[0]
    return translation.about.window if source.modality == "ct" else _spanned(source, translation)


def image_range(translation: Translation) -> tuple[float, float]:
    """The range of the model's CT output, or the range of MR in the body."""
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
    """The map, on one scale for all slices, with one colour bar."""
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


Row = tuple[str, str, str]
"""Check, value, limit."""


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
        "checks": list(_checks(trust)),
        "outcomes": trust.checks,
        "truth": None if truth is None else truth.words,
        "stack": about.stack,
        "organs": [_organ(organ) for organ in trust.organs],
        "curve": spread and uncertainty_curve(spread, shown_slices(translation)),
        "histogram": histogram_figure(trust.likenesses) if trust.likenesses else None,
        "model": list(_model(about)),
    }


def _checks(trust: Trust) -> Iterator[Row]:
    limits, spread, output = trust.limits, trust.uncertainty, trust.output
    for like in trust.likenesses:
        yield from _measures(f"Input {like.name}", like)
    if output is not None:
        for like in (output.real, output.own):
            if like is not None:
                yield from _measures(f"Output compared with {like.name}", like)
        for organ in output.organs:
            value = f"{organ.value:.3g} {organ.unit}"
            yield f"{organ.name.replace('_', ' ')} in the output", value, f"{organ.low:.3g} to {organ.high:.3g}"
        structure = "not assessed" if output.kept is None else f"{output.kept.structure:.2f}"
        yield "Structure kept: correlation of edges", structure, f"at least {output.least_structure:.2f}"
    yield from _place(trust)
    jump = "not assessed" if trust.jump != trust.jump else f"{trust.jump:.2f}"
    yield "Steps from slice to slice, relative to the input", jump, f"at most {limits.jump:g}"
    yield "Body beyond the range of the model", f"{trust.clipped:.1%}", f"at most {limits.clipped:.0%}"
    share = "no body" if trust.body_share != trust.body_share else f"{trust.body_share:.0%}"
    yield "Share of the slices that is body", share, f"at most {limits.body_share:.0%}"
    if spread is not None:
        mean = f"mean {spread.mean:.3g}, 95th percentile {spread.high:.3g} {spread.unit}"
        yield "Uncertainty inside the body", mean, ""
        yield "Uncertain share of the body", f"{spread.share:.1%}", f"at most {limits.uncertain_share:.0%}"


def _measures(title: str, like: Likeness) -> Iterator[Row]:
    for measure in like.measures:
        unit = f" {measure.unit}" if measure.unit else ""
        limit, what = f"at most {measure.high:.3g}", "difference of "
        if measure.low is not None:
            limit, what = f"{measure.low:.3g} to {measure.high:.3g}", ""
        yield f"{title}: {what}{measure.name}", f"{measure.value:.3g}{unit}", f"{limit}{unit}"


def _place(trust: Trust) -> Iterator[Row]:
    limits, shift = trust.limits, trust.shift
    if shift is None:
        yield "Shift from the input", "not assessed", f"at most {limits.shift_mm:g} mm"
        return
    value = f"{shift.distance_mm:.1f} mm ({shift.rows:+.1f} rows, {shift.columns:+.1f} columns of {shift.mm:.2g} mm)"
    yield "Shift from the input", value, f"at most {limits.shift_mm:g} mm"
    yield "Size relative to the input", f"{shift.scale:.1%}", f"100% ± {limits.scale:.0%}"


def _organ(organ: Organ) -> dict[str, str]:
    change = organ.change
    pieces = None if change is None else change.pieces
    return {
        "organ": organ.name.replace("_", " "),
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
