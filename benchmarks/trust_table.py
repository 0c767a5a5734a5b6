"""What the trust report detects: known corruptions of inputs and outputs, and how many of them get a new warning.

    python benchmarks/trust_table.py                              a translator trained on phantoms, a quarter of an hour
    python benchmarks/trust_table.py --quick                      a stand-in for a translator, for tests
    python benchmarks/trust_table.py --matched SOURCE TARGET      a stand-in between two labelled stores
    python benchmarks/trust_table.py --run RUN --store STORE      a trained run and patients that it was not trained on

A corruption is found if a check warns that does not warn for the uncorrupted case. The table is printed as Markdown.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from trust_inputs import INPUTS, LIVER, Case
from trust_outputs import OUTPUTS, Function, liver_of

from crossmod.config import Modality, with_changes
from crossmod.data.pixel_size import training_scale
from crossmod.data.resample import to_size
from crossmod.data.slices import load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.ensemble import load_run
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.trust.assess import assess_trust
from crossmod.inference.trust.findings import Trust
from crossmod.inference.trust.similarity import fingerprint_of
from crossmod.inference.types import About, Network, Translation
from crossmod.metrics.appearance import bodies_of
from crossmod.metrics.fingerprint import CaseGrid, Fingerprint, Training, fingerprint
from crossmod.phantom.anatomy import Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_ct, render_mr
from crossmod.presets import TRANSLATE
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import train_translator


def person(number: int, size: int, slices: int) -> tuple[Volume, Volume]:
    """CT and T2-SPIR of one phantom person on one grid, with labels of the liver."""
    draws = np.random.default_rng([number, 11])
    whom = draw_person(number)
    grid = Grid(size, slices, float(draws.uniform(350, 385)), centre=(float(draws.uniform(-5, 5)), 0.0))
    anatomy = lay_on_grid(whom, grid)
    known = next(iter(LIVER))
    labels = (organ_labels(anatomy) == known).astype(np.uint8)
    sides = (render_ct(anatomy, number), render_mr(anatomy, "t2_spir", number))
    return tuple(one.with_labels(labels, {1: "liver"}) for one in sides)  # pyright: ignore[reportReturnType]


def stand_in(folder: Path, people: Sequence[tuple[Volume, Volume]], size: int) -> tuple[Network, Fingerprint]:
    """A network that maps each CT value to its mean MR value, with the fingerprint that its training would have."""
    settings = TranslateSettings(
        family="cyclegan", source="ct", size=size, load_size=size, frame="stretch", slices="organ"
    )
    sets, grids = {}, {}
    for at, side in enumerate(("ct", "mr")):
        with writing_store(folder / side) as writer:
            for number, volumes in enumerate(people):
                writer.add(f"{side}-{number}", volumes[at], patient=f"{side}-{number}")
        store = Store(folder / side)
        sets[side] = load_slices(
            store, store.cases, settings, scale=training_scale(settings), labelled=True, only_showing=True
        )
        for case in store.cases:
            grids[case.id] = CaseGrid(case.shape[1], case.shape[1] * case.spacing[1] / size)
    places = np.clip((sets["ct"].images.ravel() + 1) * 32, 0, 63).astype(int)
    table = np.bincount(places, weights=sets["mr"].images.ravel(), minlength=64)
    table = table / np.maximum(np.bincount(places, minlength=64), 1)

    def work(images: np.ndarray) -> np.ndarray:
        return np.interp(images[:, 0], (np.arange(64) + 0.5) / 32 - 1, table).astype(np.float32)

    training = Training((sets["ct"],), (sets["ct"],), sets["mr"], sets["mr"], grids, work)
    reference = fingerprint(training, settings)
    steps = list(sets["mr"].intensities.values())
    low, high = (float(np.median([getattr(one, end) for one in steps])) for end in ("low", "high"))
    about = About(
        "stand-in", "identity", "ct", "mr", ("ct",), size, None, low, high, settings.window, (), "0" * 64, "0"
    )
    return Function(about, work), reference


def matched(
    source: Store, target: Store, size: int, leave_out: int, seed: int
) -> tuple[Network, Fingerprint, list[Volume]]:
    """A stand-in for unpaired stores: grey values of the source are matched to the target's histogram, rank by rank.

    The last patients of a random order of the source are left out, and returned.
    """
    side = source.cases[0].modality
    settings = TranslateSettings(
        family="cyclegan", source=side, size=size, load_size=size, frame="stretch", slices="organ"
    )
    order = [source.cases[int(at)] for at in np.random.default_rng(seed).permutation(len(source.cases))]
    known, unseen = order[:-leave_out], order[-leave_out:]
    sets = [
        load_slices(store, cases, settings, scale=training_scale(settings), labelled=True, only_showing=True)
        for store, cases in ((source, known), (target, target.cases))
    ]
    grids = {}
    for case in (*known, *target.cases):
        side_mm = max(case.shape[axis] * case.spacing[axis] for axis in (1, 2))
        grids[case.id] = CaseGrid(round(side_mm / min(case.spacing[1:])), side_mm / size)
    shares = np.linspace(0, 1, 101)
    bodies = [bodies_of(one.images, name, settings.window) for one, name in zip(sets, (side, other(side)), strict=True)]
    ranks = [np.quantile(one.images[body], shares) for one, body in zip(sets, bodies, strict=True)]

    def work(images: np.ndarray) -> np.ndarray:
        return np.interp(images[:, 0], ranks[0], ranks[1]).astype(np.float32)

    training = Training((sets[0],), (sets[0],), sets[1], sets[1], grids, work)
    reference = fingerprint(training, settings)
    steps = list(sets[1].intensities.values())
    low, high = (float(np.median([getattr(one, end) for one in steps])) for end in ("low", "high"))
    about = About(
        "stand-in", "identity", side, other(side), (side,), size, None, low, high, settings.window, (), "0" * 64, "0"
    )
    return Function(about, work), reference, [to_size(source.read(case.id), 128) for case in unseen]


def other(side: Modality) -> Modality:
    """The other modality."""
    return "mr" if side == "ct" else "ct"


def trained(
    folder: Path, people: Sequence[tuple[Volume, Volume]], size: int, epochs: int
) -> tuple[Network, Fingerprint]:
    """A small EssNet, trained on CT of one half of the people and on MR of all."""
    for at, side in enumerate(("ct", "mr")):
        with writing_store(folder / side) as writer:
            for number, volumes in enumerate(people):
                writer.add(f"{side}-{number}", volumes[at], patient=f"{side}-{number}")
    settings = with_changes(TRANSLATE["tiny"], size=size, epochs=epochs, split="none")
    run = train_translator(folder / "run", ct=folder / "ct", mr=folder / "mr", settings=settings)
    network = load_run(run.path, device="cpu")
    reference = fingerprint_of([network])
    assert reference is not None
    return network, reference


def _with_labels(made: Translation, organs: tuple[str, ...]) -> Translation:
    """If the network has no segmentor, add one that returns the source's labels."""
    if made.labels is not None or made.sources[0].labels is None:
        return made
    return replace(made, labels=liver_of(made).astype(np.uint8), about=replace(made.about, organs=organs))


# ---- the table


def warned(trust: Trust) -> set[str]:
    """Names of the checks that warn."""
    return {check.name for check in trust.checks if check.outcome == "warning"}


def table(
    network: Network, reference: Fingerprint, volumes: Sequence[Volume], *, say: Callable[[str], None] = print
) -> dict[str, tuple[int, int, dict[str, int]]]:
    """Corruption -> how often it was found, of how many, and by which checks; prints each line as it is done.

    Args:
        network: the model.
        reference: its fingerprint.
        volumes: of patients that it was not trained on.
        say: takes the lines.
    """
    cases, usual = [], []
    for number, volume in enumerate(volumes):
        made = _with_labels(translate_volume([network], [volume]), ("liver",))
        cases.append(Case(volume, volumes[(number + 1) % len(volumes)], made, network))
        trust = assess_trust(made, reference)
        usual.append(warned(trust))
        say(f"<!-- uncorrupted {number}: {trust.status}; {' '.join(trust.warnings)} -->")
    found: dict[str, tuple[int, int, dict[str, int]]] = {}
    say("| where | corruption | found | by |\n| --- | --- | --- | --- |")
    for where, corruptions in (("input", INPUTS), ("output", OUTPUTS)):
        for name, corrupt in corruptions.items():
            by: dict[str, int] = {}
            hits = 0
            for case, before in zip(cases, usual, strict=True):
                new = _new(where, corrupt, case, reference) - before
                hits += bool(new)
                for check in new:
                    by[check] = by.get(check, 0) + 1
            found[f"{where}: {name}"] = (hits, len(cases), by)
            listed = ", ".join(f"{check} {count}" for check, count in sorted(by.items(), key=lambda one: -one[1]))
            say(f"| {where} | {name} | {hits} of {len(cases)} | {listed or 'not found'} |")
    return found


def _new(where: str, corrupt: Any, case: Case, reference: Fingerprint) -> set[str]:
    try:
        if where == "output":
            return warned(assess_trust(corrupt(case.clean, case), reference))
        made = _with_labels(translate_volume([case.network], [corrupt(case.volume, case)]), ("liver",))
    except InputError:
        return {"refused"}
    trust = assess_trust(made, reference)
    return warned(trust) | ({"not assessed"} if trust.status == "not assessed" else set())


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a stand-in for a translator, and few small phantoms")
    parser.add_argument("--run", type=Path, help="a finished training run")
    parser.add_argument("--store", type=Path, help="a store with patients that the run was not trained on")
    parser.add_argument("--patients", type=int, default=4, help="patients to try (default: 4)")
    parser.add_argument("--matched", type=Path, nargs=2, metavar=("SOURCE", "TARGET"), help="stores, for a stand-in")
    parser.add_argument("--seed", type=int, default=0, help="of the patients that are left out of --matched")
    given = parser.parse_args()
    if given.matched is not None:
        source, target = (Store(path) for path in given.matched)
        table(*matched(source, target, 96, given.patients, given.seed))
        return
    if given.run is not None:
        network = load_run(given.run, device="cpu")
        reference = fingerprint_of([network])
        if reference is None:
            parser.error(f"{given.run} has no fingerprint")
        store = Store(given.store)
        known = set(network.translator.trained_on)
        left = [case.id for case in store.select(network.about.source) if case.patient not in known]
        table(network, reference, [store.read(name) for name in left[: given.patients]])
        return
    size, slices, many = (48, 10, 6) if given.quick else (64, 20, 12)
    people = [person(number, size if given.quick else 96, slices) for number in range(many)]
    unseen = [person(1000 + number, size if given.quick else 96, slices)[0] for number in range(given.patients)]
    with tempfile.TemporaryDirectory() as folder:
        made = stand_in(Path(folder), people, size) if given.quick else trained(Path(folder), people, size, 20)
        table(*made, unseen)


if __name__ == "__main__":
    main()
