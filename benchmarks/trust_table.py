"""What the trust report finds: known corruptions of inputs and outputs, and how many of them get a new warning.

    python benchmarks/trust_table.py                              a translator trained on phantoms, some minutes
    python benchmarks/trust_table.py --quick                      a stand-in for a translator, for tests
    python benchmarks/trust_table.py --matched SOURCE TARGET      a stand-in between two labelled stores
    python benchmarks/trust_table.py --run RUN --store STORE      a trained run and patients that it was not trained on

A corruption is found if a check warns that does not warn of the uncorrupted case. Printed as Markdown.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from crossmod.config import Modality, with_changes
from crossmod.data.body_mask import body_mask
from crossmod.data.resample import to_size
from crossmod.data.scale import training_scale
from crossmod.data.slices import in_classes, load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.evaluate.fingerprint import CaseGrid, Training, fingerprint
from crossmod.evaluate.looks import bodies_of
from crossmod.inference.contract import About, Network, Translation
from crossmod.inference.run_network import load_run
from crossmod.inference.translate import translate_volume
from crossmod.inference.trust.fingerprint import Fingerprint, fingerprint_of, read_fingerprint
from crossmod.inference.trust.found import Trust
from crossmod.inference.trust.judge import judge_trust
from crossmod.phantom.anatomy import Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import draw_person
from crossmod.phantom.render import render_ct, render_mr
from crossmod.phantom.tissues import ORGANS
from crossmod.presets import TRANSLATE
from crossmod.settings import TranslateSettings
from crossmod.translate.train import train_translator

LIVER = {number: "liver" for number, name in ORGANS.items() if name == "liver"}
OF_VOLUME = Callable[[Volume, "Case"], Volume]
OF_TRANSLATION = Callable[[Translation, "Case"], Translation]


@dataclass(frozen=True, eq=False)
class Case:
    """One patient, and whom else a corruption may borrow from."""

    volume: Volume
    other: Volume
    clean: Translation
    network: Network


# ---- corruptions of the input


def _body(volume: Volume) -> np.ndarray:
    return body_mask(volume.voxels, volume.modality)


def _range(volume: Volume) -> tuple[float, float]:
    """What is shown: the abdominal window, or the middle 99 % of MR."""
    if volume.modality == "ct":
        return -160.0, 240.0
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    return float(low), float(high)


def _inside(volume: Volume, values: np.ndarray) -> Volume:
    voxels = np.where(_body(volume), values, volume.voxels)
    return replace(volume, voxels=voxels.astype(np.float32))


def _inverted(volume: Volume, case: Case) -> Volume:
    low, high = _range(volume)
    return _inside(volume, low + high - np.clip(volume.voxels, low, high))


def _blurred(volume: Volume, case: Case) -> Volume:
    sigma = 6.0 / volume.spacing[1]
    return replace(volume, voxels=ndimage.gaussian_filter(volume.voxels.astype(np.float32), (0, sigma, sigma)))


def _noisy(volume: Volume, case: Case) -> Volume:
    low, high = _range(volume)
    draws = np.random.default_rng(0).normal(0, 0.15 * (high - low), volume.voxels.shape)
    return replace(volume, voxels=(volume.voxels + draws).astype(np.float32))


def _biased(volume: Volume, case: Case) -> Volume:
    low, high = _range(volume)
    ramp = np.linspace(-0.5, 0.5, volume.voxels.shape[2])
    if volume.modality == "mr":
        return replace(volume, voxels=(volume.voxels * (1 + 1.4 * ramp)).astype(np.float32))
    return _inside(volume, volume.voxels + ramp * (high - low) / 2)


def _upside_down(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 1)


def _mirrored(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 2)


def _feet_first(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 0)


def _turned(volume: Volume, axis: int) -> Volume:
    labels = None if volume.labels is None else np.flip(volume.labels, axis).copy()
    return replace(volume, voxels=np.flip(volume.voxels, axis).copy(), labels=labels)


def _in_order(volume: Volume, order: Sequence[int]) -> Volume:
    labels = None if volume.labels is None else volume.labels[list(order)]
    return replace(volume, voxels=volume.voxels[list(order)], labels=labels)


def _doubled(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, [index // 2 for index in range(2 * len(volume.voxels))])


def _shuffled(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, np.random.default_rng(0).permutation(len(volume.voxels)).tolist())


def _two_swapped(volume: Volume, case: Case) -> Volume:
    order = list(range(len(volume.voxels)))
    middle = len(order) // 2
    order[middle], order[middle + 2] = order[middle + 2], order[middle]
    return _in_order(volume, order)


def _even_then_odd(volume: Volume, case: Case) -> Volume:
    count = len(volume.voxels)
    return _in_order(volume, [*range(0, count, 2), *range(1, count, 2)])


def _spaced(volume: Volume, factors: tuple[float, float, float]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, :3] = affine[:3, :3] * np.array(factors)
    return replace(volume, affine=affine)


def _pixels_wrong(volume: Volume, case: Case) -> Volume:
    return _spaced(volume, (1, 1.4, 1.4))


def _steps_wrong(volume: Volume, case: Case) -> Volume:
    return _spaced(volume, (2, 1, 1))


def _brighter(volume: Volume, case: Case) -> Volume:
    if volume.modality == "ct":
        return _inside(volume, volume.voxels + 200.0)
    low, high = _range(volume)
    shares = np.clip((volume.voxels - low) / (high - low), 0, 1)
    return replace(volume, voxels=(low + (high - low) * np.sqrt(shares)).astype(np.float32))


def _clipped(volume: Volume, case: Case) -> Volume:
    low, high = _range(volume)
    return _inside(volume, np.clip(volume.voxels, low + 0.45 * (high - low), low + 0.6 * (high - low)))


def _other_modality(volume: Volume, case: Case) -> Volume:
    """What the network made, given again as if it were of the source's modality."""
    made, body = case.clean.image.voxels.astype(np.float64), case.clean.body
    low, high = _range(volume)
    least, most = np.percentile(made[body], (0.5, 99.5))
    return _inside(volume, low + np.clip((made - least) / (most - least), 0, 1) * (high - low))


def _legs(volume: Volume, case: Case) -> Volume:
    """Two thighs: muscle around bone, fat around both."""
    _, rows, columns = volume.voxels.shape
    y, x = np.mgrid[0:rows, 0:columns]
    low, high = _range(volume)
    air = float(volume.voxels.min())
    values = np.full((rows, columns), air)
    for centre in (0.33, 0.67):
        apart = np.hypot((y - rows / 2) / rows, (x - centre * columns) / columns)
        for radius, share in ((0.168, 0.15), (0.13, 0.55), (0.03, 1.0)):
            values[apart < radius] = low + share * (high - low)
    grain = np.random.default_rng(0).normal(0, 0.02 * (high - low), volume.voxels.shape)
    voxels = np.where(values > air, values + grain, air).astype(np.float32)
    return replace(volume, voxels=voxels, labels=None, label_names={})


def _cropped(volume: Volume, case: Case) -> Volume:
    """The middle 60 % of the body's own box."""
    rows, columns = (np.flatnonzero(_body(volume).any(axis=(0, axis))) for axis in (2, 1))
    cuts = [slice(*(round(at[0] + share * (at[-1] - at[0])) for share in (0.2, 0.8))) for at in (rows, columns)]
    labels = None if volume.labels is None else volume.labels[:, cuts[0], cuts[1]]
    return replace(volume, voxels=volume.voxels[:, cuts[0], cuts[1]], labels=labels)


def _streaks(volume: Volume, case: Case) -> Volume:
    """Two metal implants: bright discs, and dark and bright rays between and around them."""
    _, rows, columns = volume.voxels.shape
    y, x = np.mgrid[0:rows, 0:columns]
    low, high = _range(volume)
    voxels = volume.voxels.astype(np.float64)
    for centre in (0.42, 0.58):
        angle = np.arctan2(y - rows * 0.52, x - centre * columns)
        apart = np.hypot(y - rows * 0.52, x - centre * columns) / columns
        voxels += (high - low) * np.cos(14 * angle) * np.exp(-apart / 0.15) * 0.7
        voxels[:, apart < 0.02] = high + 10 * (high - low)
    return _inside(volume, voxels)


def _emptied(volume: Volume, case: Case) -> Volume:
    voxels, middle = volume.voxels.copy(), len(volume.voxels) // 2
    voxels[middle : middle + 2] = voxels.min()
    return replace(volume, voxels=voxels)


def _one_slice(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, [len(volume.voxels) // 2])


INPUTS: dict[str, OF_VOLUME] = {
    "values inverted": _inverted,
    "blurred by 6 mm": _blurred,
    "noise, 15 % of the range": _noisy,
    "brightness falls off to one side": _biased,
    "upside down": _upside_down,
    "mirrored, left for right": _mirrored,
    "feet for head": _feet_first,
    "each slice twice": _doubled,
    "slices shuffled": _shuffled,
    "two slices exchanged": _two_swapped,
    "even slices, then odd ones": _even_then_odd,
    "pixels 40 % too large in the header": _pixels_wrong,
    "slice distance doubled in the header": _steps_wrong,
    "CT +200 HU; MR: square root of the values": _brighter,
    "cut to 15 % of the range": _clipped,
    "image of the other modality": _other_modality,
    "another body part (thighs)": _legs,
    "field of view inside the body": _cropped,
    "metal streaks": _streaks,
    "two slices empty": _emptied,
    "one slice alone": _one_slice,
}

# ---- corruptions of the output


def _with(made: Translation, values: np.ndarray) -> Translation:
    """The output with other values inside the body."""
    voxels = np.where(made.body, values, made.about.low)
    kept = np.rint(voxels).astype(np.int16) if made.image.modality == "ct" else voxels.astype(np.float32)
    return replace(made, image=replace(made.image, voxels=kept))


def _span(made: Translation) -> float:
    return made.about.high - made.about.low


def _filled(share: float) -> OF_TRANSLATION:
    """All body at one value: of the range, beyond it below 0 and above 1."""

    def fill(made: Translation, case: Case) -> Translation:
        return _with(made, np.full(made.body.shape, made.about.low + share * _span(made)))

    return fill


def _network_pixel(made: Translation) -> float:
    """Of the network, in pixels of the image."""
    return max(made.image.voxels.shape[1:]) / made.about.size


def _smoothed(made: Translation, case: Case) -> Translation:
    sigma = 2 * _network_pixel(made)
    return _with(made, ndimage.gaussian_filter(made.image.voxels.astype(np.float64), (0, sigma, sigma)))


def _untrained(made: Translation, case: Case) -> Translation:
    """What a network with random weights makes of the same patient."""
    import torch

    from crossmod.translate.cyclegan import generators

    about = made.about
    torch.manual_seed(0)
    settings = with_changes(TRANSLATE["tiny"], source=about.source, size=about.size)
    generator = generators(settings)["G1" if about.source == "ct" else "G2"].eval()

    @torch.no_grad()
    def work(images: np.ndarray) -> np.ndarray:
        return np.concatenate([generator(torch.from_numpy(one[None, :1]))[0].numpy() for one in images])

    again = translate_volume([Function(replace(about, organs=()), work)], [case.volume])
    return replace(again, about=about, labels=made.labels)


def _checkered(made: Translation, case: Case) -> Translation:
    _, rows, columns = made.image.voxels.shape
    cell = _network_pixel(made)
    y, x = np.mgrid[0:rows, 0:columns]
    signs = np.where((np.floor(y / cell) + np.floor(x / cell)) % 2 > 0, 1, -1)
    return _with(made, made.image.voxels + 0.06 * _span(made) * signs)


def _moved(pixels: Callable[[Translation], float]) -> OF_TRANSLATION:
    def move(made: Translation, case: Case) -> Translation:
        by = (0, 0, pixels(made))
        labels = None if made.labels is None else ndimage.shift(made.labels, by, order=0)
        moved = ndimage.shift(made.image.voxels.astype(np.float64), by, order=1, mode="nearest")
        return replace(_with(made, moved), labels=labels)

    return move


def _scaled(made: Translation, case: Case) -> Translation:
    shape = np.array(made.image.voxels.shape[1:])
    offset: Any = np.array([0, *((shape - 1) / 2 * (1 - 1 / 1.05))])
    values = made.image.voxels.astype(np.float64)
    larger = ndimage.affine_transform(values, [1, 1 / 1.05, 1 / 1.05], offset, order=1, mode="nearest")
    return _with(made, larger)


def _liver(made: Translation) -> np.ndarray:
    source = made.sources[0]
    assert source.labels is not None
    return in_classes(source.labels, source.label_names, ("liver",)) > 0


def _without_liver(made: Translation, case: Case) -> Translation:
    liver, values = _liver(made), made.image.voxels.astype(np.float64)
    other = np.median(values[made.body & ~liver])
    labels = None if made.labels is None else np.where(liver, 0, made.labels).astype(np.uint8)
    return replace(_with(made, np.where(liver, other, values)), labels=labels)


def _second_lump(made: Translation, case: Case) -> Translation:
    """A ball of liver on the other side of the body, a fifth of the liver large."""
    liver, values = _liver(made), made.image.voxels.astype(np.float64)
    shows = np.flatnonzero(liver.any(axis=(1, 2)))
    middle = int(shows[len(shows) // 2])
    rows, columns = np.nonzero(made.body[middle])
    centre = (middle, float(np.mean(rows)), float(columns.min() + 0.8 * np.ptp(columns)))
    grid = np.moveaxis(np.indices(liver.shape), 0, -1)
    apart = np.linalg.norm((grid - centre) * np.array(made.image.spacing), axis=-1)
    radius = (0.2 * liver.sum() * np.prod(made.image.spacing) * 3 / (4 * np.pi)) ** (1 / 3)
    ball = (apart < radius) & made.body & ~liver
    labels = None if made.labels is None else np.where(ball, 1, made.labels).astype(np.uint8)
    return replace(_with(made, np.where(ball, np.median(values[liver & made.body]), values)), labels=labels)


def _copied(made: Translation, case: Case) -> Translation:
    low, high = _range(case.volume)
    shares = np.clip((case.volume.voxels.astype(np.float64) - low) / (high - low), 0, 1)
    return _with(made, made.about.low + shares * _span(made))


def _other_histogram(made: Translation, case: Case) -> Translation:
    """The values of the body exchanged, rank by rank, for those of the input."""
    low, high = _range(case.volume)
    shares = np.sort(np.clip((case.volume.voxels[made.body].astype(np.float64) - low) / (high - low), 0, 1))
    values = made.image.voxels.astype(np.float64)
    ranks = np.argsort(np.argsort(values[made.body], kind="stable"), kind="stable")
    values[made.body] = made.about.low + shares[ranks] * _span(made)
    return _with(made, values)


def _slice_lost(made: Translation, case: Case) -> Translation:
    values, middle = made.image.voxels.astype(np.float64), len(made.body) // 2
    values[middle] = made.about.low
    return _with(made, values)


def _offset(made: Translation, case: Case) -> Translation:
    return _with(made, np.minimum(made.image.voxels + 0.25 * _span(made), made.about.high))


def _grainy(made: Translation, case: Case) -> Translation:
    draws = np.random.default_rng(0).normal(0, 0.1 * _span(made), made.body.shape)
    cell = _network_pixel(made) / 2
    smooth = ndimage.gaussian_filter(draws, (0, cell, cell))
    return _with(made, made.image.voxels + smooth * (0.1 * _span(made) / smooth.std()))


def _output_shuffled(made: Translation, case: Case) -> Translation:
    order = np.random.default_rng(0).permutation(len(made.body))
    return _with(made, made.image.voxels[order])


def _output_mirrored(made: Translation, case: Case) -> Translation:
    return _with(made, made.image.voxels[:, :, ::-1])


def _of_another(made: Translation, case: Case) -> Translation:
    """What was made of another patient, slice for slice."""
    other = translate_volume([case.network], [case.other]).image.voxels
    places = np.rint(np.linspace(0, len(other) - 1, len(made.body))).astype(int)
    shape = made.image.voxels.shape[1:]
    zooms = [want / have for want, have in zip(shape, other.shape[1:], strict=True)]
    values = np.array(
        [ndimage.zoom(other[at].astype(np.float64), zooms, order=1, grid_mode=True, mode="nearest") for at in places]
    )
    return _with(made, values)


OUTPUTS: dict[str, OF_TRANSLATION] = {
    "body filled with a value far below the range": _filled(-1.85),
    "body filled with a value far above the range": _filled(2.65),
    "body filled with the middle of the range (CT: 40 HU)": _filled(0.5),
    "blurred by 2 pixels of the network": _smoothed,
    "of an untrained network": _untrained,
    "checkerboard, 6 % of the range": _checkered,
    "shifted by 1 pixel of the network": _moved(_network_pixel),
    "shifted by 3 mm": _moved(lambda made: 3 / made.image.spacing[2]),
    "5 % larger": _scaled,
    "liver removed": _without_liver,
    "second lump of liver, a fifth of its volume": _second_lump,
    "copy of the input": _copied,
    "histogram of the input's modality": _other_histogram,
    "one slice empty": _slice_lost,
    "25 % of the range brighter (CT: 100 HU)": _offset,
    "noise, 10 % of the range": _grainy,
    "slices shuffled": _output_shuffled,
    "mirrored, left for right": _output_mirrored,
    "of another patient": _of_another,
}


# ---- models and patients


@dataclass(frozen=True, eq=False)
class Function:
    """A function as a network."""

    about: About
    work: Callable[[np.ndarray], np.ndarray]

    def translate(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        """Slices in [-1, 1] to slices in [-1, 1]."""
        return np.ascontiguousarray(self.work(images), dtype=np.float32), None


def person(number: int, size: int, slices: int) -> tuple[Volume, Volume]:
    """CT and T2-SPIR of one invented person on one grid, with labels of the liver."""
    draws = np.random.default_rng([number, 11])
    whom = draw_person(number)
    grid = Grid(size, slices, float(draws.uniform(350, 385)), centre=(float(draws.uniform(-5, 5)), 0.0))
    anatomy = lay_on_grid(whom, grid)
    known = next(iter(LIVER))
    labels = (organ_labels(anatomy) == known).astype(np.uint8)
    sides = (render_ct(anatomy, number), render_mr(anatomy, "t2_spir", number))
    return tuple(one.with_labels(labels, {1: "liver"}) for one in sides)  # pyright: ignore[reportReturnType]


def stand_in(folder: Path, people: Sequence[tuple[Volume, Volume]], size: int) -> tuple[Network, Fingerprint]:
    """The mean MR value of each CT value, as a network, with the fingerprint that its training would have."""
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
    card = {"fingerprint": {**fingerprint(training, settings), "made_epoch": "last"}}
    reference = read_fingerprint(card)
    assert reference is not None
    steps = list(sets["mr"].intensities.values())
    low, high = (float(np.median([getattr(one, end) for one in steps])) for end in ("low", "high"))
    about = About(
        "stand-in", "identity", "ct", "mr", ("ct",), size, None, low, high, settings.window, (), "0" * 64, "0"
    )
    return Function(about, work), reference


def matched(
    source: Store, target: Store, size: int, leave_out: int, seed: int
) -> tuple[Network, Fingerprint, list[Volume]]:
    """A stand-in for unpaired stores: grey values of the source take the histogram of the target, rank by rank.

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
    reference = read_fingerprint({"fingerprint": {**fingerprint(training, settings), "made_epoch": "last"}})
    assert reference is not None
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
    settings = with_changes(TRANSLATE["tiny"], size=size, epochs=epochs, split="patient", folds=20)
    run = train_translator(folder / "run", ct=folder / "ct", mr=folder / "mr", settings=settings)
    network = load_run(run.path, device="cpu")
    reference = fingerprint_of([network])
    assert reference is not None
    return network, reference


def _with_labels(made: Translation, organs: tuple[str, ...]) -> Translation:
    """Where the network has no segmentor, one that finds what the source's labels say."""
    if made.labels is not None or made.sources[0].labels is None:
        return made
    return replace(made, labels=_liver(made).astype(np.uint8), about=replace(made.about, organs=organs))


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
        trust = judge_trust(made, reference)
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
            return warned(judge_trust(corrupt(case.clean, case), reference))
        made = _with_labels(translate_volume([case.network], [corrupt(case.volume, case)]), ("liver",))
    except InputError:
        return {"refused"}
    trust = judge_trust(made, reference)
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
        made = stand_in(Path(folder), people, size) if given.quick else trained(Path(folder), people, size, 6)
        table(*made, unseen)


if __name__ == "__main__":
    main()
