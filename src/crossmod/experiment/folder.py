"""The folder of an experiment: its plan on disk, and checks that nothing tested on was trained on."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from crossmod.data.people import who_is_who
from crossmod.data.store import MANIFEST, Store, listed
from crossmod.errors import InputError
from crossmod.experiment.plan import People, Plan
from crossmod.files import read_json, write_json, write_text
from crossmod.report.collect import DESIGN, PLAN
from crossmod.report.experiment.schema import PlanFile
from crossmod.runs import CARD
from crossmod.version import __version__

log = logging.getLogger(__name__)

LOCK, DATA = ".lock", "data"


def refuse_leaks(plan: Plan) -> None:
    """Check that no translator sees a patient or a scan that the segmenters of its slices are tested on.

    A design with `split: slice` leaks by definition and is not checked; its report says so.
    """
    for fold, _, synthetic in _synthetic_runs(plan):
        model = plan.jobs[synthetic].needs["model"]
        _refuse(plan, plan.jobs[model].title, plan.seen[model], fold)


def refuse_leaks_in_stores(plan: Plan, root: Path) -> None:
    """The same check for the provenance in the manifests of the synthetic stores."""
    seen: dict[str, People] = {}
    for fold, run, synthetic in _synthetic_runs(plan):
        folder = plan.jobs[synthetic].folder(root)
        if (folder / MANIFEST).is_file():
            if synthetic not in seen:
                seen[synthetic] = _seen(plan, Store(plan.jobs[run].stores["real"][0]), Store(folder))
            _refuse(plan, synthetic, seen[synthetic], fold)


def _synthetic_runs(plan: Plan) -> Iterator[tuple[int, str, str]]:
    """Fold, run and synthetic store of every segmenter with synthetic slices; none of a split by slice."""
    for arm in plan.arms.values() if plan.design.split != "slice" else ():
        for (fold, _), name in arm.runs.items():
            synthetic = plan.jobs[name].needs.get("synthetic")
            if synthetic is not None:
                yield fold, name, synthetic


def _seen(plan: Plan, real: Store, synthetic: Store) -> People:
    """The people and the scans behind synthetic slices."""
    people = who_is_who([real, synthetic], same_people=plan.design.same_people)
    cases = people.stores[1].cases
    origins = [case.synthetic for case in cases if case.synthetic is not None]
    scans = {scan for origin in origins for scan in (*origin.trained_cases, origin.source_sha256)}
    return frozenset().union(*(people.behind(case) for case in cases)), frozenset(scans)


def _refuse(plan: Plan, who: str, seen: People, fold: int) -> None:
    patients, scans = seen
    tested, cases = plan.tested[fold]
    both = sorted(patients & tested)
    if both or scans & cases:
        what = f"patient {both[0]}" if both else "a test scan under another name"
        found = f"{what} both seen by {who} and tested on in fold {fold}"
        do = "Train translators by the folds of the design."
        raise InputError("plan", found=found, expected="each patient on one side of the split", do=do)


def refuse_other_folder(root: Path) -> None:
    """Refuse to work in a folder that holds something else."""
    if not root.exists() or (root / DESIGN).is_file():
        return
    # A first try may have been stopped while it made its data.
    if not root.is_dir() or {path.name for path in root.iterdir()} - {DATA, LOCK}:
        found = "a folder with something else in it" if root.is_dir() else "a file"
        raise InputError(root, found=found, expected="a new folder, or an experiment's", do="Choose another --out.")


def write_plan(plan: Plan, root: Path) -> None:
    """Write the plan and its design. After a change of the design, runs that both plans have are kept."""
    path = root / PLAN
    if path.is_file():
        before = read_json(path)
        _refuse_changed_cases(plan, before, path)
        left = _unused_runs(plan, before, root)
        if left:
            log.warning(
                "%d finished runs in %s belong to a plan of another version or design and are not used: seeds, source "
                "patients or settings differ. They can be deleted.",
                left,
                root,
            )
        if "pixels" not in before and any("stretched" not in words for words in plan.pixels.values()):
            log.warning(
                "%s was begun by a version of crossmod that stretched the whole field: all runs are made again. "
                "Add `frame: stretch` to the settings of all translators and segmenters to continue as before.",
                root,
            )
    root.mkdir(parents=True, exist_ok=True)
    design = plan.design.model_dump(mode="json", exclude_defaults=True)
    write_text(root / DESIGN, yaml.safe_dump(design, sort_keys=False))
    write_json(path, _plain(plan))


def _unused_runs(plan: Plan, before: Any, root: Path) -> int:
    """The number of finished runs of the plan before, if this plan has none of its runs."""
    names = {job["name"] for job in before.get("jobs", ())}
    return 0 if names & set(plan.jobs) else sum((root / "runs" / name / CARD).is_file() for name in names)


def _plain(plan: Plan) -> PlanFile:
    return {
        "crossmod": __version__,
        "target": plan.target,
        "pixels": plan.pixels,
        "cases": plan.cases,
        "tested": {str(fold): sorted(patients) for fold, (patients, _) in plan.tested.items()},
        "left_out": list(plan.left_out),
        "arms": [
            {
                "name": arm.name,
                "baseline": arm.baseline,
                "slices": {str(fold): count for fold, count in arm.slices.items()},
                "runs": [{"fold": fold, "seed": seed, "run": run} for (fold, seed), run in arm.runs.items()],
            }
            for arm in plan.arms.values()
        ],
        "jobs": [
            {"name": job.name, "kind": job.kind, "title": job.title, "needs": dict(job.needs), "work": job.work}
            for job in plan.jobs.values()
        ],
    }


def _refuse_changed_cases(plan: Plan, before: Any, path: Path) -> None:
    """Refuse a store whose cases were added, removed or changed since the plan in the folder was made."""
    old = before.get("cases") if isinstance(before, dict) else None
    if not isinstance(old, dict):
        raise InputError(path, found="no plan", expected="what an experiment wrote", do="Choose another --out.")
    for side, now in plan.cases.items():
        then = old.get(side, {})
        kinds = {
            "changed": [case for case in now if case in then and then[case] != now[case]],
            "new": [case for case in now if case not in then],
            "gone": [case for case in then if case not in now],
        }
        differences = "; ".join(f"{kind}: {listed(cases, 5)}" for kind, cases in kinds.items() if cases)
        if differences:
            found = f"other {side} cases than when the plan was made ({differences})"
            do = "Restore the store, or choose another --out."
            raise InputError(path.parent, found=found, expected="the same data", do=do)
