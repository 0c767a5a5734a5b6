"""The patients of all stores, joined if they are one person; the rules are in `crossmod.data.people`.

Two scans of one kind in folders without PatientIDs are probably two people; scans of different kinds may be one
person's.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from crossmod.config import Modality
from crossmod.data.patient_identity import NUMBER, Mark, other_words_alone, words_of
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError

# One sequence has other echo times on another scanner, but not twice as long ones; T1 and T2 differ by more.
OTHER_SEQUENCE = 2.0


class ScanKind(NamedTuple):
    """A modality, and the echo time in ms where it is known."""

    modality: Modality
    echo_time: float | None


def kind_of(record: CaseRecord) -> ScanKind:
    """What a stored scan is of."""
    echo = record.acquisition.get("EchoTime") if record.modality == "mr" else None
    return ScanKind(record.modality, float(echo) if isinstance(echo, int | float) else None)


def same_kind(one: ScanKind, two: ScanKind) -> bool:
    """Whether two scans may be of one sequence."""
    if one.modality != two.modality:
        return False
    if one.modality == "ct" or not one.echo_time or not two.echo_time:
        return True
    low, high = sorted((one.echo_time, two.echo_time))
    return high < OTHER_SEQUENCE * low


def nothing_in_common(one: Collection[ScanKind], two: Collection[ScanKind]) -> bool:
    """Whether two patients have scans, and none of one kind: CT alone and MR alone, T1 alone and T2 alone."""
    return bool(one and two) and not any(same_kind(a, b) for a in one for b in two)


Answer = Literal["yes", "no"]


@dataclass(eq=False)
class Node:
    """A patient of a store, or a person that a model saw."""

    index: int
    name: str
    marks: set[Mark]
    scans: set[str]
    store: Store | None = None
    model: str | None = None
    cases: tuple[CaseRecord, ...] = ()
    """The real ones."""

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

    def words(self) -> frozenset[str]:
        """What names may say of a scan and not of a person."""
        return words_of(case.sequence for node in self.nodes for case in node.cases)

    def check(self) -> None:
        """Refuse one person with two ids or two places in a data set, unless a common scan or a store says so.

        Raises:
            InputError: there is one.
        """
        stated = {index for one, two, why in self.why if why == STATED for index in (one, two)}
        words = self.words()
        for nodes in self.people().values():
            if not any(node.index in stated for node in nodes):
                continue
            values: dict[str, tuple[str, Node]] = {}
            for node in nodes:
                for mark in node.marks:
                    value, other = values.setdefault(mark.domain, (mark.value, node))
                    if value != mark.value and not (
                        mark.kind == "name" and other_words_alone(value, mark.value, words)
                    ):
                        found = (
                            f"{other.name} ({other.where}) and {node.name} ({node.where}) would be one person, but "
                            f"{_DIFFERENT[mark.kind]}"
                        )
                        do = "Give --same-people no, or rename the cases that are other people and prepare them again."
                        raise InputError(
                            "--same-people yes", found=found, expected="names that mean the same people", do=do
                        )


_EVIDENCE = {"id": "patient id", "set": "data set", "name": "case name in one call of prepare", "number": "number"}
_DIFFERENT = {
    "id": "their DICOM PatientIDs differ",
    "set": "the data set says that they are different people",
    "name": "they are two cases of one folder",
    "number": "they are two patients of one store",
}
STATED = "case name, as --same-people yes says"
TAKEN = "case name; there is no other evidence"
