import json
import logging

import pytest
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from crossmod.data.deidentify import BURNT_IN, DERIVED, KEPT, SYNTHETIC, acquisition_of, annotation_note, distinct_notes
from tests.support.dicom import SECRETS, a_slice, body


def test_nothing_but_the_listed_attributes_leaves_a_header():
    header = a_slice(body()[0][0], 0)
    header.Manufacturer = "Philips Medical Systems"
    kept = acquisition_of(header)
    assert set(kept) <= {*KEPT, "Manufacturer"}
    assert kept["Manufacturer"] == "Philips"
    assert kept["PixelSpacing"] == [0.75, 1.5]
    assert kept["KVP"] == 120
    text = json.dumps(kept)
    assert not [secret for secret in SECRETS if secret in text]


def test_the_list_names_no_identifying_attribute():
    times = {"EchoTime", "RepetitionTime", "InversionTime", "ExposureTime"}
    telling = ("Name", "Date", "Time", "UID", "ID", "Description", "Comment", "Address", "Number")
    suspicious = [word for word in KEPT if any(part in word for part in telling)]
    assert set(suspicious) - times == {"NumberOfAverages"}
    assert all(dictionary_VR(word) in ("CS", "DS", "IS", "SH") for word in KEPT)


@pytest.mark.parametrize("word", [word for word in KEPT if dictionary_VR(word) in ("CS", "SH")])
@pytest.mark.parametrize("name", ["MUSTERFRAU^ERIKA", "MUELLER HANS", "MUELLER", "HANS", "Li"])
def test_a_name_in_a_field_for_codes_is_dropped(word, name):
    header = Dataset()
    with disable_value_validation():
        setattr(header, word, name)
    assert acquisition_of(header) == {}


def test_defined_terms_are_kept():
    header = Dataset()
    header.ScanOptions = ["HELIX", "ANGIO"]
    header.ConvolutionKernel = ["Br40d", "3"]
    header.BodyPartExamined = "ABDOMEN"
    kept = {"ScanOptions": "HELIX", "ConvolutionKernel": "Br40d", "BodyPartExamined": "ABDOMEN"}
    assert acquisition_of(header) == kept


def test_an_unknown_manufacturer_is_dropped():
    header = Dataset()
    header.Manufacturer = "Praxis Dr-Geheim"
    assert acquisition_of(header) == {}


@pytest.mark.parametrize(
    ("burnt_in", "kind", "note"),
    [
        ("YES", ["ORIGINAL", "PRIMARY"], BURNT_IN),
        ("NO", ["DERIVED", "SECONDARY"], None),
        (None, ["DERIVED", "PRIMARY"], DERIVED),
        (None, ["ORIGINAL", "SECONDARY"], DERIVED),
        (None, "ORIGINAL", None),
        (None, None, None),
    ],
)
def test_burnt_in_text_is_noted(burnt_in, kind, note):
    header = Dataset()
    if burnt_in is not None:
        header.BurnedInAnnotation = burnt_in
    if kind is not None:
        header.ImageType = kind
    assert annotation_note(header) == note


def test_each_note_is_warned_about_once(caplog):
    with caplog.at_level(logging.WARNING):
        assert distinct_notes("folder", ["a", None, "a", "b"]) == ("a", "b")
    assert [record.getMessage() for record in caplog.records] == ["folder: a", "folder: b"]


def test_what_a_network_made_is_noted():
    header = a_slice(body()[0][0], 0)
    header.ImageType, header.BurnedInAnnotation, header.SyntheticData = ["DERIVED", "SECONDARY"], "NO", "YES"
    assert annotation_note(header) == SYNTHETIC
    header.SyntheticData = "NO"
    assert annotation_note(header) is None
