"""What a reader must know before believing a number of an experiment, and what of it failed."""

from collections.abc import Iterator

from crossmod.engine.logger import alarms
from crossmod.html.format import count, listed
from crossmod.metrics.paired import SHIFT_LIMIT_MM
from crossmod.report.experiment.data import Experiment
from crossmod.report.sections import LEAKS, shifted, unequal_steps
from crossmod.statistics.verdicts import METRICS
from crossmod.synthesis.synthesize import shift_mm

PARTIAL = ("hd95", "assd", "mssd", "ravd")


def warnings(experiment: Experiment) -> list[str]:
    """All of them, those that concern every number first."""
    return [
        *_of_the_design(experiment),
        *_of_what_is_missing(experiment),
        *_of_the_runs(experiment),
        *_of_the_slices(experiment),
    ]


def failures(experiment: Experiment) -> dict[str, list[dict[str, str]]]:
    """What failed and why, and apart from it what could not be made because of that."""
    found = experiment.findings.get("failed", [])
    names = {one["run"] for one in found}
    needs = {job["name"]: set(job["needs"].values()) for job in experiment.plan["jobs"]}
    rows = [{key: str(one[key]) for key in ("title", "kind", "run", "why")} for one in found]
    blocked = [row for row in rows if needs.get(row["run"], set()) & names]
    return {"failed": [row for row in rows if row not in blocked], "blocked": blocked}


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
            "One seed an arm: two runs of one arm often differ by more than two arms do, so that no effect is shown, "
            "however large it looks."
        )
    alone = [name for name, models in _translators(experiment).items() if models == 1]
    if alone and len(found["folds"]) < 2:
        yield (
            f"One training of {listed(alone)} made all synthetic slices: the intervals do not count the luck of that "
            "training, and another one may do otherwise."
        )
    if 1 < len(found["folds"]) < FEW_FOLDS:
        yield (
            f"{len(found['folds'])} folds: what a fold's translator and training side do to all of its patients is "
            "known from so few only, and intervals are wide for it. More folds make them narrower."
        )


# Student's t with four degrees of freedom is 2.8, with three 3.2, with one 12.7.
FEW_FOLDS = 5


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
    runs = failures(experiment)
    if runs["failed"]:
        others = f", and {len(runs['blocked'])} more could not be made because of that" if runs["blocked"] else ""
        yield f"{count(len(runs['failed']), 'run')} failed{others}: see What failed."
    if found["missing"]:
        names = listed(found["missing"])
        yield f"Without results, as no seed is finished in all folds: {names}."
    for arm in experiment.arms:
        if len(arm["runs"]) < arm["wanted"]:
            yield (
                f"{arm['name']}: {len(arm['runs'])} of {arm['wanted']} runs are finished; a seed counts where all its "
                "folds are."
            )


def _of_the_runs(experiment: Experiment) -> Iterator[str]:
    for arm in experiment.arms:
        if arm["constant"]:
            runs = count(len(arm["runs"]), "run")
            yield f"{arm['name']}: in {arm['constant']} of {runs} the network found nothing or everything."
    yield from _without_score(experiment)
    steps = {arm["name"]: experiment.cards(arm)[0]["steps"] for arm in experiment.arms}
    yield from unequal_steps(list(steps.items()))
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
    """Which arms have patients without a score, a line for all scores that the same patients lack."""
    patients = len(experiment.findings["patients"])
    told: dict[str, list[str]] = {}
    for metric in PARTIAL:
        counts = {arm["name"]: (arm["scores"].get(metric) or {}).get("undefined", 0) for arm in experiment.arms}
        if any(counts.values()):
            words = listed(f"{name}: {missing} of {patients}" for name, missing in counts.items())
            told.setdefault(words, []).append(METRICS[metric].name)
    for words, names in told.items():
        yield (
            f"{listed(names)}: undefined for some patients (nothing was found, nothing is there, or tested slices have "
            f"gaps between them), which are left out of the mean. {words} patients. Arms are compared over the "
            "patients that have the score in both; below Other scores is what follows when failures count."
        )


def _of_the_slices(experiment: Experiment) -> Iterator[str]:
    stores = experiment.stores
    moved = {name: away for name, store in stores.items() if (away := shift_mm(store)) > SHIFT_LIMIT_MM}
    if moved:
        worst = max(moved, key=lambda name: moved[name])
        also = f" Stores shifted by more than the limit: {len(moved)} of {len(stores)}." if len(stores) > 1 else ""
        yield shifted(stores[worst]) + also
