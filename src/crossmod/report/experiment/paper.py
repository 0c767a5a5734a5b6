"""Tables 1 to 5 and Figures 7 to 12 of Rafiq et al. 2025 (arXiv 2503.00945), from an experiment's runs.

Notable:
- Their Dice and IoU are of one run per row, over 58 slices of patients whose other slices were trained on.
- They are pooled over pixels: each row satisfies IoU = Dice / (2 - Dice) to the last digit printed. Of the counts of
  all pixels together that is always so. Means over slices are larger in IoU, by about 1.7 times the variance of the
  slices' Dice near 0.95: they could agree only if that Dice had an SD below 0.01.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crossmod.html.format import Cell, Table, count, duration, from_to, number, with_interval
from crossmod.report import figures, sections
from crossmod.report.collect import Card, Contents, family_name, sources_of
from crossmod.report.experiment.data import Experiment, ReadRun, best_of
from crossmod.report.experiment.schema import ArmFinding
from crossmod.statistics.verdicts import MAIN

SOURCE = "Rafiq et al. 2025"

# Table 1: slices that EssNet is trained on, and those that it is given afterwards.
TRAINED_MR, TRAINED_CT, TESTED_CT, GENERATED = 350, 350, 2050, 2050
# Table 2.
TESTED_MR = 58


class Row(NamedTuple):
    """A row of Tables 2, 3 and 4: training slices; Dice and IoU over all pixels of the tested slices."""

    real: int
    synthetic: int
    dice: float
    iou: float


# Tables 2 and 3, EssNet.
ESSNET = (
    Row(350, 0, 0.9459, 0.8974),
    Row(350, 354, 0.9467, 0.8989),
    Row(350, 714, 0.9524, 0.9091),
    Row(350, 1034, 0.9485, 0.9020),
    Row(350, 1487, 0.9475, 0.9002),
    Row(350, 2050, 0.9505, 0.9058),
)
# Table 4: CycleGAN, which is EssNet without its segmentor.
CYCLEGAN = (Row(350, 0, 0.9459, 0.8974), Row(350, 714, 0.9460, 0.8976))


class Cost(NamedTuple):
    """A row of Table 5, on an NVIDIA GeForce RTX 2060 with 6 GB."""

    name: str
    parameters: int  # of EssNet those of two generators and two discriminators; S is left out of the paper's count
    seconds: float  # per epoch; of U-Net with 1064 slices
    speed: float


# By family of translators, or network.
COSTS = {"essnet": Cost("EssNet", 28_256_644, 230.0, 2.02), "unet": Cost("U-Net", 31_031_685, 80.0, 21.0)}


def tables(experiment: Experiment) -> dict[str, object]:
    """Tables 1 to 4, as far as the experiment has results for them; and a line on each table without results."""
    found = {}
    if experiment.synthesized:
        found["Table 1: Slices that translators see and make"] = _translation(experiment)
    if experiment.arms:
        found["Table 2: What segmenters are trained and tested on"] = _training(experiment)
    missing, comparable = [], None
    for place, family, rows in ((3, "essnet", ESSNET), (4, "cyclegan", CYCLEGAN)):
        if arms := arms_of(experiment, family):
            found[f"Table {place}: Segmentation with slices of {family_name(family)}"] = _scores(experiment, arms, rows)
            comparable = _comparable(experiment)
        else:
            missing.append(f"Table {place}: this experiment has no arm with slices of {family_name(family)}.")
    return {"tables": found, "missing": missing, "comparable": comparable}


def arms_of(experiment: Experiment, family: str) -> list[ArmFinding]:
    """The arms with synthetic slices of a family."""
    return [arm for arm in experiment.arms if arm["translator"] and experiment.family(arm) == family]


def _comparable(experiment: Experiment) -> str:
    """Which of our numbers may be compared with the published ones."""
    real, best = ESSNET[0], max(ESSNET, key=lambda row: row.dice)
    theirs = (
        f"Published Dice and IoU are of all pixels of {TESTED_MR} slices together (IoU = Dice / (2 - Dice) "
        "in each row), of patients whose other slices were trained on (leaking), one run per row; the best row is "
        f"{best.dice - real.dice:+.4f} Dice and {best.iou - real.iou:+.4f} IoU above real slices alone."
    )
    if experiment.findings["leaking"]:
        ours = (
            "Ours over all pixels are the same measure on the same kind of split, and may be compared with them; means "
            "over slices and 3D Dice have no published counterpart."
        )
    else:
        ours = (
            "Ours over all pixels are the same measure, but of patients that nothing was trained on: a harder "
            "question, so that lower numbers are expected and do not contradict the paper. Means over slices and 3D "
            "Dice have no published counterpart."
        )
    return f"{theirs} {ours}"


def _translation(experiment: Experiment) -> Table:
    target = experiment.findings["target"]
    source = "ct" if target == "mr" else "mr"
    rows = [[SOURCE, f"{TRAINED_MR}", f"{TRAINED_CT}", f"{TESTED_CT:,}", f"{GENERATED:,}"]]
    for name, stores in experiment.synthesized.items():
        sides = [run.card["data"] for run in stores.values()]
        made = from_to(sum(case.shape[0] for case in experiment.stores[folder].cases) for folder in stores)
        trained = [from_to(data[side]["slices"] for data in sides if side in data) for side in (target, source)]
        # As in the paper, all source slices with the organ are translated, and each gives one.
        rows.append([name, *trained, made, made])
    head = (
        "translator", f"{target.upper()} slices trained on", f"{source.upper()} slices trained on",
        f"{source.upper()} slices translated", f"{target.upper()} slices made",
    )  # fmt: skip
    return Table(head, rows)


def _training(experiment: Experiment) -> Table:
    rows = []
    for row in ESSNET:
        made = f"{row.synthetic:,}" if row.synthetic else "none"
        rows.append([SOURCE, f"{row.real}", made, f"{row.real + row.synthetic:,}", f"{TESTED_MR}"])
    for arm in experiment.arms:
        cards = experiment.cards(arm)
        real = [card["data"]["train_slices"] for card in cards]
        made = [card["settings"]["count"] for card in cards]
        tested = from_to(card["data"]["test_slices"] for card in cards)
        together = from_to(sum(slices) for slices in zip(real, made, strict=True))
        rows.append([arm["name"], from_to(real), from_to(made) if any(made) else "none", together, tested])
    return Table(("arm", "real slices", "synthetic", "together", "tested on, real"), rows)


def _scores(experiment: Experiment, arms: Sequence[ArmFinding], rows: Sequence[Row]) -> Table:
    """Published rows and ours, in one row if they were trained on the same numbers of slices."""
    bases = dict.fromkeys(arm["baseline"] for arm in arms)
    ours = [base for name in bases if name and (base := experiment.arm(name)) is not None] + list(arms)
    left = {arm["name"]: arm for arm in ours}
    shown = []
    for row in rows:
        same = next((a for a in left.values() if (a["real_slices"], a["slices"]) == (row.real, row.synthetic)), None)
        if same is not None:
            del left[same["name"]]
        title = f"{row.real} real" + (f" + {row.synthetic:,} synthetic" if row.synthetic else "")
        shown.append([title, number(row.dice, 4), number(row.iou, 4), *(_ours(same) if same else [""] * 5)])
    shown += [[arm["name"], "", "", *_ours(arm)] for arm in left.values()]
    head = (
        "trained on", "Dice, published", "IoU, published", "Dice, all pixels", "IoU, all pixels", "slice Dice",
        "slice IoU", "3D Dice [95 %]",
    )  # fmt: skip
    return Table(head, shown)


def _ours(arm: ArmFinding) -> list[str]:
    metrics = ("pooled_dice", "pooled_iou", "slice_dice", "slice_iou")
    return [*(number(by_run_mean(arm, metric), 4) for metric in metrics), with_interval(arm["scores"][MAIN])]


def by_run_mean(arm: ArmFinding, metric: str) -> float | None:
    """The mean of a score over runs; None also if an earlier version did not measure it."""
    score = arm["by_run"].get(metric)
    return score["mean"] if score else None


# Arms whose curves can be distinguished in one figure.
CURVES = 6


def pictures(experiment: Experiment, sources: Sequence[Path]) -> dict[str, object]:
    """The figures, as far as there are runs for them; `sources` are stores to search for source slices."""
    stores = experiment.shown_stores
    trained = [next(iter(folders.values())) for folders in experiment.synthesized.values()]
    contents = Contents(tuple(trained), (), (), tuple(stores.values()), sources_of(trained, sources))
    shown = _curves(experiment)
    return {
        "synthesis": [{"name": name, **sections.synthesis(contents, store)} for name, store in stores.items()],
        "outlines": _outlines(experiment, [arms_of(experiment, "essnet")]),
        "roc": figures.roc_curves([experiment.as_arm(arm) for arm in shown]) if shown else None,
        "roc_left_out": len(experiment.arms) - len(shown),
        "comparison": sections.comparison(contents, list(stores)),
        "ablation": _outlines(experiment, [arms_of(experiment, family) for family in ("cyclegan", "essnet")]),
    }


def _curves(experiment: Experiment) -> list[ArmFinding]:
    """The best arm's baseline, and the arms with the largest Dice."""
    dice = {arm["name"]: score["mean"] for arm in experiment.arms if (score := arm["scores"][MAIN])}
    known = [arm for arm in experiment.arms if dice.get(arm["name"]) is not None]
    best = experiment.best
    base = [arm for arm in known if best is not None and arm["name"] == best["baseline"]]
    others = sorted((arm for arm in known if arm not in base), key=lambda arm: -(dice[arm["name"]] or 0.0))
    chosen = [*base, *others[: CURVES - len(base)]]
    return [arm for arm in known if arm in chosen]


def _outlines(experiment: Experiment, groups: Sequence[Sequence[ArmFinding]]) -> dict[str, str] | None:
    """Real test slices with the predictions of the baseline and of the best arm of each group; None without them."""
    best = [best_of(group) for group in groups]
    arms = [arm for arm in best if arm is not None and best[0] and arm["baseline"] == best[0]["baseline"]]
    base = experiment.baseline(arms[0]) if len(arms) == len(groups) else None
    if base is None or not all(next(iter(experiment.runs(arm).values())).has_predictions for arm in (base, *arms)):
        return None
    picture = sections.outlines([experiment.as_arm(arm) for arm in (base, *arms)])
    names = ", ".join(f"{arm['name']} ({family_name(experiment.family(arm))})" for arm in arms)
    return {"figure": picture, "arms": f"{base['name']}; {names}"} if picture else None


def costs(experiment: Experiment) -> dict[str, object]:
    """A row per translator, segmenter and published model; and the time of all trainings."""
    rows: list[list[str | Cell]] = []
    for name, made in experiment.synthesized.items():
        cards = list({run.path: run.card for run in made.values()}.values())
        title = f"{name} ({family_name(cards[0]['family'])})"
        rows.append(sections.cost_of_translator(title, cards, [experiment.stores[folder] for folder in made]))
    for name, cards in cards_of_segmenters(experiment).items():
        network = cards[0]["settings"]["network"]
        title = name if name == network else f"{name} ({COSTS[network].name if network in COSTS else network})"
        rows.append(sections.cost_of_segmenter(title, cards))
    for cost in COSTS.values():
        numbers = [f"{cost.parameters:,}", "", "", f"{cost.seconds:g}", f"{cost.speed:g}", ""]
        rows.append([f"{cost.name}, {SOURCE}", *numbers, "NVIDIA GeForce RTX 2060, 6 GB"])
    return {"table": Table(sections.COSTS, rows), "total": _total(experiment)}


def cards_of_segmenters(experiment: Experiment) -> dict[str, list[Card]]:
    """By segmenter, the cards of its runs, each once."""
    runs: dict[str, dict[str, ReadRun]] = {}
    for arm in experiment.arms:
        runs.setdefault(arm["segmenter"], {}).update({run.path.name: run for run in experiment.runs(arm).values()})
    return {name: [run.card for run in own.values()] for name, own in runs.items()}


def _total(experiment: Experiment) -> str:
    runs = {"translator": experiment.translators, "segmenter": experiment.segmenters}
    seconds = {kind: sum(run.card["seconds"] for run in own.values()) for kind, own in runs.items()}
    parts = " and ".join(f"{duration(seconds[kind])} for {count(len(own), kind)}" for kind, own in runs.items())
    return (
        f"All finished trainings together took {duration(sum(seconds.values()))}: {parts}, added up as if they had run "
        "one after the other. Synthesis, testing and reading data are not included."
    )
