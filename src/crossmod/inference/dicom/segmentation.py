"""Organs found by S as a DICOM segmentation of the synthetic series.

Notable: the segmentation refers to the synthetic series, the input of S. It shares its frame of reference, so that
volume viewers overlay it on the source too; slice viewers do not.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from crossmod.data.dicom.header import copied, quiet
from crossmod.data.dicom.write import EMPTY, put_file_meta
from crossmod.errors import InputError
from crossmod.html.figures import COLOURS
from crossmod.inference.dicom.attributes import HASH_LETTERS, PATIENT, STUDY, cleaned, coded, made_by
from crossmod.inference.types import About, Translation
from crossmod.version import __version__

log = logging.getLogger(__name__)

SCT = codes.SCT
# SNOMED CT codes, with the side of paired organs.
ORGANS: dict[str, tuple[Code, Code | None]] = {
    "liver": (SCT.Liver, None),
    "spleen": (SCT.Spleen, None),
    "right_kidney": (SCT.Kidney, SCT.Right),
    "left_kidney": (SCT.Kidney, SCT.Left),
    "kidneys": (SCT.Kidney, None),
    "pancreas": (SCT.Pancreas, None),
    "gallbladder": (SCT.Gallbladder, None),
    "stomach": (SCT.Stomach, None),
    "duodenum": (SCT.Duodenum, None),
    "esophagus": (SCT.Esophagus, None),
    "aorta": (SCT.Aorta, None),
    "inferior_vena_cava": (SCT.InferiorVenaCava, None),
    "right_adrenal_gland": (SCT.AdrenalGland, SCT.Right),
    "left_adrenal_gland": (SCT.AdrenalGland, SCT.Left),
    "right_lung": (SCT.Lung, SCT.Right),
    "left_lung": (SCT.Lung, SCT.Left),
    "lungs": (SCT.Lung, None),
}
OTHER = (SCT.Organ, None)


def check_segmentation(translation: Translation, subject: object) -> bool:
    """Whether there are labels to write; checked before anything is written."""
    if translation.labels is None or not translation.about.organs:
        do = "Omit --segmentation, or use a model with a segmentor."
        raise InputError(subject, found="a model without a segmentor", expected="labels to write", do=do)
    held = [value for value in np.unique(translation.labels).tolist() if value]
    if not held:
        log.warning("%s: no organ was found, so no segmentation is written.", subject)
        return False
    if held[-1] > len(translation.about.organs):
        found = f"the label {held[-1]} of a model with {len(translation.about.organs)} organs"
        raise InputError(subject, found=found, expected="labels of its organs", do="Omit the labels.")
    _highdicom(subject)
    return True


def write_segmentation(
    about: About, labels: UInt8[np.ndarray, "slices rows columns"], series: Sequence[Dataset], path: Path
) -> None:
    """Write labels as a DICOM segmentation."""
    highdicom = _highdicom(path)
    held = [value for value in range(1, len(about.organs) + 1) if (labels == value).any()]
    # Segments are numbered without gaps, also if organs are missing.
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[held] = range(1, len(held) + 1)
    described = [_segment(highdicom, at + 1, about.organs[value - 1], about) for at, value in enumerate(held)]
    equipment = made_by(about)
    with quiet():
        segmentation = highdicom.seg.Segmentation(
            source_images=[_nameless(header) for header in series],
            pixel_array=numbers[labels],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=generate_uid(),
            series_number=int(series[0].SeriesNumber) + 1,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=equipment.Manufacturer,
            manufacturer_model_name=equipment.ManufacturerModelName,
            software_versions=tuple(equipment.SoftwareVersions),
            device_serial_number=cleaned(about.weights, HASH_LETTERS) or "none",
            content_label="ORGANS",
            content_description="Organs on a synthetic image, not for diagnosis",
        )
        segmentation.SeriesDescription = "Organs, segmented automatically (not for diagnosis)"
        # Required, may be empty.
        segmentation.ContentCreatorName = ""
        _put_identity(segmentation, series[0])
        segmentation.save_as(path, enforce_file_format=True)


def _segment(highdicom: ModuleType, number: int, organ: str, about: About) -> Dataset:
    kind, side = ORGANS.get(organ, OTHER)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=cleaned(f"crossmod {about.name}", 64),
        family=codes.cid7162.ArtificialIntelligence,
        version=cleaned(f"{__version__}, weights {about.weights[:HASH_LETTERS]}", 64),
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=cleaned(organ.replace("_", " "), 64),
        segmented_property_category=SCT.AnatomicalStructure,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_string(COLOURS[(number - 1) % len(COLOURS)]),
    )
    if side is not None:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded(side)]
    return segment


def _nameless(header: Dataset) -> Dataset:
    # Patient data of scanners is not always valid, and highdicom refuses invalid values.
    one = copied(header)
    for keyword in EMPTY:
        setattr(one, keyword, "")
    put_file_meta(one)
    return one


def _put_identity(segmentation: Dataset, header: Dataset) -> None:
    for keyword in (*PATIENT, *STUDY, "SpecificCharacterSet", "SyntheticData"):
        if keyword in header:
            segmentation[keyword] = header[keyword]


def _highdicom(subject: object) -> ModuleType:
    try:
        import highdicom
    except ImportError:
        do = "Install it: pip install 'crossmod[seg]'."
        raise InputError(subject, found="no highdicom", expected="highdicom to write segmentations", do=do) from None
    # It logs every attribute that it copies.
    logging.getLogger("highdicom").setLevel(logging.WARNING)
    return highdicom
