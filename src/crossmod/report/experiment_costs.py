"""Table 5 of Rafiq et al. 2025 made from an experiment's runs: parameters, seconds and slices a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossmod.data.store import Store
from crossmod.html.format import count, from_to, length
from crossmod.report import published
from crossmod.report.experiment_data import Experiment, ReadRun, family_name

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
    rows += [_published(name, cost) for name, cost in published.COSTS.items()]
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


def _published(name: str, cost: published.Cost) -> dict[str, str]:
    return {
        "name": f"{NAMES[name]}, {published.SOURCE}",
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
