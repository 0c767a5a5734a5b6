"""What anonymisers write in place of a PatientID: it is no id, and stands for everybody."""

import re
import unicodedata

from crossmod.data.patient_key import normal_id

# Without accents and punctuation. Only whole words count, and a number makes an id of a word: ANON001 and ANON002, or
# TEST1 and TEST2, may be pseudonyms of two people, who would become one person if the number were ignored.
PLACEHOLDERS = frozenset(
    {"anon", "anonym", "anonymous", "anonymized", "anonymised", "anonymize", "anonymise", "anonymisiert", "anonyme"}
    | {"anonymiseret", "anonimo", "anonimizado", "anonimizzato", "anoniem", "geanonimiseerd", "pseudonymized"}
    | {"pseudonymised", "pseudonym", "pseudo", "deidentified", "removed", "deleted", "erased", "redacted", "masked"}
    | {"hidden", "withheld", "confidential", "unknown", "none", "null", "nil", "na", "noid", "noname", "nobody"}
    | {"patient", "patientid", "subject", "unnamed", "undefined", "default", "test", "dummy", "empty", "blank", "id"}
)
# They may stand beside a placeholder: `Anonymous Male`.
_BESIDE = frozenset({"male", "female", "name", "no"})
# 0000, xxx, 0x0
_FILLER = re.compile(r"[0x]*")


def is_placeholder(patient_id: str) -> bool:
    """Whether a PatientID is no id, but what an anonymiser writes for everybody; an empty one is none either."""
    plain = unicodedata.normalize("NFKD", normal_id(patient_id))
    words = re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one)))
    joined = "".join(words)
    if joined in PLACEHOLDERS or _FILLER.fullmatch(joined):
        return True
    return not PLACEHOLDERS.isdisjoint(words) and set(words) <= PLACEHOLDERS | _BESIDE


def known_id(patient_id: str) -> str:
    """The id as it is compared and hashed; empty where it is a placeholder."""
    return "" if is_placeholder(patient_id) else normal_id(patient_id)
