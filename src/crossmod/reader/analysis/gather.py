"""All numbers of an analysis as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmod.reader.analysis import published
from crossmod.reader.analysis.agreement import cohen_kappa, fleiss_kappa, kappa_interval, self_agreement
from crossmod.reader.analysis.choices import RULES, Readings, Rule, readings
from crossmod.reader.analysis.comparisons import Comparison, adjusted, correctness, of_classes, of_surveys, pairs
from crossmod.reader.analysis.describe import cautions, layers, readers, reasons, times
from crossmod.reader.analysis.equivalence import AgainstChance, against_chance, in_words, tost_independent
from crossmod.reader.analysis.proportions import ALL, COLUMNS, share
from crossmod.reader.analysis.realism import realism, regions
from crossmod.reader.analysis.signal_detection import mean_of_readers, pooled
from crossmod.reader.records import Given
from crossmod.statistics.verdicts import holm

FORMAT = 1
# Of all draws: the same answers give the same report.
SEED = 0
# "wrong" has no place here: guessing would not give 50 %.
FOR_CHANCE: tuple[Rule, ...] = ("left_out", "half")
ALL_SURVEYS = "All surveys"


def everything(surveys: Mapping[str, Sequence[Given]], *, margin: float, draws: int) -> dict[str, Any]:
    """The whole analysis; JSON but for numbers that are nan or infinite.

    Args:
        surveys: answers by the name of their survey.
        margin: of equivalence to guessing, as a share.
        draws: of readers and scans, and of shuffled keys.
    """
    found = {name: one_survey({name: answers}, margin=margin, draws=draws) for name, answers in surveys.items()}
    if len(surveys) > 1:
        found[ALL_SURVEYS] = one_survey(surveys, margin=margin, draws=draws)
    rows, told = comparisons(surveys, draws=draws)
    return {
        "format": FORMAT,
        "margin": margin,
        "draws": draws,
        "seed": SEED,
        "cannot_tell": RULES,
        "verdicts": [line for one in found.values() for line in one["words"]],
        "surveys": found,
        "table_3": rows,
        "pairs": told,
        "reasons": [row for answers in surveys.values() for row in reasons(answers)],
        "published": {
            "source": published.SOURCE,
            "surveys": published.SURVEYS,
            "readers": published.READERS,
            "table_2": published.TABLE_2,
        },
    }


def one_survey(surveys: Mapping[str, Sequence[Given]], *, margin: float, draws: int) -> dict[str, Any]:
    """One survey, or several as one."""
    read = readings(surveys)
    answers = [one for several in surveys.values() for one in several]
    again = self_agreement(answers) if len(surveys) == 1 else None
    of_realism = realism(answers, read, seed=SEED, draws=draws)
    chance: dict[Rule, AgainstChance] = {
        rule: against_chance(read, rule, margin=margin, seed=SEED, draws=draws) for rule in FOR_CHANCE
    }
    table = {
        rule: {column: asdict(share(read, rule, column, seed=SEED, draws=draws)) for column in COLUMNS}
        for rule in RULES
    }
    alone = table["left_out"][ALL]
    name = ALL_SURVEYS if len(surveys) > 1 else read.name
    return {
        "readers": len(read.readers),
        "scans": [int((~read.synthetic).sum()), int(read.synthetic.sum())],
        "answers": int(read.counts.sum()),
        "counts": read.counts.tolist(),
        "table_2": table,
        "chance": {rule: {**asdict(one), "verdict": one.verdict} for rule, one in chance.items()},
        "tost_independent": tost_independent(alone["right"], alone["answers"], margin),
        "words": words(chance, name),
        "detection": {**asdict(pooled(read, seed=SEED, draws=draws)), "mean_of_readers": mean_of_readers(read)},
        "by_reader": readers(read, again),
        "kappa": {"estimate": fleiss_kappa(read.by_scan), "interval": _kappa(read, draws)},
        "self_agreement": again
        and {
            "alike": again.alike,
            "pairs": again.pairs,
            "kappa": cohen_kappa(again.table),
            "table": again.table.tolist(),
        },
        "seconds": times(read),
        "layers": layers(read),
        "realism": asdict(of_realism) if of_realism else None,
        "regions": regions(answers),
        "cautions": cautions(answers, read) if len(surveys) == 1 else _shared(surveys),
    }


def _kappa(read: Readings, draws: int) -> tuple[float, float]:
    return kappa_interval(read.choices, read.synthetic, seed=SEED, draws=draws)


def _shared(surveys: Mapping[str, Sequence[Given]]) -> list[str]:
    """Labels that are in several surveys."""
    labels = [{one.reader for one in answers} for answers in surveys.values()]
    several = sorted({label for one in labels for label in one if sum(label in other for other in labels) > 1})
    if not several:
        return []
    shown = ", ".join(several[:5]) + (f" and {len(several) - 5} more" if len(several) > 5 else "")
    return [f"Labels in several surveys are taken for the same reader: {shown}."]


def words(chance: Mapping[Rule, AgainstChance], name: str) -> list[str]:
    """The verdict, and a second line where another way to count "cannot tell" gives another one."""
    lines = [in_words(chance["left_out"], name)]
    if chance["half"].verdict != chance["left_out"].verdict:
        again = in_words(chance["half"], f"{name}, “cannot tell” counted as half right")
        lines.append(f"Not so firm: {again[0].lower() + again[1:] if name == ALL_SURVEYS else again}")
    return lines


def comparisons(
    surveys: Mapping[str, Sequence[Given]], *, draws: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Table 3, and which survey's scans are told better."""
    names = list(surveys)
    rows: list[Comparison] = []
    for number, name in enumerate(names):
        one = readings({name: surveys[name]})
        rows.append(of_classes(one, f"{name}: real vs synthetic", (number,), seed=SEED, draws=draws))
    if len(names) > 1:
        every = tuple(range(len(names)))
        rows.append(of_classes(readings(surveys), f"{ALL_SURVEYS}: real vs synthetic", every, seed=SEED, draws=draws))
    told = []
    for first, second in pairs(len(names)):
        both = readings({names[i]: surveys[names[i]] for i in (first, second)})
        title = f"{names[first]} vs {names[second]}"
        rows.append(of_surveys(both, title, (first, second), seed=SEED, draws=draws))
        told.append(asdict(correctness(both, title, seed=SEED, draws=draws)))
    after = holm(np.array([one["p"] for one in told], dtype=np.float64)) if told else []
    for one, p in zip(told, after, strict=True):
        one["holm"] = float(p)
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "binomial": asdict(row.binomial),
            "multinomial": asdict(row.multinomial),
            "clustered": row.clustered,
            "holm": holms.tolist(),
        }
        for row, holms in zip(rows, adjusted(rows), strict=True)
    ], told
