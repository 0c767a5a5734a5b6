"""`crossmod experiment`: from a design and data to runs, statistics and a report."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.store import MANIFEST, Store, listed
from crossmod.errors import InputError
from crossmod.experiment.analysis.explain import explain_gain
from crossmod.experiment.beside_published import beside_published
from crossmod.experiment.design import Design
from crossmod.experiment.estimate import Estimate, detectable_in_words, estimate, size_of
from crossmod.experiment.executors.base import Executor
from crossmod.experiment.findings import findings
from crossmod.experiment.folder import DATA, LOCK, refuse_leaks, refuse_leaks_in_stores, refuse_other_folder, write_plan
from crossmod.experiment.jobs import Job, Kind, Scheduler, finished_among
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.results import results_of, write_tables
from crossmod.experiment.worth import worth_map
from crossmod.files import lock, write_json
from crossmod.html.format import from_to
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.progress import clock
from crossmod.report.collect import FINDINGS
from crossmod.report.experiment.build import build_experiment_report
from crossmod.report.experiment.schema import Findings
from crossmod.report.experiment.worth import write_worth_figure
from crossmod.settings import Machine
from crossmod.statistics.intervals import DRAWS
from crossmod.statistics.verdicts import MAIN

REPORT = "report.html"
WORTH = "worth.png"
KINDS: dict[Kind, str] = {
    "train": "translators to train",
    "synthesize": "synthetic stores to make",
    "segment": "segmenters to train",
}


def describe_plan(plan: Plan, cost: Estimate, root: Path, jobs: int) -> list[str]:
    """The planned runs, the effect that they can detect, and their cost, in lines."""
    d = plan.design
    tested = from_to(len(patients) for patients, _ in plan.tested.values())
    folds = "a split by slice (leaking)" if d.split == "slice" else f"{len(d.chosen_folds)} folds by patient"
    each = f"{tested} patients tested in each fold"
    if d.test_patients:
        folds, each = "one split by patient", f"tested on {listed(sorted(plan.tested[0][0]))}"
    lines = [
        *([d.about.strip()] if d.about else []),
        f"{len(plan.arms)} arms x {folds} x {len(d.seeds)} seeds; {each}:",
    ]
    for arm in plan.arms.values():
        slices = f" ({from_to(arm.slices.values())} synthetic slices)" if arm.slices else ""
        base = f", against {arm.baseline}" if arm.baseline else ""
        lines.append(f"  {arm.name}{slices}{base}: {len(arm.runs)} runs")
    lines += plan.left_out
    lines += detectable_in_words(size_of(plan))
    done = len(plan.jobs) - sum(cost.jobs.values())
    lines.append(f"{len(plan.jobs)} runs in all{f', {done} of them done' if done else ''}. Left:")
    for kind, words in KINDS.items():
        if kind in cost.jobs:
            lines.append(f"  {cost.jobs[kind]} {words}, about {clock(cost.seconds[kind])}")
    total = sum(cost.seconds.values())
    several = f", {clock(total / jobs)} with {jobs} side by side if they do not slow each other" if jobs > 1 else ""
    lines.append(f"About {clock(total)} one after another{several}, and {cost.bytes / 1e9:.1f} GB in {root}.")
    lines.append("Times are of a few steps on noise on this machine; compiling and other work come on top.")
    return lines


def execute(jobs: Mapping[str, Job], root: Path, executor: Executor, table: LiveTable) -> Scheduler:
    """Run all unfinished jobs, in their order, and close the executor; gives the state of each job."""
    with ExitStack() as stack:
        stack.callback(executor.close)
        needs = {name: tuple(job.needs.values()) for name, job in jobs.items()}
        scheduler = Scheduler(needs, finished_among(jobs, root))
        stack.callback(table.end)
        table.begin(scheduler)
        while scheduler.open:
            while scheduler.counts["running"] < executor.slots and (name := scheduler.next_job()) is not None:
                table.started(jobs[name], scheduler)
                executor.start(jobs[name])
            for outcome in executor.wait():
                blocked = scheduler.finish_job(outcome)
                table.ended(jobs[outcome.name], outcome, scheduler, blocked)
    return scheduler


@dataclass(frozen=True)
class ExperimentResult:
    """A finished experiment."""

    plan: Plan
    scheduler: Scheduler  # how each run ended
    findings: Findings  # the statistics of all finished runs

    @property
    def sentences(self) -> list[str]:
        """The effect of each arm, and its comparison with the controls, in a sentence each."""
        effects = [arm["effects"][MAIN] for arm in self.findings["arms"]]
        controls = [arm.get("controls") for arm in self.findings["arms"]]
        return [found["sentence"] for found in (*effects, *controls) if found is not None]

    @property
    def answers(self) -> list[str]:
        """What the synthetic slices are worth in labelled patients, in sentences; none if that was not asked."""
        found = self.findings.get("worth")
        return [*found["answer"], *found["notes"]] if found else []

    @property
    def failed(self) -> list[str]:
        """Names of the runs that failed or were blocked."""
        return [name for name, state in self.scheduler.states.items() if state in ("failed", "blocked")]


def plan_experiment(design: Design, data: Sequence[Path], root: Path) -> Plan:
    """The plan of a design over some stores; without stores, over the design's phantom, which is made in `root`."""
    stores = [Path(path) for path in data] or [_phantom(design, root / DATA)]
    plan = make_plan(design, _by_modality(stores))
    refuse_leaks(plan)
    return plan


def estimate_experiment(design: Design, data: Sequence[Path], root: Path, machine: Machine) -> tuple[Plan, Estimate]:
    """The plan and the cost of its unfinished runs; nothing is left on the disk."""
    with ExitStack() as stack:
        made = root if data or (root / DATA).exists() else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan = plan_experiment(design, data, made)
        return plan, estimate(plan.jobs.values(), root, machine)


def run_experiment(
    design: Design, data: Sequence[Path], root: Path, *, executor: Executor, live: bool = False
) -> ExperimentResult:
    """Run an experiment, or resume it; the executor is closed at the end. `live`: draw a table of running jobs."""
    refuse_other_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / LOCK):
        plan = plan_experiment(design, data, root)
        write_plan(plan, root)
        scheduler = execute(plan.jobs, root, executor, LiveTable(plan.jobs, executor.slots, live))
        refuse_leaks_in_stores(plan, root)
        return ExperimentResult(plan, scheduler, conclude(plan, root, scheduler))


def conclude(plan: Plan, root: Path, scheduler: Scheduler, draws: int = DRAWS) -> Findings:
    """Write tables, statistics and the report of all finished runs."""
    results = results_of(plan, root)
    write_tables(results, root)
    found = findings(plan, results, draws)
    found["failed"] = [
        {"title": plan.jobs[name].title, "kind": plan.jobs[name].kind, "run": name, "why": words}
        for name, words in scheduler.failures.items()
        if scheduler.states[name] in ("failed", "blocked")
    ]
    found["worth"] = worth_map(plan, results, found, draws)
    found["published"] = beside_published(plan, results)
    found["why"] = explain_gain(plan, root, results) if found["arms"] else None
    write_json(root / FINDINGS, found)
    build_experiment_report(root, root / REPORT)
    write_worth_figure(found.get("worth"), plan.target.upper(), root / WORTH)
    return found


def _by_modality(stores: Sequence[Path]) -> dict[Modality, tuple[Path, ...]]:
    holds = {path: {case.modality for case in Store(path).cases} for path in stores}
    of_ct, of_mr = (tuple(path for path in stores if modality in holds[path]) for modality in ("ct", "mr"))
    missing = [modality for modality, paths in (("ct", of_ct), ("mr", of_mr)) if not paths]
    if missing:
        found, do = f"no {' and no '.join(missing)} cases", "Name stores of both modalities."
        raise InputError("--data", found=found, expected="CT and MR", do=do)
    return {"ct": of_ct, "mr": of_mr}


def _phantom(design: Design, folder: Path) -> Path:
    if design.phantom is None:
        do = "Name the stores that `crossmod prepare` made, with --data."
        raise InputError("--data", found="nothing", expected="stores of CT and of MR", do=do)
    return prepare_phantom(folder, PhantomSettings(**design.phantom.model_dump()))


def prepare_phantom(folder: Path, settings: PhantomSettings) -> Path:
    """Make up patients and prepare their store in a folder, unless it has them; gives the store."""
    store, phantom = folder / "store", folder / "phantom"
    if not (store / MANIFEST).is_file():
        if not phantom.exists():
            write_phantom(phantom, settings)
        prepare_chaos(phantom, store, sequences=("ct", "t2_spir"))
    return store
