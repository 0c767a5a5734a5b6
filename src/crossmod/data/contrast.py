"""Whether a CT was taken with contrast agent in the blood: what its header says, and what somebody states of it.

Notable: a header can only say yes. Where no agent is named, it may as well have been removed with the names.
"""

import re

from pydicom.dataset import Dataset

from crossmod.errors import InputError

AGENTS = ("ContrastBolusAgent", "ContrastBolusIngredient")

# What people write where they gave none. Then the header says nothing: it may be a form that nobody filled in.
DENIALS = frozenset({"NONE", "NO", "N", "NA", "NIL", "NO CONTRAST", "WITHOUT", "WITHOUT CONTRAST", "NATIVE", "UNKNOWN"})

# An agent in the gut alone leaves organs and vessels as they are.
IN_GUT = frozenset({"ORAL", "ORALLY", "PO", "RECTAL", "ENEMA", "BARIUM"})
FILLERS = frozenset({"CONTRAST", "AGENT", "AND", "SULFATE", "SULPHATE"})


def contrast_of(header: Dataset) -> bool | None:
    """True where a header names an agent that was given into the blood; None where it does not say.

    Args:
        header: of a CT slice; the agent (0018,0010), its ingredient (0018,1048) and its route (0018,1040) are read.
    """
    agents = [_words(header.get(keyword)) for keyword in AGENTS]
    named = any(text and text not in DENIALS and not _in_gut(text) for text in agents)
    return True if named and not _in_gut(_words(header.get("ContrastBolusRoute"))) else None


def settled_contrast(subject: object, *, header: bool | None, stated: bool | None) -> bool | None:
    """What is known from a header and from a statement together.

    Args:
        subject: the case or folder, for the message.
        header: what `contrast_of` found.
        stated: what somebody says; None where nobody does.

    Raises:
        InputError: the two contradict each other.
    """
    if header is not None and stated is not None and header != stated:
        found = f"a header that names a contrast agent, where contrast was stated to be {'yes' if stated else 'no'}"
        do = "Leave out --contrast, or prepare CT with and without contrast apart."
        raise InputError(subject, found=found, wanted="header and statement that agree", do=do)
    return header if stated is None else stated


def _words(value: object) -> str:
    """Upper-case words, whatever stands between them."""
    return " ".join(re.findall(r"[A-Z0-9]+", str(value or "").upper().replace("N/A", "NA")))


def _in_gut(text: str) -> bool:
    words = set(text.split())
    return bool(words & IN_GUT) and words <= IN_GUT | FILLERS
