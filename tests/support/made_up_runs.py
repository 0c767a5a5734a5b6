"""A finished experiment whose scores, answers and slices are made up: what is found must be what was put in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.config import Modality
from crossmod.data.slices import class_map
from crossmod.data.store import SliceOrigin, Store, Synthetic
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume, take_slices
from crossmod.experiment.jobs import Job
from crossmod.experiment.plan import Plan, make_plan
from crossmod.experiment.results import Result, results_of
from crossmod.runs import start_run
from crossmod.settings import SegmentSettings
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design

# The liver is in slices 2 to 11, which are layers 1 to 10: 20 mm lie between them, and the kidneys begin below slice 2.
SLICES = 14
FIRST, LAST = 2, 11


def layer_of(number: int) -> int:
    return number - FIRST + 1


def area_of(number: int) -> float:
    """Of a person of 32 px of 1 cm each: 6 columns, a row more in each slice, in cm^2."""
    return 6.0 * (number + 1)


def person(random: np.random.Generator, modality: Modality, size: int = 32) -> Volume:
    """Blocks for organs, so that areas and ends are known without looking."""
    big = size // 32
    labels = np.zeros((SLICES, size, size), np.uint8)
    for number in range(FIRST, LAST + 1):
        labels[number, 4 * big : (5 + number) * big, 4 * big : 10 * big] = 1
    labels[FIRST : FIRST + 5, 20 * big : 24 * big, 20 * big : 24 * big] = 2
    values = (40, 110, 90) if modality == "ct" else (300, 150, 200)
    voxels = np.array(values)[labels] + random.normal(0, 10, labels.shape)
    voxels[:, :2] = voxels[:, -2:] = -1000 if modality == "ct" else 0
    mm = 320 / size
    affine = np.array([[0, 0, -mm, 160], [0, -mm, 0, 160], [20, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    names = {1: "liver", 2: "left_kidney"}
    sequence = None if modality == "ct" else "t2_spir"
    return Volume(np.rint(voxels).astype(np.int16), affine, modality, sequence, labels, names)


@dataclass
class Made:
    """How runs are made up; each function may ask the arm and the fold.

    Args:
        dice: of a slice, by arm, case and number of the slice.
        outside: pixels that a run finds in each slice without liver.
        consistency: of synthetic slice `row`, by fold and translator.
        noise: by which synthetic slices are worse than real ones, by fold and translator.
        seed_sd: luck of a slice in a run.
    """

    dice: Callable[[str, str, int], float] = lambda arm, case, number: 0.8
    outside: Callable[[str], int] = lambda arm: 5
    consistency: Callable[[int, str, int], float] = lambda fold, translator, row: 0.9
    noise: Callable[[int, str], float] = lambda fold, translator: 0.0
    seed_sd: float = 0.01
    size: int = 32
    test_on: str = "all"
    patients: tuple[int, int] = (6, 8)
    synthetic: int = 10
    changes: dict[str, Any] = field(default_factory=dict)

    def experiment(self, root: Path) -> tuple[Plan, list[Result]]:
        """All runs of a plan, as if they had been made in `root`."""
        random = np.random.default_rng(0)
        sides: dict[Modality, int] = {"ct": self.patients[0], "mr": self.patients[1]}
        for modality, count in sides.items():
            with writing_store(root / modality) as writer:
                for number in range(count):
                    name = f"{modality}-{number:03d}"
                    writer.add(name, person(random, modality, self.size), patient=name)
        segmenter = {**SEGMENTER, "settings": {**SEGMENTER["settings"], "size": self.size, "test_on": self.test_on}}
        changes = {"segmenters": {"unet": segmenter}, "folds": 4, **self.changes}
        plan = make_plan(small_design(**changes), {"ct": (root / "ct",), "mr": (root / "mr",)})
        for job in plan.jobs.values():
            if job.kind == "synthesize":
                self._synthesize(plan, job, root, random)
            if job.kind == "train":
                run = start_run(job.folder(root), "train", dict(job.settings), {})
                for step in (10, 20):
                    run.log({"step": step, "epoch": 0, "cycle_ct": 0.5, "select_score": 1 / step})
        real = Store(root / "mr")
        for arm in plan.arms.values():
            for (fold, _), name in arm.runs.items():
                self._segment(plan.jobs[name], arm.name, sorted(plan.tested[fold][0]), real, root, random)
        return plan, results_of(plan, root)

    def _synthesize(self, plan: Plan, job: Job, root: Path, random: np.random.Generator) -> None:
        translator, _, fold = job.title.removeprefix("MR by ").partition(", fold ")
        number = int(fold.split(",")[0])
        with writing_store(job.folder(root)) as writer:
            for case in Store(root / "ct").cases:
                volume = person(random, "mr", self.size)
                worse = random.normal(0, 100 * self.noise(number, translator), volume.voxels.shape)
                volume = Volume(
                    np.rint(volume.voxels + worse).astype(np.int16), volume.affine, "mr", "t2_spir",
                    (volume.labels == 1).astype(np.uint8), {1: "liver"},
                )  # fmt: skip
                rows = range(FIRST, FIRST + self.synthetic)
                slices = tuple(
                    SliceOrigin(source_slice=row, consistency=self.consistency(number, translator, row)) for row in rows
                )
                made = Synthetic(
                    family="essnet", model="m", recipe="r", run="train", split="patient", source_case=case.id,
                    source_sha256=case.sha256, source_range=(-150, 250), shift=(1.0, -2.0), slices_per_second=1,
                    organs=("liver",), trained_on=(), trained_cases=(), slices=slices,
                )  # fmt: skip
                part = take_slices(volume, list(rows))
                writer.add(f"{case.id}-as-mr", part, patient=case.patient, synthetic=made)

    def _segment(
        self, job: Job, arm: str, tested: Sequence[str], store: Store, root: Path, random: np.random.Generator
    ) -> None:
        settings = SegmentSettings(**job.settings)
        run = start_run(job.folder(root), "segment", dict(job.settings), {})
        for step in range(25, 101, 25):
            # Nearly all of the fall comes first, so that the training counts as long enough.
            loss = (0.5 if step == 25 else 1 / step) + random.uniform(0, 0.001)
            run.log({"step": step, "epoch": 0, "seconds": 1.0, "cross_entropy": loss})
        shown = list(range(FIRST, LAST + 1) if settings.test_on == "organ" else range(SLICES))
        dices: dict[str, list[float]] = {}
        rows = []
        with writing_store(run.path / "predictions") as writer:
            for case in tested:
                volume = store.read(case)
                volume = volume.with_labels(class_map(volume, ["liver"], case), {1: "liver"})
                assert volume.labels is not None
                answer = volume.labels.copy()
                for number in shown:
                    if FIRST <= number <= LAST:
                        dice = self.dice(arm, case, number) + random.normal(0, self.seed_sd)
                        dices.setdefault(case, []).append(dice)
                        rows.append({"case": case, "slice": number, "dice": dice})
                    else:
                        answer[number].ravel()[: self.outside(arm)] = 1
                writer.add(case, take_slices(volume, shown), patient=case, answer=answer[shown])
        patients = {case: float(np.mean(values)) for case, values in dices.items()}
        scores = {"patient_values": {"dice": patients}, "slice_values": rows}
        tables = dict.fromkeys(tested, shown)
        settled = settings.model_dump(mode="json")
        data = {"train_slices": 10}
        run.finish({"settings": settled, "data": data, "steps": 100, "tested": tables, "scores": scores})


def translators(*names: str) -> dict[str, Any]:
    """Translators whose runs have names of their own."""
    return {
        name: {**TRANSLATOR, "settings": {**TRANSLATOR["settings"], "epochs": epochs}}
        for epochs, name in enumerate(names, 1)
    }
