"""Scores for a bundle's card: few, each with its interval, out of results about the very models that are exported."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.inference.bundle.format import Score
from crossmod.runs import CARD, Run, is_run, open_run

FINDINGS = "findings.json"
# Of `evaluate images`: by the name in its card what is told of it, and whether it is divided by what real images score.
IMAGES = {
    "frechet": ("Fréchet distance, real against real = 1", "ratios"),
    "kid": ("kernel distance", "scores"),
    "spectrum": ("spectral correlation, real against real = 1", "ratios"),
}

# By the hash of a run's weights, the name of its network in the bundle.
Models = Mapping[str, str]


def scores_of(results: Sequence[Path], models: Models) -> tuple[Score, ...]:
    """What results say of some models.

    Args:
        results: folders of `evaluate images`, of `segment` or of an experiment.
        models: what is exported.

    Raises:
        InputError: a folder of something else, or one about other models.
    """
    found: list[Score] = []
    for path in results:
        own = list(_of_one(path, models))
        if not own:
            wanted = "a result about a model that is exported"
            do = "Give a result whose synthetic images were made with this run and epoch, or leave it out."
            raise InputError(path, found="scores of other models, or none", wanted=wanted, do=do)
        found += own
    return tuple(found)


def _of_one(path: Path, models: Models) -> Iterator[Score]:
    if (path / FINDINGS).is_file():
        return _experiment(path, models)
    if not is_run(path):
        wanted = "a folder of `evaluate images`, `segment` or an experiment"
        raise InputError(path, found="no result", wanted=wanted, do="Check the path.")
    run = open_run(path)
    kinds = {"evaluate": _images, "segment": _segment}
    kind = run.config["kind"]
    if kind not in kinds:
        wanted = "one of `evaluate images` or `segment`, or an experiment"
        raise InputError(path, found=f"a run of `{kind}`", wanted=wanted, do="Give another folder.")
    return kinds[kind](run, models)


def _images(run: Run, models: Models) -> Iterator[Score]:
    card = run.card
    for name, about in card["data"]["models"].items():
        for network in _named(about["weights"], models):
            own = card["models"][name]
            people = len(card["data"]["real"].get("held", {}).get("patients", []))
            on = f"{about['slices']} synthetic slices of {len(about['patients'])} patients against {people} real ones"
            for metric, (words, which) in IMAGES.items():
                yield from _score(network, words, own[which]["average"][metric], on)
            for organ, told in own["organs"].items():
                values = [told["dice"], told["low"], told["high"]]
                yield from _score(network, f"label consistency, 3D Dice of {organ}", values, on)
            if own["truth"]:
                there = f"{own['truth']['slices']} slices of {own['truth']['patients']} patients with a truth"
                yield from _score(network, f"mean absolute error, {own['truth']['unit']}", own["truth"]["mae"], there)


def _segment(run: Run, models: Models) -> Iterator[Score]:
    card = run.card
    for network in _named(card["data"]["synthetic_models"], models):
        dice = card["scores"]["patient_values"]["dice"].values()
        known = [value for value in dice if value is not None]
        on = f"{len(known)} held-out patients, by a segmenter trained with its synthetic slices"
        mean = sum(known) / len(known) if known else None
        yield from _score(network, "3D Dice", [mean, *card["scores"]["patient_interval"]], on)


def _experiment(path: Path, models: Models) -> Iterator[Score]:
    findings = read_json(path / FINDINGS)
    for arm in findings["arms"]:
        effect = (arm["effects"] or {}).get("dice")
        cards = [path / "runs" / one["run"] / CARD for one in arm["runs"]]
        weights = {one for card in cards if card.is_file() for one in read_json(card)["data"]["synthetic_models"]}
        if effect is None:
            continue
        for network in _named(sorted(weights), models):
            on = f"{effect['patients']} patients, {arm['count']} synthetic slices against none, {effect['seeds']} seeds"
            values = [effect["mean"], effect["low"], effect["high"]]
            yield from _score(network, f"change of 3D Dice of {findings['organ']}", values, on)


def _named(weights: Sequence[str], models: Models) -> list[str]:
    return [models[one] for one in weights if one in models]


def _score(network: str, metric: str, values: Sequence[float | None], on: str) -> Iterator[Score]:
    value, low, high = values
    if value is not None:
        yield Score(network=network, metric=metric, value=value, low=low, high=high, on=on)
