"""Images: whatever is not a picture of somebody is the same for both classes."""

import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from crossmod.config import Modality
from crossmod.reader.create import _write
from crossmod.reader.images import (
    FLAT,
    Look,
    common_look,
    common_steps,
    encoded,
    levels_of,
    nearest_slices,
    picture,
    spread_levels,
    value_range,
)
from crossmod.reader.sampling import candidates, choose
from tests.support.reader_stores import design, pair

MODALITIES: tuple[Modality, ...] = ("ct", "mr")


class Written:
    """Twenty slices of either class, as they are served; class by name."""

    def __init__(self, folder: Path, modality: Modality):
        self.design = design(modality=modality, real=20, synthetic=20, size=64, layers=(2, 9))
        stores = pair(modality)
        sides = candidates([stores.real], [stores.synthetic], [stores.source])
        scans, look = choose(sides, self.design)
        self.rows = _write(folder / "images", scans, look, self.design)
        self.files = {row.id: folder / "images" / f"{row.id}.nii" for row in self.rows}
        self.synthetic = np.array([row.synthetic for row in self.rows])

    @property
    def values(self) -> list[np.ndarray]:
        return [np.frombuffer(self.files[row.id].read_bytes()[352:], np.int16) for row in self.rows]


@pytest.fixture(scope="module", params=MODALITIES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("written"), request.param)


def accuracy(features: np.ndarray, synthetic: np.ndarray) -> float:
    """Of a classifier on images that it has not seen."""
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(LogisticRegression(C=0.1), scaled, synthetic, cv=parts).mean())


def test_nothing_but_pixels_tells_the_class(written: Written) -> None:
    """Header, size, time and rights are the same bytes for all; names are the only thing that differs."""
    stats = [written.files[row.id].stat() for row in written.rows]
    constants = {(s.st_size, s.st_mtime_ns, s.st_mode, s.st_nlink) for s in stats}
    headers = {written.files[row.id].read_bytes()[:352] for row in written.rows}
    assert len(constants) == len(headers) == 1
    # Rows are sorted by name, which is also the order of writing.
    names = [row.id for row in written.rows]
    assert names == sorted(names)
    digits = np.array([[int(digit, 16) for digit in name] for name in names], dtype=float)
    place = np.arange(len(names))[:, None].astype(float)
    inodes = np.array([[s.st_ino - stats[0].st_ino] for s in stats], dtype=float)
    # 40 images and guessing: 50 % with a standard deviation of 8; names are drawn anew in every run.
    assert accuracy(np.hstack([digits[:, :4], place, inodes]), written.synthetic) < 0.9


def test_the_header_says_nothing(written: Written) -> None:
    image = nibabel.load(written.files[written.rows[0].id])
    assert isinstance(image, nibabel.Nifti1Image)
    text = {
        name: bytes(image.header[name].tobytes()).strip(b"\0")
        for name in ("descrip", "aux_file", "intent_name", "db_name")
    }
    assert set(text.values()) == {b""}
    assert image.get_data_dtype() == np.int16
    assert image.shape == (64, 64, 1)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")


def test_no_comb_and_no_floor_tells_the_class(written: Written) -> None:
    low, high = written.design.levels
    margin = FLAT * (high - low)
    features = []
    for values in written.values:
        assert low <= values.min()
        assert values.max() <= high
        # Between an end and what is near it lies nothing, of either class.
        assert not ((values > low) & (values <= low + margin)).any()
        inner = values[(values > low) & (values < high)]
        levels = np.unique(inner)
        twos, fives = (np.bincount(inner % n, minlength=n) / len(inner) for n in (2, 5))
        expected = (high - low) * (1 - np.exp(-len(inner) / (high - low)))
        features.append([twos[0] - twos[1], fives.std(), len(levels) / expected, np.diff(levels).min()])
    assert written.values[0].min() == low
    # Levels used for the number of pixels would tell a comb at once; 2/3 is xx.
    assert accuracy(np.array(features)[:, [0, 1, 3]], written.synthetic) <= 0.75


@pytest.mark.parametrize("step", [3, 7])
def test_a_comb_is_gone(step: int, rng: np.random.Generator) -> None:
    coarse = (rng.integers(0, 300 // step, (1, 64, 64)) * step).astype(np.int16)
    even = spread_levels(coarse, levels_of(coarse), (0.0, 300.0), rng)
    assert abs(even - coarse).max() <= min(step / 2, 3.0)
    assert len(np.unique(np.rint(even))) > 1.9 * len(np.unique(coarse))
    fine = rng.normal(0, 50, (1, 64, 64))
    assert abs(spread_levels(fine, levels_of(fine), (-100.0, 100.0), rng) - fine).max() <= 2.0
    assert np.median(abs(spread_levels(fine, levels_of(fine), (-100.0, 100.0), rng) - fine)) < 0.02


@pytest.mark.parametrize("padding", [-1024, -1000, -2048])
def test_padding_of_ct_is_one_value(padding: int, rng: np.random.Generator) -> None:
    voxels = np.full((1, 32, 32), padding, dtype=np.int16)
    voxels[:, 8:24, 8:24] = rng.integers(0, 100, (1, 16, 16))
    ct = design(size=32)
    shown = picture(voxels, (2.0, 2.0), levels_of(voxels), value_range(voxels, ct), Look(64.0, 32), ct, rng)
    assert np.unique(shown[0, :6]).tolist() == [-160]


def test_mr_is_scaled_by_its_own_percentiles(rng: np.random.Generator) -> None:
    voxels = rng.normal(500, 100, (4, 32, 32))
    mr = design(modality="mr", size=32)
    look = Look(64.0, 32)
    ones = [
        picture(v, (2.0, 2.0), levels_of(v), value_range(v, mr), look, mr, np.random.default_rng(0))
        for v in (voxels, 7 * voxels + 30)
    ]
    assert abs(ones[0].astype(int) - ones[1]).max() <= 1
    assert (ones[0].min(), ones[0].max()) == (0, 1000)


def test_all_scans_have_the_smallest_field_and_the_coarsest_pixels(rng: np.random.Generator) -> None:
    field, pixels = common_look([((512, 512), (0.7, 0.7)), ((256, 192), (1.5, 1.5)), ((100, 100), (4.0, 4.0))], 256)
    assert (field, pixels) == (358.4, 89)
    assert common_look([((128, 128), (2.8, 2.8))], 64) == (358.4, 64)
    # A square of 96 mm is as large in either picture, whichever pixels it had.
    ct, look = design(size=64), Look(200.0, 50)
    for mm, side in ((1.0, 300), (4.0, 60)):
        voxels = np.full((1, side, side), -1000, dtype=np.int16)
        half, middle = round(48 / mm), side // 2
        voxels[:, middle - half : middle + half, middle - half : middle + half] = 100
        shown = picture(voxels, (mm, mm), levels_of(voxels), (-160.0, 240.0), look, ct, rng)
        assert abs((shown[0] > -30).sum() - (0.48 * 64) ** 2) < 50, mm


def test_what_is_narrower_is_filled_up(rng: np.random.Generator) -> None:
    voxels = rng.integers(0, 100, (1, 40, 20)).astype(np.int16)
    ct = design(size=40)
    shown = picture(voxels, (2.0, 2.0), levels_of(voxels), (-160.0, 240.0), Look(80.0, 40), ct, rng)
    assert (shown[0, :, :9] == -160).all()
    assert (shown[0, :, 11:29] > -160).all()


def test_volumes_have_slices_over_the_same_millimetres() -> None:
    fine, coarse = np.arange(0.0, 100.0, 2.0), np.arange(7.0, 95.0, 8.0)
    step, slices = common_steps([fine, coarse])
    assert (step, slices) == (8.0, 11)
    assert nearest_slices(coarse, step, slices) == list(range(11))
    chosen = fine[nearest_slices(fine, step, slices)]
    assert np.abs(np.diff(chosen) - 8).max() <= 2
    assert len(set(chosen)) == 11


def test_the_file_reads_as_the_volume_lies() -> None:
    """[slice, row, column] towards head, back and left."""
    values = np.zeros((2, 32, 32), dtype=np.int16)
    values[1, 0, 5] = 7
    image = nibabel.Nifti1Image.from_stream(io.BytesIO(encoded(values, Look(64.0, 32, 3.0, 2), design(size=32))))
    (place,) = np.argwhere(np.asarray(image.dataobj) == 7)
    x, y, z = apply_affine(image.affine, place)
    assert x > 0  # column 5 of 32 is the patient's right, which readers see on their left
    assert (round(y, 3), round(z, 3)) == (31.0, 1.5)
