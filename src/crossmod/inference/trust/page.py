"""The trust report of a translation: one HTML page that needs no other file, and its numbers as JSON."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from crossmod.files import PathName, write_json, write_text
from crossmod.inference.contract import About, Translation
from crossmod.inference.trust import figures
from crossmod.inference.trust.checks import Organ
from crossmod.inference.trust.judge import Trust
from crossmod.inference.truth import AgainstTruth
from crossmod.report.figures import COLOURS
from crossmod.report.page import check_free
from crossmod.version import __version__

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
    path.parent.mkdir(parents=True, exist_ok=True)
    # The style of all reports; the page is this room's own.
    places = ChoiceLoader([PackageLoader("crossmod.inference.trust"), PackageLoader("crossmod.report")])
    page = Environment(loader=places, autoescape=True, undefined=StrictUndefined).get_template("trust.html")
    write_text(path, page.render(version=__version__, **_parts(translation, trust, truth)))
    told = {} if truth is None else {"against_truth": truth.plain()}
    write_json(path.with_suffix(".json"), {**trust.plain(), **told})


def _parts(translation: Translation, trust: Trust, truth: AgainstTruth | None) -> dict[str, object]:
    about, image, spread = translation.about, translation.image, trust.uncertainty
    unit = "HU" if image.modality == "ct" else "% of the range"
    shape, spacing = image.voxels.shape, image.spacing
    organs = about.organs if translation.labels is not None else ()
    return {
        "name": about.name,
        "what": f"{about.source.upper()} to {about.target.upper()} by {about.name}: {shape[0]} slices of {shape[1]} x "
        f"{shape[2]} pixels, {spacing[0]:.3g} x {spacing[1]:.3g} x {spacing[2]:.3g} mm",
        "ok": trust.ok,
        "verdict": trust.verdict,
        "warnings": trust.warnings,
        "unknown": trust.unknown,
        "slices": figures.slices_panel(translation, unit=unit, truth=None if truth is None else truth.placed),
        "reformats": figures.reformats_panel(translation),
        "uncertain": spread is not None,
        "keys": [
            {"name": name, "colour": colour} for name, colour in zip(organs, itertools.cycle(COLOURS), strict=False)
        ],
        "checks": list(_checks(trust)),
        "truth": None if truth is None else truth.words,
        "stack": about.stack,
        "organs": [_organ(organ) for organ in trust.organs],
        "curve": spread and figures.uncertainty_curve(spread, figures.shown_slices(translation)),
        "histogram": figures.histogram_figure(trust.likenesses) if trust.likenesses else None,
        "model": list(_model(about)),
    }


def _checks(trust: Trust) -> Iterator[Row]:
    limits, spread, shift = trust.limits, trust.uncertainty, trust.shift
    if spread is not None:
        mean = f"mean {spread.mean:.3g}, 95th percentile {spread.high:.3g} {spread.unit}"
        yield _row("Uncertainty inside the body", mean, "")
        yield _row("Uncertain share of the body", f"{spread.share:.1%}", f"at most {limits.uncertain_share:.0%}")
    jump = "not known" if trust.jump != trust.jump else f"{trust.jump:.2f}"
    yield _row("Steps from slice to slice, by those of the source", jump, f"at most {limits.jump:g}")
    place = (
        "not known" if shift is None else f"{shift.rows:+g} rows, {shift.columns:+g} columns ({shift.mm:.2g} mm each)"
    )
    yield _row("Place, against the source", place, f"at most {limits.shift_px:g} pixel of the network")
    yield _row("Body beyond what the model knows", f"{trust.clipped:.1%}", f"at most {limits.clipped:.0%}")
    for one in trust.likenesses:
        sides = (("grey values", one.grey), ("texture", one.features))
        told = ", ".join(f"{name} {'not known' if value is None else format(value, '.2f')}" for name, value in sides)
        yield _row(
            f"Unlike the training patients, {one.name} (1: as the strangest 5 %)", told, f"at most {limits.unlike:g}"
        )


def _row(check: str, found: str, limit: str) -> Row:
    return {"check": check, "found": found, "limit": limit}


def _organ(organ: Organ) -> Row:
    change, sizes = organ.change, ("" if size is None else f"{size:.0f}" for size in (organ.before, organ.after))
    known = change is not None and organ.before
    moved = change is not None and change.shift_mm == change.shift_mm
    return {
        "organ": organ.name.replace("_", " "),
        **dict(zip(("before", "after"), sizes, strict=True)),
        "change": f"{change.growth - 1:+.0%}" if change is not None and known else "",
        "dice": "" if change is None else f"{change.dice:.2f}",
        "moved": f"{change.shift_mm:.1f} mm" if change is not None and moved else "",
    }


def _model(about: About) -> Iterator[tuple[str, str]]:
    people = (
        f"{one['patients']} {side.upper()} patients, {one['slices']} slices" for side, one in about.trained_on.items()
    )
    yield "Family", about.family
    yield "Inputs", ", ".join(about.inputs)
    yield "Trained on", "; ".join(people) or "not known"
    yield "CT window", f"{about.window[0]:g} to {about.window[1]:g} HU"
    yield "Pixels a side", str(about.size)
    yield "Pixel of the model", about.pixel_words
    if about.stack_mm is not None:
        yield "Slices seen together", f"{about.stack}, {about.stack_mm:.1f} mm apart"
    yield "Weights", about.weights[:12]
    yield "Made with", f"crossmod {about.version}"
    yield "Licence", about.licence or "not stated"
