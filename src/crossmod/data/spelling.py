"""When two case names may be one name in two spellings: `Pat1` and `pat_01`, `p1_ct` and `p1_mr`.

Equal forms prove nothing: they are a reason to ask.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable

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
    """A name without what spellings differ in: upper and lower case, separators, leading zeros.

    Args:
        name: as the user gave it.
        without: words that are left out, too; with `ct` or `mr` among them also where they touch a number, as in `ct1`.
            Where nothing would be left they stay: somebody may be called `T1`.
    """
    words = _words(name)
    kept = [word for word in words if word not in without]
    if set(without) >= MODALITY_WORDS:
        kept = [_MODALITY_BEHIND.sub("", _MODALITY_BEFORE.sub("", word)) for word in kept]
    parts = re.findall(r"[^\W\d_]+|\d+", " ".join(kept or words))
    # A number behind a number stays one by itself: `1-11` is not `11-1`.
    text = " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)
    return re.sub(r"(?<!\d) | (?!\d)", "", text) or name


def other_words_alone(one: str, two: str, words: Collection[str]) -> bool:
    """Whether two names differ by words for scans and by nothing else: `p1_t1` and `p1_t2`; not `1` and `01`."""
    return form(one, words) == form(two, words) and form(one) != form(two)


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(unicodedata.normalize("NFKC", name).casefold()) if word]
