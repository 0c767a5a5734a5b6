"""What leads back from a derived slice to the slices that it was made from.

Notable:
- The first input has the same grid: a slice of it is a slice of the result. The others may lie askew to it; of them
  every slice is named between which a pixel of the result may lie.
"""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from crossmod.data.registration import SAME
from crossmod.inference.dicom.identity import coded
from crossmod.inference.dicom.source import Source

# Of the distance between two slices: closer to one than this, the other has no part in it.
ON_IT = 1e-3


def put_references(one: Dataset, sources: Sequence[Source], index: int, *, keep: bool) -> None:
    """Say which slices a slice was made from.

    Args:
        one: the header of the slice, with its place.
        sources: the series of the inputs that are DICOM, the one first whose grid the result has.
        index: the slice, in the order of positions.
        keep: name the series of the sources too.
    """
    first, *others = sources
    named = [(first, index, True)]
    for other in others:
        named += [(other, at, _on_one_grid(first, other)) for at in slices_through(one, other)]
    items, series = [], {}
    for source, at, same in named:
        header = source.headers[at]
        if not header.get("SOPClassUID") or not header.get("SOPInstanceUID"):
            continue
        item = _instance(header)
        frame = source.slices[at].frame
        if frame is not None:
            item.ReferencedFrameNumber = frame + 1
        item.PurposeOfReferenceCodeSequence = [coded(codes.cid7202.SourceImageForImageProcessingOperation)]
        item.SpatialLocationsPreserved = "YES" if same else "NO"
        items.append(item)
        # Instances of the same study: the study is the source's only where it is kept.
        if keep and header.get("SeriesInstanceUID") and header.get("StudyInstanceUID") == one.StudyInstanceUID:
            instances = series.setdefault(str(header.SeriesInstanceUID), [])
            # Frames of one file are one instance.
            if _instance(header) not in instances:
                instances.append(_instance(header))
    if items:
        one.SourceImageSequence = items
    if series:
        one.ReferencedSeriesSequence = [_series(uid, instances) for uid, instances in series.items()]


def slices_through(one: Dataset, source: Source) -> range:
    """The slices of a series, by their order, between which some pixel of a slice lies; those that there are.

    Args:
        one: the header of the slice.
        source: the series.
    """
    along_row, along_column = np.reshape(one.ImageOrientationPatient, (2, 3)).astype(float)
    row_mm, column_mm = (float(length) for length in one.PixelSpacing)
    corner = np.array([float(length) for length in one.ImagePositionPatient])
    ends = [
        corner + down * row_mm * along_column + right * column_mm * along_row
        for down in (0, int(one.Rows) - 1)
        for right in (0, int(one.Columns) - 1)
    ]
    # DICOM counts towards the left and the back, affines towards the right and the front.
    places = [np.linalg.inv(source.affine) @ [*(end * (-1, -1, 1)), 1] for end in ends]
    along = [float(place[0]) for place in places]
    low, high = int(np.floor(min(along) + ON_IT)), int(np.ceil(max(along) - ON_IT))
    return range(max(low, 0), min(high, len(source.slices) - 1) + 1)


def _on_one_grid(first: Source, other: Source) -> bool:
    same = len(first.slices) == len(other.slices) and first.slices[0].shape == other.slices[0].shape
    return same and bool(np.abs(first.affine - other.affine).max() < SAME)


def _instance(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def _series(uid: str, instances: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, list(instances)
    return item
