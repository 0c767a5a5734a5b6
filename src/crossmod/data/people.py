"""Which patients are one person, decided once for all stores of a command.

Every command that splits, holds out or looks for leaks calls `who_is_who` and works with the stores it returns: in them
`patient` names a person, the same in all stores, and no two people have the same name.

Two patients are one person if

- they are one patient of one store,
- they have an equal mark (`crossmod.data.patient_identity`): the same PatientID under one key, the same person of a
  data set such as CHAOS, the same name in one call of `prepare`,
- they have an identical scan, or one was synthesized from a scan of the other,
- the user says so: `--same-people yes` makes equal case names one person.

Different marks of one domain are different people, with two exceptions: running numbers of one call of `prepare`, one
with CT alone and one with MR alone (or MR of other echo times), and names of one call that differ only by words such as
`t1` and `t2`. If no marks can be compared, case names decide if they all differ, in spelling too (`Pat1` and `pat_01`
do not). If they do not decide, the command asks (`--same-people yes|no`): a wrong guess would train and test on one
person.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossmod.data.patient_identity import Seen, earlier_mark, parse_mark
from crossmod.data.same_person import (
    MOST_NAMED,
    Answer,
    Matches,
    Patient,
    Person,
    Question,
    answer,
    pairs_in_words,
    questions_of,
    unmatched_in_words,
)
from crossmod.data.store import CaseRecord, JoinedStore, Store, distinct_names, listed
from crossmod.files import natural_key
from crossmod.runs import PeopleCard


@dataclass(frozen=True, eq=False)
class People:
    """The people of a command."""

    stores: tuple[Store, ...]  # the stores in which `patient` is a person, in the given order
    marks: Mapping[str, tuple[str, ...]]  # all marks of each person
    seen: Mapping[str, Mapping[str, str]]  # by model and the model's own name for someone, the person
    # whether everything is known or was stated; False if equal names were taken for one person as a precaution
    decided: bool
    lines: tuple[str, ...]  # which patients were taken for one person and why, for the user

    def behind(self, record: CaseRecord) -> frozenset[str]:
        """The person of a case and, of a synthetic one, everyone that its model saw."""
        return frozenset({record.patient}) | self.trained_on(record)

    def trained_on(self, record: CaseRecord) -> frozenset[str]:
        """Everyone that the model of a synthetic case saw."""
        if record.synthetic is None:
            return frozenset()
        named = self.seen[record.synthetic.model]
        return frozenset(named[name] for name in record.synthetic.trained_on)

    def named(self, data: Mapping[str, Any]) -> frozenset[str]:
        """The people of these stores that a segmenter was trained on, by what its card says of its data."""
        marks = data.get("people", {}).get("marks", {})
        by_mark = {mark: person for person, own in self.marks.items() for mark in own}
        found = {by_mark[mark] for name in data["train_patients"] for mark in marks.get(name, ()) if mark in by_mark}
        return frozenset(found | (set(data["train_patients"]) - set(marks)))

    def card(self) -> PeopleCard:
        """What a run's card keeps, so that later commands recognise these people."""
        return {"marks": {name: list(self.marks[name]) for name in sorted(self.marks)}, "decided": self.decided}

    def around(self, model: Seen) -> dict[str, tuple[str, ...]]:
        """What images of a model keep: the people whom the model knows, by its names, and those of the stores."""
        named = self.seen[model.model]
        found = {name: self.marks[person] for name, person in named.items()}
        new = sorted(set(self.marks) - set(named.values()))
        return found | {name if name not in found else f"source/{name}": self.marks[name] for name in new}


def seen_on(card: Mapping[str, Any], model: str) -> Seen:
    """The people of a translator's card."""
    kept = card.get("people")
    if kept is None:
        sides = card["data"].values()
        names = {name for side in sides for name in (*side["patients"], *side.get("scored_patients", ()))}
        return Seen(model, dict.fromkeys((*sorted(names), *card["held_out"]), ()))
    return Seen(model, {name: tuple(marks) for name, marks in kept["marks"].items()}, kept["decided"])


def seen_behind(store: Store) -> list[Seen]:
    """The people behind the models that made the images of a store, a `Seen` for each model."""
    found: dict[str, Seen] = {}
    for made in (case.synthetic for case in store.cases):
        if made is not None and made.model not in found:
            people = made.people or dict.fromkeys(made.trained_on, ())
            found[made.model] = Seen(made.model, people, made.decided)
    return list(found.values())


def who_is_who(
    stores: Sequence[Store], *, seen: Sequence[Seen] = (), same_people: Answer | None = None, ask: bool = True
) -> People:
    """Decide who is one person.

    Args:
        stores: those of the command. The first one names its people, whatever the others hold, so that every command
            splits the same store identically.
        seen: people behind models; those behind synthetic cases of `stores` are added.
        same_people: whether equal case names are one person, where nothing else decides.
        ask: whether to refuse where `same_people` is needed and missing. If not, equal case names are taken for one
            person, which is safe where the answer holds no one out, and a line reports all other patients in question.

    Raises:
        InputError: the user has to say whether there are the same people in two stores, or what is known contradicts
            itself.
    """
    seen = [*seen, *(one for store in stores for one in seen_behind(store))]
    seen = list({one.model: one for one in seen}.values())
    by_path = {part.path.resolve(): part for store in stores for part in store.parts}
    parts, parts_of = (
        list(by_path.values()),
        [[by_path[part.path.resolve()] for part in store.parts] for store in stores],
    )
    matches = Matches(_patients(parts, seen))
    questions = list(questions_of(matches))
    answer(matches, questions, same_people, ask)
    matches.check()
    labels: dict[Store | None, str] = dict(zip(parts, distinct_names([part.path for part in parts]), strict=True))
    names = _names(matches, parts_of, labels)
    renamed = {
        part: part.with_people({p.name: (names[p.person], p.person.marks) for p in matches.patients if p.store is part})
        for part in parts
    }
    return People(
        tuple(JoinedStore([renamed[p] for p in own]) if len(own) > 1 else renamed[own[0]] for own in parts_of),
        {name: person.marks for person, name in names.items()},
        {one.model: {p.name: names[p.person] for p in matches.patients if p.model is one} for one in seen},
        not questions or same_people is not None,
        tuple(_lines(matches, questions, labels, same_people)),
    )


def _patients(parts: Sequence[Store], seen: Sequence[Seen]) -> list[Patient]:
    found: list[Patient] = []
    for part in parts:
        patients = sorted({case.patient for case in part.cases})
        for name in patients:
            cases = [case for case in part.cases if case.patient == name]
            marks = {parse_mark(text) for case in cases for text in case.person}
            marks = marks or {earlier_mark(name, patients, part.cases[0].sha256)}
            scans = {case.sha256 if case.synthetic is None else case.synthetic.source_sha256 for case in cases}
            real = tuple(case for case in cases if case.synthetic is None)
            found.append(Patient(len(found), name, marks, scans, store=part, cases=real))
    known = {patient.name for patient in found}
    for one in seen:
        for name, texts in one.people.items():
            marks = {parse_mark(text) for text in texts}
            # A model of an earlier version names people and no more: an equal pseudonym is the same person, as then.
            if not marks and name not in known:
                marks = {earlier_mark(name, one.people, one.model)}
            found.append(Patient(len(found), name, marks, set(), model=one))
    return found


def _names(
    matches: Matches, parts_of: Sequence[Sequence[Store | None]], labels: Mapping[Store | None, str]
) -> dict[Person, str]:
    """A name for each person, the first store's first: the pseudonym, after the store's name if several have it."""
    names: dict[Person, str] = {}
    for own in parts_of:
        new: dict[Person, Patient] = {}
        for person in matches.people:
            inside = [patient for patient in person.patients if patient.store in own]
            if inside and person not in names:
                new[person] = min(inside, key=lambda one: (own.index(one.store), natural_key(Path(one.name))))
        count = Counter(patient.name for patient in new.values())
        for person, patient in new.items():
            names[person] = _free(patient.name, labels[patient.store], names, alone=count[patient.name] == 1)
    for person in matches.people:
        if person not in names:
            names[person] = _free(person.patients[0].name, "trained", names, alone=True)
    return names


def _free(name: str, place: str, names: Mapping[Person, str], *, alone: bool) -> str:
    """A name that no one in `names` has."""
    qualified = name if name.startswith(f"{place}/") else f"{place}/{name}"
    choices = itertools.chain([name] if alone else [], [qualified], (f"{qualified}~{n}" for n in itertools.count(2)))
    taken = set(names.values())
    return next(choice for choice in choices if choice not in taken)


def _lines(
    matches: Matches, questions: Sequence[Question], labels: Mapping[Store | None, str], same_people: Answer | None
) -> Iterator[str]:
    by_why: dict[str, dict[str, None]] = defaultdict(dict)
    for one, two, why in matches.why:
        if one.store is not None and two.store is not None:
            both = " = ".join(f"{patient.name} in {labels[patient.store]}" for patient in (one, two))
            by_why[why][one.name if one.name == two.name else both] = None
    for why, found in by_why.items():
        yield f"One person, by {why}: {listed(found, MOST_NAMED)} ({len(found)} in all)."
    in_store = [patient for patient in matches.patients if patient.store is not None]
    people_in = [{patient.person for patient in in_store if patient.store is part} for part in labels]
    if len(labels) > 1 and not any(a & b for a, b in itertools.combinations(people_in, 2)):
        kinds = {mark.kind for patient in in_store for mark in patient.marks}
        ways = " and ".join(word for kind, word in _WAYS.items() if kind in kinds)
        is_in = "is known to be in" if questions and same_people is None else "is in"
        stated = " and as --same-people no says" if questions and same_people == "no" else ""
        yield f"No patient {is_in} {'both' if len(labels) == 2 else 'two'} stores, by {ways}{stated}."
    # Who is taken for different people without an answer.
    for question in questions if same_people is None else ():
        who = unmatched_in_words(question)
        if question.spelled:
            who = f"names in two spellings, {pairs_in_words([replace(question, equal=())])}"
        if question.spelled or not question.equal:
            yield f"Taken for different people, without evidence: {who}. State it: --same-people yes or no."


_WAYS = {"id": "patient ids", "set": "what the data set says", "name": "case names", "number": "numbers"}
