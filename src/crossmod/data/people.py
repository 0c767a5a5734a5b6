"""Who is one person: the one place that decides it, for all stores of a command.

Every command that splits, holds out or looks for leaks asks here and then works with the stores that it gets back:
in them `patient` is the name of a person, the same in all stores, and no two people have the same name.

Two patients are one person where

- they are one patient of one store,
- they bear an equal mark (see `crossmod.data.person`): the same PatientID under one key, the same person of a data set
  such as CHAOS, the same name in one call of `prepare`,
- they have a scan in common, byte for byte, or one was synthesized from a scan of the other,
- the user says so: `--same-people yes` makes equal case names one person.

Different marks of one domain are different people. Where no marks can be compared, case names decide if they all
differ; if some are equal, or if there are no names to compare, the command asks (`--same-people yes|no`): a wrong guess
would let one person be trained on and tested on.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crossmod.data.file_order import natural_key
from crossmod.data.joined import JoinedStore, distinct_names
from crossmod.data.person import NUMBER, Mark, earlier_mark, parse_mark
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.errors import InputError

Answer = Literal["yes", "no"]

# How many people a message names.
MOST_NAMED = 6


@dataclass(frozen=True)
class Seen:
    """The people of the stores that a model was trained with, as its card or its images tell them.

    Args:
        model: its name.
        people: by the model's own name for them, their marks, held out or not; no marks where an earlier version
            trained it.
        decided: whether it was decided then who of them is one person, so that it is not asked again.
    """

    model: str
    people: Mapping[str, tuple[str, ...]]
    decided: bool = True


@dataclass(frozen=True, eq=False)
class People:
    """Who is who in a command.

    Args:
        stores: the stores in which `patient` is a person, in the order that they were given in.
        marks: by person, every mark that was found of them.
        seen: by model and the model's own name for somebody, the person.
        decided: whether all is known, or was said; not, where equal names were taken for one person to be careful.
        lines: who was taken for one person and why, for the user.
    """

    stores: tuple[Store, ...]
    marks: Mapping[str, tuple[str, ...]]
    seen: Mapping[str, Mapping[str, str]]
    decided: bool
    lines: tuple[str, ...]

    def behind(self, record: CaseRecord) -> frozenset[str]:
        """The person of a case and, of a synthetic one, everybody that its model saw."""
        return frozenset({record.patient}) | self.trained_on(record)

    def trained_on(self, record: CaseRecord) -> frozenset[str]:
        """Everybody that the model of a synthetic case saw."""
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

    def card(self) -> dict[str, Any]:
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
    return Seen(
        model,
        {name: tuple(marks) for name, marks in kept["marks"].items()},
        kept["decided"],
    )


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
    stores: Sequence[Store],
    *,
    seen: Sequence[Seen] = (),
    same_people: Answer | None = None,
    ask: bool = True,
) -> People:
    """Decide who is one person.

    Args:
        stores: those of the command. The first one names the people in it, whatever the others hold, so that the same
            store is divided alike by every command.
        seen: people behind models; those behind synthetic cases of `stores` are added.
        same_people: whether equal case names are one person, where nothing else tells.
        ask: whether to refuse where that is needed and not given; without, equal case names are taken for one person,
            which is safe where nobody is held out by the answer.

    Raises:
        InputError: the user has to say whether there are the same people in two stores, or what is known contradicts
            itself.
    """
    seen = [*seen, *(one for store in stores for one in seen_behind(store))]
    seen = list({one.model: one for one in seen}.values())
    parts = list({part.path.resolve(): part for store in stores for part in store.parts}.values())
    graph = _Graph(_nodes(parts, seen))
    graph.join_equal()
    questions = list(_questions(graph, seen))
    _answer(graph, questions, same_people, ask)
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
        tuple(_rebuilt(store, renamed) for store in stores),
        {name: marks[root] for root, name in names.items()},
        {one.model: {n.name: names[graph.root(n)] for n in graph.nodes if n.model == one.model} for one in seen},
        not questions or same_people is not None,
        tuple(_lines(graph, names, questions, parts)),
    )


def _rebuilt(store: Store, renamed: Mapping[Path, Store]) -> Store:
    parts = [renamed[part.path.resolve()] for part in store.parts]
    return parts[0] if len(store.parts) == 1 else JoinedStore(parts)


@dataclass(eq=False)
class _Node:
    """A patient of a store, or somebody that a model saw."""

    index: int
    name: str
    marks: set[Mark]
    scans: set[str]
    store: Store | None = None
    model: str | None = None

    @property
    def where(self) -> str:
        return str(self.store.path) if self.store is not None else "the training of the model"

    def bare(self, domain: str) -> str | None:
        """The case name by which the user knows the patient; None where there is but a running number."""
        mark = next(mark for mark in self.marks if mark.domain == domain)
        # An id is no name; who bears one is called `prefix-p001`, or what `--patient` says.
        name = self.name.rpartition("/")[2] if mark.kind == "id" else mark.value
        numbered = mark.kind == "number" or (mark.kind == "id" and NUMBER.fullmatch(name.rpartition("-")[2]))
        return None if numbered else name


def _nodes(parts: Sequence[Store], seen: Sequence[Seen]) -> list[_Node]:
    nodes: list[_Node] = []
    for part in parts:
        patients = sorted({case.patient for case in part.cases})
        for name in patients:
            cases = [case for case in part.cases if case.patient == name]
            marks = {parse_mark(text) for case in cases for text in case.person}
            scans = {case.sha256 for case in cases if case.synthetic is None}
            scans |= {case.synthetic.source_sha256 for case in cases if case.synthetic is not None}
            nodes.append(
                _Node(
                    len(nodes), name, marks or {earlier_mark(name, patients, part.cases[0].sha256)}, scans, store=part
                )
            )
    known = {node.name for node in nodes}
    for one in seen:
        for name, texts in one.people.items():
            marks = {parse_mark(text) for text in texts}
            # A model of an earlier version names people and no more: an equal pseudonym is the same person, as then.
            if not marks and name not in known:
                marks = {earlier_mark(name, one.people, one.model)}
            nodes.append(_Node(len(nodes), name, marks, set(), model=one.model))
    return nodes


@dataclass(eq=False)
class _Graph:
    """Patients, joined where they are one person (union-find)."""

    nodes: list[_Node]
    above: list[int] = field(default_factory=list)
    why: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.above = list(range(len(self.nodes)))

    def root(self, node: _Node) -> int:
        """The number that stands for the person."""
        at = node.index
        while self.above[at] != at:
            self.above[at] = self.above[self.above[at]]
            at = self.above[at]
        return at

    def join(self, one: _Node, two: _Node, why: str) -> None:
        first, second = sorted((self.root(one), self.root(two)))
        if first != second:
            self.above[second] = first
            self.why.append((one.index, two.index, why))

    def join_equal(self) -> None:
        """Join by equal marks, by common scans, and by the names of a model of an earlier version."""
        first: dict[object, _Node] = {}
        for node in self.nodes:
            for mark in sorted(node.marks):
                self.join(first.setdefault(mark, node), node, _EVIDENCE[mark.kind])
        for node in self.nodes:
            for scan in sorted(node.scans):
                self.join(first.setdefault(scan, node), node, "the same scan")
            if not node.marks:
                for other in self.nodes:
                    if other.store is not None and other.name == node.name:
                        self.join(other, node, "the same name")

    def people(self) -> dict[int, list[_Node]]:
        """The patients of each person."""
        found: dict[int, list[_Node]] = defaultdict(list)
        for node in self.nodes:
            found[self.root(node)].append(node)
        return found

    def marks(self) -> dict[int, tuple[str, ...]]:
        """By person, every mark, as text."""
        return {
            root: tuple(sorted({str(mark) for node in nodes for mark in node.marks}))
            for root, nodes in self.people().items()
        }

    def check(self) -> None:
        """Refuse one person with two ids or two places in a data set, unless a common scan or a store says so.

        Raises:
            InputError: there is one.
        """
        stated = {index for one, two, why in self.why if why == _STATED for index in (one, two)}
        for nodes in self.people().values():
            if not any(node.index in stated for node in nodes):
                continue
            values: dict[str, tuple[str, _Node]] = {}
            for node in nodes:
                for mark in node.marks:
                    value, other = values.setdefault(mark.domain, (mark.value, node))
                    if value != mark.value:
                        found = (
                            f"{other.name} ({other.where}) and {node.name} ({node.where}) would be one person, but "
                            f"{_DIFFERENT[mark.kind]}"
                        )
                        do = "Give --same-people no, or rename the cases that are other people and prepare them again."
                        raise InputError(
                            "--same-people yes", found=found, wanted="names that mean the same people", do=do
                        )


_EVIDENCE = {"id": "patient id", "set": "data set", "name": "case name in one call of prepare", "number": "number"}
_DIFFERENT = {
    "id": "their DICOM PatientIDs differ",
    "set": "the data set says that they are different people",
    "name": "they are two cases of one folder",
    "number": "they are two patients of one store",
}
_STATED = "case name, as --same-people yes says"
_TAKEN = "case name; nothing else tells"


@dataclass(frozen=True)
class _Question:
    """Two domains of marks that nothing compares."""

    domains: tuple[str, str]
    equal: tuple[tuple[_Node, _Node], ...]
    """Patients whose case names are equal."""
    names_tell: bool
    """Whether both sides have case names, so that different names are different people."""
    places: tuple[str, str]


def _questions(graph: _Graph, seen: Sequence[Seen]) -> Iterator[_Question]:
    domains: dict[str, list[_Node]] = defaultdict(list)
    for node in graph.nodes:
        for domain in sorted({mark.domain for mark in node.marks}):
            domains[domain].append(node)
    values = _values(graph, seen)
    for one, two in itertools.combinations(sorted(domains), 2):
        kinds = {one.partition(":")[0], two.partition(":")[0]}
        if "set" in kinds and kinds != {"set", "name"}:
            continue
        # Who has marks of both is found already.
        first, second = (
            [node for node in domains[domain] if not {one, two} <= values[graph.root(node)].keys()]
            for domain in (one, two)
        )
        by_name: dict[str | None, list[_Node]] = defaultdict(list)
        for node in second:
            by_name[node.bare(two)].append(node)
        pairs = ((a, b) for a in first if (name := a.bare(one)) is not None for b in by_name.get(name, ()))
        equal = tuple((a, b) for a, b in pairs if _undecided(graph, values, a, b))
        names_tell = kinds <= {"set", "name"}
        if equal or (not names_tell and any(_undecided(graph, values, a, b) for a in first for b in second)):
            yield _Question((one, two), equal, names_tell, (_places(first), _places(second)))


def _values(graph: _Graph, seen: Sequence[Seen]) -> dict[int, dict[str, str]]:
    """By person and domain, the value of the mark; among those whom a model knows, it was decided who is who."""
    decided = {one.model for one in seen if one.decided}
    return {
        root: {mark.domain: mark.value for node in nodes for mark in node.marks}
        | {f"known to {node.model}": str(root) for node in nodes if node.model in decided}
        for root, nodes in graph.people().items()
    }


def _undecided(graph: _Graph, values: Mapping[int, Mapping[str, str]], one: _Node, two: _Node) -> bool:
    """Whether neither is known: that they are one person, or different ones by a mark or by one store's numbering."""
    first, second = values[graph.root(one)], values[graph.root(two)]
    if graph.root(one) == graph.root(two) or any(first[d] != second[d] for d in first.keys() & second.keys()):
        return False
    same_numbering = one.name.rpartition("-")[0] == two.name.rpartition("-")[0]
    numbered = all(mark.kind in ("id", "number") for mark in one.marks | two.marks)
    return not (one.store is not None and one.store is two.store and same_numbering and numbered)


def _places(nodes: Sequence[_Node]) -> str:
    return listed(dict.fromkeys(node.where for node in nodes), 3)


def _answer(graph: _Graph, questions: Sequence[_Question], same_people: Answer | None, ask: bool) -> None:
    if not questions:
        return
    equal = [pair for question in questions for pair in question.equal]
    if same_people is None and ask:
        raise _refusal(questions)
    if same_people == "yes" and not equal:
        where = " and in ".join(questions[0].places)
        do = (
            "Give --same-people no if nobody is in both. Otherwise prepare both from DICOM with the same patient key, "
            "or give the cases of one person the same name."
        )
        raise InputError("--same-people yes", found=f"no case name that is in {where}", wanted="equal names", do=do)
    if same_people != "no":
        for one, two in equal:
            graph.join(one, two, _STATED if same_people else _TAKEN)


def _refusal(questions: Sequence[_Question]) -> InputError:
    first = next((question for question in questions if question.equal), questions[0])
    one, two = first.places
    both = f"in {one} and in {two}" if one != two else f"twice in {one}"
    if first.equal:
        domain = first.domains[0]
        names = sorted({str(node.bare(domain)) for node, _ in first.equal}, key=lambda name: natural_key(Path(name)))
        found = f"{'cases' if len(names) > 1 else 'the case'} {listed(names, MOST_NAMED)} {both}"
        do = (
            "Give --same-people yes if equal names are one person: who is held out for testing is then left out of "
            "training on both sides. Give --same-people no if they are different people; if that is wrong, people are "
            "tested on whom the model saw, and the results are too good."
        )
        wanted = "to know whether equal names are the same people"
    else:
        found = f"patients that cannot be matched, {both}: {_why_not(first)}"
        do = "Give --same-people no if nobody is in both. Otherwise prepare both from DICOM with the same patient key."
        wanted = "to know whether the same people are in both"
    return InputError("patients", found=found, wanted=wanted, do=do)


def _why_not(question: _Question) -> str:
    kinds = [domain.partition(":")[0] for domain in question.domains]
    if kinds == ["id", "id"]:
        return "their ids were hashed under two patient keys"
    if "id" in kinds:
        return "one side has hashed PatientIDs, the other has none"
    return "running numbers, such as p001, tell people apart in one call of prepare only"


def _names(graph: _Graph, stores: Sequence[Store], parts: Sequence[Store]) -> dict[int, str]:
    """A name for each person: the pseudonym, with the store's name before it where several people have it.

    The first store's people are named by that store alone.
    """
    labels = dict(zip((part.path.resolve() for part in parts), distinct_names([p.path for p in parts]), strict=True))
    names: dict[int, str] = {}
    people = graph.people()
    for store in stores:
        own = [part.path.resolve() for part in store.parts]
        new: dict[int, _Node] = {}
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
    """A name that nobody has yet."""
    qualified = name if name.startswith(f"{place}/") else f"{place}/{name}"
    choices = itertools.chain([name] if alone else [], [qualified], (f"{qualified}~{n}" for n in itertools.count(2)))
    return next(choice for choice in choices if choice not in taken)


def _path(node: _Node) -> Path:
    assert node.store is not None
    return node.store.path.resolve()


def _lines(
    graph: _Graph, names: Mapping[int, str], questions: Sequence[_Question], parts: Sequence[Store]
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
    held = {id(part): {graph.root(n) for n in graph.nodes if n.store is part} for part in parts}
    if len(parts) > 1 and not any(held[id(a)] & held[id(b)] for a, b in itertools.combinations(parts, 2)):
        kinds = {mark.kind for node in graph.nodes if node.store is not None for mark in node.marks}
        ways = [word for kind, word in _WAYS.items() if kind in kinds]
        said = " and as --same-people no says" if questions else ""
        yield f"No patient is in {'both' if len(parts) == 2 else 'two'} stores, by {' and '.join(ways)}{said}."


def _both(one: _Node, two: _Node, labels: Mapping[int, str]) -> str:
    if one.name == two.name:
        return one.name
    return " = ".join(f"{node.name} in {labels[id(node.store)]}" for node in (one, two))


_WAYS = {"id": "patient ids", "set": "what the data set says", "name": "case names", "number": "numbers"}
