import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.slices import SliceKey, SliceSet
from crossmod.data.splits import patient_folds, split_patients, split_slices
from crossmod.errors import InputError
from crossmod.settings import SplitSettings

PATIENTS = [f"p{i}" for i in range(11)]


@given(st.integers(2, 30), st.integers(2, 10), st.integers(0, 99))
def test_folds_hold_every_patient_once(count: int, folds: int, seed: int) -> None:
    patients = [f"p{i}" for i in range(count)]
    if count < folds:
        with pytest.raises(InputError, match="Use fewer folds"):
            patient_folds(patients, folds, seed)
        return
    parts = patient_folds(patients, folds, seed)
    assert sorted(patient for part in parts for patient in part) == sorted(patients)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("count", "folds", "advice"),
    [
        (1, 2, "Give a store with more patients."),
        (3, 5, r"Use fewer folds \(3 at most\), or a store with more patients."),
    ],
)
def test_advice_for_too_few_patients_fits(count: int, folds: int, advice: str) -> None:
    settings = SplitSettings(folds=folds)
    with pytest.raises(InputError, match=rf"one per fold\. {advice}$"):
        split_patients(PATIENTS[:count], settings)
    # What another command could do is not said.
    with pytest.raises(InputError, match=rf"{advice} --split none trains on everybody\.$"):
        split_patients(PATIENTS[:count], settings, otherwise="--split none trains on everybody.")


def test_the_order_in_which_patients_come_does_not_matter() -> None:
    settings = SplitSettings(folds=4, fold=2)
    assert split_patients(PATIENTS, settings) == split_patients([*reversed(PATIENTS), "p3"], settings)
    assert split_patients(PATIENTS, settings) != split_patients(PATIENTS, SplitSettings(folds=4, fold=2, split_seed=1))


def test_named_patients() -> None:
    split = split_patients(PATIENTS, SplitSettings(test_patients=("p3", "p1")))
    assert split.test == ("p1", "p3")
    assert set(split.train) == set(PATIENTS) - {"p1", "p3"}
    split = split_patients(PATIENTS, SplitSettings(test_patients=("p3",), train_patients=("p5", "p4")))
    assert split == type(split)(("p4", "p5"), ("p3",))


def test_a_patient_on_both_sides_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="p3 on both sides"):
        split_patients(PATIENTS, SplitSettings(test_patients=("p3",), train_patients=("p2", "p3")))
    held = split_patients(PATIENTS, SplitSettings()).test[0]
    with pytest.raises(InputError, match=f"{held} held out by fold 0"):
        split_patients(PATIENTS, SplitSettings(train_patients=(held,)))


def test_a_stranger_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="nobody, not in the store"):
        split_patients(PATIENTS, SplitSettings(test_patients=("nobody",)))


def made_slices(empty: int) -> SliceSet:
    masks = np.ones((40, 4, 4), dtype=np.uint8)
    masks[:empty] = 0
    keys = tuple(SliceKey(f"c{i // 10}", f"p{i // 10}", i % 10) for i in range(40))
    return SliceSet(
        np.zeros((40, 4, 4), dtype=np.int16), masks, np.asarray(masks.any(axis=(1, 2))), np.ones(40, bool), keys, {}
    )


def test_by_patient_every_slice_goes_with_its_patient() -> None:
    slices = made_slices(0)
    train, test = split_slices(slices, SplitSettings(folds=4), slices.patients)
    assert sorted(train + test) == list(range(40))
    assert not {slices.keys[i].patient for i in train} & {slices.keys[i].patient for i in test}


def test_by_slice_only_slices_that_show_the_organ_are_divided() -> None:
    train, test = split_slices(made_slices(12), SplitSettings(split="slice", test_slices=5), ())
    assert len(test) == 5
    assert min(test) >= 12
    assert sorted(train + test) == list(range(40))
    again = split_slices(made_slices(12), SplitSettings(split="slice", test_slices=5), ())
    assert again == (train, test)


def test_by_slice_something_must_be_left_to_train_on() -> None:
    with pytest.raises(InputError, match="28 of 28 slices"):
        split_slices(made_slices(12), SplitSettings(split="slice", test_slices=28), ())


def test_folds_are_those_of_all_patients_and_not_of_the_labelled_ones() -> None:
    """A segmenter sees labelled patients alone; its folds must be those of the translator, who sees all."""
    slices = made_slices(0)
    everyone = [*slices.patients, "p7", "p8", "p9"]
    for fold in range(3):
        settings = SplitSettings(folds=3, fold=fold)
        sides = split_patients(everyone, settings)
        train, test = split_slices(slices, settings, everyone)
        assert {slices.keys[i].patient for i in test} == set(sides.test) & set(slices.patients)
        assert {slices.keys[i].patient for i in train} == set(sides.train) & set(slices.patients)


def test_by_slice_unlabelled_slices_are_never_tested_on() -> None:
    slices = made_slices(0)
    half = type(slices)(slices.pixels, None, slices.shows, np.arange(40) < 20, slices.keys, {})
    train, test = split_slices(half, SplitSettings(split="slice", test_slices=5), ())
    assert max(test) < 20
    assert set(range(20, 40)) <= set(train)
