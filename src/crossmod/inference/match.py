"""Which volume is which input of a model, on one grid, and whether they can be meant."""

import itertools
from collections.abc import Sequence

from crossmod.data.registration import onto_grid
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.checks import ADVICE, check_volume
from crossmod.inference.contract import About


def notes_of(volumes: Sequence[Volume], about: About, *, accept_units: bool) -> tuple[str, ...]:
    """Check each volume by itself.

    Args:
        volumes: as read, one an input.
        about: the model.
        accept_units: take values that cannot be of their unit all the same.

    Returns:
        Warnings of their values.

    Raises:
        InputError: something that is no volume of the model's source, values that cannot be of their unit, or CT in HU
            for a model of CT in another unit.
    """
    several = len(volumes) > 1
    notes = []
    for number, volume in enumerate(volumes, start=1):
        subject = f"{f'input {number}' if several else 'the input'} of {about.name}"
        notes += check_volume(volume, subject, about.source, accept_units=accept_units)
        if about.source == "ct" and about.ct_unit != "HU" and not accept_units:
            found, wanted = f"CT in {volume.unit}", f"the {about.ct_unit} unit of the CT that the model was trained on"
            do = f"Prepare the CT in HU and train again. {ADVICE}"
            raise InputError(subject, found=found, wanted=wanted, do=do)
    return tuple(dict.fromkeys(notes))


def in_order(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes in the order of the model's inputs.

    A volume goes where its `sequence` belongs; those that do not know theirs take what is left, in the given order.

    Args:
        volumes: as read and checked (`notes_of`), one an input.
        about: the model.

    Raises:
        InputError: the wrong number or sequence.
    """
    wanted = about.inputs or (about.source,)
    several = len(volumes) > 1
    if len(volumes) != len(wanted):
        found = f"{len(volumes)} volume{'s' if several else ''}"
        do = "Give one volume for each, on the command line as --input NAME=PATH."
        raise InputError(about.name, found=found, wanted=f"{len(wanted)}: {', '.join(wanted)}", do=do)
    if any(one is other for one, other in itertools.combinations(volumes, 2)):
        raise InputError(about.name, found="one volume twice", wanted="one for each input", do="Give the other one.")
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
    return (first, *(onto_grid(volume, first, subject=about.name) for volume in others))


def matched(volumes: Sequence[Volume], about: About) -> tuple[Volume, ...]:
    """The volumes in the order of the model's inputs, on one grid: `notes_of`, `in_order`, then `on_one_grid`."""
    notes_of(volumes, about, accept_units=False)
    return on_one_grid(in_order(volumes, about), about)


def _fits(volume: Volume, name: str) -> bool:
    # CT phases have many names, and a model of CT has one input.
    return volume.modality == "ct" or volume.sequence in (None, *name.split("+")) or name == volume.modality
