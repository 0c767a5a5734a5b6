"""Doing what a plan asks, wherever: what is ready is started, what ended is noted, what failed blocks what needs it."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from crossmod.experiment.executor import Executor
from crossmod.experiment.jobs import Job, finished_among
from crossmod.experiment.ledger import Ledger, open_ledger
from crossmod.experiment.shown import Shown


def execute(jobs: Mapping[str, Job], root: Path, executor: Executor, shown: Shown) -> Ledger:
    """Do all jobs that can be done; those that are finished are left alone.

    Args:
        jobs: by name, in the order in which they are wanted.
        root: folder of the experiment.
        executor: where they run; closed at the end, however it comes.
        shown: tells people.

    Returns:
        What became of each job.
    """
    with ExitStack() as stack:
        stack.callback(executor.close)
        needs = {name: tuple(job.needs.values()) for name, job in jobs.items()}
        ledger = open_ledger(needs, finished_among(jobs, root))
        stack.callback(shown.end)
        shown.begin(ledger)
        while ledger.open:
            while ledger.counts["running"] < executor.slots and (name := ledger.take()) is not None:
                shown.started(jobs[name], ledger)
                executor.start(jobs[name])
            for outcome in executor.wait():
                blocked = ledger.settle(outcome)
                shown.ended(jobs[outcome.name], outcome, ledger, blocked)
    return ledger
