"""Asks whether patients whom nothing tells apart are one person, and does what the user says.

Notable: advice differs by where the patients come from. Each one was followed, and ends in stores that match.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from crossmod.data.same_person import STATED, TAKEN, Answer, Graph, Node
from crossmod.data.scan_kind import kind_of
from crossmod.data.store import listed
from crossmod.data.unmatched import Question
from crossmod.errors import InputError
from crossmod.files import natural_key

# How many people a message names.
MOST_NAMED = 6


def answer(graph: Graph, questions: Sequence[Question], same_people: Answer | None, ask: bool) -> None:
    """Join by equal case names as the user says, or, where nobody is asked, to be careful.

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
    raise InputError("--same-people yes", found=found, wanted="equal names", do=do)


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
    wanted = "to know whether the same people are in both"
    if question.one_call:
        wanted = "to know whether two of them are one person"
    do = f"Give --same-people no if {_no_one(question)}{also}. {_how(question)}"
    return InputError("patients", found=unmatched_in_words(question), wanted=wanted, do=do)


def _no_one(question: Question) -> str:
    return "nobody has two of these numbers" if question.one_call else "nobody is in both"


def _ask_of_names(questions: Sequence[Question]) -> InputError:
    names = pairs_in_words(questions)
    spelled = any(one.spelled for one in questions)
    several = spelled or sum(len(one.pairs) for one in questions) > 1
    found = f"{'cases' if several else 'the case'} {names} {_both(questions[0])}"
    wanted, which = "to know whether equal names are the same people", "equal names are one person"
    if spelled:
        found += ", which may be one name in two spellings"
        wanted = "to know whether these are the same people"
        which = "the two of each pair are one person"
        if any(one.equal for one in questions):
            which = f"equal names are one person, and {which}"
    do = (
        f"Give --same-people yes if {which}: who is held out for testing is then left out of training on both sides. "
        "Give --same-people no if they are different people; if that is wrong, people are tested on whom the model "
        "saw, and the results are too good."
    )
    return InputError("patients", found=found, wanted=wanted, do=do)


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
    return "running numbers, such as p001, tell people apart in one call of prepare only"


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
    steps = ", and ".join(f"prepare {' and '.join(where)} anew {how}" for how, where in ways.items())
    then = "" if question.one_call else " Then --same-people yes makes equal names one person."
    return f"Otherwise give one person one name: {steps}.{then}"


def _way(node: Node, domain: str) -> tuple[str, str]:
    """What has to be prepared anew to give a patient a name, and how."""
    if node.store is None:
        return "what the model was trained with", "with such names, and train it again"
    # Of NIfTI no header is kept.
    if domain.startswith("number:") and node.cases and not any(case.acquisition for case in node.cases):
        return node.where, "without --number-patients"
    return node.where, "from DICOM, each patient's folders one by one with --patient NAME --append"
