"""A judgement for people, on standard output."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossmod.evaluate.baseline import UNDIVIDED
from crossmod.judge.card import NAMES, text
from crossmod.metrics.distribution import METRICS
from crossmod.settings import pixel_words


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of words as lines in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def rows(card: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result, its head first: averages over layers, a row a model and metric."""
    found = [("model", "metric", "score [95 %]", "real scores", "ratio [95 %]", "")]
    for name, model in card["models"].items():
        for metric in METRICS:
            score, ratio = (model[side]["average"][metric] for side in ("scores", "ratios"))
            base = card["baseline"]["average"][metric]
            if score[0] is None and base[0] is None:
                continue
            shown = "not divided" if metric in UNDIVIDED else text(ratio)
            found.append(
                (name, NAMES[metric], text(score), text([base[0], None, None]), shown, model["verdicts"][metric])
            )
    return found


def lines(card: Mapping[str, Any]) -> list[str]:
    """What is told of a result: the table, organs, steps from slice to slice, the truth, and warnings."""
    real, others = card["patients"]
    told = [
        f"{card['modality'].upper()}{' ' + card['sequence'] if card['sequence'] else ''}, {card['size']} px "
        f"({pixel_words(card)}); averages over layers; {real} real patients against {others} of each other set; "
        f"detector {card['detector']['name']}",
        *columns(rows(card)),
    ]
    for name, model in card["models"].items():
        alike = [NAMES[metric] for metric, word in model["verdicts"].items() if word == "not told from real"]
        told.append(f"{name}: not told from real by {', '.join(alike) or 'none of them'}.")
        told += [organ_line(name, organ, one) for organ, one in model["organs"].items()]
        told += jump_line(name, model["jumps"])
        if model["truth"]:
            told.append(truth_line(name, model["truth"]))
    return told + [f"Note: {line}" for line in card["warnings"]]


def organ_line(name: str, organ: str, one: Mapping[str, Any]) -> str:
    """What became of an organ."""
    moved = "" if one["shift_mm"] is None else f", moved by {one['shift_mm']:.1f} mm"
    grown = "" if one["growth"] is None else f", {one['growth']:.2f} of its size"
    fates = f"vanished in {one['vanished']} and appeared in {one['appeared']} of {one['cases']} cases"
    dice = text([one["dice"], one["low"], one["high"]])
    real = "" if one["on_real"] is None else f", {one['on_real']:.3f} on its real test patients"
    by = f"what {one['found_by']} finds{real}"
    return f"{name}: {organ} Dice {dice} between label and {by}{moved}{grown} (medians); {fates}."


def jump_line(name: str, jumps: Mapping[str, Any]) -> list[str]:
    """How well slices fit together; nothing where there are no neighbours."""
    if jumps["ratio"] is None:
        return []
    real = "" if jumps["real"] is None else f"; of other real volumes {jumps['real']:.2f}"
    return [f"{name}: steps from slice to slice are {jumps['ratio']:.2f} of those of real volumes (median){real}."]


def truth_line(name: str, truth: Mapping[str, Any]) -> str:
    """How near the truth is."""
    moved = f"; {truth['moved']} cases on another grid, interpolated" if truth["moved"] else ""
    mae = f"{text(truth['mae'])} {truth['unit']}"
    scores = f"MAE {mae}, PSNR {text(truth['psnr'])} dB, SSIM {text(truth['ssim'])}"
    return f"{name}: inside the body {scores} ({truth['patients']} patients{moved})."
