"""What limits the meaning of an experiment's numbers, and what failed."""

from collections.abc import Iterator

from crossmod.engine.logger import alarms
from crossmod.html.format import Table, count, listed
from crossmod.metrics.paired import SHIFT_LIMIT_MM
from crossmod.report.experiment.data import Experiment
from crossmod.report.sections import LEAKS, constant, shifted, unequal_steps
from crossmod.statistics.verdicts import METRICS
from crossmod.synthesis.synthesize import shift_mm

PARTIAL = ("hd95", "assd", "mssd", "ravd")
# Student's t with four degrees of freedom is 2.8, with three 3.2, with one 12.7.
FEW_FOLDS = 5


def warnings(experiment: Experiment) -> list[str]:
    """All warnings, those that concern every number first."""
    return [
        *_of_the_design(experiment),
        *_of_what_is_missing(experiment),
        *_of_the_runs(experiment),
        *_of_the_slices(experiment),
    ]


def failures(experiment: Experiment) -> dict[str, Table]:
    """Runs that failed, and runs that were blocked by these."""
    found = experiment.findings.get("failed", [])
    names = {row["run"] for row in found}
    needs = {job["name"]: set(job["needs"].values()) for job in experiment.plan["jobs"]}
    rows = [(row["run"], [row["run"], f"{row['kind']}: {row['title']}", str(row["why"])]) for row in found]
    head = ("Run", "What", "Why")
    is_blocked = {run: bool(needs.get(run, set()) & names) for run, _ in rows}
    return {
        kind: Table(head, [row for run, row in rows if is_blocked[run] == blocked])
        for kind, blocked in (("failed", False), ("blocked", True))
    }


def _of_the_design(experiment: Experiment) -> Iterator[str]:
    found = experiment.findings
    if found["leaking"]:
        yield LEAKS
    if experiment.design.get("phantom") and (experiment.root / "data").is_dir():
        yield "The patients are made up: this page shows that everything works, and nothing about real patients."
    yield from dict.fromkeys(
        f"{why[0].upper()}{why[1:]}: no arm can be compared with it. Train longer."
        for arm in experiment.compared
        if (why := arm["effects"]["dice"].get("untrained"))
    )
    if len(found["seeds"]) < 2:
        yield (
            "One seed per arm: two runs of one arm often differ by more than two arms do, so that no effect is shown, "
            "however large it looks."
        )
    alone = [name for name, models in _translators(experiment).items() if models == 1]
    if alone and len(found["folds"]) < 2:
        yield (
            f"One training of {listed(alone)} made all synthetic slices: the intervals do not include the chance of "
            "that training, and another training may give another result."
        )
    if 1 < len(found["folds"]) < FEW_FOLDS:
        yield (
            f"{len(found['folds'])} folds: the effect that a fold's translator and training side have on all of its "
            "patients is estimated from these few, so that intervals are wide. More folds make them narrower."
        )


def _translators(experiment: Experiment) -> dict[str, int]:
    """By translator, the largest number of trained models in a fold."""
    models: dict[str, dict[int, set[str]]] = {}
    for arm in experiment.arms:
        for (_, fold), run in experiment.runs(arm).items() if arm["translator"] else ():
            of_folds = models.setdefault(arm["translator"], {})
            of_folds.setdefault(fold, set()).update(run.card["data"]["synthetic_models"])
    return {name: max(len(seen) for seen in folds.values()) for name, folds in models.items()}


def _of_what_is_missing(experiment: Experiment) -> Iterator[str]:
    found = experiment.findings
    failed, blocked = (len(table.rows) for table in failures(experiment).values())
    if failed:
        others = f", and {blocked} more could not be made because of that" if blocked else ""
        yield f"{count(failed, 'run')} failed{others}: see What failed."
    if found["missing"]:
        yield f"Without results, as no seed is finished in all folds: {listed(found['missing'])}."
    for arm in experiment.arms:
        if len(arm["runs"]) < arm["wanted"]:
            yield (
                f"{arm['name']}: {len(arm['runs'])} of {arm['wanted']} runs are finished; a seed counts if all its "
                "folds are finished."
            )


def _of_the_runs(experiment: Experiment) -> Iterator[str]:
    for arm in experiment.arms:
        yield from constant(arm["name"], arm["constant"], len(arm["runs"]))
    yield from _without_score(experiment)
    yield from unequal_steps([(arm["name"], experiment.cards(arm)[0]["steps"]) for arm in experiment.arms])
    for kind, runs in (("translators", experiment.translators), ("segmenters", experiment.segmenters)):
        raised = {name: dict.fromkeys(alarm.name for _, alarm in alarms(run)) for name, run in runs.items()}
        raised = {name: names for name, names in raised.items() if names}
        if raised:
            kinds = ", ".join(dict.fromkeys(name for names in raised.values() for name in names))
            yield (
                f"Alarms ({kinds}) were raised in {len(raised)} of {len(runs)} trainings of {kind}: {listed(raised)}. "
                "`crossmod info` of a run says when and what to do."
            )


def _without_score(experiment: Experiment) -> Iterator[str]:
    """Arms with patients without a score; scores that the same patients lack share a sentence."""
    patients = len(experiment.findings["patients"])
    metrics: dict[str, list[str]] = {}
    for metric in PARTIAL:
        counts = {arm["name"]: (arm["scores"].get(metric) or {}).get("undefined", 0) for arm in experiment.arms}
        if any(counts.values()):
            words = listed(f"{name}: {missing} of {patients}" for name, missing in counts.items())
            metrics.setdefault(words, []).append(METRICS[metric].name)
    for words, names in metrics.items():
        yield (
            f"{listed(names)}: undefined for some patients (nothing was found, the organ is absent, or tested slices "
            f"have gaps between them), which are left out of the mean. {words} patients. Arms are compared over the "
            "patients that have the score in both; Other scores shows the result if failures count."
        )


def _of_the_slices(experiment: Experiment) -> Iterator[str]:
    stores = experiment.stores
    moved = {name: away for name, store in stores.items() if (away := shift_mm(store)) > SHIFT_LIMIT_MM}
    if moved:
        worst = max(moved, key=lambda name: moved[name])
        also = f" Stores shifted by more than the limit: {len(moved)} of {len(stores)}." if len(stores) > 1 else ""
        yield shifted(stores[worst]) + also
