"""The report of runs that somebody names and the findings of an experiment must say the same of the same runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from crossmod.experiment.findings import findings
from crossmod.experiment.plan import Plan
from crossmod.experiment.results import results_of
from crossmod.report.collect import arms, compared
from crossmod.runs import Run
from tests.support.made_up_runs import Made


def finished(root: Path, gain: float, **changes: Any) -> Plan:
    """An experiment whose cards hold what both readers want."""
    made = Made(dice=lambda arm, case, number: 0.7 + gain * arm.endswith("essnet"), changes=changes)
    plan, results = made.experiment(root)
    translators = {}
    for job in plan.jobs.values():
        if job.kind == "train":
            seen = sorted(plan.seen[job.name][0])
            side = {"patients": [name for name in seen if name.startswith("ct")]}
            data = {"ct": side, "mr": {"patients": [name for name in seen if name.startswith("mr")]}}
            run = Run(job.folder(root))
            run.finish({"settings": dict(job.settings), "data": data, "weights_sha256": job.name, "steps": 20})
        if job.kind == "synthesize":
            translators[job.name] = job.needs["model"]
    for result in results:
        card = dict(result.card)
        needed = plan.jobs[result.run.name].needs.get("synthetic")
        family = "essnet" if needed else None
        dice = card["scores"]["patient_values"]["dice"]
        card["leaking"] = card["settings"]["split"] == "slice"
        card["data"] |= {
            "synthetic_family": family, "synthetic_recipe": family and "r", "test_patients": sorted(dice),
            "synthetic_models": [translators[needed]] if needed else [],
        }  # fmt: skip
        card["scores"] |= {
            "constant": False, "auc": 0.9, "slice": {"dice": 0.7, "iou": 0.6}, "trivial_dice": 0.4,
            "pooled": {"dice": 0.75, "iou": 0.6},
        }  # fmt: skip
        card["seconds"] = 1.0
        (result.run / "card.json").write_text(json.dumps(card))
    return plan


@pytest.mark.parametrize(("gain", "changes", "verdict"), [
    (0.1, {}, "improves"), (-0.05, {}, "hurts"), (0.0, {}, "not shown"), (0.1, {"retrain": True}, "improves"),
    (0.1, {"only_folds": [1]}, "improves"), (0.1, {"counts": [0, 3, 4]}, "improves"),
    pytest.param(-0.5, {}, "hurts", marks=pytest.mark.slow),
])  # fmt: skip
def test_named_runs_and_experiments_give_one_answer(
    tmp_path: Path, gain: float, changes: dict[str, Any], verdict: str
) -> None:
    plan = finished(tmp_path, gain, **changes)
    results = results_of(plan, tmp_path)
    said: Any = {
        arm["count"]: arm["effects"]["dice"] for arm in findings(plan, results, 200)["arms"] if arm["baseline"]
    }
    all_arms = arms([Run(result.run) for result in results])
    translators = [Run(job.folder(tmp_path)) for job in plan.jobs.values() if job.kind == "train"]
    found = {str(arm.synthetic): one for arm, one in zip(all_arms, compared(all_arms, translators), strict=True) if one}
    assert set(found) == set(said)
    for count, one in found.items():
        theirs = said[count]
        for field in ("mean", "low", "high", "p"):
            assert getattr(one.effect, field) == pytest.approx(theirs[field], abs=1e-9), field
        assert (one.effect.patients, one.effect.seeds, one.arms) == (
            theirs["patients"], theirs["seeds"], theirs["arms"],
        )  # fmt: skip
        assert one.holm == pytest.approx(theirs["holm"], abs=1e-9)
        assert (one.verdict, one.facts.scope) == (theirs["verdict"], theirs["scope"])
        assert one.verdict == verdict
        assert one.sentence.partition(": ")[2] == theirs["sentence"].partition(": ")[2]
