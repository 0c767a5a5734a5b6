"""The sections of a report, as tables and pictures for the templates; those of an experiment use them too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from crossmod.data.slices import spread
from crossmod.data.store import Store
from crossmod.engine.logger import alarms
from crossmod.html.format import Cell, Table, between, count, duration, from_to, listed, p_value
from crossmod.report import figures
from crossmod.report.collect import Arm, Card, Contents, family_name, verdict
from crossmod.report.figures import ranked, same_sources, synthetic_slices
from crossmod.settings import pixel_words
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.verdicts import METRICS, Compared, Scope
from crossmod.synthesis.synthesize import shift_of, shifts_in_words

SHOWN = 5
LABELS = {"improves": "improves", "hurts": "lowers"}
LEAKS = (
    "Split by slice, as in Rafiq et al. 2025: neighbouring slices of one patient were trained and tested on. "
    "The scores are higher than on a new patient."
)
# What Table 5 of Rafiq et al. 2025 counts of EssNet.
COUNTED = ("G1", "G2", "D1", "D2")
COSTS = (
    "Model", "Trained parameters", "Runs", "Seconds per step", "Seconds per epoch", "Slices per second", "All runs",
    "On",
)  # fmt: skip


def verdicts(all_arms: Sequence[Arm], compared: Sequence[Compared | None]) -> list[str]:
    """The comparison of each arm with its baseline, in a sentence."""
    return [verdict(arm, found) for arm, found in zip(all_arms, compared, strict=True) if arm.synthetic]


def verdict_label(verdict: Verdict, scope: Scope) -> str:
    """A verdict for a table: with its scope, unless that is synthetic slices in general."""
    if verdict not in LABELS:
        return verdict
    label = LABELS[verdict]
    return label if scope == "synthetic slices" else f"{scope} {label if scope == 'this model' else label[:-1]}"


def warnings(contents: Contents, all_arms: Sequence[Arm]) -> list[str]:
    """What limits the meaning of the numbers."""
    runs = [(run.path.resolve().name, run) for run in (*contents.translators, *contents.segmenters)]
    found = [LEAKS] if any(run.card["leaking"] for _, run in runs) else []
    for arm in all_arms:
        found += constant(arm.name, sum(card["scores"]["constant"] for card in arm.cards), len(arm.cards))
    found += [shifted for store in contents.stores for shifted in shifted_stores(store)]
    for name, run in runs:
        names = dict.fromkeys(alarm.name for _, alarm in alarms(run))
        if names:
            found.append(f"{name}: the training raised alarms ({', '.join(names)}), see Training.")
    found += unequal_pixels([(name, run.card) for name, run in runs])
    measured = [(arm.name, arm.cards[0]["steps"]) for arm in all_arms if _known(arm.cards[0], "steps")]
    return found + unequal_steps(measured)


def constant(name: str, number: int, runs: int) -> list[str]:
    """The warning that some runs of an arm have an output that is the same everywhere."""
    return [f"{name}: in {number} of {count(runs, 'run')} the network found nothing or everything."] if number else []


def shifted_stores(store: Store) -> list[str]:
    """The warnings of a store whose synthetic slices are shifted from their source."""
    return [f"{store.path.name}: {warning}" for warning in shifts_in_words(store)]


def unequal_pixels(cards: Sequence[tuple[str, Card]]) -> list[str]:
    """The warning of runs, with their names, that have different pixels."""
    groups: dict[str, list[str]] = {}
    for name, card in cards:
        groups.setdefault(f"{card['settings']['size']} pixels, {pixel_words(card['settings'])}", []).append(name)
    if len(groups) < 2:
        return []
    sizes = "; ".join(f"{words}: {listed(names, 4)}" for words, names in groups.items())
    return [
        f"The runs have different pixels ({sizes}): a part of any difference may come from that. Give all of them the "
        "same --size, --frame and --pixel-mm."
    ]


def unequal_steps(steps: Sequence[tuple[str, int]]) -> list[str]:
    """The warning of arms, with their names, that were not trained equally long."""
    if len({number for _, number in steps}) < 2:
        return []
    names = ", ".join(f"{name}: {number}" for name, number in steps)
    return [
        f"The arms took different numbers of training steps ({names}): a part of any difference may come from "
        "longer training. With --steps every arm trains equally long."
    ]


def results(all_arms: Sequence[Arm], compared: Sequence[Compared | None]) -> Table:
    """The result of each arm."""
    head = (
        "Trained on", "Seeds", "3D Dice by patient [95 %]", "Seeds from, to", "Change of 3D Dice [95 %]", "p (Holm)",
        "Verdict", "3D IoU", "Dice, all pixels", "IoU, all pixels", "Slice Dice", "Slice IoU", "AUC",
    )  # fmt: skip
    scores = (
        ("patient", "iou"), ("pooled", "dice"), ("pooled", "iou"), ("slice", "dice"), ("slice", "iou"), ("auc",),
    )  # fmt: skip
    measured = {name for arm in all_arms for card in arm.cards for name in card["scores"]["patient"]}
    added = [name for name, metric in METRICS.items() if metric.of is not None and name in measured]
    head = (*head, *(METRICS[name].name for name in added))
    rows = []
    for arm, found in zip(all_arms, compared, strict=True):
        if found is None:
            change = ["", "", "not compared" if arm.synthetic else "baseline"]
        else:
            effect, label = found.effect, verdict_label(found.verdict, found.facts.scope)
            p = "" if found.obstacle else p_value(found.holm)
            change = [between(effect.mean, (effect.low, effect.high), sign=True), p, Cell(label, (), found.verdict)]
        values = [arm.mean(*path) for path in (*scores, *(("patient", name) for name in added))]
        rows.append([arm.name, str(len(arm.by_seed)), arm.dice, arm.spread, *change, *values])
    return Table(head, rows, [place for place, arm in enumerate(all_arms) if not arm.synthetic])


def organs(all_arms: Sequence[Arm]) -> Table | None:
    """3D Dice of each of several organs in each arm; None if all arms are of one organ."""
    names = list(dict.fromkeys(organ for arm in all_arms for organ in arm.organs))
    if not names:
        return None
    rows = [
        [arm.name, *(arm.dice_of(organ) if organ in arm.organs else "" for organ in names)]
        for arm in all_arms
        if arm.organs
    ]
    baselines = [place for place, arm in enumerate(arm for arm in all_arms if arm.organs) if not arm.synthetic]
    return Table(("3D Dice by patient [95 %]", *(organ.replace("_", " ") for organ in names)), rows, baselines)


# How the judge was trained, in a sentence.
JUDGED_ON = {
    "random_contrast": "source slices with random contrast",
    "target_labels": "labelled real slices of the target",
}


def _in_words(scores: Sequence[float | None]) -> str | None:
    known = [score for score in scores if score is not None]
    return f"{np.mean(known):.3f} (median {np.median(known):.3f}, lowest {min(known):.3f})" if known else None


def synthesis(contents: Contents, store: Store) -> dict[str, object]:
    """One synthetic store: counts, label consistency, panels of best and worst slices."""
    records = [case.synthetic for case in store.cases if case.synthetic]
    order = ranked(store)
    origins = [origin for record in records for origin in record.slices]
    known = [origin.fits for origin in origins if origin.fits is not None]
    by_judge = shift_of(store, "judge")
    picks = {"Best": order[:SHOWN], "Worst": order[-SHOWN:]} if known else {"Evenly drawn": _evenly(order)}
    return {
        "family": family_name(records[0].family),
        "store": store.path.name,
        "slices": len(origins),
        "shift": str(shift_of(store)),
        "judged": _in_words([origin.judged for origin in origins]),
        "judged_on": JUDGED_ON.get(records[0].judged_by or ""),
        "judged_shift": by_judge and str(by_judge),
        "patients": len({case.patient for case in store.cases}),
        "consistency": _in_words([origin.consistency for origin in origins]),
        "panels": {
            name: figures.synthesis_panel(synthetic_slices(store, contents.sources, places), *_modalities(store))
            for name, places in picks.items()
        },
    }


def _evenly(order: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    return [order[place] for place in spread(len(order), SHOWN)]


def _modalities(store: Store) -> tuple[str, str]:
    """Source and target of a synthetic store."""
    return ("CT", "MR") if store.cases[0].modality == "mr" else ("MR", "CT")


def comparison(contents: Contents, names: Sequence[str] = ()) -> str | None:
    """The same source slices through every family (Rafiq et al. 2025, Fig. 11); default names: families and folders."""
    stores = contents.stores
    if len(stores) < 2 or len({store.cases[0].modality for store in stores}) > 1:
        return None
    picked = _evenly(ranked(stores[0]))
    columns = {}
    for number, store in enumerate(stores):
        synthetic = store.cases[0].synthetic
        assert synthetic is not None
        name = names[number] if names else f"{family_name(synthetic.family)} ({store.path.name})"
        places = same_sources(stores[0], store, picked)
        shown = iter(synthetic_slices(store, contents.sources, [place for place in places if place is not None]))
        columns[name] = [None if place is None else next(shown) for place in places]
    return figures.comparison_panel(columns, _modalities(stores[0])[0])


def outlines(all_arms: Sequence[Arm]) -> str | None:
    """Real test slices with the truth and each arm's prediction."""
    baseline = next((arm for arm in all_arms if arm.synthetic == 0), None)
    if baseline is None:
        return None
    same = [arm for arm in all_arms if arm.cards[0]["tested"] == baseline.cards[0]["tested"]]
    return figures.outline_panel(same, baseline, SHOWN)


def training(contents: Contents) -> list[dict[str, object]]:
    """Losses and alarms of each run that has any."""
    rows = []
    for run in (*contents.translators, *contents.segmenters):
        curves, raised = figures.loss_curves(run), [f"At step {step}, {alarm}" for step, alarm in alarms(run)]
        if curves or raised:
            rows.append({"run": run.path.resolve().name, "curves": curves, "alarms": raised})
    return rows


def costs(contents: Contents, all_arms: Sequence[Arm]) -> Table | None:
    """Rafiq et al. 2025, Table 5: parameters, seconds per epoch, slices per second."""
    rows = []
    for run in contents.translators:
        model = run.card["weights_sha256"]
        made = [s for s in contents.stores if s.cases and s.cases[0].synthetic and s.cases[0].synthetic.model == model]
        rows.append(cost_of_translator(family_name(run.card["family"]), [run.card], made))
    rows += [cost_of_segmenter(f"{arm.cards[0]['settings']['network']}, {arm.name}", arm.cards) for arm in all_arms]
    return Table(COSTS, rows) if rows else None


def cost_of_translator(name: str, cards: Sequence[Card], made: Iterable[Store]) -> list[str | Cell]:
    """The row of trainings of a translator."""
    counts = cards[0]["parameters"]
    detail = ", ".join(f"{network} {parameters:,}" for network, parameters in counts.items())
    if set(COUNTED) < set(counts):
        detail += f"; 2 G + 2 D, as the paper counts: {sum(counts[network] for network in COUNTED):,}"
    speeds = [
        float(np.mean([case.synthetic.slices_per_second for case in store.cases if case.synthetic])) for store in made
    ]
    if not counts:  # a control
        return _cost(name, "none", cards, speeds)
    return _cost(Cell(name, (detail,)), f"{sum(counts.values()):,}", cards, speeds)


def cost_of_segmenter(name: str, cards: Sequence[Card]) -> list[str | Cell]:
    """The row of trainings of a segmenter."""
    speeds = [card["slices_per_second"] for card in cards if _known(card, "slices_per_second")]
    parameters = f"{cards[0]['parameters']:,}" if _known(cards[0], "parameters") else NOT_MEASURED
    return _cost(name, parameters, cards, speeds)


NOT_MEASURED = "not measured"


def _cost(name: str | Cell, parameters: str, cards: Sequence[Card], speeds: Sequence[float | int]) -> list[str | Cell]:
    # A time per step is known of runs that took one.
    stepped = [card for card in cards if card["steps"]]
    seconds = [card["seconds"] for card in cards if _known(card, "seconds")]
    return [
        name,
        parameters,
        str(len(cards)),
        from_to((card["seconds"] / card["steps"] for card in stepped), 4) or NOT_MEASURED,
        from_to((card["seconds_per_epoch"] for card in stepped if _known(card, "seconds_per_epoch")), 2)
        or NOT_MEASURED,
        from_to(speeds, 1) or NOT_MEASURED,
        duration(sum(seconds)) if seconds else NOT_MEASURED,
        ", ".join(dict.fromkeys(str(card["device"]) for card in cards if card.get("device"))),
    ]


def _known(card: Card, key: str) -> bool:
    """Whether a card has a true value: of a run of another program some are not measured."""
    return card.get(key) is not None and key not in card.get("unmeasured", ())


def data(contents: Contents) -> Table | None:
    """What each run was trained and tested on."""
    rows = []
    for run in contents.translators:
        for side, data in run.card["data"].items():
            sequence = f", {data['sequence']}" if data["sequence"] else ""
            sequence += ", unit unknown" if data.get("unit") == "unknown" else ""
            scored = data.get("scored_patients", [])
            patients = ", ".join(data["patients"]) + (f"; to choose the epoch: {', '.join(scored)}" if scored else "")
            extent = extent_words(run.card.get("extents", {}).get(side))
            rows.append([run.path.resolve().name, f"{side.upper()}{sequence}", str(data["slices"]), patients, extent])
    for run in contents.segmenters:
        data, name, pixels = run.card["data"], run.path.resolve().name, pixel_words(run.card["settings"])
        for side in ("train", "test"):
            patients = ", ".join(data[f"{side}_patients"])
            rows.append([name, f"{side}, real", str(data[f"{side}_slices"]), patients, pixels])
    return Table(("Run", "Side", "Slices", "Patients", "Medians, pixels"), rows) if rows else None


def extent_words(extent: Mapping[str, Any] | None) -> str:
    """Median pixel, field and body of a side's scans; empty for runs that did not record them."""
    if extent is None:
        return ""
    height, width = extent["body_mm"]
    pixels = extent["body_pixels"]
    return (
        f"pixels {extent['pixel_mm']:.3g} mm, field {extent['field_mm']:.0f} mm, body {height:.0f} x {width:.0f} mm"
        + (f" ({pixels[0]:.0f} x {pixels[1]:.0f} pixels of the model)" if pixels else "")
    )
