"""The sections of the report: what stands in each, as plain data and pictures for the template."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossmod.data.store import Store, listed
from crossmod.engine.logger import alarms
from crossmod.html.format import p_value
from crossmod.metrics.paired import SHIFT_LIMIT_MM
from crossmod.report import figures
from crossmod.report.collect import FAMILY, Arm, Contents, verdict
from crossmod.report.slices import outlined, ranked, same_sources, synthetic_slices
from crossmod.settings import pixel_words
from crossmod.statistics.intervals import Verdict
from crossmod.statistics.verdicts import Compared, Scope
from crossmod.synthesis.synthesize import mean_shift, shift_mm

SHOWN = 5


def verdicts(all_arms: Sequence[Arm], compared: Sequence[Compared | None]) -> list[str]:
    """What each arm adds to its baseline, in a sentence."""
    return [verdict(arm, found) for arm, found in zip(all_arms, compared, strict=True) if arm.synthetic]


def verdict_label(verdict: Verdict, scope: Scope) -> str:
    """A verdict as a table shows it: with the models that it speaks of, where not of synthetic slices in general."""
    if verdict not in ("improves", "hurts") or scope == "synthetic slices":
        return verdict
    return f"{scope} {verdict if scope == 'this model' else verdict.removesuffix('s')}"


LEAKS = (
    "Split by slice, as in Rafiq et al. 2025: neighbouring slices of one patient were trained and tested on. "
    "The scores are higher than on a new patient."
)


def warnings(contents: Contents, all_arms: Sequence[Arm]) -> list[str]:
    """What a reader must know before believing a number."""
    found = [LEAKS] if any(run.card["leaking"] for run in (*contents.translators, *contents.segmenters)) else []
    for arm in all_arms:
        constant = sum(card["scores"]["constant"] for card in arm.cards)
        if constant:
            found.append(f"{arm.name}: in {constant} of {len(arm.cards)} runs the network found nothing or everything.")
    for store in contents.stores:
        if shift_mm(store) > SHIFT_LIMIT_MM:
            found.append(shifted(store))
    for run in (*contents.translators, *contents.segmenters):
        names = dict.fromkeys(alarm.name for _, alarm in alarms(run))
        if names:
            found.append(f"{run.path.resolve().name}: the training raised alarms ({', '.join(names)}), see Training.")
    found += unequal_pixels(
        [(run.path.resolve().name, run.card) for run in (*contents.translators, *contents.segmenters)]
    )
    # What ran in another program did not say how many steps it took.
    counted = [(arm.name, arm.cards[0]["steps"]) for arm in all_arms if "steps" not in unmeasured(arm.cards[0])]
    return found + unequal_steps(counted)


def shifted(store: Store) -> str:
    """The warning of a store whose synthetic slices do not lie where their source does."""
    rows, columns = mean_shift(store)
    return (
        f"{store.path.name}: the synthetic slices are shifted by {shift_mm(store):.1f} mm from their source "
        f"({rows:+.1f} rows, {columns:+.1f} columns; median of each case, averaged; limit {SHIFT_LIMIT_MM:g} mm), so "
        "that labels do not match the images. Label consistency does not show it, since the segmentor was trained "
        "with the same shift."
    )


def unequal_pixels(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The warning of runs that did not see the same millimetres; nothing where they did.

    Args:
        runs: names and cards.
    """
    groups: dict[str, list[str]] = {}
    for name, card in runs:
        groups.setdefault(f"{card['settings']['size']} pixels, {pixel_words(card['settings'])}", []).append(name)
    if len(groups) < 2:
        return []
    told = "; ".join(f"{words}: {listed(names, 4)}" for words, names in groups.items())
    return [
        f"The runs did not see slices alike ({told}): a part of any difference may come from that. Give all of them "
        "the same --size, --frame and --pixel-mm."
    ]


def unequal_steps(steps: Sequence[tuple[str, int]]) -> list[str]:
    """The warning of arms that were not trained equally long; nothing where they were."""
    if len({count for _, count in steps}) < 2:
        return []
    listed = ", ".join(f"{name}: {count}" for name, count in steps)
    return [
        f"The arms took different numbers of training steps ({listed}): a part of any difference may come from "
        "longer training. With --steps every arm trains equally long."
    ]


def results(all_arms: Sequence[Arm], compared: Sequence[Compared | None]) -> list[dict[str, str]]:
    """The result table, a row an arm."""
    rows = []
    for arm, found in zip(all_arms, compared, strict=True):
        rows.append(
            {
                "arm": arm.name,
                "seeds": str(len(arm.by_seed)),
                "dice": arm.dice,
                "spread": arm.spread,
                "iou": arm.mean("patient", "iou"),
                "pooled_dice": arm.mean("pooled", "dice"),
                "pooled_iou": arm.mean("pooled", "iou"),
                "slice_dice": arm.mean("slice", "dice"),
                "slice_iou": arm.mean("slice", "iou"),
                "auc": arm.mean("auc"),
                "difference": _difference(found),
                "holm": "" if found is None or found.obstacle else p_value(found.holm),
                "verdict": _label(arm, found),
            }
        )
    return rows


def _difference(found: Compared | None) -> str:
    if found is None:
        return ""
    one = found.effect
    ends = f" [{one.low:+.3f}, {one.high:+.3f}]" if np.isfinite([one.low, one.high]).all() else ""
    return f"{one.mean:+.3f}{ends}"


def _label(arm: Arm, found: Compared | None) -> str:
    if found is None:
        return "not compared" if arm.synthetic else "baseline"
    return verdict_label(found.verdict, found.facts.scope)


def synthesis(contents: Contents, store: Store) -> dict[str, Any]:
    """One synthetic store: counts, label consistency, panels of best and worst slices."""
    first = store.cases[0].synthetic
    assert first is not None
    order = ranked(store)
    scores = [o.consistency for case in store.cases if case.synthetic for o in case.synthetic.slices]
    known = [score for score in scores if score is not None]
    target = store.cases[0].modality.upper()
    source = "CT" if target == "MR" else "MR"
    if known:
        picks = {"Best": order[:SHOWN], "Worst": order[-SHOWN:]}
    else:
        picks = {"Evenly drawn": [order[int(i)] for i in np.unique(np.linspace(0, len(order) - 1, SHOWN).astype(int))]}
    return {
        "family": FAMILY.get(first.family, first.family),
        "store": store.path.name,
        "slices": len(scores),
        "shift": "{:+.1f} rows, {:+.1f} columns".format(*mean_shift(store)),
        "patients": len({case.patient for case in store.cases}),
        "consistency": f"{np.mean(known):.3f} (median {np.median(known):.3f}, lowest {min(known):.3f})"
        if known
        else None,
        "panels": {
            name: figures.synthesis_panel(synthetic_slices(store, contents.sources, expected), source, target)
            for name, expected in picks.items()
        },
    }


def comparison(contents: Contents, names: Sequence[str] = ()) -> str | None:
    """The same source slices through every family (Rafiq et al. 2025, Fig. 11).

    Args:
        contents: the stores are compared.
        names: of the stores, for people; default: their families and folders.
    """
    stores = contents.stores
    if len(stores) < 2 or len({store.cases[0].modality for store in stores}) > 1:
        return None
    order = ranked(stores[0])
    expected = [order[int(i)] for i in np.unique(np.linspace(0, len(order) - 1, SHOWN).astype(int))]
    columns = {}
    for number, store in enumerate(stores):
        synthetic = store.cases[0].synthetic
        assert synthetic is not None
        name = f"{FAMILY.get(synthetic.family, synthetic.family)} ({store.path.name})"
        places = same_sources(stores[0], store, expected)
        shown = iter(synthetic_slices(store, contents.sources, [place for place in places if place is not None]))
        columns[names[number] if names else name] = [None if place is None else next(shown) for place in places]
    return figures.comparison_panel(columns, "CT" if stores[0].cases[0].modality == "mr" else "MR")


def outlines(all_arms: Sequence[Arm]) -> str | None:
    """Real test slices with the truth and what each arm says of them."""
    baseline = next((arm for arm in all_arms if arm.synthetic == 0), None)
    if baseline is None:
        return None
    same = [arm for arm in all_arms if arm.cards[0]["tested"] == baseline.cards[0]["tested"]]
    shown = outlined(same, baseline, SHOWN)
    return figures.outline_panel(shown, same) if shown else None


def training(contents: Contents) -> list[dict[str, Any]]:
    """How each run's training went: its losses and its alarms."""
    rows = []
    for run in (*contents.translators, *contents.segmenters):
        row = {
            "run": run.path.resolve().name,
            "curves": figures.loss_curves(run),
            "alarms": [f"At step {step}, {alarm}" for step, alarm in alarms(run)],
        }
        # A finished run has readings, unless its metrics were deleted.
        if row["curves"] or row["alarms"]:
            rows.append(row)
    return rows


def costs(contents: Contents, all_arms: Sequence[Arm]) -> list[dict[str, str]]:
    """Rafiq et al. 2025, Table 5: parameters, seconds an epoch, slices a second."""
    speeds = {
        case.synthetic.model: case.synthetic.slices_per_second
        for store in contents.stores
        for case in store.cases
        if case.synthetic
    }
    rows = []
    for run in contents.translators:
        card = run.card
        counts = card["parameters"]
        detail = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        rows.append(
            {
                "model": FAMILY.get(card["family"], card["family"]),
                "parameters": f"{sum(counts.values()):,}",
                "detail": detail,
                "epoch": f"{card['seconds_per_epoch']:.2f}",
                "total": f"{card['seconds']:.0f}",
                "speed": f"{speeds[card['weights_sha256']]:.1f}"
                if card["weights_sha256"] in speeds
                else "not measured",
            }
        )
    return rows + [_cost_of_arm(arm) for arm in all_arms]


def _cost_of_arm(arm: Arm) -> dict[str, str]:
    card = arm.cards[0]

    def measured(key: str, form: str) -> str:
        return "not measured" if key in unmeasured(card) else format(card[key], form)

    return {
        "model": f"{card['settings']['network']}, {arm.name}",
        "parameters": measured("parameters", ","),
        "detail": "",
        "epoch": measured("seconds_per_epoch", ".2f"),
        "total": measured("seconds", ".0f"),
        "speed": measured("slices_per_second", ".1f"),
    }


def unmeasured(card: Mapping[str, Any]) -> frozenset[str]:
    """What a card holds no true value of, since another program did the work."""
    return frozenset(card.get("unmeasured", ()))


def data(contents: Contents) -> list[dict[str, str]]:
    """Who was trained and tested on, by run."""
    rows = []
    for run in contents.translators:
        for side, data in run.card["data"].items():
            sequence = f", {data['sequence']}" if data["sequence"] else ""
            sequence += ", unit unknown" if data.get("unit") == "unknown" else ""
            rows.append(
                {
                    "run": run.path.resolve().name,
                    "side": f"{side.upper()}{sequence}",
                    "slices": str(data["slices"]),
                    "patients": ", ".join(data["patients"]) + _scored(data.get("scored_patients", [])),
                    "measures": extent_words(run.card.get("extents", {}).get(side)),
                }
            )
    for run in contents.segmenters:
        data = run.card["data"]
        name = run.path.resolve().name
        for side in ("train", "test"):
            rows.append(
                {
                    "run": name,
                    "side": f"{side}, real",
                    "slices": str(data[f"{side}_slices"]),
                    "patients": ", ".join(data[f"{side}_patients"]),
                    "measures": pixel_words(run.card["settings"]),
                }
            )
    return rows


def extent_words(extent: Mapping[str, Any] | None) -> str:
    """What the scans of a side measure, in a line; nothing for runs that did not tell."""
    if extent is None:
        return ""
    height, width = extent["body_mm"]
    seen = extent["body_pixels"]
    return (
        f"pixels {extent['pixel_mm']:.3g} mm, field {extent['field_mm']:.0f} mm, body {height:.0f} x {width:.0f} mm"
        + (f" ({seen[0]:.0f} x {seen[1]:.0f} pixels of the model)" if seen else "")
    )


def _scored(patients: Sequence[str]) -> str:
    return f"; to choose the epoch: {', '.join(patients)}" if patients else ""
