"""The report's section on images: synthetic compared with real ones, tables and figures."""

import itertools
import logging
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmod.data.intensity import Intensity
from crossmod.data.pixel_size import Scale
from crossmod.data.store import MANIFEST, Store
from crossmod.data.volume import take_slices
from crossmod.evaluation.artifacts import load_spectra
from crossmod.evaluation.ranking import compare_evaluations, load_models, table
from crossmod.evaluation.result import known_metrics, on_real, shift_words, shown_warnings, text
from crossmod.html.figures import COLOURS, data_url, legend_below, panels
from crossmod.html.format import Cell, Table, count
from crossmod.metrics.distribution import METRICS
from crossmod.metrics.histograms import radial_profile
from crossmod.report.collect import Card
from crossmod.report.figures import Gray
from crossmod.runs import Run
from crossmod.settings import as_recorded, pixel_words

INCHES = 1.15
# The share of the span of all scores that is left free above and below; intervals may reach far beyond.
ROOM = 0.6
# The difference of log spectra, a factor of two, that has the darkest colour.
FURTHEST = 0.3
HELD_OUT = "real, held out"

Spectrum = Float[np.ndarray, "size half"]
log = logging.getLogger(__name__)


def layer_panel(columns: Mapping[str, Sequence[Gray | None]], names: Sequence[str]) -> str:
    """A column per layer, a row per name: images in [-1, 1], or None."""
    figure = Figure(figsize=(len(columns) * INCHES + 0.5, len(names) * INCHES + 0.3), layout="constrained")
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for (layer, column), side in zip(columns.items(), axes.T, strict=True):
        for image, axis in zip(column, side, strict=True):
            axis.set(xticks=[], yticks=[], facecolor="0.92")
            axis.spines[:].set_visible(False)
            if image is not None:
                axis.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="bicubic")
            else:
                axis.set_box_aspect(1)
        side[0].set_title(f"layer {layer}", fontsize=8)
    for name, axis in zip(names, axes[:, 0], strict=True):
        axis.set_ylabel(textwrap.fill(name, 16), fontsize=8)
    return data_url(figure)


def layer_curves(card: Card) -> str | None:
    """Every metric over the layers with its intervals, a colour per model (Crespi et al., Figs. 5 to 7).

    Ratios to the baseline, where 1 is real against real; scores of metrics that are not divided.
    """
    metrics = [
        metric for metric in known_metrics(card) if any(v is not None for v in _curve(card["baseline"], metric)[0])
    ]
    if not metrics:
        return None
    figure, axes = panels(len(metrics), 4, 2.7, 2.1, more=0.3)
    for axis, metric in zip(axes, metrics, strict=True):
        _one_metric(axis, card, metric)
    legend_below(figure, axes[0])
    return data_url(figure)


def _one_metric(axis: Axes, card: Card, metric: str) -> None:
    undivided = not METRICS[metric].divided
    side = "scores" if undivided else "ratios"
    shown = [] if undivided else [1.0]
    if undivided:
        _draw(axis, card["baseline"], metric, "0.4", 0.0, "real against real")
    else:
        axis.axhline(1, color="0.4", linewidth=1, linestyle="--", label="real against real")
    models = card["models"]
    for number, ((name, model), colour) in enumerate(zip(models.items(), itertools.cycle(COLOURS), strict=False)):
        values = _draw(axis, model[side], metric, colour, 0.12 * (number - (len(models) - 1) / 2), name)
        shown += [value for value in values if value is not None]
    if shown:
        top, bottom = max(shown), min(shown)
        span = max(top - bottom, 0.05 * abs(top), 1e-9)
        # Intervals may be far longer than all differences of models.
        low = bottom - ROOM * span
        axis.set_ylim(low if undivided else max(low, 0.0), top + ROOM * span)
    arrow = "higher is nearer" if METRICS[metric].higher_is_better else "lower is nearer"
    axis.set_title(f"{METRICS[metric].title}{' (score)' if undivided else ''}\n{arrow}", fontsize=8)
    axis.set_xticks(range(1, 11))
    axis.set_xlim(0.5, 10.5)


def _draw(
    axis: Axes, table: Mapping[str, Any], metric: str, colour: str, offset: float, name: str
) -> list[float | None]:
    values, lows, highs = _curve(table, metric)
    layers = np.arange(1, len(values) + 1) + offset
    middle, low, high = (np.array([np.nan if v is None else v for v in side]) for side in (values, lows, highs))
    axis.plot(layers, middle, color=colour, linewidth=1.1, marker="o", markersize=2.5, label=name)
    # No bar without both ends; at the limit of a score, an end may be the score itself.
    known = ~(np.isnan(low) | np.isnan(high) | np.isnan(middle))
    axis.vlines(layers[known], low[known], high[known], color=colour, linewidth=0.8, alpha=0.7)
    return values


def _curve(table: Mapping[str, Any], metric: str) -> list[list[float | None]]:
    """Scores of the layers, lower ends, upper ends."""
    rows = [table["layers"][str(layer)][metric] for layer in range(1, 11)]
    return [list(column) for column in zip(*rows, strict=True)]


def spectra(averages: Mapping[str, Spectrum]) -> str:
    """Averaged log spectra, how each differs from the first, and all as radial profiles (Crespi et al., Fig. 8)."""
    names = list(averages)
    reference = averages[names[0]]
    figure = Figure(figsize=(len(names) * 1.7 + 3.6, 3.7), layout="constrained")
    axes = figure.subplot_mosaic(
        [[*(f"spectrum {name}" for name in names), "profile"], [*(f"difference {name}" for name in names), "profile"]],
        width_ratios=[1] * len(names) + [2],
    )
    low, high = (float(end) for end in np.percentile(reference, (1, 99.8)))
    for name in names:
        top, below = axes[f"spectrum {name}"], axes[f"difference {name}"]
        top.imshow(full_plane(averages[name]), cmap="magma", vmin=low, vmax=high)
        top.set_title(textwrap.fill(name, 18), fontsize=8)
        for axis in (top, below):
            axis.set_axis_off()
        if name != names[0]:
            apart = full_plane(averages[name] - reference)
            below.imshow(apart, cmap="RdBu_r", vmin=-FURTHEST, vmax=FURTHEST)
            below.set_title("minus real", fontsize=7)
    axis = axes["profile"]
    styles = zip(names, ("0.1", "0.6", *itertools.islice(itertools.cycle(COLOURS), len(names))), strict=False)
    for name, colour in styles:
        profile = radial_profile(averages[name])
        axis.plot(np.arange(1, len(profile) + 1), profile, color=colour, linewidth=1.2, label=name)
    axis.set_xlabel("periods across the slice", fontsize=8)
    axis.set_ylabel("mean of log10 magnitude", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return data_url(figure)


def full_plane(half: Spectrum) -> Float[np.ndarray, "size size"]:
    """All frequencies of a slice, the mean in the middle; the magnitude at (-r, -c) equals that at (r, c)."""
    size = half.shape[0]
    rows, columns = np.indices((size, size))
    mirrored = columns > size // 2
    r = np.where(mirrored, -rows % size, rows)
    c = np.where(mirrored, size - columns, columns)
    return np.fft.fftshift(half[r, c])


def images(runs: Sequence[Run]) -> dict[str, object] | None:
    """All results of `evaluate images`, and the ranking of their models; None without results."""
    if not runs:
        return None
    return {"results": [_result(run) for run in runs], "ranking": _ranking(runs)}


def _result(run: Run) -> dict[str, object]:
    card, stored = run.card, load_spectra(run.path)
    names = ["real", HELD_OUT, *card["models"]]
    sequence = f" {card['sequence']}" if card["sequence"] else ""
    return {
        "name": run.path.resolve().name,
        "what": f"{card['modality'].upper()}{sequence}, {card['size']} px ({pixel_words(card)})",
        "detector": f"{card['detector']['name']} ({card['detector']['sha256'][:12]})",
        "patients": card["patients"],
        "draws": card["settings"]["draws"],
        "counted": "the body only" if card["settings"]["inside"] else "whole slices, with air",
        "scores": _scores(card),
        "warnings": shown_warnings(card),
        "layers": layer_picture(run),
        "curves": layer_curves(card),
        "spectra": spectra(dict(zip(names, stored, strict=True))) if stored else None,
        "organs": _organs(card),
        "others": _others(card),
        "sides": _sides(card),
    }


def _scores(card: Card) -> Table:
    """Real against real, and a row per model: ratios, or the scores of metrics that are not divided."""
    base = card["baseline"]["average"]
    metrics = [metric for metric in known_metrics(card) if base[metric][0] is not None]
    rows: list[list[str | Cell]] = [["real against real (scores)", *(_cell(text(base[metric])) for metric in metrics)]]
    for name, model in card["models"].items():
        sides = {metric: model["ratios" if METRICS[metric].divided else "scores"] for metric in metrics}
        cells = [_cell(text(sides[metric]["average"][metric]), model["verdicts"][metric]) for metric in metrics]
        rows.append([name, *cells])
    return Table(["", *(METRICS[metric].title for metric in metrics)], rows)


def _cell(score: str, verdict: str = "") -> Cell:
    """A score and, below it, its interval: side by side, a row would not fit a page."""
    value, _, interval = score.partition(" [")
    # The card keeps the verdict under its first name.
    label = "not distinguishable from real" if verdict == "not told from real" else verdict
    return Cell(value, [line for line in (interval and f"[{interval}", label) if line])


def layer_picture(run: Run) -> str | None:
    """A typical slice of each layer, real above synthetic (Crespi et al., Fig. 4); None without any of the stores."""
    card, inputs = run.card, run.config["inputs"]
    real = _open(run.path / card["data"]["real"]["store"])
    stores = {name: _open(run.path / model["store"]) for name, model in card["data"]["models"].items()}
    framed = as_recorded(card)
    scale = Scale(framed["frame"], card["size"], framed["pixel_mm"])
    columns: dict[str, list[Gray | None]] = {}
    for layer, shown in card["shown"].items():
        column = [_slice(real, shown["real"], inputs["real"], scale)]
        for name, store in stores.items():
            column.append(_slice(store, shown["models"].get(name), inputs["synthetic"][name], scale))
        columns[layer] = column
    if not any(image is not None for column in columns.values() for image in column):
        return None
    return layer_panel(columns, ["real", *stores])


def _open(path: Path) -> Store | None:
    if (path / MANIFEST).is_file():
        return Store(path)
    log.warning("%s is missing: its slices are not shown.", path)
    return None


def _slice(store: Store | None, row: Mapping[str, Any] | None, known: Mapping[str, str], scale: Scale) -> Gray | None:
    """A slice as it was evaluated; None if there is none, or its case has changed since."""
    if store is None or row is None:
        return None
    if not any(case.id == row["case"] and case.sha256 == known[row["case"]] for case in store.cases):
        return None
    frame = scale.frame_of(store, store.record(row["case"]))
    volume = frame.place(take_slices(store.read(row["case"], check_units=False), [row["place"]]))
    return Intensity(row["low"], row["high"]).to_model(volume.voxels[0])


def _organs(card: Card) -> Table | None:
    head = (
        "Model", "Organ", "Dice of label and what is found [95 %]", "Found by", "Worst case", "Moved", "Mean shift",
        "Size, after by before", "Vanished / appeared", "Slices that lost / gained it",
    )  # fmt: skip
    rows = []
    for name, model in card["models"].items():
        for organ, found in model["organs"].items():
            rows.append([
                name,
                organ,
                _cell(text([found["dice"], found["low"], found["high"]])),
                Cell(found["found_by"], [line for line in [on_real(found)] if line]),
                Cell(f"{found['least']:.2f}", [found["worst"]]),
                "" if found["shift_mm"] is None else f"{found['shift_mm']:.1f} mm",
                _lines(shift_words(found)),
                "" if found["growth"] is None else f"{found['growth']:.2f}",
                f"{found['vanished']} / {found['appeared']} of {found['cases']}",
                f"{found['slices_lost']} / {found['slices_gained']} of {found['slices']}",
            ])  # fmt: skip
    return Table(head, rows) if rows else None


def _lines(words: str) -> Cell:
    """What commas separate, one below the other."""
    first, *below = words.split(", ")
    return Cell(first, below)


def _others(card: Card) -> Table:
    """Steps from slice to slice, and scores against the truth."""
    rows = []
    for name, model in card["models"].items():
        jumps, truth = model["jumps"], model["truth"]
        steps = "" if jumps["ratio"] is None else f"{jumps['ratio']:.2f} (at most {jumps['most']:.2f})"
        real = "" if jumps["real"] is None else f"{jumps['real']:.2f}"
        scores = [""] * 4
        if truth is not None:
            scores = [f"{text(truth['mae'])} {truth['unit']}", f"{text(truth['psnr'])} dB", text(truth["ssim"])]
            moved = f", {count(truth['moved'], 'case')} interpolated" if truth["moved"] else ""
            scores.append(f"{count(truth['patients'], 'patient')}, {count(truth['slices'], 'slice')}{moved}")
        rows.append([name, steps, real, *scores])
    head = ("Model", "Steps from slice to slice", "of other real volumes", "MAE", "PSNR", "SSIM", "Truth")
    return Table(head, rows)


def _sides(card: Card) -> Table:
    """The patients that were compared, and how slices were assigned to layers."""
    data, layers = card["data"], card["layers"]
    sides = {
        "real, reference": ("reference", data["real"]["reference"]),
        HELD_OUT: ("held", data["real"]["held"]),
        **{name: (name, side) for name, side in data["models"].items()},
    }
    rows = []
    for title, (name, side) in sides.items():
        rules = ", ".join(f"{rule}: {cases}" for rule, cases in Counter(layers["rules"][name].values()).most_common())
        counts = " ".join(map(str, layers["counts"][name]))
        rows.append([title, str(side["slices"]), counts, rules, ", ".join(side["patients"])])
    return Table(("Side", "Slices", "in layers 1 to 10", "Layers were placed by", "Patients"), rows)


def _ranking(runs: Sequence[Run]) -> dict[str, object] | None:
    """The models of all results of one modality in order; None for fewer than two."""
    paths = [run.path for run in runs]
    if len({run.card["modality"] for run in runs}) > 1 or len(load_models(paths)) < 2:
        return None
    ranking = compare_evaluations(paths)
    head, *rows = table(ranking)
    return {
        "table": Table(
            [METRICS[word].title if word in METRICS else word for word in head],
            [[_cell(word) for word in row] for row in rows],
        ),
        "sentences": [pair.sentence for pair in ranking.pairs],
        "warnings": ranking.warnings,
        "by": ranking.ranked_by,
    }
