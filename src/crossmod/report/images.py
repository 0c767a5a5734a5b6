"""The report's section on images: synthetic against real ones, as `evaluate images` found it."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmod.data.intensity import Intensity
from crossmod.data.pixel_size import Scale
from crossmod.data.store import MANIFEST, Store
from crossmod.data.volume import take_slices
from crossmod.evaluation.artifacts import load_spectra
from crossmod.evaluation.baseline import UNDIVIDED
from crossmod.evaluation.ranking import compare_images, judged, table
from crossmod.evaluation.result import NAMES, text
from crossmod.metrics.distribution import METRICS
from crossmod.report import image_figures as figures
from crossmod.report.panels import Gray
from crossmod.runs import Run
from crossmod.settings import as_recorded, pixel_words

log = logging.getLogger(__name__)

Row = dict[str, str]


def images(runs: Sequence[Run]) -> dict[str, Any] | None:
    """All results of `evaluate images`, and their models against one another; None where there are no results."""
    if not runs:
        return None
    return {"results": [_result(run) for run in runs], "ranking": _ranking(runs)}


def _result(run: Run) -> dict[str, Any]:
    card = run.card
    metrics = [metric for metric in METRICS if card["baseline"]["average"][metric][0] is not None]
    sequence = f" {card['sequence']}" if card["sequence"] else ""
    return {
        "name": run.path.resolve().name,
        "what": f"{card['modality'].upper()}{sequence}, {card['size']} px ({pixel_words(card)})",
        "detector": f"{card['detector']['name']} ({card['detector']['sha256'][:12]})",
        "patients": card["patients"],
        "draws": card["settings"]["draws"],
        "counted": "the body only" if card["settings"]["inside"] else "whole slices, air and all",
        "metrics": [NAMES[metric] for metric in metrics],
        "rows": _rows(card, metrics),
        "warnings": card["warnings"],
        "layers": layer_picture(run),
        "curves": figures.layer_curves(card),
        "spectra": _spectra(run),
        "organs": _organs(card),
        "others": _others(card),
        "sides": _sides(card),
    }


def _rows(card: Mapping[str, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Real against real, and a row a model: ratios, and the score of what is not divided."""
    base = card["baseline"]["average"]
    rows = [{"model": "real against real (scores)", "cells": [_cell(text(base[metric])) for metric in metrics]}]
    for name, model in card["models"].items():
        cells = []
        for metric in metrics:
            side = "scores" if metric in UNDIVIDED else "ratios"
            cells.append(_cell(text(model[side]["average"][metric]), model["verdicts"][metric]))
        rows.append({"model": name, "cells": cells})
    return rows


def _cell(words: str, verdict: str = "") -> Row:
    """A score and, below it, its interval: side by side, a row would not fit a page."""
    value, _, interval = words.partition(" [")
    return {"value": value, "interval": f"[{interval}" if interval else "", "verdict": verdict}


def layer_picture(run: Run) -> str | None:
    """A typical slice of each layer: real in the first row, synthetic below (Crespi et al., Fig. 4).

    Pixels are read from the stores at the time of drawing: a result holds none. None where no store is left.
    """
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
    return figures.layer_panel(columns, ["real", *stores])


def _open(path: Path) -> Store | None:
    if (path / MANIFEST).is_file():
        return Store(path)
    log.warning("%s is not there any more: its slices are not shown.", path)
    return None


def _slice(store: Store | None, row: Mapping[str, Any] | None, known: Mapping[str, str], scale: Scale) -> Gray | None:
    """A slice as it was judged; None where there is none, or its case is not the one that was judged."""
    if store is None or row is None:
        return None
    if not any(case.id == row["case"] and case.sha256 == known[row["case"]] for case in store.cases):
        return None
    frame = scale.frame_of(store, store.record(row["case"]))
    volume = frame.place(take_slices(store.read(row["case"], check_units=False), [row["place"]]))
    return Intensity(row["low"], row["high"]).to_model(volume.voxels[0])


def _spectra(run: Run) -> str | None:
    spectra = load_spectra(run.path)
    names = ["real", "real, held apart", *run.card["models"]]
    return figures.spectra(dict(zip(names, spectra, strict=True))) if spectra else None


def _organs(card: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, model in card["models"].items():
        for organ, one in model["organs"].items():
            rows.append(
                {
                    "model": name,
                    "organ": organ,
                    "by": one["found_by"]
                    + ("" if one["on_real"] is None else f" ({one['on_real']:.3f} on its real test patients)"),
                    "dice": text([one["dice"], one["low"], one["high"]]),
                    "worst": f"{one['least']:.2f} ({one['worst']})",
                    "shift": "" if one["shift_mm"] is None else f"{one['shift_mm']:.1f} mm",
                    "growth": "" if one["growth"] is None else f"{one['growth']:.2f}",
                    "fates": f"{one['vanished']} / {one['appeared']} of {one['cases']}",
                    "slices": f"{one['slices_lost']} / {one['slices_gained']} of {one['slices']}",
                }
            )
    return rows


def _others(card: Mapping[str, Any]) -> list[Row]:
    """Steps from slice to slice, and scores against the truth."""
    rows = []
    for name, model in card["models"].items():
        jumps, truth = model["jumps"], model["truth"]
        steps = "" if jumps["ratio"] is None else f"{jumps['ratio']:.2f} (at most {jumps['most']:.2f})"
        rows.append(
            {
                "model": name,
                "steps": steps,
                "real": "" if jumps["real"] is None else f"{jumps['real']:.2f}",
                "mae": "" if truth is None else f"{text(truth['mae'])} {truth['unit']}",
                "psnr": "" if truth is None else f"{text(truth['psnr'])} dB",
                "ssim": "" if truth is None else text(truth["ssim"]),
                "truth": ""
                if truth is None
                else f"{truth['patients']} patients, {truth['slices']} slices"
                + (f", {truth['moved']} cases interpolated" if truth["moved"] else ""),
            }
        )
    return rows


def _sides(card: Mapping[str, Any]) -> list[Row]:
    """Who was compared, and by what layers were placed."""
    sides = {
        "real, reference": ("reference", card["data"]["real"]["reference"]),
        "real, held apart": ("held", card["data"]["real"]["held"]),
        **{name: (name, one) for name, one in card["data"]["models"].items()},
    }
    rows = []
    for title, (name, side) in sides.items():
        rules = Counter(card["layers"]["rules"][name].values())
        rows.append(
            {
                "side": title,
                "patients": ", ".join(side["patients"]),
                "slices": str(side["slices"]),
                "layers": " ".join(map(str, card["layers"]["counts"][name])),
                "rules": ", ".join(f"{rule}: {count}" for rule, count in rules.most_common()),
            }
        )
    return rows


def _ranking(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The models of all results of one modality in order; None where there are fewer than two."""
    paths = [run.path for run in runs]
    if len({run.card["modality"] for run in runs}) > 1 or len(judged(paths)) < 2:
        return None
    ranking = compare_images(paths)
    head, *rows = table(ranking)
    return {
        "head": [NAMES.get(word, word) for word in head],
        "rows": [[_cell(word) for word in row] for row in rows],
        "sentences": [pair.sentence for pair in ranking.pairs],
        "warnings": ranking.warnings,
        "by": ranking.ranked_by,
    }
