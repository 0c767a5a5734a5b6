"""What a verdict has to know: what folds share (translators' seeds, models, source patients), how baselines trained."""

from collections.abc import Sequence

from crossmod.evaluate.facts import Facts, Origin, shared_by_folds
from crossmod.evaluate.trained import Training, untrained
from crossmod.experiment.collect import Result
from crossmod.experiment.plan import Arm, Plan
from crossmod.report.readings import training
from crossmod.runs import Run


def facts_of_arms(plan: Plan, results: Sequence[Result]) -> dict[str, Facts]:
    """By arm, what a verdict on it has to know of its synthetic slices and its baseline.

    Args:
        plan: with the jobs of all runs.
        results: of the finished segmenters.
    """
    trained: dict[str, list[Training]] = {}
    for one in results:
        if one.arm.baseline is None:
            trained.setdefault(one.arm.name, []).append(training(Run(one.run), one.card))
    why = {name: untrained(runs) for name, runs in trained.items()}
    return {
        arm.name: Facts(
            shared=shared_by_folds(origins(plan, arm), split=plan.design.split),
            untrained=why.get(arm.baseline or "", ""),
        )
        for arm in plan.arms.values()
    }


def origins(plan: Plan, arm: Arm) -> list[Origin]:
    """The translator behind each run of an arm; none of a baseline."""
    found = []
    for (fold, _), name in arm.runs.items():
        synthetic = plan.jobs[name].needs.get("synthetic")
        if synthetic is not None:
            model = plan.jobs[plan.jobs[synthetic].needs["model"]]
            source = frozenset(model.settings.get("source_patients", ()))
            found.append(Origin(fold, model.name, model.settings.get("seed"), source))
    return found
