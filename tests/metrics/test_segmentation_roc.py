import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from crossmod.metrics.segmentation import roc


@pytest.mark.parametrize(("seed", "digits"), [(0, 8), (1, 2), (2, 1), (3, 0)])
def test_area_against_scikit_learn_with_few_and_many_ties(seed: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(4000) < 0.2
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1), digits)
    assert roc(probability, truth).auc == pytest.approx(roc_auc_score(truth, probability), abs=1e-12)


def test_the_thinned_curve_encloses_nearly_the_same_area() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(50_000) < 0.1
    curve = roc(rng.normal(truth * 2.0, 1.0), truth)
    assert len(curve.false_positive_rate) <= 405
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(curve.auc, abs=1e-4)
    assert curve.false_positive_rate[0] == curve.true_positive_rate[0] == 0.0
    assert curve.false_positive_rate[-1] == curve.true_positive_rate[-1] == 1.0


def test_perfect_reversed_and_undefined() -> None:
    truth = np.array([False, False, True, True])
    assert roc(np.array([0.1, 0.2, 0.8, 0.9]), truth).auc == 1.0
    assert roc(np.array([0.9, 0.8, 0.2, 0.1]), truth).auc == 0.0
    assert roc(np.array([0.5, 0.5, 0.5, 0.5]), truth).auc == 0.5
    assert roc(np.array([0.1, 0.2]), np.array([True, True])).auc is None
