"""What frames are centred on: the body, or the middle of the field of view. Needs no torch: blind readings use it."""

from crossmod.data.store import CaseRecord, Store
from crossmod.settings import FrameKind

Pair = tuple[float, float]
Shape = tuple[int, int]


def field_centre(shape: Shape, spacing: Pair) -> Pair:
    """Where the middle of the field of view lies: millimetres from the first pixel's centre, down and along.

    Args:
        shape: rows and columns of a slice.
        spacing: their millimetres.
    """
    return (shape[0] - 1) / 2 * spacing[0], (shape[1] - 1) / 2 * spacing[1]


def centre_of(store: Store, record: CaseRecord, kind: FrameKind) -> Pair:
    """What the frame of a case is centred on: millimetres from its first pixel's centre, down and along.

    The slices of a synthetic case that was made in a frame are that frame already, and stay as they are.

    Raises:
        InputError: the manifest does not say where the body lies, and the case cannot be read.
    """
    framed = record.synthetic is not None and record.synthetic.pixel_mm > 0
    if kind == "body" and not framed:
        return store.body(record).centre
    return field_centre((record.shape[1], record.shape[2]), (record.spacing[1], record.spacing[2]))
