import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judge_people import look_alike, person, real_store, synthetic_store

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.judge.anatomy import organs_of
from crossmod.judge.answered import answered
from crossmod.judge.placing import Placed


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


def relabelled(folder: Path, values: dict[int, str]) -> Path:
    """One CT case whose liver, and a spleen beside it, have the values of another atlas."""
    volume = person(0, "ct")
    assert volume.labels is not None
    liver, spleen = ({name: value for value, name in values.items()}[organ] for organ in ("liver", "spleen"))
    labels = np.where(volume.labels > 0, liver, 0).astype(np.uint8)
    labels[8:14, 20:24, 4:8] = spleen
    with writing_store(folder) as writer:
        writer.add("ct-0", volume.with_labels(labels, values), patient="ct-0")
    return folder


@pytest.mark.parametrize(
    "values", [{1: "liver", 2: "spleen"}, {5: "liver", 1: "spleen"}, {3: "spleen", 9: "liver"}], ids=str
)
def test_the_answer_speaks_of_the_organ_whose_consistency_was_written_down(
    tmp_path: Path, values: dict[int, str]
) -> None:
    """The segmentor knows the liver alone, and calls it 1, whatever the source's labels call it."""
    ct = Store(relabelled(tmp_path / "ct", values))
    label = ct.read("ct-0").labels
    assert label is not None
    liver = label == next(value for value, name in values.items() if name == "liver")
    truth = relabelled(tmp_path / "same", values)
    made = synthetic_store(tmp_path / "made", truth, look_alike)
    answer = np.roll(liver, 1, axis=2)
    scores = [
        1.0 if not a.any() else 2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(answer, liver, strict=True)
    ]
    told = rewritten(Store(made), tmp_path / "told", answer.astype(np.uint8), scores)
    assert answered(told, told.cases) == {1: "liver"}
    assert set(organs_of(told, placed(told))) == {"liver"}
    # Scores that no organ gives.
    wrong = rewritten(Store(made), tmp_path / "wrong", answer.astype(np.uint8), [0.123] * len(scores))
    assert answered(wrong, wrong.cases) == {}


def rewritten(store: Store, folder: Path, answer: np.ndarray, scores: list[float]) -> Store:
    record = store.cases[0]
    assert record.synthetic is not None
    origins = tuple(
        origin.model_copy(update={"consistency": float(score)})
        for origin, score in zip(record.synthetic.slices, scores, strict=True)
    )
    with writing_store(folder) as writer:
        volume = replace(store.read(record.id))
        synthetic = record.synthetic.model_copy(update={"slices": origins})
        writer.add(record.id, volume, patient=record.patient, synthetic=synthetic, answer=answer)
    return Store(folder)
