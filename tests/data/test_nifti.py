import itertools
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Image
from scipy.spatial.transform import Rotation

from crossmod.data.labels import read_label_names
from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.data.volume import CANONICAL, Volume, axis_codes
from crossmod.errors import InputError

ALL_CODES = [
    "".join(codes) for axes in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*axes)
]


def affine_of(codes, spacing, degrees=0.0, origin=(10.0, -20.0, 30.0)) -> np.ndarray:
    affine = np.eye(4)
    directions = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(tuple(codes)), (1, 1, 1))[:3, :3]
    turned = Rotation.from_euler("xyz", [degrees, degrees / 2, -degrees / 3], degrees=True).as_matrix() @ directions
    affine[:3, :3] = turned * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def save(path, values, affine=None, **header) -> Path:
    image = Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.fixture
def values(rng):
    return rng.integers(-100, 100, (4, 5, 6)).astype(np.int16)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ALL_CODES),
    st.tuples(*[st.floats(0.2, 12.0)] * 3),
    st.floats(-25, 25),
    st.tuples(*[st.integers(1, 7)] * 3).filter(lambda shape: np.prod(shape) > 1),
    st.sampled_from([np.int16, np.float32, np.uint8]),
)
def test_there_and_back_for_every_axis_order(codes, spacing, degrees, shape, dtype):
    rng = np.random.default_rng(3)
    affine = affine_of(codes, spacing, degrees)
    array = rng.integers(0, 200, shape).astype(dtype)
    array.flat[:2] = 0, 200
    array = array + np.float32(0.25) if dtype == np.float32 else array
    with tempfile.TemporaryDirectory() as temporary:
        first, second = Path(temporary, "a.nii"), Path(temporary, "b.nii.gz")
        save(first, array, affine)
        volume = read_nifti(first, modality="mr")
        write_nifti(volume, second)
        back = Nifti1Image.from_filename(second)
        assert volume.orientation == axis_codes(affine)
        assert nibabel.aff2axcodes(volume.affine) == CANONICAL
        np.testing.assert_allclose(
            np.asarray(back.affine), np.asarray(Nifti1Image.from_filename(first).affine), atol=1e-3
        )
        np.testing.assert_array_equal(np.asarray(back.dataobj), array)
        assert back.get_data_dtype() == (np.float32 if dtype == np.float32 else np.int16)
        # The oracle: nibabel's own way to the closest canonical axes, turned to ours.
        canonical = nibabel.as_closest_canonical(Nifti1Image.from_filename(first))
        ours = np.asarray(canonical.dataobj)[::-1, ::-1, :].transpose(2, 1, 0)
        np.testing.assert_array_equal(volume.voxels, ours)


@pytest.mark.parametrize("codes", ALL_CODES)
def test_labels_follow_the_image_through_every_axis_order(tmp_path, codes, values):
    affine = affine_of(codes, (1, 2, 3))
    image = save(tmp_path / "image.nii.gz", values, affine)
    labels = (values > 0).astype(np.uint8) * 3
    # The labels are stored in another order than the image.
    turned = nibabel.as_closest_canonical(Nifti1Image(labels, affine))
    nibabel.save(turned, tmp_path / "label.nii.gz")
    volume = read_nifti(
        image, modality="mr", label=tmp_path / "label.nii.gz", label_names={0: "background", 3: "liver"}
    )
    assert volume.labels is not None
    np.testing.assert_array_equal(volume.labels == 3, volume.voxels > 0)
    assert volume.label_names == {3: "liver"}
    write_nifti(volume, tmp_path / "out.nii.gz", labels_path=tmp_path / "labels out.nii")
    np.testing.assert_array_equal(np.asarray(Nifti1Image.from_filename(tmp_path / "labels out.nii").dataobj), labels)


def test_a_small_shear_is_kept(tmp_path, values):
    affine = np.array([[1, 0.02, 0, 0], [0, 2, 0.03, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    write_nifti(read_nifti(save(tmp_path / "a.nii", values, affine), modality="mr"), tmp_path / "b.nii")
    np.testing.assert_allclose(np.asarray(Nifti1Image.from_filename(tmp_path / "b.nii").affine), affine, atol=1e-3)


def test_scaled_values_are_scaled(tmp_path, values):
    image = Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "a.nii")
    expected = np.asarray(Nifti1Image.from_filename(tmp_path / "a.nii").dataobj)
    volume = read_nifti(tmp_path / "a.nii", modality="mr")
    np.testing.assert_array_equal(np.sort(volume.voxels, axis=None), np.sort(expected.astype(np.float32), axis=None))


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_lengths_become_millimetres(tmp_path, values, unit, factor):
    image = Nifti1Image(values, np.diag([2, 3, 4, 1]) / factor)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii", modality="mr").spacing == pytest.approx((4, 3, 2), rel=1e-5)


def test_trailing_axes_of_length_one_and_missing_axes(tmp_path, values):
    for number, array in enumerate((values[..., None], values[..., None, None])):
        assert read_nifti(save(tmp_path / f"{number}.nii", array), modality="mr").voxels.shape == (6, 5, 4)
    assert read_nifti(save(tmp_path / "flat.nii", values[..., 0]), modality="mr").voxels.shape == (1, 5, 4)


def test_the_qform_serves_where_there_is_no_sform(tmp_path, values):
    image = Nifti1Image(values, None)
    image.set_qform(affine_of("LPS", (1, 2, 3), 10), code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii", modality="mr")
    assert volume.orientation == ("L", "P", "S")


def test_an_unknown_orientation_must_be_said(tmp_path, values):
    image = Nifti1Image(values, None)
    image.header.set_zooms((1, 2, 3))
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    with pytest.raises(InputError, match=r"a\.nii: .*sform_code and qform_code are 0.*--orientation RAS"):
        read_nifti(path, modality="mr")
    volume = read_nifti(path, modality="mr", orientation="LPS")
    assert (volume.orientation, volume.spacing) == (("L", "P", "S"), (3, 2, 1))
    np.testing.assert_array_equal(volume.voxels, values.transpose(2, 1, 0))
    for wrong in ("RAX", "RRS", "RA", "RLS"):
        with pytest.raises(InputError, match=f"--orientation {wrong}"):
            read_nifti(path, modality="mr", orientation=wrong)


def refused(path, words, **arguments):
    with pytest.raises(InputError, match=f"(?s){path.name}.*{words}"):
        read_nifti(path, modality="mr", **arguments)


def test_files_that_are_none(tmp_path, values):
    refused(tmp_path / "none.nii", "no such file")
    refused(tmp_path, "a folder")
    (tmp_path / "text.nii.gz").write_text("hello")
    refused(tmp_path / "text.nii.gz", "not NIfTI")
    (tmp_path / "text.nii").write_text("hello" * 1000)
    refused(tmp_path / "text.nii", "not NIfTI")
    (tmp_path / "image.png").write_bytes(b"\x89PNG" * 100)
    refused(tmp_path / "image.png", "not NIfTI")
    nibabel.save(nibabel.MGHImage(values.astype(np.float32), np.eye(4)), tmp_path / "brain.mgz")
    refused(tmp_path / "brain.mgz", "an image of another format")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_cut_files(tmp_path, rng, ending):
    path = save(tmp_path / f"cut{ending}", rng.integers(-100, 100, (20, 20, 20)).astype(np.int16))
    whole = path.read_bytes()
    for keep in (0, 10, 200, 400, len(whole) // 2, len(whole) - 12):
        path.write_bytes(whole[:keep])
        refused(path, "not NIfTI, or cut|ends too early")


def test_a_damaged_gzip(tmp_path, rng):
    path = save(tmp_path / "a.nii.gz", rng.integers(-100, 100, (20, 20, 20)).astype(np.int16))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    refused(path, "damaged")


def test_values_that_are_no_image(tmp_path, values):
    refused(save(tmp_path / "4d.nii", np.stack([values] * 2, -1)), "4 axes of lengths 4 x 5 x 6 x 2")
    broken = values.astype(np.float32)
    broken[0, 0, :2] = np.nan, np.inf
    refused(save(tmp_path / "nan.nii", broken), "2 voxels that are NaN or infinite")
    refused(save(tmp_path / "flat.nii", np.full_like(values, 7)), "the value 7 everywhere")
    rgb = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(save(tmp_path / "rgb.nii", rgb), "values of type .*R")
    refused(save(tmp_path / "complex.nii", values.astype(np.complex64)), "values of type complex64")


def test_singular_affines(tmp_path, values):
    for number, affine in enumerate(
        (np.diag([1.0, 0, 1, 1]), np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    ):
        image = Nifti1Image(values, np.eye(4))
        image.header["sform_code"] = 1
        for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
            image.header[name] = affine[row]
        image.header["qform_code"] = 0
        path = tmp_path / f"{number}.nii"
        # Saving through nibabel would put the image's own affine back.
        path.write_bytes(image.header.binaryblock + b"\0" * 4 + values.tobytes(order="F"))
        refused(path, "singular")


@pytest.mark.parametrize(("degrees", "axes"), [(3, (0, 1)), (-12, (1, 2)), (1.2, (0, 2))])
def test_sheared_axes_are_refused(tmp_path, values, degrees, axes):
    affine = affine_of("RAS", (1, 2, 3))
    slant = np.eye(4)
    slant[axes] = np.tan(np.radians(degrees))
    turned = affine_of("RAS", (1, 1, 1), 20) @ slant @ affine
    refused(save(tmp_path / "a.nii", values, turned), rf"{abs(degrees):.1f} degrees off right angles")


@pytest.mark.parametrize("length", [0.005, 150.0])
def test_impossible_spacings_are_refused(tmp_path, values, length):
    path = save(tmp_path / "a.nii", values, np.diag([1.0, length, 2.0, 1.0]))
    refused(path, rf"a spacing of 1 x {length:g} x 2 mm.*0\.01 to 100 mm")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_an_axis_of_length_zero_is_refused(tmp_path, values, ending):
    refused(save(tmp_path / f"a{ending}", values[:, :0]), "axes of lengths 4 x 0 x 6, so no voxels")


def test_messages_name_no_class_of_python(tmp_path, values):
    whole = save(tmp_path / "a.nii.gz", values).read_bytes()
    for content in (b"", b"hello", whole[:50], whole[:-6]):
        (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_nifti(tmp_path / "a.nii.gz", modality="mr")
        assert "rror" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_the_systems_error(tmp_path, values, monkeypatch):
    path = save(tmp_path / "a.nii", values)

    def no(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", no)
        with pytest.raises(PermissionError):
            read_nifti(path, modality="mr")
    monkeypatch.setattr(nibabel, "load", no)
    with pytest.raises(PermissionError):
        read_nifti(path, modality="mr")


def test_labels_that_do_not_fit(tmp_path, values):
    image = save(tmp_path / "image.nii", values)
    names = {1: "liver"}
    mask = (values > 0).astype(np.uint8)

    def refused_label(name, array, words, affine=None):
        path = save(tmp_path / name, array, affine)
        with pytest.raises(InputError, match=f"(?s){name}.*{words}"):
            read_nifti(image, modality="mr", label=path, label_names=names)

    refused_label("shape.nii", mask[:3], "6 x 5 x 3 voxels .*6 x 5 x 4")
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[0, 3] = 1.5
    refused_label("moved.nii", mask, "1.50 mm away", moved)
    refused_label("unnamed.nii", mask * 5, r"without a name: 5.*labels\.json")
    refused_label("half.nii", mask * np.float32(0.5), "the label value 0.5")
    refused_label("negative.nii", mask.astype(np.int16) * -1, "from -1 to 0")
    refused_label("large.nii", mask.astype(np.int16) * 300, "from 0 to 300")
    with pytest.raises(InputError, match=r"none\.nii: no such file"):
        read_nifti(image, modality="mr", label=tmp_path / "none.nii", label_names=names)


def test_writing_refuses_what_it_cannot(tmp_path):
    volume = Volume(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4), "mr")
    with pytest.raises(InputError, match=r"a\.img: the ending \.img"):
        write_nifti(volume, tmp_path / "a.img")
    with pytest.raises(InputError, match=r"l\.nii: a volume without labels"):
        write_nifti(volume, tmp_path / "a.nii", labels_path=tmp_path / "l.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "stem", "names"),
    [
        ('{"labels": {"background": 0, "liver": 6}}', "label", {6: "liver"}),
        ('{"liver": 1, "spleen": 2}', "label", {1: "liver", 2: "spleen"}),
        ('{"label_t1": {"liver": 1}, "label_t2": {"spleen": 4}}', "label_t2", {4: "spleen"}),
    ],
)
def test_three_forms_of_label_names(tmp_path, content, stem, names):
    (tmp_path / "labels.json").write_text(content)
    assert read_label_names(tmp_path / "labels.json", stem) == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "a list"),
        ("{}", "no labels"),
        ('{"labels": {"liver": "1"}}', "'liver' with value '1'"),
        ('{"labels": {"liver": 300}}', "value 300"),
        ('{"labels": {"liver": 0, "spleen": 1}}', "'liver' with value 0.*background alone"),
        ('{"liver": 1, "spleen": 1}', "two names"),
        ('{"label_t1": {"liver": 1}}', "labels for label_t1"),
        ("{", "not JSON"),
    ],
)
def test_label_names_that_cannot_be_used(tmp_path, content, words):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=f"labels.json: .*{words}"):
        read_label_names(tmp_path / "labels.json", "label")
