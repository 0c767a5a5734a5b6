"""What is asked where marks do not tell who is one person, and whether the advice fits where the patients come from."""

from collections.abc import Sequence

import pytest

from crossmod.config import Modality
from crossmod.data.people import who_is_who
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from tests.support.record_stores import record, store, synthetic

Scan = tuple[int, Modality, float | None]


def names(made: Store) -> list[str]:
    return [case.patient for case in made.cases]


def numbered(folder: str, scans: Sequence[Scan], *, dicom: bool = True) -> Store:
    """One call of `prepare` without ids: number, modality and echo time of each scan."""

    def case(place: int, number: int, modality: Modality, echo: float | None) -> CaseRecord:
        patient = f"{folder}-p{number:03d}"
        made = record(patient, f"number:{folder}:p{number:03d}", modality=modality, case=f"{folder}{place}")
        header = {"Modality": modality.upper()} | ({"EchoTime": echo} if echo else {})
        return made.model_copy(update={"acquisition": header if dicom else {}})

    return store(folder, [case(place, *scan) for place, scan in enumerate(scans)])


def nifti(folder: str, *cases: str, modality: Modality = "mr", sequence: str | None = None) -> Store:
    made = [
        record(f"{folder}-{case}", f"name:of {folder}:{case}", modality=modality, sequence=sequence) for case in cases
    ]
    return store(folder, made)


def refused(*stores: Store, yes: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        who_is_who(stores, same_people="yes" if yes else None)
    return str(caught.value)


# Running numbers of one call


@pytest.mark.parametrize(
    "scans",
    [
        [(1, "ct", None), (2, "mr", 4.6)],
        [(1, "ct", None), (2, "ct", None), (3, "mr", None)],
        [(1, "mr", 4.6), (2, "mr", 90.0)],
        [(1, "ct", None), (1, "mr", 4.6), (2, "ct", None), (3, "mr", 4.6)],
    ],
)
def test_numbers_of_one_call_may_be_one_person(scans: list[Scan]) -> None:
    """`p0_CT`, `p0_MR`, ... without ids: each folder became a patient."""
    flat = numbered("d", scans)
    words = refused(flat)
    assert "cannot be matched in d, such as d-p0" in words
    assert "--same-people no if no one has two of these numbers" in words
    assert "prepare d again from DICOM, each patient's folders one by one with --patient NAME --append" in words
    assert "--same-people yes: patients that cannot be matched" in refused(flat, yes=True)
    assert names(who_is_who([flat], same_people="no").stores[0]) == names(flat)
    # Nobody is held out: no question, but nothing is kept quiet either.
    careful = who_is_who([flat], ask=False)
    assert not careful.decided
    assert "Taken for different people, without evidence: patients that cannot be matched in d" in careful.lines[-1]


@pytest.mark.parametrize(
    "scans",
    [
        [(1, "ct", None), (2, "ct", None)],
        # Each folder holds both scans of a person.
        [(1, "ct", None), (1, "mr", 4.6), (2, "ct", None), (2, "mr", 4.6)],
        [(1, "ct", None), (1, "mr", 4.6), (2, "ct", None)],
        # One sequence on two scanners; an echo time that no header has.
        [(1, "mr", 70.0), (2, "mr", 90.0)],
        [(1, "mr", None), (2, "mr", 90.0)],
    ],
)
def test_numbers_of_one_call_with_scans_of_one_kind_are_different_people(scans: list[Scan]) -> None:
    assert who_is_who([numbered("d", scans)]).decided


def test_a_number_beside_ids_of_one_call() -> None:
    """One series has no id: it is somebody else if both have CT, and may be the same person if one has MR alone."""

    def mixed(second: Modality) -> Store:
        cases = [record("d-p001", "id:k:A", modality="ct"), record("d-p002", "number:n:p002", modality=second)]
        return store("d", cases)

    assert who_is_who([mixed("ct")]).decided
    assert "one side has hashed PatientIDs" in refused(mixed("mr"))


def test_ids_are_never_asked_about() -> None:
    cases = [record("d-p001", "id:k:A", modality="ct"), record("d-p002", "id:k:B", modality="mr")]
    assert who_is_who([store("d", cases)]).decided


def test_what_was_said_of_numbers_is_not_asked_again_of_the_images() -> None:
    flat = numbered("d", [(1, "ct", None), (2, "mr", 4.6)])
    known = {case.patient: case.person for case in flat.cases}
    made = record("d-p001", *flat.cases[0].person, synthetic=synthetic(known, on=["d-p001"]), case="made")
    assert who_is_who([flat, store("made", [made])]).decided


def test_with_names_elsewhere_the_answer_counts_for_both_questions() -> None:
    words = refused(numbered("d", [(1, "ct", None), (2, "mr", 4.6)]), nifti("a", "1"), nifti("b", "1"))
    assert "no if no one has two of these numbers, and 1 in a and in b are different people, too" in words


# Advice by where patients come from


def test_advice_for_numbered_nifti() -> None:
    ct, mr = (numbered(side, [(1, side, None)], dicom=False) for side in ("ct", "mr"))
    for yes in (False, True):
        words = refused(mr, ct, yes=yes)
        assert "prepare ct and mr again without --number-patients. Then --same-people yes" in words
        assert "patient key" not in words


def test_advice_for_dicom_without_ids() -> None:
    ct, mr = (numbered(side, [(1, side, None)]) for side in ("ct", "mr"))
    words = refused(mr, ct)
    assert "prepare ct and mr again from DICOM, each patient's folders one by one with --patient NAME --append" in words
    assert "patient key" not in words


def test_advice_for_hashes_beside_names_can_be_followed() -> None:
    ids = store("d", [record("dicom-p001", "id:k:A")])
    words = refused(ids, nifti("n", "x"))
    assert "give one person one name: prepare d again from DICOM, each patient's folders one by one" in words
    assert "--number-patients" not in words
    # The name of the NIfTI case, as the message says.
    named = store("d", [record("x", "id:k:A")])
    people = who_is_who([named, nifti("n", "x")], same_people="yes")
    assert names(people.stores[1]) == ["x"]
    # Names on both sides, none of them equal.
    assert "give the cases of one person the same name" in refused(named, nifti("n", "y"))


def test_advice_for_two_keys_can_be_followed() -> None:
    one, two = (store(key, [record("anna" if key == "a" else "dicom-p001", f"id:{key}:A")]) for key in "ab")
    assert "the same patient key: CROSSMOD_PATIENT_KEY" in refused(one, two)
    both = [store(key, [record("anna", f"id:{key}:A")]) for key in "ab"]
    assert names(who_is_who(both, same_people="yes").stores[1]) == ["anna"]


# Spelling


@pytest.mark.parametrize(
    ("ct", "mr"),
    [
        (("Pat1", "Pat2"), ("pat1", "pat2")),
        (("1", "2"), ("01", "02")),
        (("p_1", "p_2"), ("p-1", "p-2")),
        (("p1_ct", "p2_ct"), ("p1_mr", "p2_mr")),
    ],
)
def test_names_in_two_spellings_are_asked_about(ct: tuple[str, ...], mr: tuple[str, ...]) -> None:
    stores = [nifti("mr", *mr), nifti("ct", *ct, modality="ct")]
    words = refused(*stores)
    assert f"cases {ct[0]} / {mr[0]}, {ct[1]} / {mr[1]} in ct and in mr, which may be one name in two spell" in words
    assert "--same-people yes if the two of each pair are one person" in words
    same = who_is_who(stores, same_people="yes")
    assert names(same.stores[1]) == names(stores[0])
    assert same.lines[0].startswith("One person, by case name, as --same-people yes says: ct-")
    other = who_is_who(stores, same_people="no")
    assert not set(names(other.stores[1])) & set(names(stores[0]))
    # Without an answer nobody is joined, and it is told.
    told = who_is_who(stores, ask=False)
    assert not set(names(told.stores[1])) & set(names(stores[0]))
    assert not told.decided
    assert told.lines == (
        "No patient is known to be in both stores, by case names.",
        f"Taken for different people, without evidence: names in two spellings, {ct[0]} / {mr[0]}, "
        f"{ct[1]} / {mr[1]}. State it: --same-people yes or no.",
    )


def test_a_pseudonym_of_modality_and_number_is_a_name() -> None:
    """Written from Python, `ct-1` and `mr-1` are two people; the NIfTI folders `ct-1` and `mr-1` may be one."""
    given = [store(side, [record(f"{side}-1", f"name:{side}:{side}-1", modality=side)]) for side in ("mr", "ct")]
    assert who_is_who(given).decided
    assert "cases mr-1 / ct-1 in" in refused(nifti("a", "mr-1"), nifti("b", "ct-1", modality="ct"))
    # Any other pseudonym loses its words: `--patient` may have been given the name of a folder.
    folders = [store(side, [record(f"p0_{side}", f"name:{side}:p0_{side}", modality=side)]) for side in ("mr", "ct")]
    assert "cases p0_ct / p0_mr in" in refused(*folders)


def test_who_is_found_by_the_very_name_is_not_looked_for_in_another_spelling() -> None:
    stores = [nifti("mr", "1", "01"), nifti("ct", "1", "02")]
    assert "the case 1 in ct and in mr." in refused(*stores)
    people = who_is_who(stores, same_people="yes")
    assert names(people.stores[0]) == ["mr-1", "mr-01"]
    assert names(people.stores[1]) == ["mr-1", "ct-02"]


def test_equal_names_and_spellings_in_one_question() -> None:
    words = refused(nifti("mr", "1", "pat2"), nifti("ct", "1", "Pat2"))
    assert "cases Pat2 / pat2, 1 in ct and in mr" in words
    assert "yes if equal names are one person, and the two of each pair are one person" in words


def test_patients_that_were_named_one_by_one_are_one_question() -> None:
    """`--patient` gives each its own scope."""
    ct, mr = (
        store(side, [record(name, f"name:{side}{name}:{name}", modality=side) for name in ("P0", "P1")])
        for side in ("ct", "mr")
    )
    assert "cases P0, P1 in ct and in mr." in refused(mr, ct)


def test_the_names_of_a_data_set_keep_their_words() -> None:
    chaos = store("c", [record(f"chaos-{side}-1", f"set:chaos:{side}-1") for side in ("ct", "mr")])
    assert who_is_who([chaos, nifti("btcv", "1")]).decided
    assert "cases MR_1 / mr-1 in" in refused(chaos, nifti("ours", "MR_1"))


def test_two_sequences_of_one_person_in_one_call() -> None:
    """`p1_t1` and `p1_t2` in one folder; not `1` and `01`, which somebody named apart."""
    both = nifti("n", "p1_t1", "p1_t2", "p2_t1")
    assert "cases p1_t1 / p1_t2 in n, which may be one name in two spellings" in refused(both)
    assert names(who_is_who([both], same_people="yes").stores[0]) == ["n-p1_t1", "n-p1_t1", "n-p2_t1"]
    assert names(who_is_who([both], same_people="no").stores[0]) == names(both)
    assert who_is_who([nifti("n", "1", "01")]).decided
    with pytest.raises(InputError, match="they are two cases of one folder"):
        who_is_who([nifti("n", "1", "01"), nifti("m", "001")], same_people="yes")
    # Joined with a third one, nothing contradicts.
    three = who_is_who([nifti("n", "p1_t1", "p1_t2"), nifti("ct", "p1", modality="ct")], same_people="yes")
    assert names(three.stores[1]) == ["n-p1_t1"]
    # A sequence that only the stores know.
    own = [record(f"n-p1_{word}", f"name:n:p1_{word}", sequence="dyn_early") for word in ("dyn", "early")]
    assert "p1_dyn / p1_early" in refused(store("n", own))


# What is said of the answer


def test_only_what_was_typed_is_said() -> None:
    marks = {"x-1": ("name:x:1",)}
    made = store("made", [record("ct-9", "name:of ct:9", synthetic=synthetic(marks), case="made")])
    stores = [nifti("mr", "1"), made]
    lines = {said: who_is_who(stores, same_people=said).lines for said in ("yes", "no")}
    assert lines["yes"] == ("No patient is in both stores, by case names.",)
    assert lines["no"] == ("No patient is in both stores, by case names and as --same-people no says.",)
    assert who_is_who(stores, ask=False).lines == ("No patient is known to be in both stores, by case names.",)
    # Nothing was asked, so that nothing hung on the answer.
    apart = [nifti("mr", "1"), nifti("ct", "2")]
    assert who_is_who(apart, same_people="no").lines == ("No patient is in both stores, by case names.",)
