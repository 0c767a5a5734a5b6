"""Whether a CT was taken with contrast agent in the blood, by its header and by what the user states.

A header can only say yes. Where it names no agent, the agent may have been removed with the names.
"""

import re

from pydicom.dataset import Dataset

from crossmod.errors import InputError

AGENTS = ("ContrastBolusAgent", "ContrastBolusIngredient")

# One of these words anywhere says that none was given: `NO IV CONTRAST`, `w/o`. The header then says nothing: it may be
# a form that was not filled in. Agents are ionic or non-ionic.
DENIALS = frozenset({"NONE", "NO", "NON", "NOT", "WITHOUT", "WO", "NATIVE", "UNENHANCED", "NONENHANCED", "NONCONTRAST"})
DENIALS |= {"NOCONTRAST", "NATIV", "OHNE", "KEIN", "SANS", "SIN", "SENZA"}
NON_IONIC = re.compile(r"\bNON ?IONIC\b")
# These alone say so too; in a longer text they may be something else, such as `NA DIATRIZOATE`.
EMPTY = frozenset({"N", "NA", "NIL", "NULL", "NEGATIVE", "FALSE", "UNKNOWN", "UNSPECIFIED", "OFF", "PLAIN"})

# An agent in the gut alone leaves organs and vessels as they are.
IN_GUT = frozenset({"ORAL", "ORALLY", "PO", "RECTAL", "RECTALLY", "ENEMA", "BARIUM", "GASTROGRAFIN"})
FILLERS = frozenset({"CONTRAST", "AGENT", "AND", "SULFATE", "SULPHATE", "ROUTE", "ONLY", "BY", "MOUTH"})


def contrast_of(header: Dataset) -> bool | None:
    """True if a CT header names an agent given into the blood; None if it does not say.

    It reads the agent (0018,0010), its ingredient (0018,1048) and its route (0018,1040).
    """
    agents = [_words(header.get(keyword)) for keyword in AGENTS]
    named = any(_names_agent(text) and not _in_gut(text) for text in agents)
    return True if named and not _in_gut(_words(header.get("ContrastBolusRoute"))) else None


def settled_contrast(subject: object, *, header: bool | None, stated: bool | None) -> bool | None:
    """What a header (`contrast_of`) and the user say, combined; an `InputError` if they contradict each other."""
    if header is not None and stated is not None and header != stated:
        found = f"a header that names a contrast agent, where contrast was stated to be {'yes' if stated else 'no'}"
        do = "Leave out --contrast, or prepare CT with and without contrast apart."
        raise InputError(subject, found=found, expected="header and statement that agree", do=do)
    return header if stated is None else stated


def _names_agent(text: str) -> bool:
    """Whether words name an agent; numbers alone (`0`, a dose without its agent) do not."""
    words = set(NON_IONIC.sub("IONIC", text).split())
    return bool(words) and text not in EMPTY and not words & DENIALS and not all(word.isdigit() for word in words)


def _words(value: object) -> str:
    """Upper-case words, whatever stands between them."""
    return " ".join(re.findall(r"[A-Z0-9]+", str(value or "").upper().replace("N/A", "NA").replace("W/O", "WO")))


def _in_gut(text: str) -> bool:
    words = set(text.split())
    return bool(words & IN_GUT) and words <= IN_GUT | FILLERS
