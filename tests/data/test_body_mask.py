from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from crossmod.config import Modality
from crossmod.data.body_mask import body_mask, lung_mask
from crossmod.data.nifti import read_nifti
from crossmod.errors import InputError
from crossmod.metrics.segmentation import dice
from crossmod.phantom.anatomy import Anatomy, Grid
from crossmod.phantom.scanners import Sequence, render_ct, render_mr
from crossmod.phantom.tissues import TISSUES
from tests.support.anatomy import draw_anatomy

# Odd on purpose.
GRID = Grid(size=97, slices=7)


@pytest.fixture(scope="module", params=[0, 1])
def person(request: pytest.FixtureRequest) -> Anatomy:
    return draw_anatomy(request.param, grid=GRID)


def truth(person: Anatomy) -> np.ndarray:
    return np.stack([np.asarray(binary_fill_holes(tissues != TISSUES["air"])) for tissues in person.tissues])


def test_ct_body_without_the_table(person: Anatomy) -> None:
    """Against the tissues that the phantom was rendered from; the table, in the same grey as the patient, stays out."""
    found = body_mask(render_ct(person, 3).voxels, "ct")
    assert all(dice(*pair) > 0.985 for pair in zip(found, truth(person), strict=True))
    table = render_ct(person, 3).voxels > 0
    assert (table & ~truth(person)).any()


def test_ct_that_a_window_cut(person: Anatomy) -> None:
    cut = np.clip(render_ct(person, 3).voxels, -160, 240)
    found = body_mask(cut, "ct", (-160.0, 240.0))
    assert all(dice(*pair) > 0.98 for pair in zip(found, truth(person), strict=True))


@pytest.mark.parametrize("low", [-125.0, -160.0, -200.0, -290.0])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_ct_that_was_cut_before(person: Anatomy, low: float, noise: float, rng: np.random.Generator) -> None:
    """The threshold follows from the values: no window is given, as of files that somebody else cut.

    With noise the air is a narrow peak, as in what a network makes; half of it lies below the window's low end.
    """
    cut = np.clip(render_ct(person, 3).voxels.astype(np.float64), low, 275.0)
    cut += rng.normal(0, noise, cut.shape) if noise else 0.0
    found = body_mask(cut, "ct")
    assert all(dice(*pair) > 0.975 for pair in zip(found, truth(person), strict=True))
    np.testing.assert_array_equal(body_mask(cut[3], "ct"), found[3])


def test_fat_with_noise_of_a_cut_ct_is_body(rng: np.random.Generator) -> None:
    """Fat of -110 HU with a noise of 20 HU, cut at -125 HU: a quarter of it holds the value of air."""
    image = np.full((96, 128), -1000.0)
    rows, columns = np.mgrid[:96, :128]
    expected = ((rows - 48) / 40) ** 2 + ((columns - 64) / 55) ** 2 < 1
    image[expected] = -110 + rng.normal(0, 20, int(expected.sum()))
    found = body_mask(np.clip(image, -125, 275), "ct")
    assert dice(found, expected) > 0.97


@pytest.mark.real_data
def test_bodies_of_real_ct_are_never_the_whole_image(real_data: Path) -> None:
    """CT cut at -125 HU, where a fixed threshold of -300 HU had called every pixel body."""
    for path in sorted((real_data / "ct_btcv").glob("*/image.nii.gz")):
        volume = read_nifti(path, modality="ct")
        few = volume.voxels[:: max(len(volume.voxels) // 6, 1)]
        shares = body_mask(few, "ct").mean(axis=(1, 2))
        assert np.all((shares > 0.3) & (shares < 0.9)), path


@pytest.mark.parametrize("sequence", ["t1_in", "t1_out", "t2_spir"])
def test_mr_body(person: Anatomy, sequence: Sequence) -> None:
    voxels = render_mr(person, sequence, 3).voxels
    found = body_mask(voxels, "mr")
    assert all(dice(*pair) > 0.95 for pair in zip(found, truth(person), strict=True))
    # The unit does not matter, and a slice has the same body alone.
    np.testing.assert_array_equal(body_mask(voxels.astype(np.float32) / 2048 - 1, "mr"), found)
    np.testing.assert_array_equal(body_mask(voxels[3], "mr"), found[3])


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_lungs(person: Anatomy, modality: Modality) -> None:
    volume = render_ct(person, 3) if modality == "ct" else render_mr(person, "t1_in", 3)
    body = body_mask(volume.voxels, volume.modality)
    found = lung_mask(volume.voxels, body, volume.modality)
    lung = person.tissues == TISSUES["lung"]
    assert lung[-1].mean() > 0.05
    assert dice(found[-1], lung[-1]) > (0.9 if modality == "ct" else 0.6)
    # Gas in the gut may be as wide as lung, but covers little.
    below = ~lung.any(axis=(1, 2))
    assert found[below].sum() < 0.05 * body[below].sum()


def test_lungs_of_fat_suppressed_mr_are_not_told(person: Anatomy) -> None:
    voxels = render_mr(person, "t2_spir", 3).voxels
    assert lung_mask(voxels, body_mask(voxels, "mr"), "mr").mean() < 0.01


def test_a_made_slice() -> None:
    """Holes belong to the body, a smaller piece and a line do not."""
    image = np.full((41, 60), -1000, np.int16)
    image[5:30, 5:40] = 40
    image[12:18, 12:20] = -900  # gas
    image[35:40, 50:58] = 40  # an arm
    image[32, :] = 100  # the table
    expected = np.zeros(image.shape, dtype=bool)
    expected[5:30, 5:40] = True
    # The opening may take the corners.
    assert np.count_nonzero(body_mask(image, "ct") != expected) <= 4


@pytest.mark.parametrize("modality", ["ct", "mr"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 33, 20), (2, 3, 16, 17)])
def test_nothing_there(modality: Modality, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    constant = np.full(shape, -1000, np.int16)
    assert not body_mask(constant, modality).any()
    assert body_mask(constant, modality).shape == shape
    assert not lung_mask(constant, body_mask(constant, modality), modality).any()


def test_air_with_noise_has_no_body(rng: np.random.Generator) -> None:
    assert not body_mask(rng.normal(-990, 15, (64, 64)), "ct").any()


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        body_mask(np.full((4, 4), np.nan), "ct")
