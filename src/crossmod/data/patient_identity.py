"""How a patient is recognised in other stores: a mark in the record of each case, and spellings of one name.

A mark is the text `KIND:SCOPE:VALUE`. Two marks can be compared if kind and scope agree: equal values are one person,
different values are different people. Marks of different scopes say nothing about each other. Equal forms of names
prove nothing: they are a reason to ask.

| kind | scope | value |
| --- | --- | --- |
| `id` | fingerprint of the patient key | keyed hash of the DICOM PatientID |
| `set` | a data set that identifies its people, such as `chaos` | its number for the person |
| `name` | one call of `prepare` | the case name that the user gave, without the store's prefix |
| `number` | one call of `prepare` | a running number, without meaning outside the store |
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

# What says which scan it is, not whose.
MODALITY_WORDS = frozenset({"ct", "mr", "mri"})
SEQUENCE_WORDS = frozenset(
    {"t1", "t2", "t1w", "t2w", "pd", "pdw", "flair", "stir", "spir", "spair", "dwi", "adc", "dixon", "dual"}
    | {"haste", "vibe", "arterial", "venous", "portal", "native"}
)
# What divides words; a point in a number, as in `te4.6`, does not.
_BETWEEN = re.compile(r"(?:[^\w.]|_|(?<!\d)\.|\.(?!\d))+")
_MODALITY_BEFORE = re.compile(r"(?:ct|mri|mr)(?=\d+$)")
_MODALITY_BEHIND = re.compile(r"(?<=\d)(?:ct|mri|mr)$")


# CT number 1: a name where it is all that a patient is called.
NUMBERED_MODALITY = re.compile(r"(?:ct|mri|mr)[\W_]*\d+", re.IGNORECASE)


def words_of(sequences: Iterable[str | None]) -> frozenset[str]:
    """The words that names lose: those of modalities, of usual sequences, and of the sequences that stores hold."""
    own = {word for name in sequences if name for word in _words(name) if not word[0].isdigit()}
    return MODALITY_WORDS | SEQUENCE_WORDS | own


def form(name: str, without: Collection[str] = ()) -> str:
    """A name without spelling differences: upper and lower case, separators, leading zeros.

    Words in `without` are left out too; with `ct` or `mr` among them also where they touch a number, as in `ct1`. If
    nothing would be left they stay: someone may be called `T1`.
    """
    words = _words(name)
    kept = [word for word in words if word not in without]
    if set(without) >= MODALITY_WORDS:
        kept = [_MODALITY_BEHIND.sub("", _MODALITY_BEFORE.sub("", word)) for word in kept]
    parts = re.findall(r"[^\W\d_]+|\d+", " ".join(kept or words))
    # Adjacent numbers stay separate: `1-11` is not `11-1`.
    text = " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)
    return re.sub(r"(?<!\d) | (?!\d)", "", text) or name


def other_words_alone(one: str, two: str, words: Collection[str]) -> bool:
    """Whether two names differ by words for scans and by nothing else: `p1_t1` and `p1_t2`; not `1` and `01`."""
    return form(one, words) == form(two, words) and form(one) != form(two)


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(unicodedata.normalize("NFKC", name).casefold()) if word]


Kind = Literal["id", "set", "name", "number"]

KINDS = ("id", "set", "name", "number")
MARK = rf"^({'|'.join(KINDS)}):[^:]*:.+$"

# A running number as `prepare` writes it.
NUMBER = re.compile(r"p\d{3,}")

# Patients of CHAOS in stores that were written before records had marks.
_CHAOS = re.compile(r"chaos-((?:ct|mr)-\d+)")


class Mark(NamedTuple):
    """By what one patient is recognised."""

    kind: Kind
    scope: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.scope}:{self.value}"

    @property
    def domain(self) -> str:
        """Kind and scope: marks of one domain can be compared."""
        return f"{self.kind}:{self.scope}"


@dataclass(frozen=True)
class Seen:
    """The people of the stores that a model was trained with, by its card or its images."""

    model: str  # its name
    # marks by the model's own names, held out or not; no marks if an earlier version trained it
    people: Mapping[str, tuple[str, ...]]
    decided: bool = True  # whether it was decided then which of them are one person, so that it is not asked again


def parse_mark(text: str) -> Mark:
    """The mark that a record holds as text."""
    kind, scope, value = text.split(":", 2)
    return Mark(cast(Kind, kind), scope, value)


def scope_of(prefix: str, checksum: str) -> str:
    """The scope of one call of `prepare`: from the prefix of its patients and the checksum of its first case.

    The same files prepared again have the same scope, in which a name means the same person.
    """
    return hashlib.sha256(f"{prefix}\n{checksum}".encode()).hexdigest()[:12]


def with_scope(text: str, patient: str, checksum: str, scopes: dict[str, str]) -> str:
    """A mark such as `name::3` with its scope filled in; `scopes` holds those of this call by the prefix of `patient`.

    A new scope follows from `checksum`, that of the case just written.
    """
    mark = parse_mark(text)
    if mark.scope:
        return text
    prefix = patient.removesuffix(mark.value)
    return str(mark._replace(scope=scopes.setdefault(prefix, scope_of(prefix, checksum))))


def earlier_mark(patient: str, patients: Iterable[str], checksum: str) -> Mark:
    """A mark for a patient of a store written before records had marks; `checksum` identifies the store."""
    chaos = _CHAOS.fullmatch(patient)
    if chaos:
        return Mark("set", "chaos", chaos[1])
    name = bare_name(patient, patients)
    scope = scope_of(patient.removesuffix(name), checksum)
    return Mark("number" if NUMBER.fullmatch(name) else "name", scope, name)


def bare_name(patient: str, patients: Iterable[str]) -> str:
    """A pseudonym without the prefix of its store: without the `-`-separated parts that similar ones have in common.

    A single pseudonym is reduced to its last part: rather one question too many.
    """
    parts = patient.split("-")
    others = [other.split("-") for other in patients if other != patient]
    alike = [other for other in others if other[0] == parts[0]]
    common = len(parts) - 1
    for other in alike:
        same = next((i for i, (one, two) in enumerate(zip(parts, other, strict=False)) if one != two), len(other))
        common = min(common, same)
    return "-".join(parts[common:])


def in_words(marks: Collection[str]) -> str:
    """Marks for a table: `id 4be01c2f`, `chaos mr-1`, `name 3`."""
    parsed = map(parse_mark, marks)
    words = (
        f"id {mark.value[:8]}"
        if mark.kind == "id"
        else f"{mark.scope.partition('/')[0] if mark.kind == 'set' else mark.kind} {mark.value}"
        for mark in parsed
    )
    return ", ".join(words) or "pseudonym only"
