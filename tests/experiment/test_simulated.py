"""Many jobs: each is done once, nothing before what it needs, what fails stops nothing else; and quickly."""

import contextlib
import io
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmod.experiment.jobs import TRIES, Job, Scheduler
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute
from tests.support.simulated_executor import Simulated


def plan(folds: int, seeds: int, arms: int) -> dict[str, Job]:
    """A translator for each fold and seed, its slices, and segmenters with and without them."""
    jobs = []
    for place in range(folds * seeds):
        where = f"fold {place // seeds}, seed {place % seeds}"
        jobs.append(Job(f"train-{place}", "train", where, {}, {}, {}, work=1000))
        jobs.append(Job(f"make-{place}", "synthesize", where, {}, {}, {"model": f"train-{place}"}, work=100))
        for arm in range(arms):
            needs = {"synthetic": f"make-{place}"} if arm else {}
            jobs.append(Job(f"segment-{place}-{arm}", "segment", where, {}, {}, needs, work=500))
    return {job.name: job for job in jobs}


def simulate(jobs: dict[str, Job], root: Path, executor: Simulated) -> tuple[Scheduler, list[str]]:
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        ledger = execute(jobs, root, executor, LiveTable(jobs, executor.slots))
    return ledger, told.getvalue().splitlines()


@settings(max_examples=30)
@given(
    slots=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    lost=st.sampled_from((0.0, 0.2, 0.9)),
    failed=st.sampled_from((0.0, 0.1, 0.9)),
)
def test_all_ends_done_failed_or_blocked(slots: int, seed: int, lost: float, failed: float) -> None:
    jobs = plan(2, 2, 4)
    executor = Simulated(slots, seed=seed, lost=lost, failed=failed)
    ledger, _ = simulate(jobs, Path("/nowhere"), executor)
    assert executor.closed
    assert {name for name, state in ledger.states.items() if state == "done"} == executor.done
    assert set(ledger.states.values()) <= {"done", "failed", "blocked"}
    for name, state in ledger.states.items():
        assert 0 <= ledger.tries.get(name, 0) <= TRIES
        bad = [other for other in jobs[name].needs.values() if ledger.states[other] != "done"]
        assert (state == "blocked") == bool(bad)
        assert (name in ledger.tries) == (state != "blocked")
    if not lost and not failed:
        assert ledger.counts["done"] == len(jobs)


def test_what_is_done_is_left_alone(tmp_path: Path) -> None:
    jobs = plan(1, 2, 2)
    for name, file in (("train-0", "card.json"), ("make-0", "manifest.json"), ("segment-1-0", "config.yaml")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / file).touch()
    ledger, told = simulate(jobs, tmp_path, Simulated(2, done=("train-0", "make-0")))
    assert set(jobs) - set(ledger.tries) == {"train-0", "make-0"}
    assert told[0] == "2 of 8 runs are finished already."


def test_an_executor_that_is_started_too_early_says_so() -> None:
    jobs = plan(1, 1, 1)
    executor = Simulated(1)
    with pytest.raises(ValueError, match=r"make-0 was started without \['train-0'\]"):
        executor.start(jobs["make-0"])
    executor.start(jobs["train-0"])
    with pytest.raises(ValueError, match="beyond its slots"):
        executor.start(jobs["segment-0-0"])


def test_time_left_counts_no_job_that_cannot_be_done(tmp_path: Path) -> None:
    jobs = plan(1, 1, 3)
    executor, shown = Simulated(1, failed=1.0), LiveTable(jobs)
    with contextlib.redirect_stderr(io.StringIO()):
        execute(jobs, tmp_path, executor, shown)
    assert shown.left() == 0


def test_thousands_of_jobs_in_seconds(tmp_path: Path) -> None:
    """100,000 are in `benchmarks/experiment_scale.py`; here ten times as many take some ten times as long."""
    seconds = []
    for seeds in (6, 60):
        jobs = plan(5, seeds, 18)
        # Of this process alone: on a busy machine an hour on the clock may pass.
        began = time.process_time()
        ledger, told = simulate(jobs, tmp_path, Simulated(64, lost=0.01, failed=0.001))
        seconds.append(time.process_time() - began)
        assert ledger.counts["waiting"] == ledger.counts["ready"] == ledger.counts["running"] == 0
        assert len(told) <= 1.1 * len(jobs)
    # Quadratic time would be a hundredfold; caches and the clock's steps account for some fold.
    assert seconds[1] < 50 * seconds[0]
