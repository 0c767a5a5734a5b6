import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.data.pixel_size import Scale
from crossmod.data.resample import to_size
from crossmod.data.slices import SliceKey, SliceSet, load_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.metrics.segmentation import surface_distance
from crossmod.segmentation.predict import score
from crossmod.settings import SegmentSettings
from tests.support.stores import made_volume


def record(case: str, slices: int = 6, size: int = 16) -> CaseRecord:
    """Voxels of 5 x 2 x 2 mm."""
    affine = [[0.0, 0.0, -2.0, 0.0], [0.0, -2.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    return CaseRecord(
        id=case,
        patient=case,
        modality="mr",
        unit="arbitrary",
        shape=(slices, size, size),
        spacing=(5.0, 2.0, 2.0),
        affine=affine,
        orientation=("S", "P", "L"),
        dtype="int16",
        labels={1: "liver"},
        slices_with={"liver": slices},
        sha256="0",
    )


def slice_set(truth: np.ndarray, keys: list[SliceKey]) -> SliceSet:
    shows = np.asarray(truth.any(axis=(1, 2)))
    pixels = np.zeros(truth.shape, np.int16)
    return SliceSet(pixels, truth.astype(np.uint8), shows, np.ones(len(keys), bool), tuple(keys), {})


def masks(slices: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A block, and the same two rows and one slice further."""
    truth = np.zeros((slices, 16, 16), bool)
    truth[: slices - 1, 4:9, 4:9] = True
    return truth, np.roll(truth, (1, 2), axis=(0, 1))


def test_distances_are_in_millimetres_of_the_models_pixels() -> None:
    """The case is stored with 32 pixels of 1 mm or 16 of 2 mm: at 16 pixels, both are 2 mm."""
    truth, answer = masks()
    keys = [SliceKey("a", "a", i) for i in range(6)]
    expected = surface_distance(answer, truth, (5.0, 2.0, 2.0))
    fine = record("a", size=32)
    affine = [[0, 0, -1.0, 0], [0, -1.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1.0]]
    fine = fine.model_copy(update={"affine": affine, "spacing": (5.0, 1.0, 1.0)})
    for case in (record("a"), fine):
        scores: Any = score(slice_set(truth, keys), answer.astype(np.float32), [case])
        assert scores["patient_values"]["hd95"] == {"a": pytest.approx(expected.hd95)}
        assert scores["patient_values"]["assd"] == {"a": pytest.approx(expected.assd)}
        assert scores["patient_values"]["mssd"] == {"a": pytest.approx(expected.mssd)}
        assert scores["patient"]["hd95"] == pytest.approx(expected.hd95)
        assert scores["patient_undefined"] == {"dice_cut": 0, "hd95": 0, "assd": 0, "mssd": 0, "ravd": 0}


def test_order_of_slices_does_not_matter() -> None:
    truth, answer = masks()
    order = [3, 0, 5, 1, 4, 2]
    keys = [SliceKey("a", "a", i) for i in order]
    scores: Any = score(slice_set(truth[order], keys), answer[order].astype(np.float32), [record("a")])
    expected = surface_distance(answer, truth, (5.0, 2.0, 2.0))
    assert scores["patient_values"]["hd95"]["a"] == pytest.approx(expected.hd95)


@pytest.mark.parametrize(
    ("kept", "known", "defined"),
    [
        ([0, 1, 2, 3, 4, 5], True, True),
        ([1, 2, 3], True, True),
        ([0, 1, 3, 4], True, False),  # a gap
        ([2], True, False),  # one of six
        ([0, 1, 2, 3, 4, 5], False, False),
    ],
)
def test_gaps_are_no_volume(kept: list[int], known: bool, defined: bool) -> None:
    truth, answer = masks()
    keys = [SliceKey("a", "a", i) for i in kept]
    found: Any = score(slice_set(truth[kept], keys), answer[kept].astype(np.float32), [record("a")] if known else [])
    for name in ("hd95", "assd", "mssd"):
        assert (found["patient_values"][name]["a"] is not None) == defined
        assert (found["patient"][name] is not None) == defined
        assert found["patient_undefined"][name] == (0 if defined else 1)
    assert found["patient"]["dice"] > 0
    # A difference of volumes asks for no neighbours.
    assert found["patient_undefined"]["ravd"] == 0


def test_a_scan_cut_to_its_labels_loses_false_positives_beyond_them_and_keeps_those_between() -> None:
    """By hand: 4 pixels of truth in slices 1 and 3, all found; 4 false positives each in slices 0, 2 and 5."""
    truth, answer = np.zeros((6, 4, 4), np.uint8), np.zeros((6, 4, 4), np.uint8)
    truth[[1, 3], 0] = answer[[1, 3], 0] = 1
    answer[[0, 2, 5], 3] = 1
    # In any order, as slices of several cases come.
    order = [3, 0, 5, 1, 4, 2]
    keys = [SliceKey("a", "a", i) for i in order]
    found: Any = score(slice_set(truth[order], keys), answer[order].astype(np.float32))
    assert found["patient_values"]["dice"]["a"] == pytest.approx(2 * 8 / (8 + 20))
    assert found["patient_values"]["dice_cut"]["a"] == found["patient"]["dice_cut"] == pytest.approx(2 * 8 / (8 + 12))
    nothing: Any = score(slice_set(np.zeros_like(truth), keys), answer.astype(np.float32))
    assert nothing["patient_values"]["dice_cut"] == {"a": None}
    assert nothing["patient_undefined"]["dice_cut"] == 1


def test_empty_masks() -> None:
    """Nothing found of something: undefined and counted; nothing of nothing: 0. JSON has no nan."""
    truth, answer = masks()
    none = np.zeros_like(truth)
    keys = [SliceKey(name, name, i) for name in ("a", "b", "c") for i in range(6)]
    stack = slice_set(np.concatenate([truth, truth, none]), keys)
    cases = [record(name) for name in ("a", "b", "c")]
    scores: Any = score(stack, np.concatenate([answer, none, none]).astype(np.float32), cases)
    values = scores["patient_values"]["hd95"]
    assert values["b"] is None
    assert values["c"] == 0
    assert scores["patient_undefined"]["hd95"] == 1
    assert scores["patient"]["hd95"] == pytest.approx(values["a"] / 2)
    assert scores["patient_values"]["ravd"] == {"a": pytest.approx(0), "b": pytest.approx(100), "c": pytest.approx(0)}
    json.dumps(scores, allow_nan=False)


def test_a_patient_of_two_cases_has_their_mean_and_a_case_of_one_slice_is_a_volume() -> None:
    truth, answer = masks()
    keys = [SliceKey("a", "p", i) for i in range(6)] + [SliceKey("b", "p", 0)]
    both = np.concatenate([truth, truth[:1]]), np.concatenate([answer, np.roll(truth[:1], 3, axis=2)])
    scores: Any = score(slice_set(both[0], keys), both[1].astype(np.float32), [record("a"), record("b", slices=1)])
    first = surface_distance(answer, truth, (5.0, 2.0, 2.0)).hd95
    assert scores["patient_values"]["hd95"]["p"] == pytest.approx((first + 6) / 2)


@pytest.mark.parametrize("shape", [(6, 33, 20), (6, 20, 33), (6, 48, 48)])
def test_pixels_measure_what_to_size_says(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    """Also of oblong images with oblong pixels: a one-pixel error in the last row tells the pixel's height."""
    rng = np.random.default_rng(0)
    made = made_volume(rng, "mr", size=48)
    affine = made.affine @ np.diag([1, 1.3, 0.8, 1])
    rows, columns = shape[1:]
    assert made.labels is not None
    volume = Volume(
        made.voxels[:, :rows, :columns], affine, "mr", "t2_spir", made.labels[:, :rows, :columns], {1: "liver"}
    )
    with writing_store(tmp_path / "store") as writer:
        writer.add("a", volume, patient="a")
    store = Store(tmp_path / "store")
    scale = Scale("stretch", 32, 0.0)
    slices = load_slices(store, store.cases, SegmentSettings(size=32), scale=scale, labelled=True)
    assert slices.masks is not None
    truth = slices.masks > 0
    answer = np.roll(truth, 2, axis=1)
    expected = surface_distance(answer, truth, to_size(store.read("a"), 32).spacing)
    found = score(slices, answer.astype(np.float32), store.cases)["patient_values"]
    assert (found["hd95"]["a"], found["assd"]["a"]) == pytest.approx((expected.hd95, expected.assd))


def test_volumes_found_of_nothing_are_undefined_and_those_of_two_cases_have_their_mean() -> None:
    truth, _ = masks()
    half, none = truth.copy(), np.zeros_like(truth)
    half[:3] = False
    keys = [SliceKey(case, patient, i) for case, patient in (("a", "p"), ("b", "p"), ("c", "q")) for i in range(6)]
    stack = slice_set(np.concatenate([truth, truth, none]), keys)
    scores: Any = score(stack, np.concatenate([half, none, truth]).astype(np.float32))
    # Two of five slices are found of one case, nothing of the other.
    assert scores["patient_values"]["ravd"] == {"p": pytest.approx((60 + 100) / 2), "q": None}
    assert scores["patient"]["ravd"] == pytest.approx(80)
    assert scores["patient_undefined"]["ravd"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_pooled_scores_are_of_all_pixels_together(seed: int) -> None:
    """IoU = Dice / (2 - Dice), which means over slices or patients do not keep."""
    rng = np.random.default_rng(seed)
    truth = rng.random((9, 16, 16)) < np.linspace(0, 0.6, 9)[:, None, None]
    answer = np.where(rng.random(truth.shape) < 0.8, truth, rng.random(truth.shape) < 0.5)
    keys = [SliceKey(f"p{i // 3}", f"p{i // 3}", i % 3) for i in range(9)]
    scores: Any = score(slice_set(truth, keys), answer.astype(np.float32))
    hits = (truth & answer).sum()
    assert scores["pooled"]["dice"] == pytest.approx(2 * hits / (truth.sum() + answer.sum()))
    assert scores["pooled"]["iou"] == pytest.approx(hits / (truth | answer).sum())
    assert scores["pooled"]["iou"] == pytest.approx(scores["pooled"]["dice"] / (2 - scores["pooled"]["dice"]))
    assert scores["slice"]["iou"] > scores["slice"]["dice"] / (2 - scores["slice"]["dice"]) + 1e-4
    assert scores["patient"]["iou"] > scores["patient"]["dice"] / (2 - scores["patient"]["dice"]) + 1e-4
    assert 0 < scores["trivial_dice"] < 1
