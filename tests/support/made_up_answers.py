"""Surveys that nobody answered: readers, scans and answers drawn from a model of seeing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from crossmod.reader.analysis.answers import Readings
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer

BEGUN = datetime(2026, 1, 5, 9, tzinfo=UTC)


def drawn_choices(
    random: np.random.Generator,
    readers: int,
    per_class: int,
    d_prime: float,
    *,
    scan_sd: float = 0.5,
    unsure: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Answers by reader and scan, and which scans are synthetic.

    Each scan looks more or less synthetic to all readers (`scan_sd`), each reader leans to one answer, and where there
    is a difference some see it better than others: neither readers nor scans are independent.
    """
    synthetic = np.repeat([False, True], per_class)
    seen = random.normal(d_prime, 0.3 if d_prime else 0.0, readers)[:, None] * np.where(synthetic, 0.5, -0.5)
    seen = seen + random.normal(0, scan_sd, 2 * per_class) + random.normal(0, 1, (readers, 2 * per_class))
    choices = (seen > random.normal(0, 0.4, readers)[:, None]).astype(np.int64)
    choices[random.random(choices.shape) < unsure] = 2
    return choices, synthetic


def as_readings(choices: np.ndarray, synthetic: Sequence[bool] | np.ndarray, name: str = "one") -> Readings:
    """Readings of one survey, without layers and times."""
    readers, scans = choices.shape
    return Readings(
        name=name,
        readers=tuple(f"reader {i + 1}" for i in range(readers)),
        scans=tuple(f"scan {i + 1}" for i in range(scans)),
        synthetic=np.array(synthetic, dtype=bool),
        layers=np.zeros(scans, dtype=np.int64),
        surveys=np.zeros(scans, dtype=np.int64),
        choices=choices,
        seconds=np.full(choices.shape, np.nan),
    )


def given(
    survey: str,
    reader: str,
    number: int,
    scan: str,
    choice: str | None,
    *,
    synthetic: bool,
    repeats: str | None = None,
    layer: int = 1,
    seconds: float | int = 10,
    patient: str | None = None,
    submitted: bool = True,
    **values: Any,
) -> RecordedAnswer:
    """One answer."""
    answered = values if choice is None else {"choice": choice, **values}
    return RecordedAnswer(
        survey=survey,
        reader=reader,
        number=number,
        scan=scan,
        synthetic=synthetic,
        layer=layer,
        patient=patient or f"patient of {repeats or scan}",
        repeats=repeats,
        values=answered,
        seconds=float(seconds),
        given=BEGUN + timedelta(seconds=number),
        submitted=submitted,
    )


def survey(
    name: str, seed: int, readers: int, per_class: int, d_prime: float, *, repeats: int = 2, optional: bool = True
) -> list[RecordedAnswer]:
    """All answers of a survey, with repeats, reasons, realism and regions."""
    random = np.random.default_rng(seed)
    choices, synthetic = drawn_choices(random, readers, per_class, d_prime)
    answers = []
    for reader in range(readers):
        for scan in range(2 * per_class + repeats):
            shown = scan % (2 * per_class)
            again = scan >= 2 * per_class
            choice = CHOICES[choices[reader, shown]] if not again or random.random() < 0.7 else "cannot_tell"
            more: dict[str, Any] = {}
            if optional:
                fault = bool(synthetic[shown]) and random.random() < 0.4
                more = {"realism": int(np.clip(round(random.normal(3.5 - 0.8 * d_prime * synthetic[shown], 1)), 1, 5))}
                more |= {"regions": ["ribs", "kidneys"] if fault else []}
                more |= {"reason": "The ribs are not symmetric; <b>hyperdense</b> kidneys."} if fault else {}
            answers.append(
                given(
                    name,
                    f"radiologist {reader + 1}",
                    scan + 1,
                    f"{name}{scan:08x}",
                    choice,
                    synthetic=bool(synthetic[shown]),
                    repeats=f"{name}{shown:08x}" if again else None,
                    layer=shown % per_class % 10 + 1,
                    seconds=float(random.gamma(3, 6)),
                    **more,
                )
            )
    return answers
