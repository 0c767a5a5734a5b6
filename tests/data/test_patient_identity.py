"""Which case names are one name in two spellings."""

import pytest

from crossmod.data.patient_identity import MODALITY_WORDS, form, other_words_alone, words_of

WORDS = words_of(["te4.6", "t2_spir", None, "native"])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Pat1", "pat1"),
        ("1", "01"),
        ("0001", "1"),
        ("p_1", "p-1"),
        ("p 1", "p1"),
        ("p.1", "P001"),
        ("p1_ct", "p1_mr"),
        ("p1ct", "p1_MRI"),
        ("ct1", "mr1"),
        ("ct-007", "7"),
        ("p1_t2_spir", "p1_te4.6"),
        ("John_Doe", "johndoe"),
        ("\uff30\uff21\uff34\uff11", "pat1"),
    ],
)
def test_two_spellings_of_one_name(one: str, two: str) -> None:
    assert form(one, WORDS) == form(two, WORDS)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("1", "2"),
        ("1", "10"),
        ("1-11", "11-1"),
        ("1_1", "11"),
        ("p1", "q1"),
        # Words alone are names, not nothing.
        ("T1", "T2"),
        ("ct", "mr"),
        ("doctor1", "1"),
        ("0", "00a"),
        ("btcv-0001", "chaos-1"),
        ("p1_left", "p1_right"),
    ],
)
def test_other_names_are_others(one: str, two: str) -> None:
    assert form(one, WORDS) != form(two, WORDS)


def test_without_words_they_belong_to_the_name() -> None:
    assert form("MR_01") == form("mr-1") == "mr1"
    assert form("mr-1") != form("ct-1")
    assert form("___") == "___"


def test_words_come_from_the_sequences_of_the_stores() -> None:
    assert {"te4.6", "spir", "ct"} <= WORDS
    # A number tells people apart.
    assert not {"4.6", "6", "2"} & WORDS
    assert words_of([]) >= MODALITY_WORDS


def test_what_differs_by_words_alone() -> None:
    assert other_words_alone("p1_t1", "p1_t2", WORDS)
    assert not other_words_alone("1", "01", WORDS)
    assert not other_words_alone("p1_t1", "p2_t2", WORDS)
