"""Tables 1 to 5 and Figures 7 to 12 of Rafiq et al. 2025, made from an experiment's runs.

Segmentation, arXiv 2503.00945).

Notable:
- Their Dice and IoU are of one run a row, over 58 slices of patients whose other slices were trained on.
- They are pooled over pixels: each row satisfies IoU = Dice / (2 - Dice) to the last digit printed. Of the counts of
  all pixels together that is always so. Means over slices are larger in IoU, by about 1.7 times the variance of the
  slices' Dice near 0.95: they could agree only if that Dice had an SD below 0.01.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.data.store import Store
from crossmod.html.format import count, from_to, length, number, with_interval
from crossmod.report import figures, sections
from crossmod.report.collect import Contents, sources_of
from crossmod.report.experiment.data import Experiment, Finding, ReadRun, family_name

SOURCE = "Rafiq et al. 2025"

# Table 1: slices that EssNet is trained on, and those that it is given afterwards.
TRAINED_MR, TRAINED_CT, TESTED_CT, GENERATED = 350, 350, 2050, 2050
# Table 2.
TESTED_MR = 58


@dataclass(frozen=True)
class Row:
    """A row of Tables 2, 3 and 4.

    Args:
        real: training slices.
        synthetic: beside them.
        dice: over all pixels of the tested slices.
        iou: over the same pixels.
    """

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


@dataclass(frozen=True)
class Cost:
    """A row of Table 5, on an NVIDIA GeForce RTX 2060 with 6 GB.

    Args:
        parameters: of EssNet those of two generators and two discriminators; S is left out of the paper's count.
        seconds: per epoch; of U-Net with 1064 slices.
        speed: slices per second.
    """

    parameters: int
    seconds: float
    speed: float


# By family of translators, or network.
COSTS = {"essnet": Cost(28_256_644, 230.0, 2.02), "unet": Cost(31_031_685, 80.0, 21.0)}


Table = dict[str, Any]
HEAD = (
    "trained on", "Dice, published", "IoU, published", "Dice, all pixels", "IoU, all pixels", "slice Dice", "slice IoU",
    "3D Dice [95 %]",
)  # fmt: skip


def tables(experiment: Experiment) -> dict[str, Any]:
    """Those for which the experiment has something, and a line on those that it has nothing for."""
    essnet, cyclegan = arms_of(experiment, "essnet"), arms_of(experiment, "cyclegan")
    found: list[Table] = []
    if experiment.made:
        found.append(_translation(experiment))
    if experiment.arms:
        found.append(_arrangement(experiment))
    missing = []
    for number_of, family, arms, rows in (
        (3, "essnet", essnet, ESSNET),
        (4, "cyclegan", cyclegan, CYCLEGAN),
    ):
        if arms:
            found.append(_scores(experiment, number_of, family, arms, rows))
        else:
            missing.append(f"Table {number_of}: this experiment has no arm with slices of {family_name(family)}.")
    return {"tables": found, "missing": missing, "held_against": _held_against(experiment) if found[2:] else None}


def arms_of(experiment: Experiment, family: str) -> list[Finding]:
    """The arms with synthetic slices of a family."""
    return [arm for arm in experiment.arms if arm["translator"] and experiment.family(arm) == family]


def _held_against(experiment: Experiment) -> str:
    """Which of our numbers may be compared with the published ones."""
    real, best = ESSNET[0], max(ESSNET, key=lambda row: row.dice)
    theirs = (
        f"Published Dice and IoU are of all pixels of {TESTED_MR} slices together (IoU = Dice / (2 - Dice) "
        "in each row), of patients whose other slices were trained on (leaking), one run a row; the best row is "
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
    rows = [
        [
            SOURCE,
            f"{TRAINED_MR}",
            f"{TRAINED_CT}",
            f"{TESTED_CT:,}",
            f"{GENERATED:,}",
        ]
    ]
    for name, stores in experiment.made.items():
        sides = [run.card["data"] for run in stores.values()]
        made = [sum(case.shape[0] for case in experiment.stores[folder].cases) for folder in stores]
        trained = [from_to(data[side]["slices"] for data in sides if side in data) for side in (target, source)]
        # As in the paper, all source slices with the organ are translated, and each gives one.
        rows.append([name, *trained, from_to(made), from_to(made)])
    head = (
        "translator", f"{target.upper()} slices trained on", f"{source.upper()} slices trained on",
        f"{source.upper()} slices translated", f"{target.upper()} slices made",
    )  # fmt: skip
    return _table(1, "Slices that translators see and make", head, rows)


def _arrangement(experiment: Experiment) -> Table:
    rows = []
    for row in ESSNET:
        made = f"{row.synthetic:,}" if row.synthetic else "none"
        rows.append([SOURCE, f"{row.real}", made, f"{row.real + row.synthetic:,}", f"{TESTED_MR}"])
    for arm in experiment.arms:
        cards = experiment.cards(arm)
        real, made, tested = (
            [pick(card) for card in cards]
            for pick in (
                lambda card: card["data"]["train_slices"],
                lambda card: card["settings"]["count"],
                lambda card: card["data"]["test_slices"],
            )
        )
        both = [one + other for one, other in zip(real, made, strict=True)]
        rows.append(
            [arm["name"], from_to(real), from_to(made) if any(made) else "none", from_to(both), from_to(tested)]
        )
    head = ("arm", "real slices", "synthetic", "together", "tested on, real")
    return _table(2, "What segmenters are trained and tested on", head, rows)


def _scores(experiment: Experiment, number_of: int, family: str, arms: Sequence[Finding], rows: Sequence[Row]) -> Table:
    """Published rows and ours, in one row where they were trained on as many slices of each kind."""
    bases = dict.fromkeys(arm["baseline"] for arm in arms)
    ours = [base for name in bases if name and (base := experiment.arm(name)) is not None] + list(arms)
    left = {arm["name"]: arm for arm in ours}
    shown = []
    for row in rows:
        same = next((arm for arm in left.values() if _counts(arm) == (row.real, row.synthetic)), None)
        if same is not None:
            del left[same["name"]]
        shown.append([_title(row), number(row.dice, 4), number(row.iou, 4), *(_ours(same) if same else [""] * 5)])
    shown += [[arm["name"], "", "", *_ours(arm)] for arm in left.values()]
    return _table(number_of, f"Segmentation with slices of {family_name(family)}", HEAD, shown)


def _title(row: Row) -> str:
    return f"{row.real} real" + (f" + {row.synthetic:,} synthetic" if row.synthetic else "")


def _counts(arm: Finding) -> tuple[float | int, float | int]:
    return arm["real_slices"], arm["slices"]


def _ours(arm: Finding) -> list[str]:
    measures = ("pooled_dice", "pooled_iou", "slice_dice", "slice_iou")
    # An earlier version took no pooled scores.
    means = [(arm["by_run"].get(measure) or {"mean": None})["mean"] for measure in measures]
    return [*(number(mean, 4) for mean in means), with_interval(arm["scores"]["dice"])]


def _table(number_of: int, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return {"number": number_of, "title": title, "head": list(head), "rows": [list(row) for row in rows]}


# Arms that a figure of curves can tell apart.
CURVES = 6


def pictures(experiment: Experiment, sources: Sequence[Path]) -> dict[str, Any]:
    """Those that the runs have something for.

    Args:
        experiment: whose runs.
        sources: stores in which to look for source slices, beside those that the translators were trained on.
    """
    stores = experiment.shown_stores
    trained = [next(iter(folders.values())) for folders in experiment.made.values()]
    contents = Contents(tuple(trained), (), (), tuple(stores.values()), sources_of(trained, sources))
    shown = _curves(experiment)
    return {
        "synthesis": [{"name": name, **sections.synthesis(contents, store)} for name, store in stores.items()],
        "outlines": _outlines(experiment, [arms_of(experiment, "essnet")]),
        "roc": figures.roc_curves([experiment.drawn(arm) for arm in shown]) if shown else None,
        "roc_left_out": len(experiment.arms) - len(shown),
        "comparison": sections.comparison(contents, list(stores)),
        "ablation": _outlines(experiment, [arms_of(experiment, family) for family in ("cyclegan", "essnet")]),
    }


def _curves(experiment: Experiment) -> list[Finding]:
    """The best arm's baseline, and the arms with the largest Dice."""
    known = [arm for arm in experiment.arms if arm["scores"]["dice"]["mean"] is not None]
    best = experiment.best
    base = [arm for arm in known if best is not None and arm["name"] == best["baseline"]]
    others = sorted((arm for arm in known if arm not in base), key=lambda arm: -arm["scores"]["dice"]["mean"])
    chosen = [*base, *others[: CURVES - len(base)]]
    return [arm for arm in known if arm in chosen]


def _outlines(experiment: Experiment, groups: Sequence[Sequence[Finding]]) -> dict[str, str] | None:
    """Real test slices with what the baseline and the best arm of each group say; None where a group has none."""
    best = [_best(group) for group in groups]
    first = best[0]
    if first is None or None in best:
        return None
    base = experiment.arm(first["baseline"])
    chosen = [arm for arm in best if arm is not None and arm["baseline"] == first["baseline"]]
    if base is None or len(chosen) < len(groups):
        return None
    if not all(next(iter(experiment.runs(arm).values())).answered for arm in (base, *chosen)):
        return None
    picture = sections.outlines([experiment.drawn(arm) for arm in (base, *chosen)])
    names = ", ".join(f"{arm['name']} ({family_name(experiment.family(arm))})" for arm in chosen)
    return {"figure": picture, "arms": f"{base['name']}; {names}"} if picture else None


def _best(arms: Sequence[Finding]) -> Finding | None:
    known = [arm for arm in arms if arm["effects"]["dice"] and arm["effects"]["dice"]["mean"] is not None]
    return max(known, key=lambda arm: arm["effects"]["dice"]["mean"], default=None)


# What the paper's Table 5 counts of EssNet.
COUNTED = ("G1", "G2", "D1", "D2")
# Names of networks in the paper.
NAMES = {"essnet": "EssNet", "unet": "U-Net"}


def costs(experiment: Experiment) -> dict[str, Any]:
    """A row a translator, segmenter and published model; and what all trainings took."""
    rows = [_translator(name, stores, experiment.stores) for name, stores in experiment.made.items()]
    segmenters: dict[str, dict[str, ReadRun]] = {}
    for arm in experiment.arms:
        runs = {run.path.name: run for run in experiment.runs(arm).values()}
        segmenters.setdefault(arm["segmenter"], {}).update(runs)
    rows += [_segmenter(name, list(runs.values())) for name, runs in segmenters.items()]
    rows += [_published(name, cost) for name, cost in COSTS.items()]
    return {"rows": rows, "total": _total(experiment)}


def _translator(name: str, made: Mapping[str, ReadRun], stores: Mapping[str, Store]) -> dict[str, str]:
    runs = list({run.path: run for run in made.values()}.values())
    counts = runs[0].card["parameters"]
    counted = sum(counts.get(network, 0) for network in COUNTED)
    detail = ", ".join(f"{network} {parameters:,}" for network, parameters in counts.items())
    if set(COUNTED) < set(counts):
        detail += f"; 2 G + 2 D, as the paper counts: {counted:,}"
    speeds = [
        float(np.mean([case.synthetic.slices_per_second for case in stores[folder].cases if case.synthetic]))
        for folder in made
    ]
    cards = [run.card for run in runs]
    return _row(f"{name} ({family_name(cards[0]['family'])})", f"{sum(counts.values()):,}", detail, cards, speeds)


def _segmenter(name: str, runs: Sequence[ReadRun]) -> dict[str, str]:
    cards = [run.card for run in runs]
    speeds = [card["slices_per_second"] for card in cards if card.get("slices_per_second") is not None]
    network = cards[0]["settings"]["network"]
    title = name if name == network else f"{name} ({NAMES.get(network, network)})"
    return _row(title, f"{cards[0]['parameters']:,}", "", cards, speeds)


def _row(
    name: str, parameters: str, detail: str, cards: Sequence[Mapping[str, Any]], speeds: Sequence[float | int]
) -> dict[str, str]:
    # A cost is known of runs that took a step.
    stepped = [card for card in cards if card["steps"]]
    return {
        "name": name,
        "parameters": parameters,
        "detail": detail,
        "runs": f"{len(cards)}",
        "step": from_to((card["seconds"] / card["steps"] for card in stepped), 4),
        "epoch": from_to((card["seconds_per_epoch"] for card in stepped if "seconds_per_epoch" in card), 2),
        "speed": from_to(speeds, 1),
        "total": length(sum(card["seconds"] for card in cards)),
        "device": ", ".join(dict.fromkeys(str(card["device"]) for card in cards if card.get("device"))),
    }


def _published(name: str, cost: Cost) -> dict[str, str]:
    return {
        "name": f"{NAMES[name]}, {SOURCE}",
        "parameters": f"{cost.parameters:,}",
        "detail": "",
        "runs": "",
        "step": "",
        "epoch": f"{cost.seconds:g}",
        "speed": f"{cost.speed:g}",
        "total": "",
        "device": "NVIDIA GeForce RTX 2060, 6 GB",
    }


def _total(experiment: Experiment) -> str:
    parts = {"translators": experiment.translators, "segmenters": experiment.segmenters}
    seconds = {kind: sum(run.card["seconds"] for run in runs.values()) for kind, runs in parts.items()}
    told = " and ".join(f"{length(seconds[kind])} for {count(len(runs), kind[:-1])}" for kind, runs in parts.items())
    return (
        f"All finished trainings together took {length(sum(seconds.values()))}: {told}, added up as if one had "
        "followed the other. Synthesis, testing and reading data come on top."
    )
