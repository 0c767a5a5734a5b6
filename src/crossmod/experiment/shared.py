"""What the folds of an experiment share, read from its jobs: their translators' seeds, models and source patients."""

from crossmod.evaluate.facts import Facts, Origin, shared_by_folds
from crossmod.experiment.plan import Arm, Plan


def facts_of(plan: Plan, arm: Arm) -> Facts:
    """What a verdict on an arm has to know of its synthetic slices.

    Args:
        plan: with the jobs of all runs.
        arm: one with synthetic slices, or a baseline.
    """
    return Facts(shared=shared_by_folds(origins(plan, arm), split=plan.design.split))


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
