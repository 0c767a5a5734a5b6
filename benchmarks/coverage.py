"""How often intervals include the truth, and how often a false effect is shown, in simulated experiments.

    python benchmarks/coverage.py            # the tables of docs/concepts/evidence.md, about five minutes
    python benchmarks/coverage.py --quick    # the same with few experiments

Random effects follow the jobs of the plan: training runs with one seed share the effect of the seed, runs of one job
share all effects, and the influence of a training patient is in every run that saw the patient. Folds therefore have a
common effect in the simulation exactly if they share a seed in the plan. There is no true effect: every effect that is
shown is false, and an interval should include 0.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from crossmod.config import Modality, build
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.experiment.design import Design
from crossmod.experiment.plan import Plan, make_plan
from crossmod.seeds import rng
from crossmod.statistics.arm_scores import CORRELATION, fold_inflation
from crossmod.statistics.power import Luck, holm_level, smallest_effect
from crossmod.statistics.verdicts import MAIN, corrected, holm

SOURCE, SEEDS = 20, 3
# SDs in Dice, as measured on real patients (docs/log.md): common to a fold, of a patient, of runs, and residual.
TRANSLATOR, OWN, RUN, REST = 0.05, 0.03, 0.01, 0.02
TIMES, QUICK = 2000, 200
# Scores of a patient beside Dice, and their correlation with it.
OTHERS, ALIKE = 6, 0.7


@dataclass(frozen=True)
class Shares:
    """Shares of a translator's variance; the rest is independent in each training run.

    Args:
        seed: decided by its seed.
        patients: by the patients it was trained on, each with an influence of its own, source and target half each.
        always: the same in every training: what no design changes.
    """

    seed: float = 0.0
    patients: float = 0.0
    always: float = 0.0


def main(times: int) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for lines in (by_seed(root, times), by_what_stays(root, times), all_scores(root, times), detected(root, times)):
            print("\n".join(lines), flush=True)
            print()
    print(f"{times} experiments a cell; {time.perf_counter() - began:.0f} s.")


def by_seed(root: Path, times: int) -> Iterator[str]:
    """The main table: a share of a translator's variance comes from its seed."""
    yield "| patients x folds | arms | decided by the seed | before: holds, false | now: holds, false |"
    yield "| --- | --- | --- | --- | --- |"
    for patients, folds in ((14, 3), (14, 5), (20, 5), (30, 4), (60, 3), (60, 5)):
        for arms in (1, 4):
            plan = planned(root, patients, folds, arms)
            for seed in (0.0, 0.2, 0.65):
                old = measured(before(plan), Shares(seed=seed), times, inflated=False)
                now = measured(plan, Shares(seed=seed), times)
                yield f"| {patients} x {folds} | {arms} | {seed:g} | {old} | {now} |"


def by_what_stays(root: Path, times: int) -> Iterator[str]:
    """What folds always share: patients in their training sides, and effects common to all training runs."""
    yield "| patients x folds | what trainings share | independent folds assumed: holds, false | now: holds, false |"
    yield "| --- | --- | --- | --- |"
    shared = {
        "nothing": Shares(),
        "patients' influence, 0.2": Shares(patients=0.2),
        "patients' influence, 0.33": Shares(patients=0.33),
        "patients' influence, 0.65": Shares(patients=0.65),
        "0.2 in every training": Shares(always=0.2),
        "0.33 in every training": Shares(always=0.33),
        "0.65 in every training": Shares(always=0.65),
    }
    for patients, folds in ((14, 4), (20, 5), (60, 5), (60, 10)):
        plan = planned(root, patients, folds, 1)
        for name, luck in shared.items():
            plain = measured(plan, luck, times, inflated=False)
            now = measured(plan, luck, times)
            yield f"| {patients} x {folds} | {name} | {plain} | {now} |"


def all_scores(root: Path, times: int) -> Iterator[str]:
    """How often any of the scores shows a false effect."""
    yield f"| patients x folds | arms | any of {1 + OTHERS} scores, each corrected for arms alone | now, all together |"
    yield "| --- | --- | --- | --- |"
    for arms in (1, 2, 4):
        plan = planned(root, 20, 5, arms)
        found = simulated(plan, Shares(seed=0.65), times, others=OTHERS)
        p_values = {metric: np.stack([two_sided(one, folds_of(plan), True)[1] for one in own], axis=1)
                    for metric, own in found.items()}  # fmt: skip
        each = [np.any([(holm(p[row]) < 0.05).any() for p in p_values.values()]) for row in range(times)]
        together = [
            any((p < 0.05).any() for p in corrected({metric: p[row] for metric, p in p_values.items()}).values())
            for row in range(times)
        ]
        yield f"| 20 x 5 | {arms} | {share(np.array(each))} | {share(np.array(together))} |"


def detected(root: Path, times: int) -> Iterator[str]:
    """The effect that has 80 % power by the formula, how often it is shown, and the cost of the inflation factor."""
    heads = (
        "smallest effect, independent folds assumed",
        "smallest effect, now",
        "shown",
        f"shown where {CORRELATION:g} is in every training",
    )
    yield f"| patients x folds | arms | {' | '.join(heads)} |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for patients, folds in ((14, 4), (20, 5), (60, 5), (60, 10)):
        for arms in (1, 4):
            plan = planned(root, patients, folds, arms)
            luck = TRANSLATOR**2 / folds + 2 * RUN**2 / (folds * SEEDS) + 2 * REST**2 / (patients * SEEDS)
            level = holm_level(arms)
            sizes = [
                smallest_effect(OWN, patients, Luck(luck, folds - 1.0, True, inflation), level=level)
                for inflation in (1.0, fold_inflation(folds))
            ]
            # The first arm only, at the most conservative step, as in the formula.
            shown = [
                share(two_sided(simulated(plan, one, times)[MAIN][0] + sizes[1], folds_of(plan), True)[1] < level)
                for one in (Shares(), Shares(always=CORRELATION))
            ]
            yield f"| {patients} x {folds} | {arms} | {sizes[0]:.3f} | {sizes[1]:.3f} | {shown[0]} | {shown[1]} |"


def measured(plan: Plan, luck: Shares, times: int, *, inflated: bool = True) -> str:
    """How often the intervals of a plan include 0, and how often any arm shows an effect, in %."""
    holds, false = outcomes(plan, luck, times, inflated=inflated)
    return f"{share(holds)}, {share(false)}"


def outcomes(plan: Plan, luck: Shares, times: int, *, inflated: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """For each experiment: the share of arms whose interval includes 0, and whether any arm shows a false effect.

    Args:
        plan: whose jobs decide what is shared.
        luck: shares of a translator's variance.
        times: experiments.
        inflated: see `two_sided`.
    """
    found = [two_sided(one, folds_of(plan), inflated) for one in simulated(plan, luck, times)[MAIN]]
    holds = np.stack([inside for inside, _ in found], axis=1)
    # With Holm's correction an effect is shown if the smallest of m p values is below 5 % / m.
    false = np.stack([p for _, p in found], axis=1).min(axis=1) < holm_level(len(found))
    return holds.mean(axis=1), false


def share(values: np.ndarray) -> str:
    """In %, with its standard error; the arms of an experiment are one draw."""
    return f"{100 * values.mean():.1f} ± {100 * values.std() / len(values) ** 0.5:.1f}"


def two_sided(differences: np.ndarray, folds: np.ndarray, inflated: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each experiment: whether the interval includes 0, and p, as `evaluate.effects`, vectorised over experiments.

    A second implementation of the formula; a test checks that both give the same numbers.

    Args:
        differences: of patients, averaged over seeds: experiments x patients.
        folds: of each patient.
        inflated: whether the variance between folds is inflated; without, folds are taken to be independent.
    """
    names = np.unique(folds)
    mean = differences.mean(axis=1)
    shares = (differences - mean[:, None]) @ (folds[:, None] == names) / len(folds)
    variance = (shares**2).sum(axis=1) * len(names) / (len(names) - 1) * (fold_inflation(len(names)) if inflated else 1)
    away = np.abs(mean) / np.sqrt(variance)
    freedom = len(names) - 1
    return away <= stats.t.ppf(0.975, freedom), 2 * stats.t.sf(away, freedom)


def simulated(plan: Plan, luck: Shares, times: int, others: int = 0) -> dict[str, list[np.ndarray]]:
    """By score and arm, the patients' differences to the baseline: experiments x patients.

    Args:
        plan: whose jobs decide what is shared.
        luck: shares of a translator's variance.
        times: experiments.
        others: scores beside the main one.
    """
    random = rng(0, "coverage", plan.target, len(plan.patients), len(plan.tested), *map(str, vars(luck).values()))
    folds = folds_of(plan)
    base = _segmented(folds, times, random)
    found: dict[str, list[np.ndarray]] = {MAIN: []} | {f"other {number}": [] for number in range(others)}
    for arm in plan.arms.values():
        if arm.baseline is None:
            continue
        effects = _translators(plan, arm.runs, luck, times, random)
        # A patient's gain is skewed, as Dice is.
        own = OWN * (random.gamma(4, 1, (times, len(folds))) - 4) / 2
        one = effects.mean(axis=1)[:, folds] + own + _segmented(folds, times, random) - base
        found[MAIN].append(one)
        spread = one.std()
        for number in range(others):
            noise = _segmented(folds, times, random) / (RUN**2 + REST**2) ** 0.5 * SEEDS**0.5 * spread
            found[f"other {number}"].append(ALIKE * one + (1 - ALIKE**2) ** 0.5 * noise)
    return found


def _segmented(folds: np.ndarray, times: int, random: np.random.Generator) -> np.ndarray:
    """Random effects of an arm's segmenters, averaged over seeds: one per run, common to its fold, and a residual."""
    runs = random.normal(0, RUN, (times, SEEDS, folds.max() + 1))[:, :, folds]
    return (runs + random.normal(0, REST, (times, SEEDS, len(folds)))).mean(axis=1)


def _translators(
    plan: Plan, runs: Mapping[tuple[int, int], str], luck: Shares, times: int, random: np.random.Generator
) -> np.ndarray:
    """The effect of the translator of each run: experiments x seeds x folds."""
    drawn: dict[Any, np.ndarray] = {}

    def one(key: Any) -> np.ndarray:
        if key not in drawn:
            drawn[key] = random.normal(size=times)
        return drawn[key]

    def influence(side: str, patients: Sequence[str]) -> np.ndarray:
        return np.sum([one((side, patient)) for patient in patients], axis=0) / len(patients) ** 0.5

    seeds = sorted({seed for _, seed in runs})
    found = np.empty((times, len(seeds), len(plan.tested)))
    for (fold, seed), name in runs.items():
        model = plan.jobs[plan.jobs[plan.jobs[name].needs["synthetic"]].needs["model"]]
        source = sorted(model.settings["source_patients"] or plan.cases["ct"])
        target = sorted(set(plan.patients.values()) - plan.tested[fold][0])
        parts = [
            (luck.seed, one(("seed", model.settings["seed"]))),
            (luck.always, one("always")),
            (max(1 - luck.seed - luck.patients - luck.always, 0.0), one(("training", model.name))),
        ]
        whole = sum(part**0.5 * values for part, values in parts)
        if luck.patients:
            both = influence("source", source) + influence("target", target)
            whole = whole + (luck.patients / 2) ** 0.5 * both
        found[:, seeds.index(seed), fold] = TRANSLATOR * whole
    return found


def folds_of(plan: Plan) -> np.ndarray:
    """The fold of each patient, in the order of folds."""
    return np.concatenate([np.full(len(people), fold) for fold, (people, _) in sorted(plan.tested.items())])


def before(plan: Plan) -> Plan:
    """The plan as it was when all folds shared their translators' seed and the source patients."""
    jobs = {
        name: replace(job, settings={**job.settings, "seed": 0, "source_patients": []}) if job.kind == "train" else job
        for name, job in plan.jobs.items()
    }
    return replace(plan, jobs=jobs)


def planned(root: Path, patients: int, folds: int, arms: int) -> Plan:
    """A plan over phantom stores: each arm has its own translator, since translators differ the most."""
    sides: dict[Modality, tuple[Path, ...]] = {
        "ct": (_store(root / f"ct-{SOURCE}", "ct", SOURCE),),
        "mr": (_store(root / f"mr-{patients}", "mr", patients),),
    }
    tiny: dict[str, Any] = {"size": 32, "epochs": 1}
    design = {
        "translators": {
            f"t{number}": {"preset": "tiny", "settings": {**tiny, "lambda_5": 1.0 + number}} for number in range(arms)
        },
        "segmenters": {"unet": {"preset": "tiny", "settings": {"size": 32, "steps": 1}}},
        "counts": [0, 4],
        "folds": folds,
        "seeds": list(range(SEEDS)),
    }
    return make_plan(build(Design, design, subject="design"), sides)


def _store(folder: Path, modality: Modality, patients: int) -> Path:
    """Patients of a few pixels: a plan reads only manifests."""
    if not folder.exists():
        labels = np.zeros((2, 16, 16), np.uint8)
        labels[:, 4:9, 4:9] = 1
        with writing_store(folder) as writer:
            for number in range(patients):
                voxels = rng(number, modality).integers(0, 100, labels.shape).astype(np.int16)
                sequence = "t2_spir" if modality == "mr" else None
                volume = Volume(voxels, np.eye(4), modality, sequence, labels, {1: "liver"})
                writer.add(f"{modality}-{number:02d}", volume, patient=f"{modality}-{number:02d}")
    return folder


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv[1:] else TIMES)
