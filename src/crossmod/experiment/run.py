"""`crossmod experiment`: a design and data in; runs, statistics and a report out."""

import logging
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmod.config import Modality
from crossmod.data.importers.common import prepare_chaos
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.experiment.collect import results_of, write_tables
from crossmod.experiment.design import Design
from crossmod.experiment.estimate import Estimate, estimate
from crossmod.experiment.execute import execute
from crossmod.experiment.executor import Executor
from crossmod.experiment.findings import findings
from crossmod.experiment.leaks import refuse_leaks, refuse_leaks_in_stores
from crossmod.experiment.ledger import Ledger
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.record import DATA, LOCK, refuse_other_folder, write_plan
from crossmod.experiment.shown import Shown
from crossmod.experiment.why import why
from crossmod.files import held, write_json
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.report.experiment.build import build_experiment_report
from crossmod.settings import Machine
from crossmod.statistics.intervals import DRAWS

log = logging.getLogger(__name__)

FINDINGS, REPORT = "findings.json", "report.html"


@dataclass(frozen=True)
class Done:
    """What became of an experiment.

    Args:
        plan: what was asked.
        ledger: how each run ended.
        findings: what all finished runs show.
    """

    plan: Plan
    ledger: Ledger
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


def run_experiment(design: Design, data: Sequence[Path], root: Path, *, executor: Executor, live: bool = False) -> Done:
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
    with held(root / LOCK):
        plan = plan_experiment(design, data, root)
        write_plan(plan, root)
        ledger = execute(plan.jobs, root, executor, Shown(plan.jobs, executor.slots, live))
        refuse_leaks_in_stores(plan, root)
        return Done(plan, ledger, conclude(plan, root, ledger))


def conclude(plan: Plan, root: Path, ledger: Ledger, draws: int = DRAWS) -> dict[str, Any]:
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
    found["why"] = why(plan, root, results) if found["arms"] else None
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
        raise InputError("--data", found=found, wanted="CT and MR", do=do)
    return {"ct": tuple(held_by["ct"]), "mr": tuple(held_by["mr"])}


def _phantom(design: Design, folder: Path) -> Path:
    if design.phantom is None:
        do = "Name the stores that `crossmod prepare` made, with --data."
        raise InputError("--data", found="nothing", wanted="stores of CT and of MR", do=do)
    store, made = folder / "store", folder / "phantom"
    if not (store / MANIFEST).is_file():
        if not made.exists():
            write_phantom(made, PhantomSettings(**design.phantom.model_dump()))
        prepare_chaos(made, store, sequences=("ct", "t2_spir"))
    return store
