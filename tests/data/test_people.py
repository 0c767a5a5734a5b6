"""Who is one person, in hand-made stores and in random ones whose people are known."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.config import Modality
from crossmod.data.patient_identity import bare_name, earlier_mark
from crossmod.data.people import People, seen_on, who_is_who
from crossmod.data.same_person import Answer
from crossmod.data.splits import split_patients
from crossmod.data.store import JoinedStore, Store
from crossmod.errors import InputError
from crossmod.settings import SplitSettings, TranslateSettings
from crossmod.synthesis.training_data import divide
from tests.support.record_stores import checksum, record, store, synthetic


def names(made: Store) -> list[str]:
    return [case.patient for case in made.cases]


def nifti(folder: str, *cases: str, modality: Modality = "mr") -> Store:
    names = ((f"{folder}-{case}", f"name:of {folder}:{case}") for case in cases)
    return store(folder, [record(name, mark, modality=modality) for name, mark in names])


def dicom(folder: str, *ids: str, key: str = "k1") -> Store:
    cases = (record(f"dicom-p{i:03d}", f"id:{key}:{one}", case=f"{folder}{i}") for i, one in enumerate(ids, 1))
    return store(folder, cases)


def test_one_id_is_one_person_whatever_the_pseudonyms() -> None:
    """Two calls of `prepare dicom`: A and B, then B and C. Numbers start at 1 in both."""
    people = who_is_who([dicom("mr", "B", "C"), dicom("ct", "A", "B")])
    mr, ct = people.stores
    assert names(mr) == ["dicom-p001", "dicom-p002"]
    assert names(ct) == ["ct/dicom-p001", "dicom-p001"]
    assert people.marks["ct/dicom-p001"] == ("id:k1:A",)
    assert people.lines == ("One person, by patient id: dicom-p001 in mr = dicom-p002 in ct (1 in all).",)


def test_equal_names_of_different_ids_are_told_apart_without_a_question() -> None:
    first = store("a", [record("scans-1", "id:k1:X")])
    second = store("b", [record("scans-1", "id:k1:Y")])
    assert [names(one) for one in who_is_who([first, second]).stores] == [["scans-1"], ["b/scans-1"]]
    assert "No patient is in both stores, by patient ids." in who_is_who([first, second]).lines


def test_equal_case_names_are_asked_about() -> None:
    """Two NIfTI folders with the cases 1 to 3 and 2 to 4: nothing tells whether 2 is one person."""
    stores = [nifti("mr", "1", "2", "3"), nifti("ct", "2", "3", "4")]
    with pytest.raises(InputError, match=r"cases 2, 3 in ct and in mr.*--same-people yes.*--same-people no"):
        who_is_who(stores)
    same = who_is_who(stores, same_people="yes")
    assert [names(one) for one in same.stores] == [["mr-1", "mr-2", "mr-3"], ["mr-2", "mr-3", "ct-4"]]
    assert same.decided
    other = who_is_who(stores, same_people="no")
    assert [names(one) for one in other.stores] == [["mr-1", "mr-2", "mr-3"], ["ct-2", "ct-3", "ct-4"]]
    assert other.lines == ("No patient is in both stores, by case names and as --same-people no says.",)
    # Without a split a guess cannot leak: the careful one is taken, and not kept as if it had been said.
    careful = who_is_who(stores, ask=False)
    assert [names(one) for one in careful.stores] == [names(one) for one in same.stores]
    assert not careful.decided


def test_other_case_names_are_other_people() -> None:
    people = who_is_who([nifti("mr", "1", "2"), nifti("ct", "3", "4")])
    assert people.lines == ("No patient is in both stores, by case names.",)


def test_names_in_one_store_from_two_calls_are_asked_about_too() -> None:
    both = store("s", [*nifti("t1", "1", "2").cases, *nifti("t2", "2", "3").cases])
    with pytest.raises(InputError, match="the case 2 twice in s"):
        who_is_who([both])
    (same,) = who_is_who([both], same_people="yes").stores
    assert names(same) == ["t1-1", "t1-2", "t1-2", "t2-3"]


@pytest.mark.parametrize(
    ("stores", "words"),
    [
        ([dicom("a", "A"), dicom("b", "B", key="k2")], "two patient keys"),
        ([dicom("a", "A"), nifti("b", "1")], "one side has hashed PatientIDs"),
        (
            [store("a", [record("x-p001", "number:n1:p001")]), nifti("b", "1")],
            "running numbers, such as p001, separate people",
        ),
    ],
)
def test_patients_that_cannot_be_matched_are_asked_about(stores: list[Store], words: str) -> None:
    with pytest.raises(InputError, match=f"cannot be matched.*{words}"):
        who_is_who(stores)
    assert not set(names(who_is_who(stores, same_people="no").stores[1])) & set(names(stores[0]))
    with pytest.raises(InputError, match="--same-people yes: no case name"):
        who_is_who(stores, same_people="yes")


def test_a_data_set_says_who_is_who() -> None:
    chaos = [record(f"chaos-{side}-1", f"set:chaos:{side}-1", case=f"{side}1") for side in ("ct", "mr")]
    people = who_is_who([store("s", chaos), nifti("btcv", "1"), dicom("d", "A")], same_people="no")
    assert len({name for one in people.stores for name in names(one)}) == 4
    # CHAOS alone, also as a store that was written before records had marks, and beside other NIfTI: no question.
    for cases in (chaos, [record(case.patient) for case in chaos]):
        assert names(who_is_who([store("s", cases), nifti("btcv", "1")]).stores[0]) == ["chaos-ct-1", "chaos-mr-1"]
    who_is_who([store("s", chaos), dicom("d", "A")])


def test_one_scan_is_one_person_under_whatever_names() -> None:
    twin = checksum("a scan")
    people = who_is_who([
        store("a", [record("a-1", "name:a:1", scan=twin), record("a-2", "name:a:2")]),
        store("b", [record("b-7", "name:b:7", scan=twin)]),
    ])  # fmt: skip
    assert names(people.stores[1]) == ["a-1"]
    # Also within a store: its halves must not come to two sides of a split.
    twins = store("a", [record(f"x-{i}", f"name:x:{i}", scan=twin) for i in (1, 2)])
    (one,) = who_is_who([twins]).stores
    assert names(one) == ["x-1", "x-1"]


def test_a_statement_that_contradicts_an_id_is_refused() -> None:
    """`--patient anna` of two DICOM stores are different people; both cannot be the NIfTI case anna."""
    stores = [store("a", [record("anna", "id:k:A")]), store("b", [record("anna", "id:k:B")]), nifti("c", "anna")]
    with pytest.raises(InputError, match="their DICOM PatientIDs differ"):
        who_is_who(stores, same_people="yes")


def test_the_first_store_names_its_people_alone() -> None:
    """`segment` sees the target's store alone, and must find the names, and so the folds, that `train` found."""
    mr = dicom("mr", "B", "C", "D")
    alone = names(who_is_who([mr]).stores[0])
    assert names(who_is_who([mr, dicom("ct", "D", "A", "B")]).stores[0]) == alone
    again = who_is_who(who_is_who([mr, dicom("ct", "D", "A", "B")]).stores)
    assert names(again.stores[0]) == alone


def test_two_stores_of_one_side_can_have_equal_names() -> None:
    joined = JoinedStore([store("x/mr", [record("scans-1", "id:k:A")]), store("y/mr", [record("scans-1", "id:k:B")])])
    assert [case.id for case in joined.cases] == ["x-mr.scans-1", "y-mr.scans-1"]
    (one,) = who_is_who([joined]).stores
    assert names(one) == ["x-mr/scans-1", "y-mr/scans-1"]


def test_stores_of_an_earlier_version_are_matched_by_their_names() -> None:
    """Records without marks, as version 1 wrote them: the prefix is what all names of the store begin with."""
    ct, mr = (store(side, [record(f"{side}-{i}") for i in "123"]) for side in ("ct", "mr"))
    with pytest.raises(InputError, match="cases 1, 2, 3 in "):
        who_is_who([mr, ct])
    numbered = [store(side, [record(f"dicom-p00{i}", case=f"{side}{i}") for i in (1, 2)]) for side in ("ct", "mr")]
    with pytest.raises(InputError, match=r"cannot be matched, in (ct and in mr|mr and in ct)"):
        who_is_who(numbered)
    # One store alone was a store of different people, and is.
    assert names(who_is_who([mr]).stores[0]) == ["mr-1", "mr-2", "mr-3"]


@pytest.mark.parametrize(
    ("patient", "patients", "name"),
    [
        ("ct-1", ["ct-1", "ct-2"], "1"),
        ("my-ct-1", ["my-ct-1", "my-ct-12"], "1"),
        ("scan-a-01", ["scan-a-01", "scan-b-01"], "a-01"),
        ("x-1", ["x-1", "x"], "1"),
        ("alone-1", ["alone-1"], "1"),
        ("1", ["1", "2"], "1"),
    ],
)
def test_prefixes_of_earlier_stores(patient: str, patients: list[str], name: str) -> None:
    assert bare_name(patient, patients) == name


def test_earlier_chaos_keeps_its_two_sides_apart() -> None:
    assert str(earlier_mark("chaos-mr-10", [], "")) == "set:chaos:mr-10"


# Models


def trained(marks: dict[str, tuple[str, ...]], **more: object) -> Store:
    origin = synthetic(marks, **more)  # pyright: ignore[reportArgumentType]
    return store("made", [record("ct-9", "name:of ct:9", synthetic=origin, case="made")])


def test_who_a_model_saw_is_found_under_other_names() -> None:
    """The model was trained on the CT of the person who is `dicom-p002` in another MR store."""
    people = who_is_who([dicom("mr", "C", "B"), trained({"dicom-p001": ("id:k1:B",), "dicom-p002": ("id:k1:A",)})],
                        same_people="no")  # fmt: skip
    (made,) = people.stores[1].cases
    assert "dicom-p002" in people.behind(made)
    assert "dicom-p001" not in people.behind(made)


def test_what_was_settled_in_training_is_not_asked_again() -> None:
    marks = {"ct-3": ("name:of ct:3",)}
    mr = nifti("mr", "3", "4")
    with pytest.raises(InputError, match="training of the model"):
        who_is_who([mr, trained(marks)])
    # "No" was said: the model knows both, as two people. It saw one of them.
    both = marks | {"mr-3": ("name:of mr:3",), "mr-4": ("name:of mr:4",)}
    people = who_is_who([mr, trained(both, on=("ct-3",))])
    assert "mr-3" not in people.behind(people.stores[1].cases[0])
    # It knows nothing of somebody who came later.
    with pytest.raises(InputError, match="the case 3 in later and in "):
        who_is_who([nifti("mr", "5"), store("later", [record("l-3", "name:l:3")]), trained(both, on=("ct-3",))])
    # "Yes" was said.
    people = who_is_who([mr, trained({"ct-3": ("name:of ct:3", "name:of mr:3"), "mr-4": ("name:of mr:4",)})])
    assert "mr-3" in people.behind(people.stores[1].cases[0])


def test_models_of_an_earlier_version_are_recognised_by_names() -> None:
    """Their images name people and have no marks: an equal pseudonym is the same person, as it was then."""
    people = who_is_who([store("mr", [record("mr-1", "name:m:1"), record("mr-2", "name:m:2")]),
                         store("made", [record("mr-9", "name:m:9", synthetic=synthetic({"mr-1": ()}))])])  # fmt: skip
    assert people.behind(people.stores[1].cases[0]) == {"mr-1", "mr-9"}
    card = {"data": {"ct": {"patients": ["ct-1"]}, "mr": {"patients": ["mr-1"]}}, "held_out": ["mr-2"]}
    assert set(seen_on(card, "m").people) == {"ct-1", "mr-1", "mr-2"}


# Random stores


@dataclass(frozen=True)
class World:
    """Stores, the truth about them, and what the user says."""

    stores: tuple[Store, ...]
    truth: dict[tuple[str, str], str] = field(default_factory=dict)
    """By store and case, the person."""
    answer: Answer | None = None

    def person(self, made: Store, case: str) -> str:
        return self.truth[str(made.path), case]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to four stores of DICOM under two keys, of NIfTI, of CHAOS. With "yes", equal NIfTI names are one person."""
    answer: Answer | None = draw(st.sampled_from(["yes", "no", None]))
    stores, truth, scans = [], {}, {}
    for number in range(draw(st.integers(1, 4))):
        path = f"s{number}"
        kind = draw(st.sampled_from(["id k1", "id k2", "name", "set chaos"]))
        members = draw(st.lists(st.integers(1, 7), min_size=2, max_size=6, unique=True))
        cases = []
        for place, one in enumerate(members, 1):
            if kind.startswith("id"):
                key, patient = kind[3:], f"dicom-p{place:03d}"
                mark, person = f"id:{key}:{one}", f"{kind} {one}"
            elif kind == "name":
                patient, mark = f"x{number}-{one}", f"name:{path}:{one}"
                person = f"name {one}" if answer == "yes" else f"name {number} {one}"
            else:
                patient, mark, person = f"chaos-mr-{one}", f"set:chaos:mr-{one}", f"chaos {one}"
            scan = checksum(path, place)
            # Now and then a scan is in two stores under two names.
            if kind == "name" and answer != "yes" and scans and draw(st.integers(0, 5)) == 0:
                scan, person = draw(st.sampled_from(sorted(scans.items())))
                if person in {truth[path, case.id] for case in cases}:
                    continue
            elif kind == "name":
                scans[scan] = person
            cases.append(record(patient, mark, case=f"c{place}", scan=scan, modality="ct" if number % 2 else "mr"))
            truth[path, f"c{place}"] = person
        stores.append(store(path, cases))
    return World(tuple(stores), truth, answer)


def ambiguous(world: World) -> bool:
    """Whether nothing but a statement tells who is who, by the rules as a user reads them."""
    kinds = {mark.rsplit(":", 1)[0] for one in world.stores for case in one.cases for mark in case.person}
    ids = {domain for domain in kinds if domain.startswith("id")}
    named = [one for one in world.stores if one.cases and one.cases[0].person[0].startswith("name")]
    if len(ids) > 1 or (ids and named):
        return True
    seen: dict[str, str] = {}
    for one in named:
        for case in one.cases:
            name = case.person[0].rsplit(":", 1)[1]
            person = world.person(one, case.id)
            if seen.setdefault(name, person) != person or (world.answer == "yes" and name in seen):
                return True
    return False


def asked(world: World) -> People | None:
    """Who is who; None where the command asks, or refuses the answer."""
    try:
        return who_is_who(world.stores, same_people=world.answer)
    except InputError:
        return None


@given(worlds())
def test_random_people_are_told_apart_and_found_again(world: World) -> None:
    people = asked(world)
    # "yes" is refused where no names are equal.
    assert people is not None or world.answer != "no"
    if people is None:
        # A copy of a scan may tell what would else be asked, so that the converse does not hold.
        assert world.answer == "yes" or ambiguous(world)
        return
    found: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    for made in people.stores:
        for case in made.cases:
            person = world.person(made, case.id)
            found.setdefault(person, set()).add(case.patient)
            labels.setdefault(case.patient, set()).add(person)
    assert all(len(one) == 1 for one in found.values()), "one person has two names: it could be on both sides"
    assert all(len(one) == 1 for one in labels.values()), "two people have one name"


@given(worlds(), st.integers(0, 1), st.integers(0, 9))
def test_no_split_has_a_person_on_both_sides(world: World, fold: int, seed: int) -> None:
    people = asked(world)
    if people is None:
        return
    first = people.stores[0]
    if len(set(names(first))) < 2:
        return
    split = split_patients(names(first), SplitSettings(folds=2, fold=fold, split_seed=seed))
    tested = {world.person(first, case.id) for case in first.cases if case.patient in split.test}
    trained_on = {
        world.person(made, case.id) for made in people.stores for case in made.cases if case.patient not in split.test
    }
    assert not tested & trained_on
    assert tested


@given(worlds(), st.integers(0, 1), st.integers(0, 1))
def test_a_translator_never_sees_who_is_held_out_and_its_images_tell_whom_it_saw(
    world: World, fold: int, other: int
) -> None:
    """Through `divide`, the card, the manifest of the images, and the check of `segment` with the same or another
    fold."""
    mr = [one for one in world.stores if one.cases and one.cases[0].modality == "mr"]
    ct = [one for one in world.stores if one.cases and one.cases[0].modality == "ct"]
    if not mr or not ct:
        return
    try:
        data = divide({"ct": ct[0], "mr": mr[0]}, TranslateSettings(folds=2, fold=fold, same_people=world.answer))
    except InputError:
        return
    paths: dict[Modality, Store] = {"ct": ct[0], "mr": mr[0]}
    trained_on: set[tuple[Modality, str]] = {(side, case.id) for side in paths for case in data.seen(side)}
    true_trained = {world.person(paths[side], case) for side, case in trained_on}
    held = {world.person(mr[0], case.id) for case in data.stores["mr"].cases if case.patient in data.held_out}
    assert not true_trained & held
    card = data.people.card()
    seen = sorted({case.patient for side in paths for case in data.seen(side)})
    origin = synthetic({name: tuple(marks) for name, marks in card["marks"].items()}, on=seen)
    source = next(case for case in data.stores["ct"].cases if case.patient not in data.held_out)
    made = store("made", [record(source.patient, *source.person, synthetic=origin, case="made", modality="mr")])
    # What was said in training is known: nothing is asked again.
    later = who_is_who([mr[0], made])
    split = split_patients(names(later.stores[0]), SplitSettings(folds=2, fold=other))
    behind = later.behind(later.stores[1].cases[0])
    cases = [case for case in later.stores[0].cases if case.patient in split.test]
    tested = {case.patient: world.person(mr[0], case.id) for case in cases}
    saw = true_trained | {world.person(ct[0], source.id)}
    assert {name for name, person in tested.items() if person in saw} == set(tested) & behind
    assert fold != other or not set(tested) & behind
