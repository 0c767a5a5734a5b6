"""Patients of whom nothing says whether they are one person: found, and asked about.

- Advice depends on where the patients come from. Each one was followed, and leads to stores that match.
- Nothing is asked about patients separated by marks, by a model that knows both, or by one call of `prepare`.
- Running numbers of one call separate patients who have scans of one kind. One with CT alone and one with MR alone may
  be one person, whose folders were taken for two patients.
- Names in two spellings, and names of one call that differ only by words such as `t1` and `t2`, are asked about;
  without an answer they join no one.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.data.patient_identity import NUMBERED_MODALITY, Seen, form, other_words_alone
from crossmod.data.same_person import STATED, TAKEN, Answer, Graph, Node, ScanKind, kind_of, nothing_in_common
from crossmod.data.store import listed
from crossmod.errors import InputError
from crossmod.files import natural_key

Pairs = tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Question:
    """Two domains of marks that cannot be compared, or one that does not separate all patients."""

    domains: tuple[str, str]
    equal: Pairs
    """Patients whose case names are equal."""
    spelled: Pairs
    """Patients whose case names differ in spelling alone."""
    sides: tuple[tuple[Node, ...], tuple[Node, ...]]
    """Everyone in question; of running numbers of one call, two examples."""

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
    """What separates people, by the number of each."""

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
    """The domains of marks between which nothing decides whether they hold the same people.

    `graph` is joined by all that is known; what was decided among the people of a model in `seen` is not asked again.
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
    # The user gave this patient the pseudonym `ct-1`: it is no scan's name, as the folder `ct-1` would be.
    whole = node.store is None or node.name.rpartition("/")[2] == name
    return form(name, frozenset() if whole and NUMBERED_MODALITY.fullmatch(name) else words)


# How many people a message names.
MOST_NAMED = 6


def answer(graph: Graph, questions: Sequence[Question], same_people: Answer | None, ask: bool) -> None:
    """Join by equal case names as the user says, or, without asking, as a precaution.

    Raises:
        InputError: the user has to say it, or says "yes" where no names are equal.
    """
    if same_people is None and ask and questions:
        raise _refusal(questions)
    if same_people == "yes":
        _check_names(questions)
    for question in questions if same_people != "no" else ():
        for one, two in question.pairs if same_people else question.equal:
            graph.join(one, two, STATED if same_people else TAKEN)


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
        return f"patients that cannot be matched, {_both(question)}: {_why_not(question)}"
    examples = zip(question.sides, _scans(question), strict=True)
    who = " and ".join(f"{node.name} ({scans} alone)" for (node, *_), scans in examples)
    places = " and ".join(dict.fromkeys(question.places))
    return f"patients that cannot be matched in {places}, such as {who}: they are known by running numbers alone"


def _check_names(questions: Sequence[Question]) -> None:
    """Refuse "yes", which is about equal names, where there are none."""
    nameless = next((one for one in questions if one.one_call), None)
    if not questions or (nameless is None and any(one.pairs for one in questions)):
        return
    question = nameless or questions[0]
    found = unmatched_in_words(question) if nameless else f"no case name that is {_both(question)}"
    do = f"Give --same-people no if {_no_one(question)}. {_how(question)}"
    raise InputError("--same-people yes", found=found, expected="equal names", do=do)


def _refusal(questions: Sequence[Question]) -> InputError:
    named = [one for one in questions if one.pairs]
    # Patients that were named one by one are a question each.
    named = [one for one in named if set(one.places) == set(named[0].places)]
    nameless = next((one for one in questions if one.one_call), None)
    if nameless is None and named:
        return _ask_of_names(named)
    question = nameless or questions[0]
    # The answer counts for all questions.
    also = f", and {pairs_in_words(named)} {_both(named[0])} are different people, too" if named else ""
    expected = "to know whether the same people are in both"
    if question.one_call:
        expected = "to know whether two of them are one person"
    do = f"Give --same-people no if {_no_one(question)}{also}. {_how(question)}"
    return InputError("patients", found=unmatched_in_words(question), expected=expected, do=do)


def _no_one(question: Question) -> str:
    return "no one has two of these numbers" if question.one_call else "no one is in both"


def _ask_of_names(questions: Sequence[Question]) -> InputError:
    names = pairs_in_words(questions)
    spelled = any(one.spelled for one in questions)
    several = spelled or sum(len(one.pairs) for one in questions) > 1
    found = f"{'cases' if several else 'the case'} {names} {_both(questions[0])}"
    expected, which = "to know whether equal names are the same people", "equal names are one person"
    if spelled:
        found += ", which may be one name in two spellings"
        expected = "to know whether these are the same people"
        which = "the two of each pair are one person"
        if any(one.equal for one in questions):
            which = f"equal names are one person, and {which}"
    do = (
        f"Give --same-people yes if {which}: patients held out for testing are then left out of training on both "
        "sides. Give --same-people no if they are different people; if that is wrong, the model is tested on people it "
        "was trained on, and the results are too good."
    )
    return InputError("patients", found=found, expected=expected, do=do)


def _both(question: Question) -> str:
    one, two = question.places
    if question.domains[0] == question.domains[1]:
        return f"in {one}"
    return f"in {one} and in {two}" if one != two else f"twice in {one}"


def _scans(question: Question) -> list[str]:
    """What the examples have; the echo times only where both are MR."""
    kinds = [sorted({kind_of(case) for node in nodes for case in node.cases}, key=str) for nodes in question.sides]
    if len({kind.modality for own in kinds for kind in own}) > 1:
        return [" and ".join(dict.fromkeys(kind.modality.upper() for kind in own)) for own in kinds]
    return [f"echo time {', '.join(f'{kind.echo_time:g}' for kind in own if kind.echo_time)} ms" for own in kinds]


def _why_not(question: Question) -> str:
    if question.kinds == ("id", "id"):
        return "their ids were hashed under two patient keys"
    if "id" in question.kinds:
        return "one side has hashed PatientIDs, the other has none"
    return "running numbers, such as p001, separate people only within one call of prepare"


def _how(question: Question) -> str:
    """How to make stores that match, by what they were made from."""
    if question.kinds == ("id", "id"):
        return (
            "Otherwise prepare both from DICOM with the same patient key: CROSSMOD_PATIENT_KEY names its file. Or give "
            "one person one name in both, with --patient NAME, and --same-people yes."
        )
    ways: dict[str, dict[str, None]] = defaultdict(dict)
    for domain, nodes in zip(question.domains, question.sides, strict=True):
        for node in nodes:
            if node.bare(domain) is None:
                what, how = _way(node, domain)
                ways[how][what] = None
    if not ways:
        return "Otherwise give the cases of one person the same name."
    steps = ", and ".join(f"prepare {' and '.join(where)} again {how}" for how, where in ways.items())
    then = "" if question.one_call else " Then --same-people yes makes equal names one person."
    return f"Otherwise give one person one name: {steps}.{then}"


def _way(node: Node, domain: str) -> tuple[str, str]:
    """What to prepare again to give a patient a name, and how."""
    if node.store is None:
        return "what the model was trained with", "with such names, and train it again"
    # Of NIfTI no header is kept.
    if domain.startswith("number:") and node.cases and not any(case.acquisition for case in node.cases):
        return node.where, "without --number-patients"
    return node.where, "from DICOM, each patient's folders one by one with --patient NAME --append"
