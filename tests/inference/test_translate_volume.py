import itertools
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import axcodes2ornt
from scipy.ndimage import binary_erosion

from crossmod.data.body_mask import body_mask
from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.data.volume import Volume, reorient
from crossmod.errors import InputError
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import Network, Options
from tests.support.small_models import Made, about, body

AXES = ["".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]
IDENTITY = Made(about())


def turned(volume: Volume) -> Volume:
    """A volume that lies 7 degrees askew in the scanner."""
    angle = np.deg2rad(7.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = volume.affine.copy()
    affine[:3] = turn @ affine[:3]
    return replace(volume, affine=affine)


def test_there_are_48_axis_orders() -> None:
    assert len(set(AXES)) == 48
    signs = [float(np.linalg.det(np.eye(3)[np.asarray(axcodes2ornt(codes))[:, 0].astype(int)])) for codes in AXES]
    handed = [sign * float(np.prod(axcodes2ornt(codes)[:, 1])) for sign, codes in zip(signs, AXES, strict=True)]
    assert handed.count(1) == handed.count(-1) == 24


@pytest.mark.parametrize("codes", AXES)
def test_a_file_comes_back_on_its_own_grid(tmp_path: Path, codes: str) -> None:
    """Whatever the order of its axes: affine, shape, and each value at its place."""
    volume = turned(body((3, 41, 37), (5.0, 7.3, 8.1)))
    first, second, third = codes
    values, affine = reorient(volume.voxels, volume.affine, (first, second, third))
    nibabel.save(Nifti1Image(values, affine), tmp_path / "in.nii")
    read = read_nifti(tmp_path / "in.nii", modality="ct")
    made = translate_volume([IDENTITY], [read])
    write_nifti(made.image, tmp_path / "out.nii.gz")
    given, back = nibabel.load(tmp_path / "in.nii"), nibabel.load(tmp_path / "out.nii.gz")
    assert isinstance(given, Nifti1Image)
    assert isinstance(back, Nifti1Image)
    assert back.shape == given.shape
    corners = np.array([[*(np.array(given.shape) * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    assert np.abs(corners @ (np.array(back.affine) - given.affine).T).max() < 1e-3
    inside = binary_erosion(body_mask(volume.voxels, "ct"), np.ones((1, 3, 3)), iterations=2)
    expected, _ = reorient(np.where(inside, volume.voxels, np.nan), volume.affine, (first, second, third))
    away = np.abs(np.asarray(back.dataobj) - expected)
    assert np.nanmax(away) < 6  # smooth tissue rises by up to 8 HU a pixel


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 33, 51), (2, 31, 64), (17, 45, 30)])
def test_any_shape_goes_through(shape: tuple[int, int, int]) -> None:
    volume = body(shape, (4.0, 260 / shape[1], 300 / shape[2]))
    made = translate_volume([IDENTITY], [volume], Options(batch=5))
    assert made.image.voxels.shape == shape
    np.testing.assert_array_equal(made.image.affine, volume.affine)
    inside = np.asarray(binary_erosion(made.body, np.ones((1, 3, 3)), iterations=3), dtype=bool)
    assert np.abs(made.image.voxels[inside] - volume.voxels[inside]).max() < 15


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_number_of_slices_at_a_time_changes_nothing(batch: int) -> None:
    volume, options = body((7, 40, 44)), Options(variants=("neighbours",))
    whole = translate_volume([IDENTITY], [volume], options)
    parts = translate_volume([IDENTITY], [volume], Options(variants=("neighbours",), batch=batch))
    np.testing.assert_array_equal(parts.image.voxels, whole.image.voxels)


def test_outside_of_the_body_nothing_is_made() -> None:
    """A network that fills everything: only the body is filled; the table under it stays away."""
    volume = body((2, 64, 64), (5.0, 5.0, 5.0))
    volume.voxels[:, 58:60, 10:50] = 200
    made = translate_volume([Made(about(low=-160.0, high=240.0), lambda images: images[:, 0] * 0)], [volume])
    assert made.image.voxels.dtype == np.int16
    assert not made.body[:, 58:60].any()
    assert (made.image.voxels[made.body] == 40).all()
    assert (made.image.voxels[~made.body] == -160).all()


def test_tiles_of_an_identity_give_the_image_itself() -> None:
    volume = body((2, 70, 70), (5.0, 5.0, 5.0))
    made = translate_volume([IDENTITY], [volume], Options(tiles="on"))
    np.testing.assert_allclose(made.image.voxels[made.body], volume.voxels[made.body], atol=0.51)


def test_tiles_are_asked_of_the_network_together() -> None:
    network = Made(about())
    translate_volume([network], [body((6, 64, 64), (5.0, 5.0, 5.0))], Options(tiles="on", batch=4))
    assert network.calls == [(4 * 9, 1, 32, 32), (2 * 9, 1, 32, 32)]


def test_mr_is_scaled_by_its_own_percentiles_and_comes_out_in_training_units() -> None:
    volume = body((3, 32, 32), (5.0, 10.0, 10.0), "mr")
    model = about(source="mr", target="mr", inputs=("mr",), low=0.0, high=100.0, percentiles=(1.0, 90.0))
    made = translate_volume([Made(model)], [volume])
    low, high = np.percentile(volume.voxels, (1.0, 90.0))
    expected = np.clip((volume.voxels - low) / (high - low), 0, 1) * 100
    assert made.image.voxels.dtype == np.float32
    np.testing.assert_allclose(made.image.voxels[made.body], expected[made.body], atol=1e-3)
    assert made.clipped == 0


def test_what_a_window_cuts_is_told() -> None:
    """A tenth of the body is bone beyond the window."""
    volume = body((1, 64, 64), (5.0, 5.0, 5.0))
    bone = np.zeros_like(volume.voxels, dtype=bool)
    bone[0, 28:36, 28:36] = True
    volume.voxels[bone] = 900
    made = translate_volume([Made(about(window=(-160.0, 240.0), source="ct", target="mr"))], [volume])
    cut = bone | (volume.voxels > 240) | (volume.voxels < -160)
    assert made.clipped == pytest.approx((cut & made.body).sum() / made.body.sum())


def test_labels_lie_where_the_segmentor_saw_them() -> None:
    volume = body((3, 64, 60), (5.0, 5.0, 6.0))
    model = Made(about(organs=("liver",)), label=lambda made: made > 0.07)
    made = translate_volume([model], [volume], Options(variants=("shift",)))
    assert made.labels is not None
    agrees = ((volume.voxels > 70) == (made.labels == 1))[made.body]
    assert agrees.mean() > 0.93
    assert not made.labels[~made.body].any()


def test_inputs_are_told_apart_by_name_and_brought_to_one_grid() -> None:
    """A network that gives its second input back: the answer is that volume on the first one's grid."""
    model = about(source="mr", target="mr", inputs=("t1_in", "t1_out"), low=0.0, high=1000.0, percentiles=(0.0, 100.0))
    network = Made(model, lambda images: images[:, 1])
    one = body((4, 32, 32), (5.0, 10.0, 10.0), "mr", "t1_in")
    other = body((4, 32, 32), (5.0, 10.0, 10.0), "mr", "t1_out")
    other = replace(other, voxels=1000 * (other.voxels > 100) * np.linspace(0.5, 1, 4, dtype=np.float32)[:, None, None])
    shifted = replace(other, voxels=other.voxels[1:], affine=other.affine.copy())
    shifted.affine[:3, 3] += other.affine[:3, 0]
    for volumes in ([one, other], [other, one], [one, shifted]):
        made = translate_volume([network], volumes)
        assert made.image.voxels[2, 16, 16] == pytest.approx(1000 * (0.5 + 0.5 * 2 / 3), rel=1e-3)
        np.testing.assert_array_equal(made.image.affine, one.affine)
        assert [source.sequence for source in made.sources] == ["t1_in", "t1_out"]
    unnamed = translate_volume([network], [replace(one, sequence=None), replace(other, sequence=None)])
    assert unnamed.image.voxels[2, 16, 16] == pytest.approx(833.3, rel=1e-3)


@pytest.mark.parametrize(
    ("volumes", "said"),
    [
        ([body(modality="mr")], "1 volume. Expected: 2: t1_in, t1_out"),
        ([body(modality="mr")] * 3, "3 volumes"),
        ([body(modality="mr"), body()], "CT. Expected: MR"),
        ([body(modality="mr", sequence="t2_spir"), body(modality="mr")], "t2_spir"),
        ([body(modality="mr"), replace(body(), modality="mr")], "as CT has them"),
    ],
)
def test_volumes_that_do_not_fit_are_refused(volumes: list[Volume], said: str) -> None:
    network = Made(about(source="mr", target="ct", inputs=("t1_in", "t1_out")))
    with pytest.raises(InputError, match=said):
        translate_volume([network], volumes)


def test_inputs_of_another_place_are_refused() -> None:
    network = Made(about(source="mr", target="ct", inputs=("t1_in", "t1_out")))
    away = body(modality="mr")
    away.affine[0, 3] += 250
    with pytest.raises(InputError, match="registered"):
        translate_volume([network], [body(modality="mr"), away])


def test_other_mistakes_have_a_sentence() -> None:
    with pytest.raises(InputError, match="none below 0"):
        translate_volume([IDENTITY], [replace(body(modality="mr"), modality="ct")])
    with pytest.raises(InputError, match="NaN or infinity"):
        translate_volume([Made(about(), lambda images: images[:, 0] * np.nan)], [body()])
    with pytest.raises(InputError, match="the same direction"):
        translate_volume([IDENTITY, Made(about(target="mr"))], [body()])
    with pytest.raises(InputError, match="gap from 240 to 300"):
        translate_volume([Made(about(low=-160.0, high=240.0)), Made(about(low=300.0, high=900.0))], [body()])
    with pytest.raises(InputError, match=r"none\. Expected: one or more"):
        translate_volume([], [body()])


def windowed(low: float, high: float) -> Network:
    """A network that knows CT in a window: what it is given is -1000 to 1000 HU, of which it makes -1 to 1."""
    cut = lambda images: np.clip((images[:, 0] * 1000 - low) * 2 / (high - low) - 1, -1, 1)  # noqa: E731
    return Made(about(low=float(low), high=float(high)), cut)


def test_windows_together_cover_the_wide_range() -> None:
    """Lung, soft tissue and bone, each from the network that knows it; none beyond the last."""
    volume = body((1, 48, 48), (5.0, 6.0, 6.0))
    for column, value in zip(range(18, 30, 2), (-850, -120, 50, 239, 500, 950), strict=True):
        volume.voxels[0, 20:28, column : column + 2] = value
    soft, bone, lung = windowed(-160, 240), windowed(-200, 800), windowed(-1000, -100)
    made = translate_volume([bone, soft, lung], [volume], Options(tiles="on"))
    found = made.image.voxels[0, 24, 18:30:2]
    np.testing.assert_allclose(found, (-850, -120, 50, 239, 500, 800), atol=1)
    assert (made.about.low, made.about.high) == (-1000, 800)
    assert made.clipped == pytest.approx(16 / made.body.sum())
    assert (made.image.voxels[~made.body] == -1000).all()


def test_the_seam_between_windows_has_no_step() -> None:
    """A bone network that errs by 100 HU cannot pull a value back below where it was asked."""
    volume = body((1, 48, 48), (5.0, 6.0, 6.0))
    volume.voxels[0, 24, 16:32] = np.linspace(200, 280, 16)
    soft = windowed(-160, 240)
    bone = Made(about(low=-200.0, high=800.0), lambda images: (images[:, 0] * 1000 - 300) / 500 - 0.2)
    made = translate_volume([soft, bone], [volume], Options(tiles="on"))
    line = made.image.voxels[0, 24, 16:32].astype(float)
    assert (np.diff(line) >= 0).all()
    assert line[-1] == pytest.approx(240, abs=1)
