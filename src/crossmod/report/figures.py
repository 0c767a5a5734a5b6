"""Figures of single runs: slices beside their sources, scores by patient, ROC curves, losses."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from crossmod.data.frame import frame_between
from crossmod.data.intensity import Intensity
from crossmod.data.slices import in_classes, spread
from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import take_slices
from crossmod.engine.logger import loss_histories, score_histories
from crossmod.html.figures import COLOURS, TRUTH, data_url, escaped, gray, image_grid, outline, panels
from crossmod.report.collect import Arm
from crossmod.runs import Run

Gray = Float[np.ndarray, "size size"]
Mask = UInt8[np.ndarray, "size size"]
# A case, and an index in it.
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class SyntheticSlice:
    """A synthetic slice with the slice that it was made from."""

    source: Gray | None  # the real slice; None if its store is missing
    synthetic: Gray  # the generator's output
    mask: Mask  # the label of both, in the classes that the model knows
    answer: Mask | None  # what S found in the synthetic slice; None for a family without S
    consistency: float | None  # Dice between answer and mask
    judged: float | None  # the same by the independent judge


def synthetic_slices(
    store: Store, sources: Mapping[str, tuple[Store, str]], places: Sequence[Place]
) -> list[SyntheticSlice]:
    """Read synthetic slices and what they were made from."""
    slices = []
    for case, place in places:
        record, tensors = store.record(case), store.tensors(case)
        assert record.synthetic is not None
        origin, answer = record.synthetic.slices[place], tensors.get("answer")
        source = sources.get(record.synthetic.source_sha256)
        made = SyntheticSlice(
            source=None if source is None else _source(*source, record, origin.source_slice),
            synthetic=tensors["image"][place].astype(np.float32),
            mask=in_classes(
                tensors["label"][place], record.labels, record.synthetic.organs or tuple(record.labels.values())
            ),
            answer=None if answer is None else answer[place],
            consistency=origin.consistency,
            judged=origin.judged,
        )
        slices.append(made)
    return slices


def _source(store: Store, case: str, record: CaseRecord, index: int) -> Gray:
    assert record.synthetic is not None
    volume = take_slices(store.read(case, check_units=False), [index])
    affine = np.array(record.affine, dtype=np.float64)
    volume = frame_between(volume, affine, record.shape[1]).place(volume)
    return Intensity(*record.synthetic.source_range).to_model(volume.voxels[0])


def ranked(store: Store) -> list[Place]:
    """All slices of a synthetic store, those that fit their labels best first; in their order without a score."""
    rows = [
        (-(origin.fits or 0.0), (case.id, place))
        for case in store.cases
        if case.synthetic is not None
        for place, origin in enumerate(case.synthetic.slices)
    ]
    return [place for _, place in sorted(rows, key=lambda row: row[0])]


def same_sources(first: Store, second: Store, places: Sequence[Place]) -> list[Place | None]:
    """Where `second` holds what was made from the same source slices as `places` in `first`; None if it does not."""

    def of_source(store: Store) -> dict[Place, Place]:
        return {
            (case.id, place): (case.synthetic.source_case, origin.source_slice)
            for case in store.cases
            if case.synthetic is not None
            for place, origin in enumerate(case.synthetic.slices)
        }

    held = {source: place for place, source in of_source(second).items()}
    sources = of_source(first)
    return [held.get(sources[place]) for place in places]


INCHES = 1.9


def synthesis_panel(slices: Sequence[SyntheticSlice], source: str, target: str) -> str:
    """Source | synthetic | mask | S's prediction, a row per slice."""
    scored = slices[0].answer is not None
    titles = [source, f"synthetic {target}", "mask", *(["S's answer"] if scored else [])]
    figure, axes = image_grid(len(slices), titles, INCHES)
    for row, shown in zip(axes, slices, strict=True):
        gray(row[0], shown.source, -1.0, 1.0)
        gray(row[1], shown.synthetic)
        row[2].imshow(shown.mask > 0, cmap="gray", interpolation="nearest")
        if shown.answer is not None:
            row[3].imshow(shown.answer > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            _write(row[3], f"Dice {shown.consistency:.2f}")
        if shown.judged is not None:
            _write(row[1], f"judge: Dice {shown.judged:.2f}")
    return data_url(figure)


def _write(axes: Any, text: str) -> None:
    axes.text(0.03, 0.03, text, color=TRUTH, fontsize=8, transform=axes.transAxes)


def comparison_panel(families: Mapping[str, Sequence[SyntheticSlice | None]], source: str) -> str:
    """A row per source slice, a column per family; the source's label is drawn on every image."""
    first = next(iter(families.values()))
    figure, axes = image_grid(len(first), [source, *families], INCHES)
    for row, origin, *shown in zip(axes, first, *families.values(), strict=True):
        assert origin is not None
        gray(row[0], origin.source, -1.0, 1.0)
        outline(row[0], origin.mask, TRUTH)
        for axis, each in zip(row[1:], shown, strict=True):
            if each is not None:
                gray(axis, each.synthetic)
                outline(axis, each.mask, TRUTH)
    return data_url(figure)


def outline_panel(all_arms: Sequence[Arm], baseline: Arm, count: int) -> str | None:
    """Real test slices from the baseline's worst to its best, evenly spread, with the truth and each arm's prediction.

    Each arm by its first run; None without a slice that shows the organ.
    """
    card = baseline.cards[0]
    values = sorted(card["scores"]["slice_values"], key=lambda row: row["dice"])
    if not values:
        return None
    stores = [Store(arm.runs[0].path / "predictions") for arm in all_arms]
    chosen = [values[place] for place in spread(len(values), count)]
    figure, axes = image_grid(len(chosen), ["real slice", "truth", *(_wrap(arm.name) for arm in all_arms)], INCHES)
    for row, score in zip(axes, chosen, strict=True):
        place = card["tested"][score["case"]].index(score["slice"])
        tensors = [store.tensors(score["case"]) for store in stores]
        image, truth = (tensors[0][name][place] for name in ("image", "label"))
        for axis in row:
            gray(axis, image.astype(np.float32))
        outline(row[1], truth, TRUTH)
        for axis, predicted, colour in zip(row[2:], tensors, itertools.cycle(COLOURS), strict=False):
            outline(axis, truth, TRUTH)
            outline(axis, predicted["answer"][place], colour)
    return data_url(figure)


def _wrap(name: str) -> str:
    return escaped(name).replace(" + ", "\n+ ").replace(" (", "\n(")


def loss_curves(run: Run) -> str | None:
    """Every loss of a run over its steps, and its scores with the best epoch's step; None if it logged no losses."""
    readings = list(run.metrics())
    scores = score_histories(readings)
    histories = {**loss_histories(readings), **scores}
    if len(histories) == len(scores):
        return None
    best = run.card.get("best") if run.finished else None
    figure, axes = panels(len(histories), 4, 2.6, 1.8)
    for axis, (name, history) in zip(axes, histories.items(), strict=True):
        axis.plot(*zip(*history, strict=True), color=COLOURS[5], linewidth=0.9, marker="." if name in scores else None)
        if best and name in scores:
            axis.axvline(best["step"], color="0.4", linewidth=0.8, linestyle=":")
        axis.set_title(name.replace("_", " "), fontsize=8)
        axis.set_ylim(bottom=0)
    return data_url(figure)


def roc_curves(all_arms: Sequence[Arm]) -> str | None:
    """ROC of every run, a colour per arm: all of it, and its upper left corner. None if no curve is defined."""
    if not any(card["scores"]["roc"]["fpr"] for arm in all_arms for card in arm.cards):
        return None
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    whole, corner = figure.subplots(1, 2)
    for arm, colour in zip(all_arms, itertools.cycle(COLOURS), strict=False):
        curves = [card["scores"]["roc"] for card in arm.cards if card["scores"]["roc"]["fpr"]]
        for number, curve in enumerate(curves):
            label = f"{escaped(arm.name)} (AUC {arm.mean('auc')})" if number == 0 else None
            for axis in (whole, corner):
                axis.plot(curve["fpr"], curve["tpr"], color=colour, linewidth=1.1, label=label)
    for axis in (whole, corner):
        axis.set(xlabel="false positive rate", ylabel="true positive rate")
        axis.grid(alpha=0.3)
    corner.set(xlim=(0, 0.1), ylim=(0.8, 1.005))
    whole.legend(fontsize=7, loc="lower right")
    return data_url(figure)


def patients_plot(all_arms: Sequence[Arm]) -> str:
    """3D Dice of every test patient in every arm: a line per patient."""
    figure = Figure(figsize=(max(4.0, 1.6 * len(all_arms) + 1.5), 3.4), layout="constrained")
    axis = figure.subplots()
    tables = [arm.by_patient for arm in all_arms]
    for patient in tables[0]:
        values = [table.get(patient, np.nan) for table in tables]
        axis.plot(range(len(values)), values, color="0.6", linewidth=0.8, marker="o", markersize=3)
    means = [float(np.mean(list(table.values()))) for table in tables]
    axis.plot(range(len(means)), means, color=COLOURS[4], linewidth=2, marker="s", label="mean")
    axis.set_xticks(range(len(all_arms)), [_wrap(arm.name) for arm in all_arms], fontsize=8)
    axis.set_ylabel("3D Dice")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return data_url(figure)
