"""A translation against a real scan, on images whose difference is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from skimage.metrics import structural_similarity

import crossmod
from crossmod.config import Modality
from crossmod.data.body_mask import body_mask
from crossmod.data.deidentify import SYNTHETIC
from crossmod.data.volume import Volume
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import Translation
from tests.support.small_models import Made, about, body


def translation(volume: Volume, low: float = -1000.0, high: float = 1000.0, target: Modality = "ct") -> Translation:
    """One that says of itself that it is the volume."""
    model = about(low=low, high=high, window=(low, high), target=target, source="mr" if target == "ct" else "ct")
    return Translation(volume, (volume,), model, volume.voxels > -500, None, None, 0.0, 0.0)


def test_equal_images_have_no_error() -> None:
    found = crossmod.evaluate_translation(translation(body()), body())
    assert (found.unit, found.mae, found.mae_uncut, found.ssim) == ("HU", 0, 0, pytest.approx(1))
    assert found.voxels == body_mask(body().voxels, "ct").sum()
    assert found.plain()["psnr"] is None
    json.dumps(found.plain(), allow_nan=False)


def test_an_offset_is_the_error_inside_the_body_alone() -> None:
    truth = body()
    made = replace(truth, voxels=np.where(truth.voxels > -500, truth.voxels + 10, truth.voxels - 300))
    found = crossmod.evaluate_translation(translation(made), truth)
    assert found.mae == pytest.approx(10, abs=1e-4)
    assert found.psnr == pytest.approx(20 * np.log10(2000 / 10), abs=1e-3)
    assert "mean absolute error 10.0 HU" in found.words


def test_what_the_model_cannot_make_counts_uncut_only() -> None:
    truth = body()
    bone = (slice(1, 3), slice(18, 22), slice(20, 25))
    truth.voxels[bone] = 900
    made = replace(truth, voxels=np.clip(truth.voxels, -160, 240))
    found = crossmod.evaluate_translation(translation(made, -160.0, 240.0), truth)
    inside = body_mask(truth.voxels, "ct")
    assert found.mae == 0
    assert found.mae_uncut == pytest.approx(np.abs(made.voxels - truth.voxels)[inside].mean())
    assert found.mae_uncut is not None
    assert found.mae_uncut > 1


def test_random_errors_against_numpy_and_scikit_image() -> None:
    rng = np.random.default_rng(0)
    truth = body((3, 48, 48), (5.0, 7.0, 7.0))
    made = replace(truth, voxels=(truth.voxels + rng.normal(0, 40, truth.voxels.shape)).astype(np.float32))
    found = crossmod.evaluate_translation(translation(made), truth)
    inside = body_mask(truth.voxels, "ct")
    cut = [np.clip(one.voxels, -1000, 1000).astype(float) for one in (truth, made)]
    assert found.mae == pytest.approx(np.abs(cut[0] - cut[1])[inside].mean())
    maps = [
        structural_similarity(
            first, second, data_range=2000, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1]
        for first, second in zip(*cut, strict=True)
    ]
    assert found.ssim == pytest.approx(np.stack(maps)[inside].mean(), abs=1e-6)


def test_beyond_the_truth_nothing_counts() -> None:
    """A truth of fewer slices and columns, on a grid of its own: half a slice lower, smooth tissue along the body."""
    whole = body((8, 40, 44))
    affine = whole.affine.copy()
    affine[:3, 3] += 1.5 * affine[:3, 0] + 6 * affine[:3, 2]
    truth = replace(whole, voxels=(0.5 * (whole.voxels[1:7] + whole.voxels[2:8]))[:, :, 6:], affine=affine)
    made = replace(whole, voxels=whole.voxels.copy())
    made.voxels[:2], made.voxels[7:], made.voxels[:, :, :6] = 900, 900, 900
    found = crossmod.evaluate_translation(translation(made), truth)
    inner = np.asarray(binary_erosion(body_mask(whole.voxels, "ct"), np.ones((1, 5, 5))))
    assert 0.8 * inner[2:7].sum() < found.voxels < 1.2 * body_mask(whole.voxels, "ct")[2:7].sum()
    assert found.mae < 1


def test_mr_is_compared_by_its_own_range() -> None:
    truth = body(modality="mr")
    twice = replace(truth, voxels=truth.voxels * 2 + 7)
    found = crossmod.evaluate_translation(translation(twice, 0.0, 700.0, "mr"), truth)
    assert (found.unit, found.mae_uncut) == ("% of the range", None)
    assert found.mae == pytest.approx(0, abs=1e-3)
    assert "not cut" not in found.words


def test_what_is_no_truth_is_refused() -> None:
    with pytest.raises(crossmod.InputError, match=r"the truth: MR\. Expected: CT"):
        crossmod.evaluate_translation(translation(body()), body(modality="mr"))
    far = body()
    far.affine[0, 3] += 500
    with pytest.raises(crossmod.InputError, match=r"the truth: CT that holds 0% of what the other volume shows"):
        crossmod.evaluate_translation(translation(body()), far)
    air = body()
    air.voxels[:] = -1000
    with pytest.raises(crossmod.InputError, match="fat and muscle are 150 HU apart"):
        crossmod.evaluate_translation(translation(body()), air)


def test_a_translation_of_a_known_network() -> None:
    """One that makes the negative of what it gets: the error is twice the value, as far as resampling allows."""
    volume = body((3, 32, 32), (5.0, 10.0, 10.0))
    made = translate_volume([Made(about(), lambda images: -images[:, 0])], [volume])
    found = crossmod.evaluate_translation(made, volume)
    inside = body_mask(volume.voxels, "ct")
    assert found.mae == pytest.approx(np.abs(2 * volume.voxels[inside]).mean(), rel=0.01)


def test_a_synthetic_image_is_no_truth() -> None:
    own = replace(body(), notes=("kept", SYNTHETIC))
    with pytest.raises(crossmod.InputError, match=r"the truth: a synthetic image\. Expected: a scan"):
        crossmod.evaluate_translation(translation(body()), own)


def test_how_much_of_the_body_was_compared() -> None:
    """A truth of the lower half of the slices."""
    whole = body((8, 40, 44))
    half = replace(whole, voxels=whole.voxels[:4])
    found = crossmod.evaluate_translation(translation(whole), half)
    assert found.share == pytest.approx(0.5)
    assert "the scan shows 50% of the body" in found.words
    assert crossmod.evaluate_translation(translation(whole), whole).share == 1
    assert "of the body" not in crossmod.evaluate_translation(translation(whole), whole).words
