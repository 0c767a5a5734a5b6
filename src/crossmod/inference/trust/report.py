"""The trust report of a translation: one HTML page, and its numbers as JSON."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.volume import Volume
from crossmod.files import PathName, write_json
from crossmod.html.page import check_free, write_page
from crossmod.inference.paired import AgainstTruth
from crossmod.inference.trust.assess import Trust
from crossmod.inference.trust.checks import Organ, Uncertainty
from crossmod.inference.trust.similarity import Likeness
from crossmod.inference.types import About, Translation
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


Row = dict[str, str]


def write_trust(translation: Translation, trust: Trust, path: PathName, *, truth: AgainstTruth | None = None) -> None:
    """Write the page, and beside it the numbers.

    Args:
        translation: what was judged.
        trust: what was found.
        truth: how far the translation is from the truth, where there is one.
        path: of the page; the numbers lie at the same name with `.json`. An earlier report is written over.

    Raises:
        InputError: there is something else at `path`, or the disk is full.
    """
    path = Path(path)
    check_free(path)
    write_page("crossmod.inference.trust", "trust.html", path, **_parts(translation, trust, truth))
    told = {} if truth is None else {"against_truth": truth.plain()}
    write_json(path.with_suffix(".json"), {**trust.plain(), **told})


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
                yield from _measures(f"Output, beside {like.name}", like)
        for organ in output.organs:
            value = f"{organ.value:.3g} {organ.unit}"
            yield _row(f"{organ.name.replace('_', ' ')} in the output", value, f"{organ.low:.3g} to {organ.high:.3g}")
        structure = "not assessed" if output.kept is None else f"{output.kept.structure:.2f}"
        yield _row("Structure kept: correlation of edges", structure, f"at least {output.least_structure:.2f}")
    yield from _place(trust)
    jump = "not assessed" if trust.jump != trust.jump else f"{trust.jump:.2f}"
    yield _row("Steps from slice to slice, relative to the input", jump, f"at most {limits.jump:g}")
    yield _row("Body beyond the range of the model", f"{trust.clipped:.1%}", f"at most {limits.clipped:.0%}")
    share = "no body" if trust.body_share != trust.body_share else f"{trust.body_share:.0%}"
    yield _row("Share of the slices that is body", share, f"at most {limits.body_share:.0%}")
    if spread is not None:
        mean = f"mean {spread.mean:.3g}, 95th percentile {spread.high:.3g} {spread.unit}"
        yield _row("Uncertainty inside the body", mean, "")
        yield _row("Uncertain share of the body", f"{spread.share:.1%}", f"at most {limits.uncertain_share:.0%}")


def _measures(title: str, like: Likeness) -> Iterator[Row]:
    for one in like.measures:
        unit = f" {one.unit}" if one.unit else ""
        limit = f"at most {one.high:.3g}" if one.low is None else f"{one.low:.3g} to {one.high:.3g}"
        what = "difference of " if one.low is None else ""
        yield _row(f"{title}: {what}{one.name}", f"{one.value:.3g}{unit}", f"{limit}{unit}")


def _place(trust: Trust) -> Iterator[Row]:
    limits, shift = trust.limits, trust.shift
    if shift is None:
        yield _row("Shift from the input", "not assessed", f"at most {limits.shift_mm:g} mm")
        return
    found = f"{shift.distance_mm:.1f} mm ({shift.rows:+.1f} rows, {shift.columns:+.1f} columns of {shift.mm:.2g} mm)"
    yield _row("Shift from the input", found, f"at most {limits.shift_mm:g} mm")
    yield _row("Size relative to the input", f"{shift.scale:.1%}", f"100% ± {limits.scale:.0%}")


def _row(check: str, found: str, limit: str) -> Row:
    return {"check": check, "found": found, "limit": limit}


def _organ(organ: Organ) -> Row:
    change, sizes = organ.change, ("" if size is None else f"{size:.0f}" for size in (organ.before, organ.after))
    known = change is not None and organ.before
    pieces = None if change is None else change.pieces
    moved = change is not None and change.shift_mm == change.shift_mm
    return {
        "organ": organ.name.replace("_", " "),
        **dict(zip(("before", "after"), sizes, strict=True)),
        "change": f"{change.growth - 1:+.0%}" if change is not None and known else "",
        "dice": "" if change is None else f"{change.dice:.2f}",
        "moved": f"{change.shift_mm:.1f} mm" if change is not None and moved else "",
        "pieces": "" if pieces is None else f"{pieces.before} to {pieces.after}",
        "invented": "" if pieces is None else f"{pieces.invented:.0f}",
        "lost": "" if pieces is None else f"{pieces.lost:.0f}",
    }


def _model(about: About) -> Iterator[tuple[str, str]]:
    people = (
        f"{one['patients']} {side.upper()} patients, {one['slices']} slices" for side, one in about.trained_on.items()
    )
    yield "Family", about.family
    yield "Inputs", ", ".join(about.inputs)
    yield "Trained on", "; ".join(people) or "not known"
    yield "CT window", f"{about.window[0]:g} to {about.window[1]:g} {about.ct_words}"
    yield "Pixels a side", str(about.size)
    yield "Pixel of the model", about.pixel_words
    if about.stack_mm is not None:
        yield "Slices seen together", f"{about.stack}, {about.stack_mm:.1f} mm apart"
    yield "Weights", about.weights[:12]
    yield "Made with", f"crossmod {about.version}"
    yield "Licence", about.licence or "not stated"
