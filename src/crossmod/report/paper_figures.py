"""Figures 7 to 12 of Rafiq et al. 2025 made from an experiment's runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmod.report import figures, sections
from crossmod.report.contents import Contents, sources_of
from crossmod.report.experiment_data import Experiment, Finding, family_name
from crossmod.report.paper_tables import arms_of

# Arms that a figure of curves can tell apart.
CURVES = 6


def pictures(experiment: Experiment, sources: Sequence[Path]) -> dict[str, Any]:
    """Those that the runs have something for.

    Args:
        experiment: whose runs.
        sources: stores in which to look for source slices, beside those that the translators were trained on.
    """
    stores = experiment.shown_stores
    trained = [next(iter(folders.values())) for folders in experiment.made.values()]
    contents = Contents(tuple(trained), (), (), tuple(stores.values()), sources_of(trained, sources))
    shown = _curves(experiment)
    return {
        "synthesis": [{"name": name, **sections.synthesis(contents, store)} for name, store in stores.items()],
        "outlines": _outlines(experiment, [arms_of(experiment, "essnet")]),
        "roc": figures.roc_curves([experiment.drawn(arm) for arm in shown]) if shown else None,
        "roc_left_out": len(experiment.arms) - len(shown),
        "comparison": sections.comparison(contents, list(stores)),
        "ablation": _outlines(experiment, [arms_of(experiment, family) for family in ("cyclegan", "essnet")]),
    }


def _curves(experiment: Experiment) -> list[Finding]:
    """The best arm's baseline, and the arms with the largest Dice."""
    known = [arm for arm in experiment.arms if arm["scores"]["dice"]["mean"] is not None]
    best = experiment.best
    base = [arm for arm in known if best is not None and arm["name"] == best["baseline"]]
    others = sorted((arm for arm in known if arm not in base), key=lambda arm: -arm["scores"]["dice"]["mean"])
    chosen = [*base, *others[: CURVES - len(base)]]
    return [arm for arm in known if arm in chosen]


def _outlines(experiment: Experiment, groups: Sequence[Sequence[Finding]]) -> dict[str, str] | None:
    """Real test slices with what the baseline and the best arm of each group say; None where a group has none."""
    best = [_best(group) for group in groups]
    first = best[0]
    if first is None or None in best:
        return None
    base = experiment.arm(first["baseline"])
    chosen = [arm for arm in best if arm is not None and arm["baseline"] == first["baseline"]]
    if base is None or len(chosen) < len(groups):
        return None
    if not all(next(iter(experiment.runs(arm).values())).answered for arm in (base, *chosen)):
        return None
    picture = sections.outlines([experiment.drawn(arm) for arm in (base, *chosen)])
    names = ", ".join(f"{arm['name']} ({family_name(experiment.family(arm))})" for arm in chosen)
    return {"figure": picture, "arms": f"{base['name']}; {names}"} if picture else None


def _best(arms: Sequence[Finding]) -> Finding | None:
    known = [arm for arm in arms if arm["effects"]["dice"] and arm["effects"]["dice"]["mean"] is not None]
    return max(known, key=lambda arm: arm["effects"]["dice"]["mean"], default=None)
