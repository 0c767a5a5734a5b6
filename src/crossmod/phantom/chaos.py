"""The phantom in the layout of CHAOS, with the quirks of CHAOS.

Notable:
- `Train_Sets/CT/<id>/{DICOM_anon,Ground}` and `Train_Sets/MR/<id>/{T1DUAL,T2SPIR}/{DICOM_anon,Ground}`.
- CT masks are binary and know the liver alone; MR masks are gray: liver 63, right kidney 126, left kidney 189,
  spleen 252. One set of masks serves both T1 phases and bears the names of the in-phase slices.
- File names, instance numbers and positions run as they like, and the masks of some CT cases run against the slices.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from crossmod.data.volume import Volume
from crossmod.phantom.dicom import Identity, write_slice
from crossmod.phantom.mr_sources import MrSource

GRAY_OF_LABEL = np.array([0, 63, 126, 189, 252], np.uint8)

Order = Literal["up", "down", "interleaved"]


@dataclass(frozen=True)
class Quirks:
    """How one case's files are numbered.

    Args:
        files: how slices follow one another by file name: feet to head, head to feet, or as an interleaved scan
            takes them.
        instances_backwards: whether instance numbers fall as file names rise.
        masks_backwards: whether the last mask by name belongs to the first slice by name.
        old_names: `i0000,0000b.dcm` instead of `IMG-0002-00001.dcm` (CT only).
    """

    files: Order = "down"
    instances_backwards: bool = False
    masks_backwards: bool = False
    old_names: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the phantom's own record."""
        return asdict(self)


# Cases take these in turn, so that a small phantom has the common quirks and a larger one has them all.
CT_QUIRKS = (
    Quirks(files="down", old_names=True),
    Quirks(files="up", masks_backwards=True),
    Quirks(files="down", instances_backwards=True),
    Quirks(files="interleaved"),
    Quirks(files="down", instances_backwards=True, masks_backwards=True, old_names=True),
)
MR_QUIRKS = (
    Quirks(files="up"),
    Quirks(files="down", instances_backwards=True),
    Quirks(files="interleaved"),
)


def write_ct_case(
    folder: Path, volume: Volume, labels: UInt8[np.ndarray, "slices rows columns"], identity: Identity, quirks: Quirks
) -> None:
    """Write one CT patient.

    Args:
        folder: of the patient, `.../CT/<id>`.
        volume: HU.
        labels: organs; the liver is 1.
        identity: whose.
        quirks: of numbering.
    """
    order = slice_order(len(volume.voxels), quirks.files)
    names = [
        f"i{place:04d},0000b.dcm" if quirks.old_names else f"IMG-0002-{place + 1:05d}.dcm"
        for place in range(len(order))
    ]
    _write_series(folder / "DICOM_anon", volume, order, names, identity, quirks)
    drawn = order[::-1] if quirks.masks_backwards else order
    masks = folder / "Ground"
    masks.mkdir(parents=True)
    for place, index in enumerate(drawn):
        # Boolean pixels make a PNG of one bit, as the published ones are.
        _write_png(masks / f"liver_GT_{place:03d}.png", labels[index] == 1)


def write_mr_case(
    folder: Path,
    volumes: dict[str, Volume],
    labels: UInt8[np.ndarray, "slices rows columns"],
    identity: Identity,
    quirks: Quirks,
    *,
    source: MrSource = 1,
) -> None:
    """Write one MR patient.

    Args:
        folder: of the patient, `.../MR/<id>`.
        volumes: `t1_in`, `t1_out` and `t2_spir`, all on one grid.
        labels: organs, 1 to 4.
        identity: whose.
        quirks: of numbering.
        source: the scanner that the headers describe.
    """
    order = slice_order(len(labels), quirks.files)
    # The two phases were taken together: out of phase has the odd numbers, in phase the even ones.
    in_phase = [f"IMG-0004-{2 * place + 2:05d}.dcm" for place in range(len(order))]
    out_phase = [f"IMG-0004-{2 * place + 1:05d}.dcm" for place in range(len(order))]
    t2 = [f"IMG-0002-{place + 1:05d}.dcm" for place in range(len(order))]
    for sequence, part, names in (
        ("t1_in", "T1DUAL/DICOM_anon/InPhase", in_phase),
        ("t1_out", "T1DUAL/DICOM_anon/OutPhase", out_phase),
        ("t2_spir", "T2SPIR/DICOM_anon", t2),
    ):
        _write_series(folder / part, volumes[sequence], order, names, identity, quirks, source)
    for part, names in (("T1DUAL/Ground", in_phase), ("T2SPIR/Ground", t2)):
        masks = folder / part
        masks.mkdir(parents=True)
        for name, index in zip(names, order, strict=True):
            _write_png((masks / name).with_suffix(".png"), GRAY_OF_LABEL[labels[index]])


def slice_order(slices: int, order: Order) -> list[int]:
    """The slices (feet to head) in the order of their file names."""
    up = list(range(slices))
    if order == "interleaved":
        return up[::2] + up[1::2]
    return up[::-1] if order == "down" else up


def _write_series(
    folder: Path,
    volume: Volume,
    order: list[int],
    names: list[str],
    identity: Identity,
    quirks: Quirks,
    source: MrSource = 1,
) -> None:
    folder.mkdir(parents=True)
    for place, (index, name) in enumerate(zip(order, names, strict=True)):
        instance = len(order) - place if quirks.instances_backwards else place + 1
        write_slice(folder / name, volume, index, identity=identity, instance=instance, source=source)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, format="PNG")
