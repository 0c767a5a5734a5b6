"""What `--dry-run` says: the plan in a few lines, which effect it can detect, and what it will cost."""

from pathlib import Path

from crossmod.experiment.detectable import detectable_in_words, size_of
from crossmod.experiment.estimate import Estimate
from crossmod.experiment.jobs import Kind
from crossmod.experiment.plan import Plan
from crossmod.progress import clock

KINDS: dict[Kind, str] = {
    "train": "translators to train",
    "synthesize": "synthetic stores to make",
    "segment": "segmenters to train",
}


def foretell(plan: Plan, cost: Estimate, root: Path, jobs: int) -> list[str]:
    """Lines for people.

    Args:
        plan: what is asked.
        cost: of what is left.
        root: the experiment's folder.
        jobs: runs side by side.
    """
    d = plan.design
    tested = sorted({len(patients) for patients, _ in plan.tested.values()})
    folds = "a split by slice (leaking)" if d.split == "slice" else f"{len(d.chosen_folds)} folds by patient"
    lines = [
        *([d.about.strip()] if d.about else []),
        f"{len(plan.arms)} arms x {folds} x {len(d.seeds)} seeds; {_span(tested)} patients tested in each fold:",
    ]
    for arm in plan.arms.values():
        slices = f" ({_span(sorted(set(arm.slices.values())))} synthetic slices)" if arm.slices else ""
        held = f", against {arm.baseline}" if arm.baseline else ""
        lines.append(f"  {arm.name}{slices}{held}: {len(arm.runs)} runs")
    lines += detectable_in_words(size_of(plan))
    done = len(plan.jobs) - sum(cost.jobs.values())
    lines.append(f"{len(plan.jobs)} runs in all{f', {done} of them done' if done else ''}. Left:")
    for kind, words in KINDS.items():
        if kind in cost.jobs:
            lines.append(f"  {cost.jobs[kind]} {words}, about {clock(cost.seconds[kind])}")
    total = sum(cost.seconds.values())
    several = f", {clock(total / jobs)} with {jobs} side by side if they do not slow each other" if jobs > 1 else ""
    lines.append(f"About {clock(total)} one after another{several}, and {cost.bytes / 1e9:.1f} GB in {root}.")
    lines.append("Time is of a few steps on slices of noise on this machine; compiling and other work come on top.")
    return lines


def _span(values: list[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
