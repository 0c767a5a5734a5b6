import math
from pathlib import Path

import numpy as np
import pytest

from crossmod.config import with_changes
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.evaluation.organs import organs_of
from crossmod.metrics.axial_layers import Placed
from crossmod.presets import SEGMENT
from crossmod.segmentation.predict import load_segmenter
from crossmod.segmentation.train import train_segmenter
from tests.support.evaluated_people import look_alike, person, real_store, synthetic_store
from tests.support.several_organs import ORGANS, VALUES, without, write_stores


def placed(store: Store) -> list[Placed]:
    return [Placed(store, record, np.arange(record.shape[0]), np.ones(record.shape[0], np.int64), "liver")
            for record in store.cases]  # fmt: skip


def test_an_organ_that_moved(tmp_path: Path) -> None:
    """By two rows of 340 / 32 mm, in every case."""
    ct = real_store(tmp_path / "ct", "ct", range(3))
    made = synthetic_store(tmp_path / "made", ct, look_alike, answer=lambda label: np.roll(label, 2, axis=1))
    found = organs_of(Store(made), placed(Store(made)))["liver"]
    assert found.cases == 3
    assert found.shift_mm == pytest.approx(2 * 340 / 32)
    assert found.growth == pytest.approx(1)
    assert 0.6 < found.least <= found.dice < 0.9
    assert found.low < found.dice < found.high
    assert (found.vanished, found.appeared, found.slices_lost, found.slices_gained) == (0, 0, 0, 0)


def test_an_organ_that_vanished(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", range(2))
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike, answer=np.zeros_like))
    found = organs_of(made, placed(made))["liver"]
    assert (found.vanished, found.slices_lost, found.dice) == (2, 26, 0)
    assert math.isnan(found.shift_mm)
    assert found.slices == 36


def test_without_an_answer_nothing_is_said(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", [0])
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike))
    assert organs_of(made, placed(made)) == {}


@pytest.mark.parametrize(
    "values", [{1: "liver", 2: "spleen"}, {5: "liver", 1: "spleen"}, {3: "spleen", 9: "liver"}], ids=str
)
def test_an_answer_in_classes_against_labels_of_any_values(tmp_path: Path, values: dict[int, str]) -> None:
    """The segmentor knows the liver alone, and calls it 1, whatever the source's labels call it."""
    liver, spleen = ({name: value for value, name in values.items()}[organ] for organ in ("liver", "spleen"))

    def relabelled(volume: Volume) -> Volume:
        assert volume.labels is not None
        labels = np.where(volume.labels > 0, liver, 0).astype(np.uint8)
        labels[8:14, 20:24, 4:8] = spleen
        return volume.with_labels(labels, values)

    with writing_store(tmp_path / "ct") as writer:
        writer.add("ct-0", relabelled(person(0, "ct")), patient="ct-0")
    made = Store(
        synthetic_store(
            tmp_path / "made", tmp_path / "ct", look_alike, answer=lambda label: (label == liver).astype(np.uint8)
        )
    )
    found = organs_of(made, placed(made))
    assert set(found) == {"liver"}
    assert found["liver"].dice == 1


def test_a_segmenter_looks_in_the_place_of_the_models_own(tmp_path: Path) -> None:
    """A U-Net trained for a few steps on other people's MR, on images that are theirs, moved by four pixels."""
    mr = real_store(tmp_path / "mr", "mr", range(100, 106))
    settings = with_changes(SEGMENT["tiny"], size=32, folds=3, steps=60, train_on="all", test_on="all")
    run = train_segmenter(tmp_path / "liver", real=mr, settings=settings)
    segmenter = load_segmenter(run.path)
    assert segmenter.on_real > 0.6
    kept = Store(synthetic_store(tmp_path / "kept", mr, lambda volume, _: volume.voxels))
    moved = Store(synthetic_store(tmp_path / "moved", mr, lambda volume, _: np.roll(volume.voxels, 4, axis=1)))
    by_kept, by_moved = (organs_of(store, placed(store), segmenter)["liver"] for store in (kept, moved))
    assert (by_kept.found_by, by_kept.on_real) == ("liver", segmenter.on_real)
    assert by_kept.dice > by_moved.dice + 0.1
    assert by_moved.shift_mm == pytest.approx(4 * 340 / 32, abs=340 / 32)


def test_a_segmenter_of_several_organs_measures_those_that_are_labelled(tmp_path: Path) -> None:
    """Of cases whose labels know the liver alone, or call it 6, each organ is compared with its own label."""
    both = write_stores(tmp_path)
    settings = with_changes(SEGMENT["tiny"], organs=ORGANS, size=32, steps=60, train_on="all", test_on="all")
    segmenter = load_segmenter(train_segmenter(tmp_path / "two", real=both.mr, settings=settings).path)
    mr = Store(both.mr)
    found = organs_of(mr, placed(mr), segmenter)
    assert list(found) == [*ORGANS]
    for organ in ORGANS:
        by_hand = []
        for record in mr.cases:
            volume, frame = mr.read(record.id), segmenter.scale.frame_of(mr, record)
            labels = frame.place(volume).labels
            assert labels is not None
            answer = segmenter.find(volume, frame) == ORGANS.index(organ) + 1
            truth = labels == VALUES["mr"][organ]
            by_hand.append(2 * (answer & truth).sum() / (answer.sum() + truth.sum()))
        assert found[organ].dice == pytest.approx(np.mean(by_hand))
        assert found[organ].on_real == segmenter.on_real_of(organ)
    with writing_store(tmp_path / "liver") as writer:
        writer.add("a", without(mr.read("mr-0"), "spleen"), patient="a")
        writer.add("b", mr.read("mr-0").with_labels(None, {}), patient="b")
    alone = Store(tmp_path / "liver")
    found = organs_of(alone, placed(alone), segmenter)
    assert (list(found), found["liver"].cases) == (["liver"], 1)


def test_a_segmenter_of_the_other_modality_is_refused(tmp_path: Path) -> None:
    ct = real_store(tmp_path / "ct", "ct", range(3))
    settings = with_changes(SEGMENT["tiny"], size=32, modality="ct", steps=2, train_on="all", folds=3)
    run = train_segmenter(tmp_path / "liver", real=ct, settings=settings)
    made = Store(synthetic_store(tmp_path / "made", ct, look_alike))
    with pytest.raises(InputError, match=r"a segmenter of ct.*one of mr"):
        organs_of(made, placed(made), load_segmenter(run.path))
