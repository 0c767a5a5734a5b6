"""Segmenters of several organs: losses, scores, training, and what is refused."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses.dice import DiceCELoss

from crossmod.data.slices import SliceKey, SliceSet
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.engine.state import TrainingTask, parameters
from crossmod.errors import InputError
from crossmod.metrics.segmentation import surface_distance
from crossmod.networks.unet import make_network
from crossmod.report.build import build_report
from crossmod.report.collect import arms, one_line
from crossmod.runs import Run
from crossmod.segmentation import train as segment_train
from crossmod.segmentation.cases import synthetic_cases
from crossmod.segmentation.model import build, cross_entropy, dice_cross_entropy, soft_dice
from crossmod.segmentation.predict import load_segmenter, predict, score
from crossmod.segmentation.several_organs import score_organs
from crossmod.settings import SegmentSettings
from crossmod.statistics.intervals import interval
from tests.support.record_stores import record, store, synthetic
from tests.support.segmenting import TINY, segment
from tests.support.several_organs import ORGANS, two_organs, without, write_stores
from tests.support.stores import Stores


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return write_stores(tmp_path_factory.mktemp("two-organs"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, both: Stores) -> Run:
    return segment(tmp_path_factory.mktemp("two") / "run", both.mr, organs=ORGANS, loss="dice_cross_entropy")


# Losses


def drawn(seed: int, shape: tuple[int, int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    batch, classes, rows, columns = shape
    logits = torch.from_numpy(rng.normal(0, 3, shape).astype(np.float32)).requires_grad_()
    return logits, torch.from_numpy(rng.integers(0, classes, (batch, rows, columns)))


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(3, 6))
def test_value_and_gradient_are_those_of_monai(seed: int, batch: int, classes: int) -> None:
    """Batch Dice without the background, averaged over organs, and cross-entropy of all classes."""
    logits, truth = drawn(seed, (batch, classes, 6, 7))
    theirs = DiceCELoss(
        softmax=True, to_onehot_y=True, include_background=False, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    found = torch.stack([*dice_cross_entropy(logits, truth, classes).values()]).sum()
    expected = theirs(logits, truth[:, None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_losses_by_hand() -> None:
    """Two pixels, three classes, in numpy: softmax, -log of the true class, and Dice of the two organs."""
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]))  # by pixel and class
    truth = np.array([2, 0])
    x = torch.from_numpy(logits.T[None, :, None].astype(np.float32))
    y = torch.from_numpy(truth[None, None])
    assert cross_entropy(x, y, 3)["cross_entropy"].item() == pytest.approx(-(np.log(0.5) + np.log(0.6)) / 2)
    # The first organ is nowhere: 1 - s / (0.3 + 0.3 + s). The second: 1 - 2 x 0.5 / (0.6 + 1).
    assert soft_dice(x, y, 3).item() == pytest.approx(((1 - 1e-5 / 0.6) + (1 - 1 / 1.6)) / 2, abs=2e-5)


def test_one_organ_has_the_step_that_it_had() -> None:
    """Binary cross-entropy of one logit, whatever value the mask has."""
    task = build(SegmentSettings(**{**TINY, "seed": 3}), torch.device("cpu"))
    network = task.networks["segmenter"].eval()
    x = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = (x[:, 0] > 0.3).long()
    p = torch.sigmoid(network(x)[:, 0])
    expected = -torch.where(mask > 0, p.log(), (1 - p).log()).mean()
    assert task.step({"image": x, "mask": mask})["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-5)


# Networks

NETWORKS = ("unet", "tiny", "tiny_instance", "dynunet", "attention_unet", "swin_unetr", "segresnet")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_logit_per_class(name: str) -> None:
    """Those of one logit have the numbers of parameters that other tests know."""
    five = make_network(name, 32, 5).eval()
    with torch.no_grad():
        logits = five(torch.rand(2, 1, 33, 40))
    assert logits.shape == (2, 5, 33, 40)
    assert (logits[:, 1:] != logits[:, :-1]).any()


def test_the_papers_head_has_a_channel_per_class() -> None:
    """5 of 3 x 3 x 64 instead of 2, then 5 x 5 instead of 1 x 2."""
    with torch.device("meta"):
        found = parameters(make_network("unet", 256, 5)) - parameters(make_network("unet", 256))
    assert found == 3 * (9 * 64 + 1) + (5 * 5 + 5) - (2 + 1)


# Scores

SHAPE = (6, 4, 4)
KEYS = tuple(SliceKey(name, name, index) for name in ("a", "b") for index in range(3))


def slice_set(masks: np.ndarray) -> SliceSet:
    shows = np.asarray(masks.any(axis=(1, 2)))
    return SliceSet(np.zeros(SHAPE, np.int16), masks, shows, np.ones(6, bool), KEYS, {})


def example() -> tuple[np.ndarray, np.ndarray]:
    """Patient a has both organs: 4 of 6 pixels of the first are found and 2 too many, the second is missed. Patient b
    has none of the second organ, and of the first all pixels are found."""
    truth, answer = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    truth[0, 0, :3], truth[1, 0, :3] = 1, 1
    answer[0, 0, :2], answer[1, 0, :2], answer[2, 0, :2] = 1, 1, 1
    truth[1, 3, :2] = 2
    truth[4, 1, 1:3] = answer[4, 1, 1:3] = 1
    return truth, answer


def probabilities(answer: np.ndarray, organs: int = 2) -> np.ndarray:
    return np.stack([np.where(answer == number, 0.7, 0.1) for number in range(1, organs + 1)]).astype(np.float32)


def test_scores_of_each_organ_and_their_mean_by_hand() -> None:
    truth, answer = example()
    found: Any = score_organs(slice_set(truth), answer, probabilities(answer), ORGANS)
    liver, spleen = found["organs"]["liver"], found["organs"]["spleen"]
    dice = 2 * 4 / (6 + 6)
    assert liver["patient_values"]["dice"] == {"a": pytest.approx(dice), "b": 1.0}
    # Nothing found of something is 0, and of nothing 1.
    assert spleen["patient_values"]["dice"] == {"a": 0.0, "b": 1.0}
    assert found["patient_values"]["dice"] == {"a": pytest.approx(dice / 2), "b": 1.0}
    assert found["patient"]["dice"] == pytest.approx((dice / 2 + 1) / 2)
    assert found["patient_interval"] == pytest.approx(interval(np.array([dice / 2, 1.0])))
    assert found["patient_values"]["iou"] == {"a": pytest.approx(4 / 8 / 2), "b": 1.0}
    assert found["patient_values"]["ravd"] == {"a": pytest.approx((0 + 100) / 2), "b": pytest.approx(0)}
    assert found["pooled"]["dice"] == pytest.approx((2 * 6 / (8 + 8) + 0) / 2)
    # Slices 0, 1 and 4 show the first organ, slice 1 the second.
    assert liver["slice"]["dice"] == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert spleen["slice"]["dice"] == 0
    assert found["slice"]["dice"] == pytest.approx((0.8 + 0.8 + 1) / 3 / 2)
    assert found["slice_values"] == [
        {"case": "a", "slice": 0, "dice": pytest.approx(0.8)},
        {"case": "a", "slice": 1, "dice": pytest.approx(0.4)},
        {"case": "b", "slice": 1, "dice": pytest.approx(1.0)},
    ]
    assert (found["test_slices"], found["test_slices_with_organ"]) == (6, 3)
    # The best fixed mask of the first organ: two pixels that two slices show; of the second: both pixels of its slice.
    assert found["trivial_dice"] == pytest.approx((liver["trivial_dice"] + spleen["trivial_dice"]) / 2)
    assert spleen["trivial_dice"] == pytest.approx(2 * 2 / (2 + 2 * 6))
    assert found["auc"] == pytest.approx((liver["auc"] + spleen["auc"]) / 2)
    assert found["roc"] == {"fpr": [], "tpr": []}
    assert spleen["roc"]["fpr"]
    assert (found["constant"], spleen["constant"]) == (False, True)
    json.dumps(found, allow_nan=False)


def test_a_distance_is_undefined_if_that_of_one_organ_is() -> None:
    truth, answer = example()
    cases = [record(name, modality="mr").model_copy(update={"shape": (3, 4, 4)}) for name in ("a", "b")]
    found: Any = score_organs(slice_set(truth), answer, probabilities(answer), ORGANS, cases)
    expected = surface_distance(answer[:3] == 1, truth[:3] == 1, (5.0, 3.0, 3.0))
    assert found["organs"]["liver"]["patient_values"]["assd"] == {"a": pytest.approx(expected.assd), "b": 0.0}
    assert found["organs"]["spleen"]["patient_values"]["assd"] == {"a": None, "b": 0.0}
    assert found["patient_values"]["assd"] == {"a": None, "b": 0.0}
    assert found["patient_undefined"]["assd"] == 1
    assert found["patient"]["assd"] == 0.0


def test_scans_are_cut_to_the_slices_of_all_organs() -> None:
    """Patient a: the liver is in slices 0 and 1: a false spleen in slice 0 counts, and one in slice 2 does not."""
    truth, answer = example()
    answer[0, 3, :2] = answer[2, 3, :2] = 2
    answer[1, 3, :2] = 2
    found: Any = score_organs(slice_set(truth), answer, probabilities(answer), ORGANS)
    liver, spleen = found["organs"]["liver"], found["organs"]["spleen"]
    assert liver["patient_values"]["dice_cut"] == {"a": pytest.approx(2 * 4 / (6 + 4)), "b": 1.0}
    assert spleen["patient_values"]["dice_cut"] == {"a": pytest.approx(2 * 2 / (2 + 4)), "b": 1.0}
    assert spleen["patient_values"]["dice"] == {"a": pytest.approx(2 * 2 / (2 + 6)), "b": 1.0}
    assert found["patient_values"]["dice_cut"] == {"a": pytest.approx((0.8 + 2 / 3) / 2), "b": 1.0}


def test_one_organ_has_the_scores_that_it_had() -> None:
    truth, answer = example()
    slices = slice_set((truth == 1).astype(np.uint8))
    (probability,) = probabilities(answer, 1)
    found = score_organs(slices, (answer == 1).astype(np.uint8), probability, ["liver"])
    assert found == score(slices, probability)
    assert "organs" not in found


def test_the_largest_logit_wins() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([0.5 + 0 * images, images, 1 - images], dim=1)

    images = np.array([[[0.2, 0.9], [0.5, 0.6]]], np.float32)
    found = predict(Fixed(), images, torch.device("cpu"), quiet=True)
    np.testing.assert_array_equal(found.answer, [[[2, 1], [0, 1]]])
    every = np.exp(np.stack([np.full_like(images, 0.5), images, 1 - images]))
    np.testing.assert_allclose(found.probability, (every / every.sum(axis=0))[1:], atol=1e-6)


# Training


def test_both_are_learnt_and_scored_from_the_stored_predictions(run: Run, both: Stores) -> None:
    scores = run.card["scores"]
    assert list(scores["organs"]) == ["liver", "spleen"]
    for organ in ORGANS:
        assert scores["organs"][organ]["patient"]["dice"] > 0.6
    stored = Store(run.path / "predictions")
    for case in stored.cases:
        assert case.labels == {1: "liver", 2: "spleen"}
        tensors, truth = stored.tensors(case.id), Store(both.mr).read(case.id).labels
        assert truth is not None
        np.testing.assert_array_equal(tensors["label"], np.select([truth == 1, truth == 4], [1, 2]))
        by_hand = []
        for number in (1, 2):
            answer, label = tensors["answer"] == number, tensors["label"] == number
            by_hand.append(2 * (answer & label).sum() / (answer.sum() + label.sum()))
        assert scores["patient_values"]["dice"][case.patient] == pytest.approx(np.mean(by_hand))
    assert parameters(make_network("tiny", 32, 3)) == run.card["parameters"]


def test_interrupted_and_resumed_it_ends_as_it_would_have(tmp_path: Path, both: Stores) -> None:
    whole = segment(tmp_path / "whole", both.mr, organs=ORGANS, steps=6).card

    def stopping(settings: SegmentSettings, device: torch.device) -> TrainingTask:
        made, steps = build(settings, device), iter(range(99))

        def step(batch: Any) -> Any:
            if next(steps) == 2:
                signal.raise_signal(signal.SIGTERM)
            return made.step(batch)

        return replace(made, step=step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_train, "build", stopping)
        with pytest.raises(TrainingInterrupted):
            segment(tmp_path / "run", both.mr, organs=ORGANS, steps=6)
    resumed = segment(tmp_path / "run", both.mr, organs=ORGANS, steps=6).card
    assert (resumed["weights_sha256"], resumed["scores"]) == (whole["weights_sha256"], whole["scores"])


def test_slices_that_show_any_organ_are_used(tmp_path: Path, both: Stores) -> None:
    """The liver is in four slices of each patient, the spleen in two of these."""
    data = segment(tmp_path / "run", both.mr, organs=("spleen", "liver"), steps=1, train_on="organ").card["data"]
    assert data["train_slices"] == 16
    alone = segment(tmp_path / "alone", both.mr, organs=("spleen",), steps=1, train_on="organ").card["data"]
    assert alone["train_slices"] == 8


def test_a_case_without_labels_of_an_organ_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with writing_store(tmp_path / "mr") as writer:
        for number in range(5):
            volume = two_organs(rng, "mr")
            writer.add(f"mr-{number}", without(volume, "spleen") if number == 3 else volume, patient=f"mr-{number}")
    with pytest.raises(InputError, match=r"mr-3: labels of liver alone\. Expected: labels of spleen too"):
        segment(tmp_path / "run", tmp_path / "mr", organs=ORGANS)
    assert not (tmp_path / "run").exists()
    # For one organ it is what it was: a case without labels is left out.
    assert len(segment(tmp_path / "spleen", tmp_path / "mr", organs=("spleen",), steps=1).card["data"]["people"])


def test_a_synthetic_case_without_labels_of_an_organ_is_refused() -> None:
    made = [record(name, modality="mr", synthetic=synthetic({})) for name in ("a", "b")]
    made[0] = made[0].model_copy(update={"labels": {1: "liver", 2: "spleen"}})
    with pytest.raises(InputError, match=r"^b: labels of liver alone\. Expected: labels of spleen too"):
        synthetic_cases(store("made", made), "mr", ORGANS)
    assert [case.id for case in synthetic_cases(store("made", made), "mr", ["liver"])] == ["a", "b"]
    assert [case.id for case in synthetic_cases(store("made", made[:1]), "mr", ORGANS)] == ["a"]


def test_a_side_without_an_organ_is_refused(tmp_path: Path) -> None:
    """Every patient's labels know the spleen, which only one patient has: it cannot be on both sides."""
    rng = np.random.default_rng(0)
    with writing_store(tmp_path / "mr") as writer:
        for number in range(4):
            volume = two_organs(rng, "mr")
            assert volume.labels is not None
            labels = volume.labels if number == 0 else np.where(volume.labels == 4, 0, volume.labels)
            writer.add(f"mr-{number}", volume.with_labels(labels, volume.label_names), patient=f"mr-{number}")
    for held, side in (("mr-0", "training"), ("mr-1", "test")):
        with pytest.raises(InputError, match=f"no {side} slice that shows spleen"):
            segment(tmp_path / "run", tmp_path / "mr", organs=ORGANS, test_patients=(held,))


def test_a_side_without_any_slice_is_refused(tmp_path: Path) -> None:
    """The held-out patient has none of the organs, and is tested on slices that show them."""
    rng = np.random.default_rng(0)
    with writing_store(tmp_path / "mr") as writer:
        for number in range(3):
            volume = two_organs(rng, "mr")
            assert volume.labels is not None
            labels = volume.labels if number else np.zeros_like(volume.labels)
            writer.add(f"mr-{number}", volume.with_labels(labels, volume.label_names), patient=f"mr-{number}")
    with pytest.raises(InputError, match="no test slice that shows liver"):
        segment(tmp_path / "run", tmp_path / "mr", organs=ORGANS, test_on="organ", test_patients=("mr-0",))


def test_a_report_shows_each_organ(tmp_path: Path, run: Run) -> None:
    build_report([run.path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    scores = run.card["scores"]
    assert "<h3>Each organ</h3>" in page
    for organ in ORGANS:
        assert f"{scores['organs'][organ]['patient']['dice']:.3f}" in page
    assert f"{scores['patient']['dice']:.3f}" in page
    line = one_line(run.card)
    assert line.startswith(f"mean Dice of 2 organs {scores['patient']['dice']:.3f} by patient")
    assert f"spleen {scores['organs']['spleen']['patient']['dice']:.3f}" in line


def test_arms_of_other_organs_are_named_by_them(run: Run, tmp_path: Path, both: Stores) -> None:
    alone = segment(tmp_path / "alone", both.mr, organs=("liver",), steps=1, loss="dice_cross_entropy")
    names = [arm.name for arm in arms([run, alone])]
    assert names == ["24 real, liver and spleen, steps 0", "24 real, organs ['liver'], steps 1"]


def test_a_trained_one_finds_both_by_number(run: Run, both: Stores) -> None:
    segmenter = load_segmenter(run.path)
    mr = Store(both.mr)
    patient = run.card["data"]["test_patients"][0]
    volume, frame = mr.read(patient), segmenter.scale.frame_of(mr, mr.record(patient))
    found = segmenter.find(volume, frame)
    np.testing.assert_array_equal(found, Store(run.path / "predictions").tensors(patient)["answer"])
    assert set(np.unique(found)) == {0, 1, 2}
    assert segmenter.organs == ORGANS
    assert segmenter.on_real == run.card["scores"]["patient"]["dice"]
    assert segmenter.on_real_of("spleen") == run.card["scores"]["organs"]["spleen"]["patient"]["dice"]
