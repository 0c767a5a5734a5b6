"""Patients and persons: who is joined, and what has to be asked; the rules are in `crossmod.data.people`.

- Nothing is asked about patients separated by marks, by a model that knows both, or by one call of `prepare`.
- Running numbers of one call separate patients who have scans of one kind. One with CT alone and one with MR alone may
  be one person, whose folders were taken for two patients.
- Names in two spellings, and names of one call that differ only by words such as `t1` and `t2`, are asked about;
  without an answer they join no one.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from crossmod.config import Modality
from crossmod.data.patient_identity import NUMBER, NUMBERED_MODALITY, Mark, Seen, form, other_words_alone, words_of
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.errors import InputError
from crossmod.files import natural_key

Answer = Literal["yes", "no"]

# One sequence has other echo times on another scanner, but not twice as long ones; T1 and T2 differ by more.
OTHER_SEQUENCE = 2.0
# How many people a message names.
MOST_NAMED = 6

STATED = "case name, as --same-people yes says"
TAKEN = "case name; there is no other evidence"
_EVIDENCE = {"id": "patient id", "set": "data set", "name": "case name in one call of prepare", "number": "number"}
_DIFFERENT = {
    "id": "their DICOM PatientIDs differ",
    "set": "the data set says that they are different people",
    "name": "they are two cases of one folder",
    "number": "they are two patients of one store",
}


class ScanKind(NamedTuple):
    """A modality, and the echo time in ms where it is known."""

    modality: Modality
    echo_time: float | None

    @classmethod
    def of(cls, case: CaseRecord) -> "ScanKind":
        """What a stored scan is of."""
        echo = case.acquisition.get("EchoTime") if case.modality == "mr" else None
        return cls(case.modality, float(echo) if isinstance(echo, int | float) else None)

    def may_be(self, other: "ScanKind") -> bool:
        """Whether two scans may be of one sequence."""
        if self.modality != other.modality:
            return False
        if self.modality == "ct" or not self.echo_time or not other.echo_time:
            return True
        low, high = sorted((self.echo_time, other.echo_time))
        return high < OTHER_SEQUENCE * low


@dataclass(eq=False)
class Patient:
    """A patient of a store, or a person that a model saw; `cases` are the real ones."""

    index: int
    name: str
    marks: set[Mark]
    scans: set[str]
    store: Store | None = None
    model: Seen | None = None
    cases: tuple[CaseRecord, ...] = ()
    person: "Person" = field(init=False)

    def __post_init__(self) -> None:
        self.person = Person((self,))

    @property
    def where(self) -> str:
        """The store, for messages."""
        return str(self.store.path) if self.store is not None else "the training of the model"

    def bare(self, domain: str) -> str | None:
        """The case name by which the user knows the patient; None where there is but a running number."""
        mark = min(mark for mark in self.marks if mark.domain == domain)
        # An id is no name; its patient is called `prefix-p001`, or what `--patient` says.
        name = self.name.rpartition("/")[2] if mark.kind == "id" else mark.value
        numbered = mark.kind == "number" or (mark.kind == "id" and NUMBER.fullmatch(name.rpartition("-")[2]))
        return None if numbered else name

    def form(self, domain: str, words: frozenset[str]) -> str:
        """The name without differences of spelling and without `words`; empty where there is none."""
        name = self.bare(domain) or ""
        # The user gave this patient the pseudonym `ct-1`: it is no scan's name, as the folder `ct-1` would be.
        whole = self.store is None or self.name.rpartition("/")[2] == name
        return form(name, frozenset() if whole and NUMBERED_MODALITY.fullmatch(name) else words)


@dataclass(frozen=True, eq=False)
class Person:
    """The patients who are one person, in the order of their indexes."""

    patients: tuple[Patient, ...]

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Every mark, as text."""
        return tuple(sorted({str(mark) for patient in self.patients for mark in patient.marks}))

    @cached_property
    def values(self) -> dict[str, str]:
        """By domain, the value of the mark; among those whom a model knows, it was decided who is who."""
        found = {mark.domain: mark.value for patient in self.patients for mark in sorted(patient.marks)}
        models = {patient.model.model for patient in self.patients if patient.model and patient.model.decided}
        return found | {f"known to {model}": str(self.patients[0].index) for model in models}

    @cached_property
    def kinds(self) -> frozenset[ScanKind]:
        """What the scans are of."""
        return frozenset(ScanKind.of(case) for patient in self.patients for case in patient.cases)

    def shares_no_kind(self, other: "Person") -> bool:
        """Whether both have scans, and none of one kind: CT alone and MR alone, T1 alone and T2 alone."""
        return bool(self.kinds and other.kinds) and not any(a.may_be(b) for a in self.kinds for b in other.kinds)


@dataclass(eq=False)
class Matches:
    """Patients, joined where they are one person, and which two were joined why."""

    patients: list[Patient]
    why: list[tuple[Patient, Patient, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Join by equal marks, by common scans, and by the names of a model of an earlier version."""
        first: dict[object, Patient] = {}
        for patient in self.patients:
            for mark in sorted(patient.marks):
                self.join(first.setdefault(mark, patient), patient, _EVIDENCE[mark.kind])
        for patient in self.patients:
            for scan in sorted(patient.scans):
                self.join(first.setdefault(scan, patient), patient, "the same scan")
            for other in self.patients if not patient.marks else ():
                if other.store is not None and other.name == patient.name:
                    self.join(other, patient, "the same name")

    def join(self, one: Patient, two: Patient, why: str) -> None:
        """Take two patients for one person."""
        if one.person is not two.person:
            both = (*one.person.patients, *two.person.patients)
            person = Person(tuple(sorted(both, key=lambda patient: patient.index)))
            for patient in both:
                patient.person = person
            self.why.append((one, two, why))

    @property
    def people(self) -> list[Person]:
        """Every person, in the order of their first patients."""
        return list(dict.fromkeys(patient.person for patient in self.patients))

    @cached_property
    def words(self) -> frozenset[str]:
        """What names may say of a scan and not of a person."""
        return words_of(case.sequence for patient in self.patients for case in patient.cases)

    def check(self) -> None:
        """Refuse one person with two ids or two places in a data set, unless a common scan or a store says so."""
        stated = {one.person for one, _, why in self.why if why == STATED}
        for person in (person for person in self.people if person in stated):
            values: dict[str, tuple[str, Patient]] = {}
            for patient, mark in ((one, mark) for one in person.patients for mark in sorted(one.marks)):
                value, other = values.setdefault(mark.domain, (mark.value, patient))
                spelled = mark.kind == "name" and other_words_alone(value, mark.value, self.words)
                if value != mark.value and not spelled:
                    both = f"{other.name} ({other.where}) and {patient.name} ({patient.where})"
                    found = f"{both} would be one person, but {_DIFFERENT[mark.kind]}"
                    do = "Give --same-people no, or rename the cases that are other people and prepare them again."
                    raise InputError(
                        "--same-people yes", found=found, expected="names that mean the same people", do=do
                    )


Pairs = tuple[tuple[Patient, Patient], ...]


@dataclass(frozen=True)
class Question:
    """Two domains of marks that cannot be compared, or one that does not separate all patients."""

    domains: tuple[str, str]
    equal: Pairs
    spelled: Pairs  # names that differ in spelling alone
    sides: tuple[Sequence[Patient], Sequence[Patient]]  # of running numbers of one call, two examples

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of marks on both sides."""
        return tuple(domain.partition(":")[0] for domain in self.domains)

    @property
    def places(self) -> list[str]:
        """Where both sides are, for messages."""
        return [listed(dict.fromkeys(patient.where for patient in side), 3) for side in self.sides]

    @property
    def both(self) -> str:
        """The two places in one phrase."""
        one, two = self.places
        if self.domains[0] == self.domains[1]:
            return f"in {one}"
        return f"in {one} and in {two}" if one != two else f"twice in {one}"

    @property
    def one_call(self) -> bool:
        """Whether these are running numbers of one call of `prepare`."""
        return self.domains[0] == self.domains[1] and self.kinds[0] == "number"


def questions_of(matches: Matches) -> Iterator[Question]:
    """The domains of marks between which nothing decides whether they hold the same people."""
    domains: dict[str, list[Patient]] = defaultdict(list)
    for patient in matches.patients:
        for domain in sorted({mark.domain for mark in patient.marks}):
            domains[domain].append(patient)
    found = [_within(domain, patients, matches.words) for domain, patients in sorted(domains.items())]
    found += [_between(one, two, domains, matches.words) for one, two in itertools.combinations(sorted(domains), 2)]
    return (question for question in found if question is not None)


def _undecided(one: Patient, two: Patient, within: str = "") -> bool:
    """Whether neither is known: that they are one person, or different ones by a mark (other than those of the domain
    `within`) or by one store's numbering."""
    first, second = one.person.values, two.person.values
    if one.person is two.person or any(first[d] != second[d] for d in (first.keys() & second.keys()) - {within}):
        return False
    same_numbering = one.name.rpartition("-")[0] == two.name.rpartition("-")[0]
    numbered = all(mark.kind in ("id", "number") for mark in one.marks | two.marks)
    one_call = one.store is not None and one.store is two.store and same_numbering and numbered
    return not one_call or one.person.shares_no_kind(two.person)


def _within(domain: str, patients: Sequence[Patient], words: frozenset[str]) -> Question | None:
    """Whether patients of one call of `prepare` may be one person all the same."""
    kind = domain.partition(":")[0]
    if kind == "number":
        pairs = ((a, b) for a, b in itertools.combinations(patients, 2) if a.person.shares_no_kind(b.person))
        pair = next((pair for pair in pairs if _undecided(*pair, within=domain)), None)
        return None if pair is None else Question((domain, domain), (), (), ((pair[0],), (pair[1],)))
    if kind != "name":
        return None
    by_form: dict[str, list[Patient]] = defaultdict(list)
    for patient in patients:
        by_form[patient.form(domain, words)].append(patient)
    alike = tuple(
        (a, b)
        for several in by_form.values()
        for a, b in itertools.combinations(several, 2)
        if other_words_alone(str(a.bare(domain)), str(b.bare(domain)), words) and _undecided(a, b, within=domain)
    )
    return Question((domain, domain), (), alike, (patients, patients)) if alike else None


def _between(one: str, two: str, domains: dict[str, list[Patient]], words: frozenset[str]) -> Question | None:
    """Whether patients of two domains may be one person."""
    kinds = {one.partition(":")[0], two.partition(":")[0]}
    if "set" in kinds and kinds != {"set", "name"}:
        return None
    # Who has marks of both is found already.
    first, second = (
        [patient for patient in domains[domain] if not {one, two} <= patient.person.values.keys()]
        for domain in (one, two)
    )

    def pairs(left: Sequence[Patient], right: Sequence[Patient], without: frozenset[str] | None) -> Pairs:
        """Undecided patients whose names are equal; with `without`, as far as spelling and these do not count."""
        by_name: dict[str | None, list[Patient]] = defaultdict(list)
        for patient in right:
            by_name[patient.bare(two) if without is None else patient.form(two, without)].append(patient)
        named = ((a, a.bare(one) if without is None else a.form(one, without)) for a in left)
        return tuple((a, b) for a, name in named if name for b in by_name.get(name, ()) if _undecided(a, b))

    equal = pairs(first, second, None)
    # Who is found under the very name is not looked for under another one.
    found = set(itertools.chain(*equal))
    rest = ([patient for patient in side if patient not in found] for side in (first, second))
    # In the names of a data set, such as `mr-1`, the words belong to the name.
    spelled = pairs(*rest, without=frozenset() if "set" in kinds else words)
    names_tell = kinds <= {"set", "name"}
    if equal or spelled or (not names_tell and any(_undecided(a, b) for a in first for b in second)):
        return Question((one, two), equal, spelled, (first, second))
    return None


def answer(matches: Matches, questions: Sequence[Question], same_people: Answer | None, ask: bool) -> None:
    """Join by equal case names as the user says, or, without asking, as a precaution."""
    if questions and (same_people == "yes" or (same_people is None and ask)):
        _check_answer(questions, same_people)
    for question in questions if same_people != "no" else ():
        for one, two in question.equal + question.spelled if same_people else question.equal:
            matches.join(one, two, STATED if same_people else TAKEN)


def _check_answer(questions: Sequence[Question], same_people: Answer | None) -> None:
    """Refuse a missing answer, and "yes", which is about equal names, where there are none."""
    named = [question for question in questions if question.equal or question.spelled]
    # Patients that were named one by one are a question each.
    named = [question for question in named if set(question.places) == set(named[0].places)]
    nameless = next((question for question in questions if question.one_call), None)
    if nameless is None and named:
        if same_people is None:
            raise _ask_of_names(named)
        return
    question = nameless or questions[0]
    do = f"Give --same-people no if {'no one has two of these numbers' if question.one_call else 'no one is in both'}"
    if same_people == "yes":
        found = unmatched_in_words(question) if nameless else f"no case name that is {question.both}"
        raise InputError("--same-people yes", found=found, expected="equal names", do=f"{do}. {_how(question)}")
    # The answer counts for all questions.
    also = f", and {pairs_in_words(named)} {named[0].both} are different people, too" if named else ""
    whether = "two of them are one person" if question.one_call else "the same people are in both"
    found, expected = unmatched_in_words(question), f"to know whether {whether}"
    raise InputError("patients", found=found, expected=expected, do=f"{do}{also}. {_how(question)}")


def _ask_of_names(questions: Sequence[Question]) -> InputError:
    spelled = any(question.spelled for question in questions)
    several = spelled or sum(len(question.equal + question.spelled) for question in questions) > 1
    found = f"{'cases' if several else 'the case'} {pairs_in_words(questions)} {questions[0].both}"
    expected, which = "to know whether equal names are the same people", "equal names are one person"
    if spelled:
        found += ", which may be one name in two spellings"
        expected = "to know whether these are the same people"
        also = "equal names are one person, and " if any(question.equal for question in questions) else ""
        which = f"{also}the two of each pair are one person"
    do = (
        f"Give --same-people yes if {which}: patients held out for testing are then left out of training on both "
        "sides. Give --same-people no if they are different people; if that is wrong, the model is tested on people it "
        "was trained on, and the results are too good."
    )
    return InputError("patients", found=found, expected=expected, do=do)


def pairs_in_words(questions: Sequence[Question]) -> str:
    """The names that are equal, and those that are two spellings of one: `3, Pat1 / pat1`; sides as in the first."""
    names: set[str] = set()
    for question in questions:
        one, two = question.domains
        names |= {str(a.bare(one)) for a, _ in question.equal}
        spellings = [(str(a.bare(one)), str(b.bare(two))) for a, b in question.spelled]
        turned = question.places != questions[0].places
        names |= {" / ".join(pair[::-1] if turned else pair) for pair in spellings}
    return listed(sorted(names, key=lambda name: natural_key(Path(name.partition(" / ")[0]))), MOST_NAMED)


def unmatched_in_words(question: Question) -> str:
    """Patients without names to compare, and why they cannot be matched."""
    if not question.one_call:
        why = "running numbers, such as p001, separate people only within one call of prepare"
        if question.kinds == ("id", "id"):
            why = "their ids were hashed under two patient keys"
        elif "id" in question.kinds:
            why = "one side has hashed PatientIDs, the other has none"
        return f"patients that cannot be matched, {question.both}: {why}"
    examples = [(one.name, sorted({ScanKind.of(case) for case in one.cases}, key=str)) for (one, *_) in question.sides]
    # The echo times only where both are MR.
    if len({kind.modality for _, kinds in examples for kind in kinds}) > 1:
        scans = [" and ".join(dict.fromkeys(kind.modality.upper() for kind in kinds)) for _, kinds in examples]
    else:
        echoes = ([f"{kind.echo_time:g}" for kind in kinds if kind.echo_time] for _, kinds in examples)
        scans = [f"echo time {', '.join(times)} ms" for times in echoes]
    who = " and ".join(f"{name} ({scan} alone)" for (name, _), scan in zip(examples, scans, strict=True))
    places = " and ".join(dict.fromkeys(question.places))
    return f"patients that cannot be matched in {places}, such as {who}: they are known by running numbers alone"


def _how(question: Question) -> str:
    """How to make stores that match, by what they were made from."""
    if question.kinds == ("id", "id"):
        return (
            "Otherwise prepare both from DICOM with the same patient key: CROSSMOD_PATIENT_KEY names its file. Or give "
            "one person one name in both, with --patient NAME, and --same-people yes."
        )
    ways: dict[str, dict[str, None]] = defaultdict(dict)
    for domain, side in zip(question.domains, question.sides, strict=True):
        for patient in (patient for patient in side if patient.bare(domain) is None):
            what, how = patient.where, "from DICOM, each patient's folders one by one with --patient NAME --append"
            if patient.store is None:
                what, how = "what the model was trained with", "with such names, and train it again"
            # Of NIfTI no header is kept.
            elif domain.startswith("number:") and patient.cases and not any(case.acquisition for case in patient.cases):
                how = "without --number-patients"
            ways[how][what] = None
    if not ways:
        return "Otherwise give the cases of one person the same name."
    steps = ", and ".join(f"prepare {' and '.join(where)} again {how}" for how, where in ways.items())
    then = "" if question.one_call else " Then --same-people yes makes equal names one person."
    return f"Otherwise give one person one name: {steps}.{then}"
