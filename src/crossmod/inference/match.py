"""Which volume is which input of a model, on one grid, and whether they can be meant."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import affine_transform

from crossmod.data.groups import SAME, onto_grid
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.contract import About

# Every CT that shows air goes below this, and no magnitude of MR does.
AIR_HU = -300.0
# Voxels of a grid that are asked whether they lie inside another volume, along each axis.
ASKED = 64


def in_order(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes in the order of the model's inputs.

    A volume goes where its `sequence` belongs; those that do not know theirs take what is left, in the given order.

    Args:
        volumes: as read, one an input.
        about: the model.

    Raises:
        InputError: the wrong number, modality or sequence, or values that cannot be of the modality.
    """
    wanted = about.inputs or (about.source,)
    if len(volumes) != len(wanted):
        found = f"{len(volumes)} volume{'s' if len(volumes) != 1 else ''}"
        do = "Give one volume for each, on the command line as --input NAME=PATH."
        raise InputError(about.name, found=found, wanted=f"{len(wanted)}: {', '.join(wanted)}", do=do)
    for volume in volumes:
        _check_modality(volume, about)
    fitting = (order for order in itertools.permutations(volumes) if all(map(_fits, order, wanted)))
    ordered = next(fitting, None)
    if ordered is None:
        found = ", ".join(volume.sequence or "a volume that does not say its sequence" for volume in volumes)
        do = "Give those sequences, or another model."
        raise InputError(about.name, found=found, wanted=", ".join(wanted), do=do)
    return ordered


def on_one_grid(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes on the grid of the first, by where they say that they lie.

    Args:
        volumes: in the order of the model's inputs.
        about: the model, for messages.

    Raises:
        InputError: one shows less than half of what the first does.
    """
    first, *others = volumes
    return (first, *(_onto(volume, first, about) for volume in others))


def matched(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes in the order of the model's inputs, on one grid: `in_order`, then `on_one_grid`."""
    return on_one_grid(in_order(volumes, about), about)


def _fits(volume: Volume, name: str) -> bool:
    # CT phases have many names, and a model of CT has one input.
    return volume.modality == "ct" or volume.sequence in (None, *name.split("+")) or name == volume.modality


def _check_modality(volume: Volume, about: About) -> None:
    wanted = about.source.upper()
    if volume.modality != about.source:
        raise InputError(
            about.name, found=f"{volume.modality.upper()}", wanted=wanted, do="Give another volume, or another model."
        )
    lowest = float(volume.voxels.min())
    if volume.modality == "ct" and lowest >= 0:
        found = f"values from {lowest:g} on, none below 0, which is water"
        raise InputError(about.name, found=found, wanted="CT in HU", do="Check the modality and the rescaling.")
    if volume.modality == "mr" and lowest < AIR_HU:
        found = f"values as low as {lowest:g}, as CT has them"
        raise InputError(about.name, found=found, wanted="MR", do="Check the modality of the volume.")


def _onto(volume: Volume, grid: Volume, about: About) -> Volume:
    """A volume on the voxels of another; see `data.groups.onto_grid`, which takes 48 bytes a voxel to ask."""
    same = volume.voxels.shape == grid.voxels.shape and np.abs(volume.affine - grid.affine).max() < SAME
    if same:
        return volume
    steps = [max(1, length // ASKED) for length in grid.voxels.shape]
    thin = grid.affine.copy()
    thin[:3, :3] *= steps
    few = replace(grid, voxels=grid.voxels[:: steps[0], :: steps[1], :: steps[2]], affine=thin, labels=None)
    onto_grid(volume, few, subject=about.name)  # refuses what lies elsewhere
    place = np.linalg.inv(volume.affine) @ grid.affine
    voxels = affine_transform(
        volume.voxels.astype(np.float32),
        place[:3, :3],
        tuple(place[:3, 3]),  # pyright: ignore[reportArgumentType] - SciPy takes a number an axis
        output_shape=grid.voxels.shape,
        order=1,
        mode="constant",
        cval=float(volume.voxels.min()),
    )
    return replace(volume, voxels=voxels, affine=grid.affine, labels=None, label_names={})
