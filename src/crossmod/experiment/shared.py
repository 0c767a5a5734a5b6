"""What a verdict has to know: what folds share (translators' seeds, models, source patients), how baselines trained."""

from collections.abc import Sequence

from crossmod.engine.logger import training
from crossmod.experiment.collect import Result
from crossmod.experiment.plan import Arm, Plan
from crossmod.runs import Run
from crossmod.statistics.baseline_quality import Training, untrained
from crossmod.statistics.verdicts import Facts, Origin, shared_by_folds


def facts_of(plan: Plan, arm: Arm, why_untrained: str = "") -> Facts:
    """What a verdict on an arm has to know of its synthetic slices.

    Args:
        plan: with the jobs of all runs.
        arm: one with synthetic slices, or a baseline.
        why_untrained: why its baseline does not work well enough to compare with; empty where it does.
    """
    return Facts(shared=shared_by_folds(origins(plan, arm), split=plan.design.split), untrained=why_untrained)


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


def untrained_baselines(results: Sequence[Result]) -> dict[str, str]:
    """By baseline, why it was not trained enough to compare with; empty where it was.

    Args:
        results: of the finished segmenters.
    """
    trained: dict[str, list[Training]] = {}
    for one in results:
        if one.arm.baseline is None:
            trained.setdefault(one.arm.name, []).append(training(Run(one.run), one.card))
    return {name: untrained(runs) for name, runs in trained.items()}
