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
from crossmod.data.same_person import Answer, Graph, Node
from crossmod.data.store import CaseRecord, JoinedStore, Store, distinct_names, listed
from crossmod.data.unmatched_patients import (
    MOST_NAMED,
    Question,
    answer,
    pairs_in_words,
    questions_of,
    unmatched_in_words,
)
from crossmod.files import natural_key
from crossmod.runs import PeopleCard


@dataclass(frozen=True, eq=False)
class People:
    """The people of a command.

    Args:
        stores: the stores in which `patient` is a person, in the given order.
        marks: all marks of each person.
        seen: by model and the model's own name for someone, the person.
        decided: whether everything is known or was stated; False if equal names were taken for one person as a
            precaution.
        lines: which patients were taken for one person and why, for the user.
    """

    stores: tuple[Store, ...]
    marks: Mapping[str, tuple[str, ...]]
    seen: Mapping[str, Mapping[str, str]]
    decided: bool
    lines: tuple[str, ...]

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
    for case in store.cases:
        made = case.synthetic
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
    parts = list({part.path.resolve(): part for store in stores for part in store.parts}.values())
    graph = Graph(_nodes(parts, seen))
    graph.join_equal()
    questions = list(questions_of(graph, seen))
    answer(graph, questions, same_people, ask)
    graph.check()
    names = _names(graph, stores, parts)
    marks = graph.marks()
    renamed = {
        part.path.resolve(): part.with_people(
            {n.name: (names[graph.root(n)], marks[graph.root(n)]) for n in graph.nodes if n.store is part}
        )
        for part in parts
    }
    return People(
        tuple(
            JoinedStore(parts) if len(parts) > 1 else parts[0]
            for parts in ([renamed[part.path.resolve()] for part in store.parts] for store in stores)
        ),
        {name: marks[root] for root, name in names.items()},
        {one.model: {n.name: names[graph.root(n)] for n in graph.nodes if n.model == one.model} for one in seen},
        not questions or same_people is not None,
        tuple(_lines(graph, questions, parts, same_people)),
    )


def _nodes(parts: Sequence[Store], seen: Sequence[Seen]) -> list[Node]:
    nodes: list[Node] = []
    for part in parts:
        patients = sorted({case.patient for case in part.cases})
        for name in patients:
            cases = [case for case in part.cases if case.patient == name]
            marks = {parse_mark(text) for case in cases for text in case.person}
            scans = {case.sha256 for case in cases if case.synthetic is None}
            scans |= {case.synthetic.source_sha256 for case in cases if case.synthetic is not None}
            real = tuple(case for case in cases if case.synthetic is None)
            marks = marks or {earlier_mark(name, patients, part.cases[0].sha256)}
            nodes.append(Node(len(nodes), name, marks, scans, store=part, cases=real))
    known = {node.name for node in nodes}
    for one in seen:
        for name, texts in one.people.items():
            marks = {parse_mark(text) for text in texts}
            # A model of an earlier version names people and no more: an equal pseudonym is the same person, as then.
            if not marks and name not in known:
                marks = {earlier_mark(name, one.people, one.model)}
            nodes.append(Node(len(nodes), name, marks, set(), model=one.model))
    return nodes


def _names(graph: Graph, stores: Sequence[Store], parts: Sequence[Store]) -> dict[int, str]:
    """A name for each person, the first store's first: the pseudonym, after the store's name if several have it."""
    labels = dict(zip((part.path.resolve() for part in parts), distinct_names([p.path for p in parts]), strict=True))
    names: dict[int, str] = {}
    people = graph.people()
    for store in stores:
        own = [part.path.resolve() for part in store.parts]
        new: dict[int, Node] = {}
        for root, nodes in people.items():
            inside = [node for node in nodes if node.store is not None and _path(node) in own]
            if inside and root not in names:
                new[root] = min(inside, key=lambda node: (own.index(_path(node)), natural_key(Path(node.name))))
        count = Counter(node.name for node in new.values())
        for root, node in new.items():
            names[root] = _free(node.name, labels[_path(node)], set(names.values()), alone=count[node.name] == 1)
    for root, nodes in people.items():
        if root not in names:
            names[root] = _free(nodes[0].name, "trained", set(names.values()), alone=True)
    return names


def _free(name: str, place: str, taken: set[str], *, alone: bool) -> str:
    """A name not taken yet."""
    qualified = name if name.startswith(f"{place}/") else f"{place}/{name}"
    choices = itertools.chain([name] if alone else [], [qualified], (f"{qualified}~{n}" for n in itertools.count(2)))
    return next(choice for choice in choices if choice not in taken)


def _path(node: Node) -> Path:
    assert node.store is not None
    return node.store.path.resolve()


def _lines(
    graph: Graph, questions: Sequence[Question], parts: Sequence[Store], same_people: Answer | None
) -> Iterator[str]:
    labels = dict(zip(map(id, parts), distinct_names([part.path for part in parts]), strict=True))
    by_why: dict[str, dict[str, None]] = defaultdict(dict)
    people = graph.people()
    shared = {
        root: nodes
        for root, nodes in people.items()
        if len({(id(node.store), node.name) for node in nodes if node.store is not None}) > 1
    }
    for one, two, why in graph.why:
        first, second = graph.nodes[one], graph.nodes[two]
        if graph.root(first) in shared and None not in (first.store, second.store):
            by_why[why][_both(first, second, labels)] = None
    for why, found in by_why.items():
        yield f"One person, by {why}: {listed(found, MOST_NAMED)} ({len(found)} in all)."
    people_in = {id(part): {graph.root(n) for n in graph.nodes if n.store is part} for part in parts}
    if len(parts) > 1 and not any(people_in[id(a)] & people_in[id(b)] for a, b in itertools.combinations(parts, 2)):
        kinds = {mark.kind for node in graph.nodes if node.store is not None for mark in node.marks}
        ways = [word for kind, word in _WAYS.items() if kind in kinds]
        is_in = "is known to be in" if questions and same_people is None else "is in"
        stated = " and as --same-people no says" if questions and same_people == "no" else ""
        yield f"No patient {is_in} {'both' if len(parts) == 2 else 'two'} stores, by {' and '.join(ways)}{stated}."
    if same_people is None:
        yield from map(_not_asked, (one for one in questions if one.spelled or not one.equal))


def _not_asked(question: Question) -> str:
    """Who is taken for different people without an answer."""
    if question.spelled:
        who = f"names in two spellings, {pairs_in_words([replace(question, equal=())])}"
    else:
        who = unmatched_in_words(question)
    return f"Taken for different people, without evidence: {who}. State it: --same-people yes or no."


def _both(one: Node, two: Node, labels: Mapping[int, str]) -> str:
    if one.name == two.name:
        return one.name
    return " = ".join(f"{node.name} in {labels[id(node.store)]}" for node in (one, two))


_WAYS = {"id": "patient ids", "set": "what the data set says", "name": "case names", "number": "numbers"}
