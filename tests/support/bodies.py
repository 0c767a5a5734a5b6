"""A volume with a body of known size."""

from crossmod.data.body_box import BodyBox
from crossmod.data.pixel_size import (
    Extent,
)


def one(patient: str, height: float, width: float, mm: float = 1.0, touching: tuple[float, float] = (0, 0)) -> Extent:
    """A centred body in a field of 400 mm."""
    pixels = round(400 / mm)
    middle = (pixels - 1) / 2 * mm
    body = BodyBox(
        rows=(middle - height / 2, middle + height / 2),
        columns=(middle - width / 2, middle + width / 2),
        centre=(middle, middle),
        touching=touching,
        slices=10,
    )
    return Extent(patient, patient, (pixels, pixels), (mm, mm), body, body.side_around(body.centre))
