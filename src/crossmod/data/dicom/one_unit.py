"""Slices of one stack of which some say that they hold other values: no series of their own, but slices that are wrong.

Notable: a map beside its CT has the places of the CT's slices, or lies apart from them; here the places interlock.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from crossmod.data.dicom.choose import Series, alike
from crossmod.data.dicom.geometry import SAME_PLACE_MM
from crossmod.data.dicom.slice import RESCALE_TYPES
from crossmod.errors import InputError

# Files that a message names.
NAMED = 4


def check_one_unit(found: Sequence[Series]) -> None:
    """Refuse a stack of slices that is split by what they say of their values.

    Raises:
        InputError: there is one; the message names the files that are fewer.
    """
    for first, second in itertools.combinations(found, 2):
        if first.folder == second.folder and _differ_in_unit_alone(first, second) and _interlock(first, second):
            few, many = sorted((first, second), key=lambda series: len(series.slices))
            names = [one.name for one in few.slices]
            listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            counts = f"{len(many.slices)} slices of {_unit(many)} and {len(few.slices)} between them of {_unit(few)}"
            raise InputError(
                first.folder,
                found=f"{counts} ({listed}), by RescaleType (0028,1054) or ImageType (0008,0008)",
                wanted="one unit in all slices of a series",
                do="Export the series anew, or correct these files' headers if their values are like the rest.",
            )


def _differ_in_unit_alone(first: Series, second: Series) -> bool:
    one, other = first.slices[0], second.slices[0]
    return one.other_values != other.other_values and alike(one, replace(other, stated_unit=one.stated_unit))


def _interlock(first: Series, second: Series) -> bool:
    """Whether slices of one lie between slices of the other, and none at the place of one."""
    one, other = _along(first), _along(second)
    apart = float(np.abs(one[:, None] - other[None, :]).min()) > SAME_PLACE_MM
    between = (one.min() < other.max()) and (other.min() < one.max())
    return apart and bool(between)


def _along(series: Series) -> Float[np.ndarray, " slices"]:
    first = series.slices[0]
    normal = np.cross(np.array(first.column_step), np.array(first.row_step))
    return np.array([one.position for one in series.slices]) @ normal / max(float(np.linalg.norm(normal)), 1e-9)


def _unit(series: Series) -> str:
    return series.slices[0].other_values or RESCALE_TYPES["HU"]
