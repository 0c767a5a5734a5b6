"""All numbers of an analysis, and the published ones of Crespi et al."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from crossmod.html.format import listed
from crossmod.reader.analysis.accuracy import (
    ALL,
    COLUMNS,
    AgainstChance,
    Detection,
    Portion,
    Share,
    against_chance,
    counts_of,
    detection,
    in_words,
    mean_of_readers,
    pooled,
    share,
    tost_independent,
    wilson,
)
from crossmod.reader.analysis.agreement import (
    Realism,
    SelfAgreement,
    cohen_kappa,
    fleiss_kappa,
    kappa_interval,
    realism,
    regions,
    self_agreement,
)
from crossmod.reader.analysis.answers import (
    CANNOT_TELL,
    MISSING,
    REASON,
    RULES,
    Readings,
    Rule,
    choice_of,
    first_showings,
    readings,
    scores,
)
from crossmod.reader.analysis.hypothesis_tests import adjusted, correctness, of_classes, of_surveys
from crossmod.reader.design import CHOICES
from crossmod.reader.schema import RecordedAnswer
from crossmod.statistics.verdicts import holm

SOURCE = "Crespi et al., Tables 2 and 3"
SURVEYS = ("In'n'out", "All-in", "Triple", "In'n'out HUM")
# Survey 1 to 4.
READERS = (11, 8, 6, 6)

# Table 2: percent correct of all scans, of the real, of the synthetic ones.
TABLE_2 = ((51.8, 49.0, 51.6), (59.9, 66.7, 53.5), (57.5, 59.3, 55.6), (52.3, 55.4, 47.3))

# Table 3: p of the binomial and of the multinomial test; first surveys alone, then all, then by pairs.
WITHIN = ((0.933, 0.478), (0.027, 0.000), (0.178, 0.175), (0.930, 1.000))
OVER_ALL = (0.045, 0.057)
PAIRS = {
    (0, 1): (0.185, 0.022),
    (0, 2): (0.625, 0.916),
    (0, 3): (0.387, 1.000),
    (1, 2): (0.582, 0.079),
    (1, 3): (0.044, 0.040),
    (2, 3): (0.848, 0.892),
}

# Not printed, but derived from printed numbers: by survey, answers (real, synthetic) to real and to synthetic scans. Of
# all counts tried, with up to 25 answers left out per class, only they give Table 3's binomial p-values, with Yates'
# correction; all but survey 2 against 4, 0.833 where 0.044 is printed. They give Table 2's shares of real and of
# synthetic scans but for survey 1's 51.6 (52.6), and its shares of all scans for survey 2 alone (else 50.8, 57.4 and
# 51.4). "Cannot tell" was left out, then: of 80 answers no whole number is 66.7 %.
COUNTS = (((49, 51), (45, 50)), ((44, 22), (33, 38)), ((32, 22), (24, 30)), ((31, 25), (29, 26)))


# Beyond this share of "cannot tell", the other answers are no representative sample.
MANY_UNSURE = 1 / 3


@dataclass(frozen=True)
class Seconds:
    """Known times per answer."""

    answers: int
    median: float | None = None
    quartiles: tuple[float, float] | None = None


@dataclass(frozen=True)
class LayerPortion(Portion):
    """Right answers in an axial layer."""

    layer: int
    scans: int


@dataclass(frozen=True)
class ReaderRow:
    """The answers of one reader; `alike`: equal answers to repeated scans, and how many were repeated."""

    reader: str
    answers: int
    cannot_tell: int
    counts: np.ndarray
    shares: dict[str, Portion]
    detection: Detection
    seconds: Seconds
    alike: tuple[int, int] | None


@dataclass(frozen=True)
class SurveyResult:
    """All numbers of a survey, or of all; `scans` and rows of `counts`: real, synthetic."""

    readers: int
    scans: tuple[int, int]
    answers: int
    counts: np.ndarray
    table_2: Mapping[str, Mapping[str, Share]]
    chance: Mapping[str, Mapping[str, object]]
    tost_independent: float
    words: list[str]
    detection: dict[str, object]
    by_reader: list[ReaderRow]
    kappa: dict[str, object]
    self_agreement: dict[str, object] | None
    seconds: dict[str, Seconds]
    layers: list[LayerPortion]
    realism: Realism | None
    regions: dict[str, tuple[int, int]]
    cautions: list[str]


@dataclass(frozen=True)
class Analysis:
    """The content of `analysis.json`."""

    format: int
    margin: float
    draws: int
    seed: int
    cannot_tell: Mapping[Rule, str]
    verdicts: list[str]
    surveys: dict[str, SurveyResult]
    table_3: list[dict[str, object]]
    pairs: list[dict[str, object]]
    reasons: list[dict[str, str | int]]
    published: dict[str, object]


def seconds(read: Readings, inside: Bool[np.ndarray, "*readers scans"]) -> Seconds:
    """Median and quartiles of the known times per answer."""
    values = read.seconds[inside & (read.choices != MISSING)]
    values = values[~np.isnan(values)]
    if not values.size:
        return Seconds(0)
    low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return Seconds(int(values.size), middle, (low, high))


def times(read: Readings) -> dict[str, Seconds]:
    """Time per answer: all, real and synthetic scans, right and wrong answers."""
    right = scores(read, "left_out")
    outcomes = {"right": right == 1, "wrong": right == 0, "cannot tell": read.choices == CANNOT_TELL}
    return {name: seconds(read, inside) for name, inside in {**_sides(read), **outcomes}.items()}


def layers(read: Readings) -> list[LayerPortion]:
    """Right answers by axial layer, "cannot tell" left out."""
    values = scores(read, "left_out")
    by_layer = {int(layer): read.layers == layer for layer in np.unique(read.layers)}
    return [
        LayerPortion(**vars(_share(values[:, inside])), layer=layer, scans=int(inside.sum()))
        for layer, inside in by_layer.items()
    ]


def readers(read: Readings, again: SelfAgreement | None) -> list[ReaderRow]:
    """A row per reader."""
    values, rows = scores(read, "left_out"), []
    for number, label in enumerate(read.readers):
        counts = counts_of(read, number)
        own = (np.arange(len(read.readers)) == number)[:, None]
        rows.append(
            ReaderRow(
                reader=label,
                answers=int(counts.sum()),
                cannot_tell=int(counts[:, CANNOT_TELL].sum()),
                counts=counts,
                shares={name: _share(values[number][inside]) for name, inside in _sides(read).items()},
                detection=detection(counts),
                seconds=seconds(read, own),
                alike=again.by_reader.get(label) if again else None,
            )
        )
    return rows


def _sides(read: Readings) -> dict[str, Bool[np.ndarray, " scans"]]:
    return {"all": np.ones(len(read.scans), dtype=bool), "real": ~read.synthetic, "synthetic": read.synthetic}


def _share(values: np.ndarray) -> Portion:
    right, answers = float(np.nansum(values)), int((~np.isnan(values)).sum())
    return Portion(right, answers, right / answers if answers else float("nan"), wilson(right, answers))


def reasons(answers: Sequence[RecordedAnswer]) -> list[dict[str, str | int]]:
    """The reasons that readers wrote, by scan."""
    written = [answer for answer in answers if str(answer.values.get(REASON) or "").strip()]
    written.sort(key=lambda answer: (answer.synthetic, answer.layer, answer.repeats or answer.scan, answer.reader))
    choices = {index: choice.replace("_", " ") for index, choice in enumerate(CHOICES)}
    return [
        {
            "survey": answer.survey,
            "scan": (answer.repeats or answer.scan)[:8],
            "layer": answer.layer,
            "class": "synthetic" if answer.synthetic else "real",
            "reader": answer.reader,
            "said": choices.get(choice_of(answer.values), "no answer"),
            "reason": str(answer.values[REASON]),
        }
        for answer in written
    ]


def warnings(answers: Sequence[RecordedAnswer], read: Readings) -> list[str]:
    """What limits the meaning of one survey's numbers."""
    lines = []
    left = sorted({answer.reader for answer in answers if not answer.submitted})
    if left:
        lines.append(f"{listed(left)} had not submitted when the survey was closed; their answers count.")
    empty = int((read.choices == MISSING).sum())
    if empty:
        lines.append(f"{empty} of {read.choices.size} answers are missing. They are taken to be missing by chance.")
    known = int((read.choices != MISSING).sum())
    unsure = int((read.choices == CANNOT_TELL).sum())
    if known and unsure / known > MANY_UNSURE:
        lines.append(f"{100 * unsure / known:.0f} % of answers are “cannot tell”: compare both ways to count them.")
    scans = {answer.scan: (answer.patient, answer.synthetic) for answer in first_showings(answers)}
    several = sum(number > 1 for number in Counter(scans.values()).values())
    if several:
        lines.append(f"{several} patients gave several scans; these are taken as independent, which they may not be.")
    return lines


FORMAT = 1
# Of all random draws: the same answers give the same report.
SEED = 0
# Not "wrong", with which guessing would not give 50 %.
FOR_CHANCE: tuple[Rule, ...] = ("left_out", "half")
ALL_SURVEYS = "All surveys"


def everything(surveys: Mapping[str, Sequence[RecordedAnswer]], *, margin: float, draws: int) -> Analysis:
    """The whole analysis."""
    found = {name: one_survey({name: answers}, margin=margin, draws=draws) for name, answers in surveys.items()}
    if len(surveys) > 1:
        found[ALL_SURVEYS] = one_survey(surveys, margin=margin, draws=draws)
    rows, differences = comparisons(surveys, draws=draws)
    return Analysis(
        format=FORMAT,
        margin=margin,
        draws=draws,
        seed=SEED,
        cannot_tell=RULES,
        verdicts=[line for survey in found.values() for line in survey.words],
        surveys=found,
        table_3=rows,
        pairs=differences,
        reasons=[row for answers in surveys.values() for row in reasons(answers)],
        published={"source": SOURCE, "surveys": SURVEYS, "readers": READERS, "table_2": TABLE_2},
    )


def one_survey(surveys: Mapping[str, Sequence[RecordedAnswer]], *, margin: float, draws: int) -> SurveyResult:
    """One survey, or several as one."""
    read = readings(surveys)
    answers = [answer for of_survey in surveys.values() for answer in of_survey]
    again = self_agreement(answers) if len(surveys) == 1 else None
    chance = {rule: against_chance(read, rule, margin=margin, seed=SEED, draws=draws) for rule in FOR_CHANCE}
    table = {rule: {column: share(read, rule, column, seed=SEED, draws=draws) for column in COLUMNS} for rule in RULES}
    alone = table["left_out"][ALL]
    return SurveyResult(
        readers=len(read.readers),
        scans=(int((~read.synthetic).sum()), int(read.synthetic.sum())),
        answers=int(read.counts.sum()),
        counts=read.counts,
        table_2=table,
        chance={rule: {**vars(found), "verdict": found.verdict} for rule, found in chance.items()},
        tost_independent=tost_independent(alone.right, alone.answers, margin),
        words=words(chance, ALL_SURVEYS if len(surveys) > 1 else read.name),
        detection={**vars(pooled(read, seed=SEED, draws=draws)), "mean_of_readers": mean_of_readers(read)},
        by_reader=readers(read, again),
        kappa={
            "estimate": fleiss_kappa(read.by_scan),
            "interval": kappa_interval(read.choices, read.synthetic, seed=SEED, draws=draws),
        },
        self_agreement=again
        and {"alike": again.alike, "pairs": again.pairs, "kappa": cohen_kappa(again.table), "table": again.table},
        seconds=times(read),
        layers=layers(read),
        realism=realism(answers, read, seed=SEED, draws=draws),
        regions=regions(answers),
        cautions=warnings(answers, read) if len(surveys) == 1 else _same_labels(surveys),
    )


def _same_labels(surveys: Mapping[str, Sequence[RecordedAnswer]]) -> list[str]:
    """The warning of labels that are in several surveys."""
    labels = Counter(label for answers in surveys.values() for label in {answer.reader for answer in answers})
    several = sorted(label for label, number in labels.items() if number > 1)
    if not several:
        return []
    return [f"The same label in several surveys is taken for the same reader: {listed(several)}."]


def words(chance: Mapping[str, AgainstChance], name: str) -> list[str]:
    """The verdict, and a second line if another way to count "cannot tell" gives another verdict."""
    lines = [in_words(chance["left_out"], name)]
    if chance["half"].verdict != chance["left_out"].verdict:
        again = in_words(chance["half"], f"{name}, “cannot tell” counted as half right")
        lines.append(f"Less certain: {again[0].lower() + again[1:] if name == ALL_SURVEYS else again}")
    return lines


def comparisons(
    surveys: Mapping[str, Sequence[RecordedAnswer]], *, draws: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Table 3, and in which survey readers distinguish real from synthetic better."""
    every = {name: readings({name: answers}) for name, answers in surveys.items()}
    rows = [of_classes(read, f"{name}: real vs synthetic", seed=SEED, draws=draws) for name, read in every.items()]
    if len(surveys) > 1:
        rows.append(of_classes(readings(surveys), f"{ALL_SURVEYS}: real vs synthetic", seed=SEED, draws=draws))
    differences = []
    for first, second in itertools.combinations(surveys, 2):
        both, title = readings({name: surveys[name] for name in (first, second)}), f"{first} vs {second}"
        rows.append(of_surveys(both, title, seed=SEED, draws=draws))
        differences.append(correctness(both, title, seed=SEED, draws=draws))
    after = holm(np.array([row.p for row in differences])).tolist() if differences else []
    table = [{**vars(row), "holm": holms} for row, holms in zip(rows, adjusted(rows), strict=True)]
    return table, [{**vars(row), "holm": p} for row, p in zip(differences, after, strict=True)]
