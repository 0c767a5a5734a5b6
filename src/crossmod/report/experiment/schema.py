"""The content of `plan.json` and `findings.json`, which `crossmod experiment` writes and its report reads.

Keys that findings of earlier versions do not have are `NotRequired`. Undefined numbers are None.
"""

from typing import NotRequired, TypedDict

from crossmod.report.experiment.published_schema import PublishedBeside
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.verdicts import Scope
from crossmod.statistics.worth import Bound


class PlannedJob(TypedDict):
    """A run; `needs` are the names of other jobs by their role."""

    name: str
    kind: str
    title: str
    needs: dict[str, str]
    work: int


class NamedRun(TypedDict):
    """A segmenter's run."""

    fold: int
    seed: int
    run: str


class PlannedArm(TypedDict):
    """An arm before it was run; `slices` are synthetic slices by fold."""

    name: str
    baseline: str | None
    slices: dict[str, int]
    runs: list[NamedRun]


class PlanFile(TypedDict):
    """plan.json: `cases` are checksums by modality and case, `tested` patients by fold; `left_out` are sentences."""

    crossmod: str
    target: str
    pixels: NotRequired[dict[str, str]]
    cases: dict[str, dict[str, str]]
    tested: dict[str, list[str]]
    left_out: NotRequired[list[str]]
    arms: list[PlannedArm]
    jobs: list[PlannedJob]


class EffectRow(TypedDict):
    """`paired_effects.Effect`."""

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    patients: int
    seeds: int
    freedom: NotRequired[float | None]
    left_out: int
    undefined_base: NotRequired[int]
    undefined_arm: NotRequired[int]
    undefined_p: NotRequired[float]
    folds_lost: NotRequired[int]
    worst: NotRequired["EffectRow | None"]


class Comparison(EffectRow):
    """An arm compared with its baseline by one metric: `verdicts.Compared`."""

    holm: float | None
    wilcoxon: float | None
    wilcoxon_holm: float | None
    arms: int
    verdict: Verdict
    scope: NotRequired[Scope]
    shared: NotRequired[list[str]]
    untrained: NotRequired[str]
    obstacle: NotRequired[str]
    sentence: str
    failures: NotRequired[str]


class ControlRow(EffectRow):
    """An arm of a network compared with that of a control, `arm`, by 3D Dice: its mean minus that of the control."""

    control: str
    arm: str
    holm: float | None
    verdict: Verdict
    obstacle: str


class AgainstControls(TypedDict):
    """Comparisons of an arm with controls; `tests` is the number that the correction of their p values counts."""

    tests: int
    rows: list[ControlRow]
    sentence: str


class Score(TypedDict):
    """The mean over patients with its interval, the mean of each seed, and the number of patients without a score."""

    mean: float | None
    low: float | None
    high: float | None
    seeds: list[float | None]
    undefined: NotRequired[int]


class RunScore(TypedDict):
    """The mean over runs, and the smallest and largest."""

    mean: float | None
    least: float | None
    most: float | None


class OrganFinding(TypedDict):
    """3D Dice of one of several organs in an arm, and its change against the baseline: no test, and no verdict."""

    score: Score | None
    effect: EffectRow | None


class Power(TypedDict):
    """The sentence on `power.PowerEstimate`, whose fields stand beside it."""

    sentence: str


class ArmFinding(TypedDict):
    """An arm; scores and effects are by metric, `by_patient` is in the order of `Findings.patients`. Of several organs
    all of these are of their means, and `organs` has each."""

    name: str
    baseline: str | None
    segmenter: str
    translator: str | None
    count: str
    slices: float
    real_slices: float
    min_consistency: float
    labelled: str
    runs: list[NamedRun]
    wanted: int
    constant: int
    scores: dict[str, Score | None]
    by_run: dict[str, RunScore]
    effects: dict[str, Comparison | None]
    by_patient: list[float | None]
    power: NotRequired[Power | None]
    controls: NotRequired[AgainstControls | None]
    seconds: float
    organs: NotRequired[dict[str, OrganFinding]]


class Point(TypedDict):
    """A number of synthetic slices: `saturation.Point`."""

    count: int
    best: float | None
    effect: EffectRow | None


class SaturationCurve(TypedDict):
    """The effect over the number of synthetic slices; `arms` are names by count."""

    segmenter: str
    translator: str | None
    min_consistency: float
    labelled: str
    arms: dict[str, str]
    points: list[Point]
    best: int
    shown: NotRequired[bool]
    enough: int | None
    gain: NotRequired[float | None]
    cross_fitted: NotRequired[float | None]
    within: float


class Stratum(TypedDict):
    """Tested slices that are compared on their own."""

    name: str
    slices: int
    patients: int


class StratumRow(EffectRow):
    """An arm compared with its baseline in one stratum; `base` and `arm` are their means."""

    base: float | None
    arm: float | None
    holm: float | None
    verdict: Verdict


class Strata(TypedDict):
    """Strata of one kind; by arm, a row per stratum; of areas also their limits in cm^2, of layers the rules."""

    strata: list[Stratum]
    arms: dict[str, list[StratumRow]]
    unit: str
    edges_cm2: NotRequired[list[float]]
    rules: NotRequired[dict[str, int]]


class PatientRow(TypedDict):
    """3D Dice of a patient with and without synthetic slices; `slices` of them show the organ."""

    patient: str
    fold: int
    slices: int
    base: float | None
    arm: float | None
    difference: float | None


class AllStrata(TypedDict):
    """Where the gain lies; `patient` by arm."""

    layer: Strata
    area: Strata
    empty: Strata
    patient: dict[str, list[PatientRow]]


class SliceQuality(TypedDict):
    """Means over the synthetic slices that runs used; `low` is the share with low label consistency. `judged` is the
    Dice by the translator's judge; `measured`, by the fold's segmenter of real labels, is of the whole store, as is the
    shift in mm that it measures, down and to the right."""

    judged: NotRequired[float | None]
    measured: NotRequired[float | None]
    measured_rows: NotRequired[float | None]
    measured_columns: NotRequired[float | None]
    slices: float | None
    consistency: float | None
    low: float | None
    frechet: float | None
    rows: float | None
    columns: float | None


class QualityPoint(SliceQuality):
    """One arm in one fold, with its gain in 3D Dice."""

    arm: str
    fold: int
    translator: str
    min_consistency: float
    gain: float


class Relation(TypedDict):
    """Spearman's correlation of a measure of quality and the gain over `n` synthetic sets."""

    n: int
    points: int
    rho: float | None
    p: float | None
    shown: bool
    words: str


class Quality(TypedDict):
    """Quality of the synthetic slices by arm, and its relation to the gain by measure."""

    detector: str
    frechet_slices: int | None
    arms: dict[str, SliceQuality]
    points: list[QualityPoint]
    relations: dict[str, Relation]


class RunCurve(TypedDict):
    """A loss or score over steps: mean, minimum and maximum of several runs."""

    runs: int
    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


class TrainingCurves(TypedDict):
    """By arm or translator, curves by the name of the loss or score."""

    segmenters: dict[str, dict[str, RunCurve]]
    translators: dict[str, dict[str, RunCurve]]


class Why(TypedDict):
    """Why synthetic slices help or not; None for what could not be read, as `notes` say."""

    strata: AllStrata | None
    quality: Quality | None
    curves: TrainingCurves | None
    notes: list[str]


class FailedRun(TypedDict):
    """A run that failed, or was blocked by one that did."""

    title: str
    kind: str
    run: str
    why: str


class LabelledNumber(TypedDict):
    """A number of labelled patients: as the design names it, and over the folds their mean, least and most."""

    labelled: str
    patients: float
    least: int
    most: int


class WorthAmount(TypedDict):
    """`worth.Amount`."""

    value: float
    relation: Bound


class WorthInPatients(TypedDict):
    """`worth.Worth`, and its words."""

    more: WorthAmount
    low: WorthAmount
    high: WorthAmount
    equal_to: WorthAmount
    sentence: str


class WorthPoint(TypedDict):
    """An arm of the map; `gain` is over the arm `against`: the target only, or without labels the source as it is."""

    arm: str
    labelled: str
    patients: float
    slices: float
    dice: Score | None
    gain: Comparison | None
    against: str | None
    worth: WorthInPatients | None


class WorthCurve(TypedDict):
    """Points by rising number of labelled patients; from `no_gain_from` patients on none is shown to gain."""

    name: str
    segmenter: str
    translator: str | None
    count: str
    min_consistency: float
    control: bool
    points: list[WorthPoint]
    no_gain_from: float | None
    sentences: list[str]


class WorthMap(TypedDict):
    """What synthetic slices are worth with each number of labelled patients; `notes` say what limits it."""

    numbers: list[LabelledNumber]
    curves: list[WorthCurve]
    notes: list[str]
    answer: list[str]


class Findings(TypedDict):
    """findings.json."""

    about: str
    target: str
    organ: str
    leaking: bool
    folds: list[int]
    seeds: list[int]
    draws: int
    patients: list[str]
    arms: list[ArmFinding]
    curves: list[SaturationCurve]
    missing: list[str]
    failed: NotRequired[list[FailedRun]]
    why: NotRequired[Why | None]
    worth: NotRequired[WorthMap | None]
    published: NotRequired[PublishedBeside | None]
