"""Published results of the benchmark that a design names, and the experiment's beside them, with what limits both."""

from collections.abc import Iterator, Sequence

from crossmod.data.store import listed
from crossmod.experiment.design import NONE, sees_target
from crossmod.experiment.findings import score_of
from crossmod.experiment.plan import Arm, Plan
from crossmod.experiment.published import MEAN, Protocol, Sees, protocols
from crossmod.experiment.results import Result, arm_scores
from crossmod.html.format import count, from_to
from crossmod.metrics.segmentation import CUT_DICE
from crossmod.report.experiment.published_schema import Estimate, PublishedBeside
from crossmod.statistics.verdicts import MAIN


def beside_published(plan: Plan, results: Sequence[Result]) -> PublishedBeside | None:
    """The rows of both; None if the design names no benchmark, or nothing is finished."""
    name = plan.design.published
    if name is None or not results:
        return None
    protocol = protocols()[name]
    whole, cut = _by_organ(plan, protocol, results, MAIN), _by_organ(plan, protocol, results, CUT_DICE)
    return {
        "benchmark": name,
        "title": protocol.title,
        "organs": list(protocol.organs),
        "cut": protocol.cut,
        "published": [
            {
                "method": row.method,
                "sees": row.sees,
                "dice": dict(row.dice),
                "unverified": list(row.unverified),
                "source": row.source,
                "note": row.note,
            }
            for row in protocol.results
        ],
        "own": [
            {"arm": arm.name, "sees": sees(plan, arm), "dice": whole[arm.name], "cut": cut.get(arm.name, {})}
            for arm in sorted(plan.arms.values(), key=lambda arm: sees(plan, arm) == "labels")
            if arm.name in whole
        ],
        "caveats": [*_of_patients(plan, protocol, results), *protocol.caveats, *_of_ours(plan, cut)],
    }


def sees(plan: Plan, arm: Arm) -> Sees:
    """What the training of an arm, with that of its translator, sees of the target; translators see no label of it,
    which `refuse_against_rules` ensures."""
    translator = plan.design.translator_settings.get(arm.translator or "")
    if arm.labelled != NONE:
        return "labels"
    adapted = plan.design.segmenter_settings[arm.segmenter].adapt_batch_norm
    return "images" if adapted or (translator is not None and sees_target(translator.family)) else "nothing"


def _by_organ(plan: Plan, protocol: Protocol, results: Sequence[Result], metric: str) -> dict[str, dict[str, Estimate]]:
    """By arm, a score of each organ, and of their mean if there are all."""
    found: dict[str, dict[str, Estimate]] = {}
    organs = {name: settings.organs for name, settings in plan.design.segmenter_settings.items()}
    for organ in (*protocol.organs, MEAN):
        needed = set(protocol.organs) if organ == MEAN else {organ}
        own = [
            result.of_organ(organ) if organ in result.organs else result
            for result in results
            if needed <= set(organs[result.arm.segmenter])
        ]
        for name, scores in arm_scores(own, metric).items():
            score = score_of(scores)
            assert score is not None
            estimate: Estimate = {"mean": score["mean"], "low": score["low"], "high": score["high"]}
            found.setdefault(name, {})[organ] = estimate
    return found


def _of_patients(plan: Plan, protocol: Protocol, results: Sequence[Result]) -> Iterator[str]:
    """Who was tested and trained on, compared with the published experiments."""
    tested = sorted({patient for result in results for patient in result.of_patients(MAIN)})
    different = "A difference from published numbers may come from the patients."
    folds = "" if plan.design.test_patients else f" in {count(len(plan.design.chosen_folds), 'fold')}"
    ours = listed(tested, 8) if plan.design.test_patients else f"{count(len(tested), 'patient')}{folds}"
    theirs = listed(protocol.test_patients)
    if set(tested) == set(protocol.test_patients):
        yield f"Tested on the published test patients: {listed(tested)}."
    elif protocol.test_patients:
        yield f"Tested on other patients than published: {ours}; published: {theirs}. {different}"
    elif len(tested) == protocol.tested and not plan.design.test_patients:
        yield f"Tested on {ours}, each once: as many as published, where one training is tested on all of them."
    else:
        yield f"Tested on {ours}; published: {protocol.tested}. {different}"
    models = [job for job in plan.jobs.values() if job.kind == "train" and job.settings.get("source_patients")]
    trained = from_to(len(job.settings["source_patients"]) for job in models)
    yield f"Synthetic slices are of {trained} source patients; published: {protocol.source_patients} trained on."


def _of_ours(plan: Plan, cut: dict[str, dict[str, Estimate]]) -> Iterator[str]:
    yield (
        "Here no score of a test patient chooses anything, so expect lower numbers. Where published checkpoints were "
        "chosen by scores on the target, that alone adds 0.038 Dice [0.029, 0.048], as a re-benchmark of 2026 found "
        "for the prostate."
    )
    yield (
        "Networks, resolution, augmentation and length of training differ from the published ones, and no test "
        "compares the two: the table is of whole methods, not of translators alone."
    )
    parts = [name for name, settings in plan.design.segmenter_settings.items() if settings.test_on == "organ"]
    if parts:
        yield f"{listed(parts)}: tested on slices that show an organ alone (`test_on: organ`), not on whole scans."
    if any(number["mean"] is None for row in cut.values() for number in row.values()):
        yield "Runs of an earlier version have no score of cut scans."
