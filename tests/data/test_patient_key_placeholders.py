"""What is no PatientID, and what looks like none and is one."""

import pytest

from crossmod.data.patient_key import is_placeholder, known_id

PLACEHOLDERS = """
    ANON | Anonymized | ANONYMIZED^ | ANON- | Anonymous Male | patient^anonymous | DE-IDENTIFIED | redacted | REDACTED
    masked | [hidden] | anonymisiert | Anonymisé | anonyme | anónimo | dummy | 0 | 0000 | XXXX | *** | - | . | n/a
    No ID | no name | Nobody | subject | PSEUDO | Test^Patient
"""
# Numbered words may be pseudonyms of several people; an id may begin or end with a word.
IDS = """
    ANON001 | ANON0002 | TEST1 | Patient 7 | subject-3 | anonymous_12
    1 | 007 | X1 | ANONA | Testa | Maskedonia | MALE | NO | M^Nobody | A-000 | none-such
"""


def listed(text: str) -> list[str]:
    return [one.strip() for line in text.strip().splitlines() for one in line.split("|")]


@pytest.mark.parametrize("patient", ["", " ", *listed(PLACEHOLDERS)])
def test_what_stands_for_everybody(patient: str) -> None:
    assert is_placeholder(patient)
    assert known_id(patient) == ""


@pytest.mark.parametrize("patient", listed(IDS))
def test_ids_that_look_like_none(patient: str) -> None:
    assert not is_placeholder(patient)
    assert known_id(f"{patient} ") == patient.casefold()
