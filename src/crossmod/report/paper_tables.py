"""Tables 1 to 4 of Rafiq et al. 2025 made from an experiment's runs, beside what is published; 5 is in `costs`."""

from collections.abc import Sequence
from typing import Any

from crossmod.html.format import from_to, number, with_interval
from crossmod.report import published
from crossmod.report.experiment_data import Experiment, Finding, family_name

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
        (3, "essnet", essnet, published.ESSNET),
        (4, "cyclegan", cyclegan, published.CYCLEGAN),
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
    real, best = published.ESSNET[0], max(published.ESSNET, key=lambda row: row.dice)
    theirs = (
        f"Published Dice and IoU are of all pixels of {published.TESTED_MR} slices together (IoU = Dice / (2 - Dice) "
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
            published.SOURCE,
            f"{published.TRAINED_MR}",
            f"{published.TRAINED_CT}",
            f"{published.TESTED_CT:,}",
            f"{published.GENERATED:,}",
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
    for row in published.ESSNET:
        made = f"{row.synthetic:,}" if row.synthetic else "none"
        rows.append([published.SOURCE, f"{row.real}", made, f"{row.real + row.synthetic:,}", f"{published.TESTED_MR}"])
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


def _scores(
    experiment: Experiment, number_of: int, family: str, arms: Sequence[Finding], rows: Sequence[published.Row]
) -> Table:
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


def _title(row: published.Row) -> str:
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
