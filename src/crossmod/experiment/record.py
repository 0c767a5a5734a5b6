"""The plan on disk: what the experiment's folder says of itself, and whether the data is still the same."""

import logging
from pathlib import Path
from typing import Any

import yaml

from crossmod.data.store import listed
from crossmod.errors import InputError
from crossmod.experiment.plan import Plan
from crossmod.files import read_json, write_json, write_text
from crossmod.runs import CARD
from crossmod.version import __version__

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
        raise InputError(root, found=found, wanted="a new folder, or an experiment's", do="Choose another --out.")


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
        raise InputError(path, found="no plan", wanted="what an experiment wrote", do="Choose another --out.")
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
            raise InputError(path.parent, found=found, wanted="the same data", do=do)
