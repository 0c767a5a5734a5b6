import sys
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from crossmod.data.dicom.series import read_dicom_series
from crossmod.errors import InputError
from crossmod.inference.dicom.write import SEGMENTATION, write_translated
from crossmod.report.figures import COLOURS
from tests.support.dicom_output import FRAME, PLANES, a_model, a_series, headers, made

highdicom = pytest.importorskip("highdicom", reason="needs highdicom: pip install 'crossmod[seg]'")


@pytest.mark.parametrize("plane", PLANES)
def test_organs_lie_on_the_synthetic_series(tmp_path, plane):
    source = a_series(tmp_path / "in", plane)
    volume = read_dicom_series(source)
    labels = np.zeros(volume.voxels.shape, dtype=np.uint8)
    labels[0, 1, 2], labels[2, 1:3, 0:2], labels[1, 0, 0] = 1, 3, 1
    about = a_model(organs=("liver", "spleen", "left_kidney", "bezoar"))
    labels[3, 3, 3] = 4
    translation = made(volume, labels=labels, about=about)
    write_translated(translation, tmp_path / "out", source=source, labels=True)
    series = headers(tmp_path / "out")
    read = highdicom.seg.segread(tmp_path / "out" / SEGMENTATION)
    assert read.FrameOfReferenceUID == FRAME
    assert read.SeriesInstanceUID != series[0].SeriesInstanceUID
    assert read.StudyInstanceUID == series[0].StudyInstanceUID
    found = read.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in series], combine_segments=True, ignore_spatial_locations=True
    )
    # The organ that is nowhere has no segment; the others are numbered without a gap.
    expected = np.stack([one.pixel_array for one in series])
    back = read_dicom_series(tmp_path / "out")
    turned = replace(translation.image, voxels=np.array([0, 1, 0, 2, 3], dtype=np.uint8)[labels])
    assert expected.shape == found.shape
    check = made(volume, image=turned, labels=None)
    write_translated(check, tmp_path / "check", source=source)
    np.testing.assert_array_equal(found, [one.pixel_array - 1024 for one in headers(tmp_path / "check")])
    assert len(back.voxels) == len(volume.voxels)


def test_organs_are_coded_and_their_maker_is_named(tmp_path):
    source = a_series(tmp_path / "in")
    volume = read_dicom_series(source)
    labels = np.zeros(volume.voxels.shape, dtype=np.uint8)
    labels.flat[:3] = 1, 2, 3
    about = a_model(organs=("liver", "left_kidney", "bezoar"))
    write_translated(made(volume, labels=labels, about=about), tmp_path / "out", source=source, labels=True)
    segmentation = pydicom.dcmread(tmp_path / "out" / SEGMENTATION)
    assert segmentation["ContentCreatorName"].value == ""
    segments = segmentation.SegmentSequence
    colours = [highdicom.color.CIELabColor.from_dicom_value(one.RecommendedDisplayCIELabValue) for one in segments]
    wanted = [tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in COLOURS]
    for colour, rgb in zip(colours, wanted, strict=False):
        np.testing.assert_allclose(colour.to_rgb(), rgb, atol=6)
    assert len({tuple(one.value) for one in colours}) == 3
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    assert [kind.CodeValue for kind in kinds] == ["10200004", "64033007", "91772007"]
    assert kinds[1].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert [segment.SegmentLabel for segment in segments] == ["liver", "left kidney", "bezoar"]
    assert segments[0].SegmentAlgorithmType == "AUTOMATIC"
    algorithm = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "crossmod net"
    assert about.weights[:16] in algorithm.AlgorithmVersion


def test_what_is_missing_is_said_before_anything_is_written(tmp_path, monkeypatch):
    source = a_series(tmp_path / "in")
    translation = made(read_dicom_series(source))
    empty = np.zeros_like(translation.labels)
    for changed, found in (
        (replace(translation, labels=None), "a model without a segmentor"),
        (replace(translation, labels=empty + 9), "the label 9 of a model with 2 organs"),
    ):
        with pytest.raises(InputError, match=found):
            write_translated(changed, tmp_path / "out", source=source, labels=True)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install 'crossmod\[seg\]'"):
        write_translated(translation, tmp_path / "out", source=source, labels=True)
    assert not (tmp_path / "out").exists()
    write_translated(translation, tmp_path / "out", source=source)


def test_where_no_organ_was_found_the_image_is_written_all_the_same(tmp_path, caplog):
    source = a_series(tmp_path / "in")
    translation = made(read_dicom_series(source))
    empty = replace(translation, labels=np.zeros_like(translation.labels))
    write_translated(empty, tmp_path / "out", source=source, labels=True)
    assert "no organ was found" in caplog.text
    assert len(headers(tmp_path / "out")) == len(translation.image.voxels)
    assert not (tmp_path / "out" / SEGMENTATION).exists()
