"""The patients of whom nothing tells whether they are one person. `crossmod.data.ask_people` asks.

Notable:
- Nothing is asked about patients whom marks tell apart, or a model that knows both, or one call of `prepare`.
- Running numbers of one call tell patients apart who have scans of one kind. One with CT alone and one with MR alone
  may be one person, whose folders were taken for two patients.
- Names in two spellings, and names of one call that differ by words such as `t1` and `t2` alone, are asked about;
  without an answer nobody is joined by them.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossmod.data.person import Seen
from crossmod.data.same_person import Graph, Node
from crossmod.data.scan_kind import ScanKind, kind_of, nothing_in_common
from crossmod.data.spelling import NUMBERED_MODALITY, form, other_words_alone
from crossmod.data.store import listed

Pairs = tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Question:
    """Two domains of marks that nothing compares, or one that does not tell all apart."""

    domains: tuple[str, str]
    equal: Pairs
    """Patients whose case names are equal."""
    spelled: Pairs
    """Patients whose case names differ in spelling alone."""
    sides: tuple[tuple[Node, ...], tuple[Node, ...]]
    """Everybody in question; of running numbers of one call, two examples."""

    @property
    def kinds(self) -> tuple[str, str]:
        """The kinds of marks on both sides."""
        one, two = (domain.partition(":")[0] for domain in self.domains)
        return one, two

    @property
    def places(self) -> tuple[str, str]:
        """Where both sides are, for messages."""
        one, two = (listed(dict.fromkeys(node.where for node in nodes), 3) for nodes in self.sides)
        return one, two

    @property
    def pairs(self) -> Pairs:
        """All patients whose names may be one name."""
        return self.equal + self.spelled

    @property
    def one_call(self) -> bool:
        """Whether these are running numbers of one call of `prepare`."""
        return self.domains[0] == self.domains[1] and self.kinds[0] == "number"


@dataclass(frozen=True)
class _Known:
    """What tells people apart, by the number that stands for each."""

    graph: Graph
    values: Mapping[int, Mapping[str, str]]
    kinds: Mapping[int, frozenset[ScanKind]]

    def undecided(self, one: Node, two: Node, *, within: str = "") -> bool:
        """Whether neither is known: that they are one person, or different ones by a mark (other than those of the
        domain `within`) or by one store's numbering."""
        a, b = self.graph.root(one), self.graph.root(two)
        first, second = self.values[a], self.values[b]
        if a == b or any(first[d] != second[d] for d in (first.keys() & second.keys()) - {within}):
            return False
        same_numbering = one.name.rpartition("-")[0] == two.name.rpartition("-")[0]
        numbered = all(mark.kind in ("id", "number") for mark in one.marks | two.marks)
        one_call = one.store is not None and one.store is two.store and same_numbering and numbered
        return not one_call or self.apart(one, two)

    def apart(self, one: Node, two: Node) -> bool:
        """Whether they have scans, and none of one kind."""
        return nothing_in_common(self.kinds[self.graph.root(one)], self.kinds[self.graph.root(two)])


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
    people = graph.people()
    kinds = {root: frozenset(kind_of(c) for node in nodes for c in node.cases) for root, nodes in people.items()}
    known = _Known(graph, _values(graph, seen), kinds)
    words = graph.words()
    for domain, nodes in sorted(domains.items()):
        question = _within(domain, nodes, known, words)
        if question is not None:
            yield question
    for one, two in itertools.combinations(sorted(domains), 2):
        question = _between((one, two), (domains[one], domains[two]), known, words)
        if question is not None:
            yield question


def _values(graph: Graph, seen: Sequence[Seen]) -> dict[int, dict[str, str]]:
    """By person and domain, the value of the mark; among those whom a model knows, it was decided who is who."""
    decided = {one.model for one in seen if one.decided}
    return {
        root: {mark.domain: mark.value for node in nodes for mark in sorted(node.marks)}
        | {f"known to {node.model}": str(root) for node in nodes if node.model in decided}
        for root, nodes in graph.people().items()
    }


def _within(domain: str, nodes: Sequence[Node], known: _Known, words: frozenset[str]) -> Question | None:
    """Whether patients of one call of `prepare` may be one person all the same."""
    kind = domain.partition(":")[0]
    if kind == "number":
        several = itertools.combinations(nodes, 2)
        pairs = ((a, b) for a, b in several if known.apart(a, b) and known.undecided(a, b, within=domain))
        pair = next(pairs, None)
        return None if pair is None else Question((domain, domain), (), (), ((pair[0],), (pair[1],)))
    if kind != "name":
        return None
    by_form: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_form[_form(node, domain, words)].append(node)
    alike = tuple(
        (a, b)
        for several in by_form.values()
        for a, b in itertools.combinations(several, 2)
        if other_words_alone(str(a.bare(domain)), str(b.bare(domain)), words) and known.undecided(a, b, within=domain)
    )
    return Question((domain, domain), (), alike, (tuple(nodes), tuple(nodes))) if alike else None


def _between(
    domains: tuple[str, str], nodes: tuple[list[Node], list[Node]], known: _Known, words: frozenset[str]
) -> Question | None:
    """Whether patients of two domains may be one person."""
    one, two = domains
    kinds = {one.partition(":")[0], two.partition(":")[0]}
    if "set" in kinds and kinds != {"set", "name"}:
        return None
    # Who has marks of both is found already.
    first, second = (
        [node for node in own if not {one, two} <= known.values[known.graph.root(node)].keys()] for own in nodes
    )
    # In the names of a data set, such as `mr-1`, the words belong to the name.
    words = frozenset() if "set" in kinds else words
    equal = _pairs(first, second, domains, known, None)
    # Who is found under the very name is not looked for under another one.
    found = {node for pair in equal for node in pair}
    rest_of_first, rest_of_second = ([node for node in own if node not in found] for own in (first, second))
    spelled = _pairs(rest_of_first, rest_of_second, domains, known, words)
    names_tell = kinds <= {"set", "name"}
    if equal or spelled or (not names_tell and any(known.undecided(a, b) for a in first for b in second)):
        return Question(domains, equal, spelled, (tuple(first), tuple(second)))
    return None


def _pairs(
    first: Sequence[Node],
    second: Sequence[Node],
    domains: tuple[str, str],
    known: _Known,
    words: frozenset[str] | None,
) -> Pairs:
    """Undecided patients whose names are equal; with `words`, as far as spelling and these do not count."""

    def name_of(node: Node, domain: str) -> str | None:
        name = node.bare(domain)
        return name if name is None or words is None else _form(node, domain, words)

    by_name: dict[str | None, list[Node]] = defaultdict(list)
    for node in second:
        by_name[name_of(node, domains[1])].append(node)
    pairs = ((a, b) for a in first if (name := name_of(a, domains[0])) for b in by_name.get(name, ()))
    return tuple((a, b) for a, b in pairs if known.undecided(a, b))


def _form(node: Node, domain: str, words: frozenset[str]) -> str:
    """The form of a patient's name; empty where there is none."""
    name = node.bare(domain) or ""
    # Somebody gave this patient the pseudonym `ct-1`: it is no scan's name, as the folder `ct-1` would be.
    whole = node.store is None or node.name.rpartition("/")[2] == name
    return form(name, frozenset() if whole and NUMBERED_MODALITY.fullmatch(name) else words)
