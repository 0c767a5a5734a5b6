"""The folder of an experiment: its plan on disk, and checks that nothing tested on was trained on."""

import logging
from pathlib import Path
from typing import Any

import yaml

from crossmod.data.people import who_is_who
from crossmod.data.store import MANIFEST, Store, listed
from crossmod.errors import InputError
from crossmod.experiment.plan import Plan
from crossmod.files import read_json, write_json, write_text
from crossmod.runs import CARD
from crossmod.version import __version__


def refuse_leaks(plan: Plan) -> None:
    """Check a plan: no translator sees a patient or a scan that its slices' segmenters are tested on.

    A design with `split: slice` leaks by its nature and is not checked; its report says so.

    Raises:
        InputError: one does.
    """
    if plan.design.split == "slice":
        return
    for arm in plan.arms.values():
        for (fold, _), name in arm.runs.items():
            synthetic = plan.jobs[name].needs.get("synthetic")
            if synthetic is not None:
                model = plan.jobs[synthetic].needs["model"]
                _refuse(plan, plan.jobs[model].title, *plan.seen[model], fold)


def refuse_leaks_in_stores(plan: Plan, root: Path) -> None:
    """Check what was made: the provenance in the manifests of the synthetic slices.

    Raises:
        InputError: a model saw a patient or a scan that is tested on.
    """
    if plan.design.split == "slice":
        return
    looked: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    for arm in plan.arms.values():
        for (fold, _), name in arm.runs.items():
            job = plan.jobs[name]
            synthetic = job.needs.get("synthetic")
            if synthetic is None or not (plan.jobs[synthetic].folder(root) / MANIFEST).is_file():
                continue
            if synthetic not in looked:
                real = Store(job.stores["real"][0])
                looked[synthetic] = _seen(plan, real, Store(plan.jobs[synthetic].folder(root)))
            _refuse(plan, synthetic, *looked[synthetic], fold)


def _seen(plan: Plan, real: Store, made: Store) -> tuple[frozenset[str], frozenset[str]]:
    """The people and the scans behind synthetic slices."""
    people = who_is_who([real, made], same_people=plan.design.same_people)
    cases = people.stores[1].cases
    made_by = [case.synthetic for case in cases if case.synthetic is not None]
    scans = {scan for one in made_by for scan in (*one.trained_cases, one.source_sha256)}
    return frozenset().union(*(people.behind(case) for case in cases)), frozenset(scans)


def _refuse(plan: Plan, who: str, patients: frozenset[str], scans: frozenset[str], fold: int) -> None:
    tested, cases = plan.tested[fold]
    both = sorted(patients & tested)
    if both or scans & cases:
        what = f"patient {both[0]}" if both else "a test scan under another name"
        found = f"{what} both seen by {who} and tested on in fold {fold}"
        do = "Train translators by the folds of the design."
        raise InputError("plan", found=found, expected="each patient on one side of the split", do=do)


log = logging.getLogger(__name__)

PLAN, DESIGN, LOCK, DATA = "plan.json", "design.yaml", ".lock", "data"


def refuse_other_folder(root: Path) -> None:
    """Refuse to work in a folder that holds something else.

    Raises:
        InputError: it does.
    """
    if not root.exists() or (root / DESIGN).is_file():
        return
    # A first try may have been stopped while it made its data.
    if not root.is_dir() or {path.name for path in root.iterdir()} - {DATA, LOCK}:
        found = "a folder with something else in it" if root.is_dir() else "a file"
        raise InputError(root, found=found, expected="a new folder, or an experiment's", do="Choose another --out.")


def write_plan(plan: Plan, root: Path) -> None:
    """Write the plan and its design.

    A design that has changed since is taken up: runs that both have are not made again.

    Raises:
        InputError: cases have changed since the plan was made.
    """
    path = root / PLAN
    if path.is_file():
        then = read_json(path)
        refuse_changed_cases(plan, then, path)
        left = unused_runs(plan, then, root)
        if left:
            log.warning(
                "%d finished runs in %s belong to a plan of another version or design and are not used: seeds, source "
                "patients or settings differ. They can be deleted.",
                left,
                root,
            )
        if "pixels" not in then and any("stretched" not in words for words in plan.pixels.values()):
            log.warning(
                "%s was begun by a version of crossmod that stretched the whole field: all runs are made again. "
                "Add `frame: stretch` to the settings of all translators and segmenters to go on as before.", root,
            )  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    asked = plan.design.model_dump(mode="json", exclude_defaults=True)
    write_text(root / DESIGN, yaml.safe_dump(asked, sort_keys=False))
    write_json(path, as_plain(plan))


def unused_runs(plan: Plan, then: Any, root: Path) -> int:
    """How many finished runs of the plan before there are, where this plan has none of its runs.

    Args:
        plan: of now.
        then: the plan before, as plain values.
        root: the experiment's folder.
    """
    names = {job["name"] for job in then.get("jobs", ())}
    if names & set(plan.jobs):
        return 0
    return sum((root / "runs" / name / CARD).is_file() for name in names)


def as_plain(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    return {
        "crossmod": __version__,
        "target": plan.target,
        "pixels": plan.pixels,
        "cases": plan.cases,
        "tested": {str(fold): sorted(patients) for fold, (patients, _) in plan.tested.items()},
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


def refuse_changed_cases(plan: Plan, then: Any, path: Path) -> None:
    """Refuse data that is not what the plan in a folder was made for.

    Raises:
        InputError: cases were added, removed or changed since.
    """
    old = then.get("cases") if isinstance(then, dict) else None
    if not isinstance(old, dict):
        raise InputError(path, found="no plan", expected="what an experiment wrote", do="Choose another --out.")
    for side, now in plan.cases.items():
        before = old.get(side, {})
        kinds = {
            "changed": [case for case in now if case in before and before[case] != now[case]],
            "new": [case for case in now if case not in before],
            "gone": [case for case in before if case not in now],
        }
        told = "; ".join(f"{kind}: {listed(cases, 5)}" for kind, cases in kinds.items() if cases)
        if told:
            found = f"other {side} cases than when the plan was made ({told})"
            do = "Restore the store, or choose another --out."
            raise InputError(path.parent, found=found, expected="the same data", do=do)
