"""The simulation behind the tables of docs/concepts/evidence.md, with few experiments."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from crossmod.experiment.findings import facts_of
from crossmod.statistics.arm_scores import ArmScores
from crossmod.statistics.paired_effects import effect
from crossmod.statistics.verdicts import Facts
from tests.support.paths import ROOT

FILE = ROOT / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_many_experiments_at_once_are_as_one_by_one(coverage: ModuleType, folds: int, rng: np.random.Generator) -> None:
    where = np.sort(np.arange(3 * folds + 1) % folds)
    differences = rng.normal(0.02, 0.03, (50, len(where)))
    inside, p = coverage.two_sided(differences, where, True)
    base = ArmScores("base", np.zeros((1, len(where))), where)
    for row, values in enumerate(differences):
        found = effect(base, ArmScores("arm", values[None], where))
        assert (found.low <= 0 <= found.high) == inside[row]
        assert found.p == pytest.approx(p[row])


def test_a_shared_seed_is_the_failure_and_seeds_of_their_own_mend_it(coverage: ModuleType, tmp_path: Path) -> None:
    """20 patients, 5 folds, 3 seeds, and a share of .65 that the translator's seed decides; three standard errors."""
    times = 1500
    plan = coverage.planned(tmp_path, 20, 5, 4)
    luck = coverage.Shares(seed=0.65)
    holds, false = coverage.outcomes(coverage.before(plan), luck, times, inflated=False)
    assert holds.mean() < 0.79
    assert false.mean() > 0.21
    holds, false = coverage.outcomes(plan, luck, times)
    assert holds.mean() >= 0.92
    assert false.mean() <= 0.06
    assert facts_of(plan, plan.arms["real + 4 t0"]) == Facts()
    assert facts_of(coverage.before(plan), plan.arms["real + 4 t0"]).scope == "these models"


def test_folds_that_share_a_third_of_their_luck_are_allowed_for(coverage: ModuleType, tmp_path: Path) -> None:
    """What no design changes: the intervals hold with it because they are inflated."""
    plan = coverage.planned(tmp_path, 20, 5, 1)
    for luck in (coverage.Shares(always=0.33), coverage.Shares(seed=0.67, patients=0.33)):
        holds, _ = coverage.outcomes(plan, luck, 1500)
        plain, _ = coverage.outcomes(plan, luck, 1500, inflated=False)
        assert holds.mean() >= 0.92
        assert plain.mean() < 0.92


def test_shares_are_drawn_as_they_are_asked_for(coverage: ModuleType, tmp_path: Path) -> None:
    """Variances of what a training adds, and correlations between two folds, against their closed forms."""
    plan = coverage.planned(tmp_path, 20, 5, 1)
    runs = plan.arms["real + 4 t0"].runs
    for luck, between in (
        (coverage.Shares(), 0.0),
        (coverage.Shares(seed=0.65), 0.0),
        (coverage.Shares(always=0.4), 0.4),
        # Two of five folds have three quarters of their training patients in common.
        (coverage.Shares(patients=0.8), 0.8 * 0.75),
    ):
        found = coverage._translators(plan, runs, luck, 8000, np.random.default_rng(1))
        first, second = found[:, 0, 0], found[:, 0, 3]
        assert first.std() == pytest.approx(coverage.TRANSLATOR, rel=0.03)
        assert np.corrcoef(first, second)[0, 1] == pytest.approx(between, abs=0.04)
    # All seeds of a fold share its translator.
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


@pytest.mark.slow
def test_the_tables_are_printed(coverage: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    coverage.main(10)
    told = capsys.readouterr().out
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert all(line.count("|") in (5, 6, 7) for line in rows)
    assert len(rows) == 4 * 2 + 36 + 28 + 3 + 8
    assert "10 experiments a cell" in told
