"""`crossmod experiment`: a design and data in; runs, statistics and a report out."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmod.config import Modality
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.experiment.analysis.explain import explain_gain
from crossmod.experiment.design import Design
from crossmod.experiment.estimate import Estimate, detectable_in_words, estimate, size_of
from crossmod.experiment.executors.base import Executor
from crossmod.experiment.findings import findings
from crossmod.experiment.folder import DATA, LOCK, refuse_leaks, refuse_leaks_in_stores, refuse_other_folder, write_plan
from crossmod.experiment.jobs import Job, Kind, finished_among
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.results import results_of, write_tables
from crossmod.experiment.scheduler import Scheduler, open_ledger
from crossmod.files import lock, write_json
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.progress import clock
from crossmod.report.experiment.build import build_experiment_report
from crossmod.settings import Machine
from crossmod.statistics.intervals import DRAWS

KINDS: dict[Kind, str] = {
    "train": "translators to train",
    "synthesize": "synthetic stores to make",
    "segment": "segmenters to train",
}


def foretell(plan: Plan, cost: Estimate, root: Path, jobs: int) -> list[str]:
    """Lines for people.

    Args:
        plan: what is asked.
        cost: of what is left.
        root: the experiment's folder.
        jobs: runs side by side.
    """
    d = plan.design
    tested = sorted({len(patients) for patients, _ in plan.tested.values()})
    folds = "a split by slice (leaking)" if d.split == "slice" else f"{len(d.chosen_folds)} folds by patient"
    lines = [
        *([d.about.strip()] if d.about else []),
        f"{len(plan.arms)} arms x {folds} x {len(d.seeds)} seeds; {_span(tested)} patients tested in each fold:",
    ]
    for arm in plan.arms.values():
        slices = f" ({_span(sorted(set(arm.slices.values())))} synthetic slices)" if arm.slices else ""
        lock = f", against {arm.baseline}" if arm.baseline else ""
        lines.append(f"  {arm.name}{slices}{lock}: {len(arm.runs)} runs")
    lines += detectable_in_words(size_of(plan))
    done = len(plan.jobs) - sum(cost.jobs.values())
    lines.append(f"{len(plan.jobs)} runs in all{f', {done} of them done' if done else ''}. Left:")
    for kind, words in KINDS.items():
        if kind in cost.jobs:
            lines.append(f"  {cost.jobs[kind]} {words}, about {clock(cost.seconds[kind])}")
    total = sum(cost.seconds.values())
    several = f", {clock(total / jobs)} with {jobs} side by side if they do not slow each other" if jobs > 1 else ""
    lines.append(f"About {clock(total)} one after another{several}, and {cost.bytes / 1e9:.1f} GB in {root}.")
    lines.append("Time is of a few steps on slices of noise on this machine; compiling and other work come on top.")
    return lines


def _span(values: list[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def execute(jobs: Mapping[str, Job], root: Path, executor: Executor, shown: LiveTable) -> Scheduler:
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


log = logging.getLogger(__name__)

FINDINGS, REPORT = "findings.json", "report.html"


@dataclass(frozen=True)
class ExperimentResult:
    """What became of an experiment.

    Args:
        plan: what was asked.
        ledger: how each run ended.
        findings: what all finished runs show.
    """

    plan: Plan
    ledger: Scheduler
    findings: dict[str, Any]

    @property
    def sentences(self) -> list[str]:
        """What each arm is worth, in a sentence."""
        told = [arm["effects"]["dice"] for arm in self.findings["arms"]]
        return [one["sentence"] for one in told if one is not None]

    @property
    def failed(self) -> list[str]:
        """Names of the runs that failed, or could not be made because one did."""
        return [name for name, state in self.ledger.states.items() if state in ("failed", "blocked")]


def plan_experiment(design: Design, data: Sequence[Path], root: Path) -> Plan:
    """The plan of a design over some stores; without any, over the design's phantom, which is made in `root`.

    Raises:
        InputError: see `make_plan`; also no data for a design without a phantom.
    """
    stores = [Path(path) for path in data] or [_phantom(design, root / DATA)]
    plan = make_plan(design, _by_modality(stores))
    refuse_leaks(plan)
    return plan


def estimate_experiment(design: Design, data: Sequence[Path], root: Path, machine: Machine) -> tuple[Plan, Estimate]:
    """The plan, and what is left of it would cost; nothing is left behind.

    Raises:
        InputError: as `plan_experiment`.
    """
    with ExitStack() as stack:
        made = root if data or (root / DATA).exists() else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan = plan_experiment(design, data, made)
        return plan, estimate(plan.jobs.values(), root, machine)


def run_experiment(
    design: Design, data: Sequence[Path], root: Path, *, executor: Executor, live: bool = False
) -> ExperimentResult:
    """Do all that a design asks and is not done yet; given again, it continues.

    Args:
        design: what to do.
        data: stores of real cases.
        root: the experiment's folder.
        executor: where the runs are made; `execute` closes it.
        live: draw a table of what runs.

    Raises:
        InputError: what cannot be planned; data that changed since; another command that works in `root`.
    """
    refuse_other_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / LOCK):
        plan = plan_experiment(design, data, root)
        write_plan(plan, root)
        ledger = execute(plan.jobs, root, executor, LiveTable(plan.jobs, executor.slots, live))
        refuse_leaks_in_stores(plan, root)
        return ExperimentResult(plan, ledger, conclude(plan, root, ledger))


def conclude(plan: Plan, root: Path, ledger: Scheduler, draws: int = DRAWS) -> dict[str, Any]:
    """Write what all finished runs show: tables, statistics and the report.

    Args:
        plan: what was asked.
        root: the experiment's folder.
        ledger: how each run ended.
        draws: for how often each count is the best.
    """
    results = results_of(plan, root)
    failed = [
        {"title": plan.jobs[name].title, "kind": plan.jobs[name].kind, "run": name, "why": words}
        for name, words in ledger.failures.items()
        if ledger.states[name] in ("failed", "blocked")
    ]
    write_tables(results, root)
    found = {**findings(plan, results, draws), "failed": failed}
    found["why"] = explain_gain(plan, root, results) if found["arms"] else None
    write_json(root / FINDINGS, found)
    build_experiment_report(root, root / REPORT)
    return found


def _by_modality(stores: Sequence[Path]) -> dict[Modality, tuple[Path, ...]]:
    held_by: dict[Modality, list[Path]] = {"ct": [], "mr": []}
    for path in stores:
        modalities = {case.modality for case in Store(path).cases}
        for modality, paths in held_by.items():
            if modality in modalities:
                paths.append(path)
    missing = [modality for modality, paths in held_by.items() if not paths]
    if missing:
        found, do = f"no {' and no '.join(missing)} cases", "Name stores of both modalities."
        raise InputError("--data", found=found, expected="CT and MR", do=do)
    return {"ct": tuple(held_by["ct"]), "mr": tuple(held_by["mr"])}


def _phantom(design: Design, folder: Path) -> Path:
    if design.phantom is None:
        do = "Name the stores that `crossmod prepare` made, with --data."
        raise InputError("--data", found="nothing", expected="stores of CT and of MR", do=do)
    store, made = folder / "store", folder / "phantom"
    if not (store / MANIFEST).is_file():
        if not made.exists():
            write_phantom(made, PhantomSettings(**design.phantom.model_dump()))
        prepare_chaos(made, store, sequences=("ct", "t2_spir"))
    return store
