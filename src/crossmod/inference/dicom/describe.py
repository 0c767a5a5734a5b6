"""What a derived series says of itself: that it is synthetic, and what made it.

Notable: names of models may come out of a bundle that a stranger made; they are cut to what DICOM allows.
"""

from datetime import datetime

import numpy as np
from jaxtyping import Bool, Shaped
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import format_number_as_ds

from crossmod.data.dicom.header import copied
from crossmod.inference.contract import About, Translation
from crossmod.inference.dicom.identity import coded
from crossmod.version import __version__

# Long enough to be told from other models at a glance; the whole hash is in DerivationDescription.
HASH_LETTERS = 16

# Attributes of a scan that hold for what is made from it, in the words of closed lists.
OF_THE_SCAN = ("BodyPartExamined", "PatientPosition")


def put_description(series: Dataset, translation: Translation) -> None:
    """Write what the series is, what made it and how to show it."""
    about = translation.about
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SyntheticData = "YES"
    # Of the making, not of the scan: several results in one study are told apart by it.
    now = datetime.now()
    series.SeriesDate = series.InstanceCreationDate = now.strftime("%Y%m%d")
    series.SeriesTime = series.InstanceCreationTime = now.strftime("%H%M%S")
    series.SeriesDescription = f"Synthetic {about.target.upper()} (not for diagnosis)"
    series.DerivationDescription = derivation(translation)
    equipment = made_by(about)
    for element in equipment:
        series.add(element)
    equipment = copied(equipment)
    equipment.PurposeOfReferenceCodeSequence = [coded(codes.cid7005.ProcessingEquipment)]
    equipment.ContributionDescription = f"{about.source.upper()} to {about.target.upper()} by a neural network"
    series.ContributingEquipmentSequence = [equipment]
    series.PatientPosition = ""
    for keyword in OF_THE_SCAN:
        value = translation.sources[0].acquisition.get(keyword)
        if value:
            setattr(series, keyword, str(value))
    if "BodyPartExamined" not in series:
        # Empty: unknown. It may only be absent where the body part is known and there is one of it.
        series.Laterality = ""
    _put_window(series, translation)


def made_by(about: About) -> Dataset:
    """Manufacturer, model and versions, for the equipment modules."""
    made = Dataset()
    made.Manufacturer = "crossmod"
    made.ManufacturerModelName = cleaned(about.name, 64) or "unnamed"
    versions = [f"crossmod {__version__}", f"weights {cleaned(about.weights, HASH_LETTERS)}"]
    made.SoftwareVersions = [cleaned(version, 64) for version in versions]
    return made


def derivation(translation: Translation) -> str:
    """What was done, for DerivationDescription (at most 1024 bytes)."""
    about = translation.about
    return cleaned(
        f"Synthetic {about.target.upper()}, made from {about.source.upper()} by a neural network. Not for diagnosis. "
        f"crossmod {__version__}; model {cleaned(about.name, 200)} ({cleaned(about.family, 64)}), trained with "
        f"crossmod {cleaned(about.version, 32)}, weights SHA-256 {cleaned(about.weights, 64)}. {_stack(about)}"
        f"{100 * translation.clipped:.1f} % of the body lies at or beyond the ends of the CT window that the model "
        "knows. Outside the body nothing was made: it has the model's lowest value.",
        1024,
    )


def _stack(about: About) -> str:
    # The references name the slice alone.
    return "" if about.stack == 1 else f"{about.stack} neighbouring slices went into each. "


def cleaned(text: str, limit: int) -> str:
    """Printable text on one line without the backslash, which parts values in DICOM; at most `limit` bytes of UTF-8."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text)
    # DICOM counts letters, but many readers bytes.
    return " ".join(plain.split()).encode()[:limit].decode(errors="ignore").strip()


def _put_window(series: Dataset, translation: Translation) -> None:
    """How a viewer shows it at first: CT in the model's window, MR from the 1st to the 99th percentile of the body."""
    low, high = translation.about.window
    if translation.about.target == "mr":
        low, high = _percentiles(translation.image.voxels, translation.body)
    if high > low:
        series.WindowCenter = format_number_as_ds(float((low + high) / 2))
        # Below 1 the standard's formula divides by nothing; MR in fractions is shown by the viewer's own choice.
        series.WindowWidth = format_number_as_ds(float(max(high - low, 1.0)))


def _percentiles(
    voxels: Shaped[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"]
) -> tuple[float, float]:
    # One pixel of sixteen tells as much, of a body of any size that is worth a look.
    some = (slice(None), slice(None, None, 4), slice(None, None, 4))
    values = voxels[some][body[some]]
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, (1, 99))
    return float(low), float(high)
