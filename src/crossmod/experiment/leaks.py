"""That nothing tested on was ever seen: of the plan before a run, and of what the runs say afterwards."""

from pathlib import Path

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
            synthetic = plan.jobs[name].needs.get("synthetic")
            if synthetic is None or not (plan.jobs[synthetic].folder(root) / MANIFEST).is_file():
                continue
            if synthetic not in looked:
                looked[synthetic] = _seen(Store(plan.jobs[synthetic].folder(root)))
            _refuse(plan, synthetic, *looked[synthetic], fold)


def _seen(store: Store) -> tuple[frozenset[str], frozenset[str]]:
    patients: set[str] = set()
    scans: set[str] = set()
    for case in store.cases:
        patients.add(case.patient)
        if case.synthetic is not None:
            patients |= set(case.synthetic.trained_on)
            scans |= {*case.synthetic.trained_cases, case.synthetic.source_sha256}
    return frozenset(patients), frozenset(scans)


def _refuse(plan: Plan, who: str, patients: frozenset[str], scans: frozenset[str], fold: int) -> None:
    tested, cases = plan.tested[fold]
    both = sorted(patients & tested)
    if both or scans & cases:
        what = f"patient {both[0]}" if both else "a test scan under another name"
        found = f"{what} both seen by {who} and tested on in fold {fold}"
        do = "Train translators by the folds of the design; rename people that share a name."
        raise InputError("plan", found=found, wanted="each patient on one side of the split", do=do)
