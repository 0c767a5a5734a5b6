import shutil
from pathlib import Path
from typing import Any

import pytest

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.evaluation.cases import EvaluationCases, choose_cases
from crossmod.evaluation.settings import EvaluationSettings
from tests.support.evaluated_people import People, look_alike, make_people, real_store, synthetic_store


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"))


def asked(real: Path, *synthetic: Path, **settings: Any) -> EvaluationCases:
    return choose_cases(real, synthetic, EvaluationSettings(**settings))


def test_both_sides_are_of_other_patients(people: People) -> None:
    question = asked(people.mr, people.good, people.poor)
    reference, held = ({case.patient for case in side} for side in (question.reference, question.held))
    assert reference | held == {f"mr-{number}" for number in range(100, 108)}
    assert len(reference) == len(held) == 4
    assert (question.modality, question.sequence, question.size) == ("mr", "t2_spir", 32)
    assert [model.name for model in question.models] == ["good", "poor"]


def test_the_modality_is_that_of_the_synthetic_cases(people: People, tmp_path: Path) -> None:
    """Whatever else the real store holds."""
    store = tmp_path / "both"
    shutil.copytree(people.mr, store)
    with writing_store(store, append=True) as writer:
        ct = Store(people.ct)
        writer.add("ct-0", ct.read("ct-0"), patient="ct-0")
    assert asked(store, people.good).modality == "mr"
    assert len(asked(store, people.good).reference) == 4


def test_patients_that_were_trained_on_are_known_and_can_be_left_out(people: People) -> None:
    question = asked(people.mr, people.good)
    model = question.models[0]
    every = (*question.reference, *question.held)
    assert {case.patient for case in every if model.saw(case)} == {"mr-100", "mr-101", "mr-102"}
    unseen = asked(people.mr, people.good, unseen=True)
    assert {case.patient for case in (*unseen.reference, *unseen.held)} == {f"mr-{n}" for n in range(103, 108)}


def test_a_trained_case_under_another_name_is_known(people: People, tmp_path: Path) -> None:
    question = asked(people.mr, people.good)
    model, case = question.models[0], question.reference[0]
    renamed = case.model_copy(update={"patient": "somebody"})
    assert not model.saw(renamed)
    synthetic = model.records[0].synthetic
    assert synthetic is not None
    seen = synthetic.model_copy(update={"trained_cases": (case.sha256,)})
    records = (model.records[0].model_copy(update={"synthetic": seen}), *model.records[1:])
    assert type(model)(model.name, model.store, records).saw(renamed)


def test_stores_of_one_name_are_told_apart(people: People, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        shutil.copytree(people.good, tmp_path / folder / "store")
    models = asked(people.mr, tmp_path / "a" / "store", tmp_path / "b" / "store").models
    assert [model.name for model in models] == ["a/store", "b/store"]
    shutil.copytree(people.good, tmp_path / "a" / "held")
    assert asked(people.mr, tmp_path / "a" / "held").models[0].name == "a/held"  # not the real slices' name


def test_what_cannot_be_compared(people: People, tmp_path: Path) -> None:
    ct = synthetic_store(tmp_path / "as-ct", people.ct, lambda v, _: v.voxels, target="ct", sequence=None)
    other = synthetic_store(tmp_path / "t1", people.ct, look_alike, sequence="t1_in")
    lone = real_store(tmp_path / "lone", "mr", [100])
    cases = (
        ((people.mr,), {}, "no synthetic store"),
        ((people.mr, people.good, people.good), {}, "one store twice"),
        ((people.mr, people.good, ct), {}, "good of mr and as-ct of ct"),
        ((people.mr, people.good, other), {}, r"several sequences \(t1_in, t2_spir\)"),
        ((people.mr, other), {}, "sequence t1_in"),
        ((people.mr, people.good), {"sequence": "t1_in"}, "images of t2_spir. Expected: sequence t1_in"),
        ((people.ct, people.good), {}, "a store of ct. Expected: mr cases"),
        ((lone, people.good), {}, "1 real patient. Expected: two or more"),
        ((people.good, people.good), {}, "synthetic cases"),
        ((tmp_path / "none", people.good), {}, "no such folder"),
    )
    for paths, settings, words in cases:
        with pytest.raises(InputError, match=words):
            asked(*paths, **settings)


def test_nobody_is_left_who_was_not_trained_on(people: People, tmp_path: Path) -> None:
    everybody = [f"mr-{number}" for number in range(100, 107)]
    model = synthetic_store(tmp_path / "model", people.ct, look_alike, trained_on=everybody)
    with pytest.raises(InputError, match="mr-107, when those trained on are left out"):
        asked(people.mr, model, unseen=True)
