"""That nothing tested on was ever seen: of the plan before a run, and of what the runs say afterwards."""

from pathlib import Path

from crossmod.data.people import who_is_who
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.experiment.plan import Plan


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
        raise InputError("plan", found=found, wanted="each patient on one side of the split", do=do)
