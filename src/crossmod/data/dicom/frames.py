"""Multi-frame CT and MR (enhanced, legacy converted): each frame as if it were a file of its own.

Notable:
- What a frame says of itself stands in functional groups, shared or its own. Laid flat, they read like the header of a
  single slice, so that one piece of code judges both.
- A file of several frames without such groups does not say where they lie.
"""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from crossmod.data.dicom.file import copied
from crossmod.errors import InputError

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

# The functional groups whose attributes are, or stand for, those of a single slice.
GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "CTImageFrameTypeSequence",
    "CTGeometrySequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "MRImageFrameTypeSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRAveragesSequence",
    # The same for files that were converted from single slices.
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)

# What a single slice calls otherwise.
RENAMED = {"FrameType": "ImageType", "EffectiveEchoTime": "EchoTime"}


def is_multi_frame(header: Dataset) -> bool:
    """Whether a file holds frames with functional groups."""
    return SHARED in header or PER_FRAME in header


def frame_headers(path: Path, header: Dataset) -> list[Dataset]:
    """A flat header for each frame, with the keywords of single slices.

    Raises:
        InputError: the groups are not as many as the frames.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    own = list(header.get(PER_FRAME) or [])
    if len(own) != frames:
        found = f"{frames} frame{'s' if frames != 1 else ''} and functional groups for {len(own)}"
        raise InputError(path, found=found, wanted="a group for each frame", do="Export the series anew.")
    common = _without_groups(header)
    _lay_flat(common, header.get(SHARED) or [])
    _lay_agent_flat(common)
    flat = []
    for groups in own:
        one = copied(common)
        _lay_flat(one, [groups])
        flat.append(one)
    return flat


def _without_groups(header: Dataset) -> Dataset:
    common = copied(header)
    for keyword in (SHARED, PER_FRAME):
        if keyword in common:
            delattr(common, keyword)
    return common


def _lay_flat(header: Dataset, groups: Sequence[Dataset]) -> None:
    for group in groups:
        for sequence in GROUPS:
            for item in group.get(sequence) or []:
                for element in item:
                    header.add(element)
    for old, new in RENAMED.items():
        if header.get(old) not in (None, ""):
            setattr(header, new, header.get(old))


def _lay_agent_flat(header: Dataset) -> None:
    # Enhanced files code the contrast agent and its route; what is read of them is their words.
    agents = header.get("ContrastBolusAgentSequence") or []
    if not agents or header.get("ContrastBolusAgent"):
        return
    header.ContrastBolusAgent = str(agents[0].get("CodeMeaning") or "")
    routes = agents[0].get("ContrastBolusAdministrationRouteSequence") or []
    if routes:
        header.ContrastBolusRoute = str(routes[0].get("CodeMeaning") or "")
