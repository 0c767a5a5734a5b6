"""Scores of a segmenter of several organs: each organ's, and their means.

Notable:
- Each organ is scored as one alone would be (`predict.score`), against all else: pixels of other organs are background.
- A mean is of all organs. So a patient's distance is undefined if that of one organ is: otherwise finding nothing of
  the most difficult organ would improve the mean.
- As with one organ, an organ that a patient does not have counts as Dice 1 if nothing was found of it, and as 0 if
  something was.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from crossmod.data.slices import SliceSet
from crossmod.data.store import CaseRecord
from crossmod.files import to_json
from crossmod.metrics.segmentation import SURFACE
from crossmod.runs import SegmentationScores, SliceScore
from crossmod.segmentation.predict import score, score_masks
from crossmod.statistics.intervals import interval


def score_organs(
    slices: SliceSet,
    answer: UInt8[np.ndarray, "slices size size"],
    probability: Float[np.ndarray, "slices size size"] | Float[np.ndarray, "organs slices size size"],
    organs: Sequence[str],
    cases: Sequence[CaseRecord] = (),
) -> SegmentationScores:
    """`score` of one organ; of several the means of `mean_scores`, with the scores of each organ in `organs`.

    Args:
        slices: with masks.
        answer: the number of the organ found at each pixel, counted from 1 as in `organs`; 0 for background.
        probability: of the organ, or of each of several; its ROC is that of the organ against all else.
        organs: their names.
        cases: the records of the tested cases, as for `score`.
    """
    if len(organs) == 1:
        return score(slices, probability, cases)
    assert slices.masks is not None
    by_organ = {
        organ: score_masks(slices, slices.masks == number, answer == number, probability[number - 1], cases)
        for number, organ in enumerate(organs, start=1)
    }
    showing = int(np.count_nonzero((slices.masks > 0).any(axis=(1, 2))))
    return {**mean_scores(list(by_organ.values()), showing), "organs": by_organ}


def mean_scores(organs: Sequence[SegmentationScores], showing: int) -> SegmentationScores:
    """The mean over organs of every score, in the form of one organ's; undefined where one organ's is.

    Pooled, by slice, AUC and the Dice of a fixed mask: means of the organs' values. By patient: means of the patient's
    values, over which mean, interval and undefined patients are counted as for one organ. `slice_values`: the mean Dice
    of the organs that a slice shows. There is no ROC of the mean, and `constant` means that nothing varies.

    Args:
        organs: the scores of each.
        showing: the number of tested slices that show one of the organs.
    """
    first = organs[0]
    by_patient = {
        name: {patient: _mean([one["patient_values"][name][patient] for one in organs]) for patient in values}
        for name, values in first["patient_values"].items()
    }
    known = {name: [value for value in values.values() if value is not None] for name, values in by_patient.items()}
    ends = interval(np.array(known["dice"]))
    return {
        "pooled": {name: float(np.mean([one["pooled"][name] for one in organs])) for name in first["pooled"]},
        "trivial_dice": float(np.mean([one["trivial_dice"] for one in organs])),
        "slice": {name: _mean([one["slice"][name] for one in organs]) for name in first["slice"]},
        "slice_values": _slice_values(organs),
        "patient": {name: float(np.mean(values)) if values else None for name, values in known.items()},
        "patient_interval": ends if np.isfinite(ends).all() else None,
        "patient_values": to_json(by_patient),
        "patient_undefined": {name: len(by_patient[name]) - len(known[name]) for name in first["patient_undefined"]},
        "surface": SURFACE,
        "auc": _mean([one["auc"] for one in organs]),
        "roc": {"fpr": [], "tpr": []},
        "test_slices": first["test_slices"],
        "test_slices_with_organ": showing,
        "constant": all(one["constant"] for one in organs),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Undefined if one value is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _slice_values(organs: Sequence[SegmentationScores]) -> list[SliceScore]:
    found: dict[tuple[str, int], list[float]] = {}
    for one in organs:
        for row in one["slice_values"]:
            found.setdefault((row["case"], row["slice"]), []).append(row["dice"])
    return [
        {"case": case, "slice": index, "dice": float(np.mean(values))}
        for (case, index), values in sorted(found.items())
    ]
