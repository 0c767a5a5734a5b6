"""The patients of all stores, joined where they are one person; and the pairs of which nothing tells whether they are.

The rules are in `crossmod.data.people`.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crossmod.data.file_order import natural_key
from crossmod.data.person import NUMBER, Mark, Seen
from crossmod.data.store import Store, listed
from crossmod.errors import InputError

Answer = Literal["yes", "no"]

# How many people a message names.
MOST_NAMED = 6


@dataclass(eq=False)
class Node:
    """A patient of a store, or somebody that a model saw."""

    index: int
    name: str
    marks: set[Mark]
    scans: set[str]
    store: Store | None = None
    model: str | None = None

    @property
    def where(self) -> str:
        """The store, for messages."""
        return str(self.store.path) if self.store is not None else "the training of the model"

    def bare(self, domain: str) -> str | None:
        """The case name by which the user knows the patient; None where there is but a running number."""
        mark = next(mark for mark in self.marks if mark.domain == domain)
        # An id is no name; who bears one is called `prefix-p001`, or what `--patient` says.
        name = self.name.rpartition("/")[2] if mark.kind == "id" else mark.value
        numbered = mark.kind == "number" or (mark.kind == "id" and NUMBER.fullmatch(name.rpartition("-")[2]))
        return None if numbered else name


@dataclass(eq=False)
class Graph:
    """Patients, joined where they are one person (union-find)."""

    nodes: list[Node]
    above: list[int] = field(default_factory=list)
    why: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.above = list(range(len(self.nodes)))

    def root(self, node: Node) -> int:
        """The number that stands for the person."""
        at = node.index
        while self.above[at] != at:
            self.above[at] = self.above[self.above[at]]
            at = self.above[at]
        return at

    def join(self, one: Node, two: Node, why: str) -> None:
        """Take two patients for one person."""
        first, second = sorted((self.root(one), self.root(two)))
        if first != second:
            self.above[second] = first
            self.why.append((one.index, two.index, why))

    def join_equal(self) -> None:
        """Join by equal marks, by common scans, and by the names of a model of an earlier version."""
        first: dict[object, Node] = {}
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

    def people(self) -> dict[int, list[Node]]:
        """The patients of each person."""
        found: dict[int, list[Node]] = defaultdict(list)
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
            values: dict[str, tuple[str, Node]] = {}
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
class Question:
    """Two domains of marks that nothing compares."""

    domains: tuple[str, str]
    equal: tuple[tuple[Node, Node], ...]
    """Patients whose case names are equal."""
    names_tell: bool
    """Whether both sides have case names, so that different names are different people."""
    places: tuple[str, str]


def questions_of(graph: Graph, seen: Sequence[Seen]) -> Iterator[Question]:
    """The domains of marks between which nothing tells whether there are the same people.

    Args:
        graph: joined by all that is known.
        seen: models; what was decided among the people whom a model knows is not asked again.
    """
    domains: dict[str, list[Node]] = defaultdict(list)
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
        by_name: dict[str | None, list[Node]] = defaultdict(list)
        for node in second:
            by_name[node.bare(two)].append(node)
        pairs = ((a, b) for a in first if (name := a.bare(one)) is not None for b in by_name.get(name, ()))
        equal = tuple((a, b) for a, b in pairs if _undecided(graph, values, a, b))
        names_tell = kinds <= {"set", "name"}
        if equal or (not names_tell and any(_undecided(graph, values, a, b) for a in first for b in second)):
            yield Question((one, two), equal, names_tell, (_places(first), _places(second)))


def _values(graph: Graph, seen: Sequence[Seen]) -> dict[int, dict[str, str]]:
    """By person and domain, the value of the mark; among those whom a model knows, it was decided who is who."""
    decided = {one.model for one in seen if one.decided}
    return {
        root: {mark.domain: mark.value for node in nodes for mark in node.marks}
        | {f"known to {node.model}": str(root) for node in nodes if node.model in decided}
        for root, nodes in graph.people().items()
    }


def _undecided(graph: Graph, values: Mapping[int, Mapping[str, str]], one: Node, two: Node) -> bool:
    """Whether neither is known: that they are one person, or different ones by a mark or by one store's numbering."""
    first, second = values[graph.root(one)], values[graph.root(two)]
    if graph.root(one) == graph.root(two) or any(first[d] != second[d] for d in first.keys() & second.keys()):
        return False
    same_numbering = one.name.rpartition("-")[0] == two.name.rpartition("-")[0]
    numbered = all(mark.kind in ("id", "number") for mark in one.marks | two.marks)
    return not (one.store is not None and one.store is two.store and same_numbering and numbered)


def _places(nodes: Sequence[Node]) -> str:
    return listed(dict.fromkeys(node.where for node in nodes), 3)


def answer(graph: Graph, questions: Sequence[Question], same_people: Answer | None, ask: bool) -> None:
    """Join by equal case names as the user says, or, where nobody is asked, to be careful.

    Raises:
        InputError: the user has to say it, or says "yes" where no names are equal.
    """
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


def _refusal(questions: Sequence[Question]) -> InputError:
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


def _why_not(question: Question) -> str:
    kinds = [domain.partition(":")[0] for domain in question.domains]
    if kinds == ["id", "id"]:
        return "their ids were hashed under two patient keys"
    if "id" in kinds:
        return "one side has hashed PatientIDs, the other has none"
    return "running numbers, such as p001, tell people apart in one call of prepare only"
