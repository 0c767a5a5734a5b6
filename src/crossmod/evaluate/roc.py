"""ROC curve and the area under it, exactly, over all pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

POINTS = 201


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic.

    Args:
        auc: area under the curve; None where the truth is all of one class, so that there is no curve.
        false_positive_rate: rising from 0 to 1, thinned to a few hundred points for drawing.
        true_positive_rate: the same points.
    """

    auc: float | None
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


def roc(probability: Float[np.ndarray, " pixels"], truth: Bool[np.ndarray, " pixels"]) -> Roc:
    """The curve of all thresholds; ties are crossed in a straight line (trapezoids, Fawcett 2006)."""
    positives = int(np.count_nonzero(truth))
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        return Roc(None, (), ())
    order = np.argsort(-probability)
    ends = np.append(np.flatnonzero(np.diff(probability[order])), truth.size - 1)
    hits = np.cumsum(truth[order])[ends]
    tpr = np.concatenate([[0.0], hits / positives])
    fpr = np.concatenate([[0.0], (ends + 1 - hits) / negatives])
    # Points at equal steps of either rate keep the steep beginning of the curve.
    steps = np.linspace(0, 1, POINTS)
    kept = np.unique(np.concatenate([np.searchsorted(fpr, steps), np.searchsorted(tpr, steps), [0, fpr.size - 1]]))
    kept = kept[kept < fpr.size]
    return Roc(float(np.trapezoid(tpr, fpr)), tuple(fpr[kept].tolist()), tuple(tpr[kept].tolist()))
