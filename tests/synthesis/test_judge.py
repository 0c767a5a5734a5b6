"""The independent judge: what it measures, how it is trained, and what uses it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift
from torch import Tensor, nn

from crossmod.data.store import SliceOrigin, Store
from crossmod.data.store_writer import writing_store
from crossmod.engine.logger import losses, score_histories
from crossmod.errors import InputError
from crossmod.metrics.paired import shift_of_labels
from crossmod.metrics.segmentation import label_consistency
from crossmod.presets import TRANSLATE, with_asked
from crossmod.report.build import build_report
from crossmod.runs import JudgeCard, Run
from crossmod.segmentation.data import synthetic_slices
from crossmod.settings import SegmentSettings, TranslateSettings
from crossmod.synthesis.judge import FOLDER, Judge, Judgement, judge_alarms, judgement, load_judge
from crossmod.synthesis.synthesize import shift_of, synthesize
from crossmod.synthesis.translator import load_translator
from tests.support.stores import Stores
from tests.support.training import TINY, train

CPU = torch.device("cpu")
SHORT = {"judge": "random_contrast", "segmentor_steps": 3}


def blobs(rng: np.random.Generator, moved: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Uneven shapes of two organs in six slices, and the same moved by a fraction of a pixel."""
    labels, answers = np.zeros((2, 6, 48, 40), np.uint8)
    rows, columns = np.mgrid[0:48, 0:40]
    for index in range(6):
        for organ, (row, column) in ((1, (15, 12)), (2, (33, 26))):
            bumps = gaussian_filter(rng.normal(size=(48, 40)), 2.5) * 30
            field = 8 - np.hypot(rows - row, columns - column) + bumps
            labels[index][field > 0] = organ
            answers[index][shift(field, moved, order=3, mode="nearest") > 0] = organ
    return labels, answers


@pytest.mark.parametrize("moved", [(0.0, 0.0), (1.5, -0.5), (-3.0, 2.25), (0.4, 0.0)])
def test_the_shift_of_organs_is_found_to_a_fraction_of_a_pixel(
    rng: np.random.Generator, moved: tuple[float, float]
) -> None:
    labels, answers = blobs(rng, moved)
    assert shift_of_labels(labels, answers) == pytest.approx(moved, abs=0.2)


def test_missing_and_invented_parts_do_not_move_it(rng: np.random.Generator) -> None:
    labels, answers = blobs(rng, (1.0, 0.0))
    answers[0] = 0
    answers[1][answers[1] == 2] = 0
    answers[2, 40:46, 2:8] = 1
    assert shift_of_labels(labels, answers) == pytest.approx((1.0, 0.0), abs=0.2)


def test_nothing_in_common_has_no_shift() -> None:
    labels, answers = np.zeros((2, 2, 16, 16), np.uint8)
    labels[0, 4:9, 4:9], answers[0, 4:9, 4:9] = 1, 2
    assert shift_of_labels(labels, answers) is None
    found = judgement(answers, labels)
    assert found.dices == (0.0, None)
    assert (found.dice, found.shift, found.pixels()) == (0.0, None, None)
    assert found.as_reading(2.0) == {"judge_dice": 0.0}
    assert Judgement((), None).dice is None


def test_alarms_of_low_dice_and_of_a_shift_in_mm() -> None:
    good, low = Judgement((0.8, 0.7), (0.3, 0.4)), Judgement((0.4, 0.45), (0.3, 0.4))
    assert judge_alarms(good, 3.9) == []
    assert [alarm.name for alarm in judge_alarms(good, 4.2)] == ["shifted output"]  # half a pixel
    assert "2.1 mm from their labels (+1.3 mm down, +1.7 mm to the right" in judge_alarms(good, 4.2)[0].seen
    assert judge_alarms(good, 0.0) == []  # pixels of several sizes
    assert [alarm.name for alarm in judge_alarms(low, 3.0)] == ["labels do not fit"]


class Threshold(nn.Module):
    """One logit: the organ is where the image is bright."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_judge_scores_slices_with_organs_by_their_labels(rng: np.random.Generator) -> None:
    images = rng.uniform(-1, 1, (5, 16, 16)).astype(np.float32)
    masks = (rng.uniform(size=images.shape) > 0.4).astype(np.uint8)
    masks[3] = 0
    found = Judge(Threshold(), "random_contrast", CPU).of(images, masks)
    expected = [label_consistency((one >= 0).astype(np.uint8), mask) for one, mask in zip(images, masks, strict=True)]
    assert found.dices[3] is None
    assert [*found.dices[:3], found.dices[4]] == pytest.approx([*expected[:3], expected[4]])


@pytest.mark.parametrize("family", ["essnet", "cyclegan", "guided"])
def test_it_is_trained_before_and_judges_what_is_synthesized(tmp_path: Path, stores: Stores, family: str) -> None:
    run = train(tmp_path / "run", stores, family=family, **SHORT)
    own = Run(run.path / FOLDER)
    card: JudgeCard = run.card["judge"]
    assert (card["trained_on"], card["steps"], own.card["steps"]) == ("random_contrast", 3, 3)
    assert not set(card["patients"]) & set(run.card["held_out"])
    assert (own.card["settings"]["modality"], own.card["settings"]["augmentation"]) == ("ct", "random_contrast")
    if family == "guided":
        assert own.card["weights_sha256"] != Run(run.path / "segmentor").card["weights_sha256"]
    readings = list(run.metrics())
    judged = [one for one in readings if "judge_dice" in one]
    assert len(judged) == 2  # with the pictures, of both epochs
    assert judged[-1]["judge_dice"] == pytest.approx(card["dice"])
    assert all(not name.startswith("judge") for one in readings for name in losses(one))
    assert "judge: dice" in score_histories(readings)
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic").store
    model = load_translator(run.path)
    assert model.judge is not None
    case = made.cases[0]
    assert case.synthetic is not None
    assert case.synthetic.judged_by == "random_contrast"
    images = model.output_intensity.to_model(made.read(case.id).voxels)
    masks = made.read(case.id).labels
    assert masks is not None
    again = model.judge.of(images, masks)
    # A pixel at the threshold may fall to either side.
    assert [one.judged for one in case.synthetic.slices] == pytest.approx(list(again.dices), abs=0.02)
    build_report([run.path, tmp_path / "synthetic"], tmp_path / "page.html")
    page = " ".join((tmp_path / "page.html").read_text().split())
    assert "independent judge, a segmenter that was trained on source slices with random contrast" in page


def test_target_labels_train_it_on_real_target_slices(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, judge="target_labels", segmentor_steps=3)
    own = Run(run.path / FOLDER).card
    assert run.card["judge"]["trained_on"] == "target_labels"
    assert (own["settings"]["modality"], own["settings"]["strong_augment"]) == ("mr", True)
    assert set(run.card["judge"]["patients"]) == set(run.card["data"]["mr"]["patients"])
    assert not set(run.card["judge"]["patients"]) & set(run.card["held_out"])


def test_without_target_labels_it_says_what_it_does_instead(
    tmp_path: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    with writing_store(tmp_path / "mr") as writer:
        for case in Store(stores.mr).cases:
            writer.add(case.id, Store(stores.mr).read(case.id).with_labels(None, {}), patient=case.patient)
    bare = replace(stores, mr=tmp_path / "mr")
    run = train(tmp_path / "run", bare, judge="target_labels", segmentor_steps=3)
    assert run.card["judge"]["trained_on"] == "random_contrast"
    assert "No MR case of the training side has labels of liver" in caplog.text


def test_a_split_by_slice_has_no_judge_of_target_labels(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputError, match="--judge random_contrast, or --split patient"):
        train(tmp_path / "run", stores, judge="target_labels", split="slice", test_slices=4)
    assert not (tmp_path / "run").exists()


def test_a_judge_that_saw_a_test_patient_is_refused(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, **SHORT)
    card = json.loads((run.path / "card.json").read_text())
    card["judge"]["patients"].append(card["held_out"][0])
    (run.path / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=f"trained on {card['held_out'][0]}, held out for testing"):
        load_translator(run.path)
    with pytest.raises(InputError, match="held out for testing"):
        load_judge(run.path, card["judge"], card["held_out"], CPU)


def test_its_dice_filters_slices_in_place_of_the_own_consistency(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path / "run", stores, **SHORT)
    dices = iter([[0.9, 0.2, 0.8, 0.1]] * 6)

    def scripted(self: Judge, images: np.ndarray, masks: np.ndarray) -> Judgement:
        return Judgement(tuple(next(dices)), (0.5, 0.0))

    monkeypatch.setattr(Judge, "of", scripted)
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "synthetic", min_consistency=0.7)
    assert (made.slices, made.left_out) == (12, 12)
    for case in made.store.cases:
        assert case.synthetic is not None
        assert [one.judged for one in case.synthetic.slices] == [0.9, 0.8]
    judged = shift_of(made.store, "judge")
    assert judged is not None
    assert (judged.rows, judged.columns, judged.cases) == pytest.approx((5.0, 0.0, 6))  # pixels of 10 mm
    settings = SegmentSettings(size=32, frame="field", pixel_mm=10.0, count=6, min_consistency=0.85)
    kept = synthetic_slices(made.store, made.store.cases, settings)
    assert {key.slice for key in kept.keys} == {0}


def test_the_epoch_with_the_best_judged_dice_wins(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, **SHORT, select_every=1, epochs=3)
    readings = [one for one in run.metrics() if "select_judged" in one]
    assert len(readings) == 3
    for one in readings:
        parts = [1 - one["select_judged"], one["select_cycle"], one.get("select_frechet")]
        known = [max(part, 1e-6) for part in parts if part is not None]
        assert one["select_score"] == pytest.approx(math.prod(known) ** (1 / len(known)))
    best = min(readings, key=lambda one: one["select_score"])
    assert run.card["best"]["step"] == best["step"]


def test_what_fits_is_what_the_judge_says_where_there_is_one() -> None:
    assert SliceOrigin(source_slice=0, consistency=0.4, judged=0.8).fits == 0.8
    assert SliceOrigin(source_slice=0, consistency=0.4).fits == 0.4
    assert SliceOrigin(source_slice=0).fits is None


def test_controls_and_segmentor_steps_without_use_are_refused() -> None:
    with pytest.raises(InputError, match="controls have none"):
        with_asked(TRANSLATE["source"], {"judge": "random_contrast"})
    with pytest.raises(InputError, match="or --judge with it"):
        with_asked(TRANSLATE["tiny"], {"segmentor_steps": 10})
    # A record without a judge is as it was.
    assert "judge" not in TranslateSettings(**TINY).model_dump(mode="json")
