import numpy as np
import pytest

from crossmod.data.volume import Volume, axis_codes
from crossmod.phantom.anatomy import ORGANS, TISSUES, Anatomy, Grid, lay_on_grid, organ_labels
from crossmod.phantom.person import draw_person
from tests.support.anatomy import draw_anatomy

SEEDS = (0, 3, 11)


@pytest.fixture(scope="module", params=SEEDS)
def anatomy(request: pytest.FixtureRequest) -> Anatomy:
    return draw_anatomy(request.param, 56, 20)


def centre(anatomy: Anatomy, organ: str) -> np.ndarray:
    """Middle of an organ in RAS+ millimetres."""
    value = next(value for value, name in ORGANS.items() if name == organ)
    index = np.argwhere(organ_labels(anatomy) == value).mean(axis=0)
    return (anatomy.affine @ [*index, 1])[:3]


def volumes(anatomy: Anatomy) -> dict[str, float]:
    image = Volume(anatomy.share, anatomy.affine, "mr", labels=organ_labels(anatomy), label_names=ORGANS)
    return {organ: image.label_ml(organ) for organ in ORGANS.values()}


def test_the_same_seed_gives_the_same_person() -> None:
    first, second, other = draw_anatomy(5, 32, 6), draw_anatomy(5, 32, 6), draw_anatomy(6, 32, 6)
    np.testing.assert_array_equal(first.tissues, second.tissues)
    np.testing.assert_array_equal(first.share, second.share)
    assert (first.tissues != other.tissues).mean() > 0.05


def test_axes_run_to_head_back_and_left(anatomy: Anatomy) -> None:
    assert axis_codes(anatomy.affine) == ("S", "P", "L")


def test_organs_have_adult_volumes(anatomy: Anatomy) -> None:
    found = volumes(anatomy)
    assert 900 < found["liver"] < 2600
    assert 90 < found["right_kidney"] < 260
    assert 90 < found["left_kidney"] < 260
    assert 60 < found["spleen"] < 400


def test_organs_lie_where_they_belong(anatomy: Anatomy) -> None:
    liver, right, left, spleen = (centre(anatomy, organ) for organ in ORGANS.values())
    # The axes run to the patient's right, front and head.
    assert liver[0] > 25
    assert right[0] > 30
    assert left[0] < -30
    assert spleen[0] < left[0]
    assert liver[1] > max(right[1], left[1], spleen[1])
    assert liver[2] > right[2]
    assert spleen[2] > left[2]


def test_the_patients_right_is_at_low_columns(anatomy: Anatomy) -> None:
    columns = np.argwhere(organ_labels(anatomy) == 1)[:, 2]
    assert columns.mean() < anatomy.tissues.shape[2] / 2


def test_the_liver_lies_inside_the_scan(anatomy: Anatomy) -> None:
    slices = np.flatnonzero((organ_labels(anatomy) == 1).any(axis=(1, 2)))
    assert slices[0] > 0
    assert slices[-1] < len(anatomy.tissues) - 1
    assert len(slices) > 0.45 * len(anatomy.tissues)


def test_the_liver_tapers_to_the_left_and_to_its_tip(anatomy: Anatomy) -> None:
    liver = organ_labels(anatomy) == 1
    slices = np.flatnonzero(liver.any(axis=(1, 2)))
    low = liver[slices[: len(slices) // 3]]
    # The lowest third is the right lobe's tip: small, and at the right.
    assert low.sum() < 0.28 * liver.sum()
    assert np.argwhere(low)[:, 2].mean() < np.argwhere(liver)[:, 2].mean()
    # Front to back it is thinner left of the spine than right of it.
    depth = liver.any(axis=0).sum(axis=0)
    middle = liver.shape[2] // 2
    assert depth[middle + 4 :].max() < depth[:middle].max()


def test_everything_an_upper_abdomen_holds_is_there() -> None:
    held = np.unique(draw_anatomy(1, 80, 12).tissues)
    # What the bowel holds differs from person to person.
    missing = {name for name, code in TISSUES.items() if code not in held} - {"gas", "stool", "chyme"}
    assert missing == set()


def test_lungs_lie_above_and_kidneys_below(anatomy: Anatomy) -> None:
    lung = (anatomy.tissues == TISSUES["lung"]).sum(axis=(1, 2))
    kidneys = np.isin(organ_labels(anatomy), (2, 3)).sum(axis=(1, 2))
    third = len(lung) // 3
    assert lung[:third].sum() == 0
    assert lung[-third:].sum() > 0.6 * lung.sum() > 0
    assert kidneys[-third:].sum() == 0


def test_two_grids_show_the_same_person() -> None:
    person = draw_person(4)
    ct = volumes(lay_on_grid(person, Grid(96, 36, 370.0, -124.0, 112.0, 0.7)))
    mr = volumes(lay_on_grid(person, Grid(72, 26, 395.0, -118.0, 104.0, 0.9, (4.0, -3.0))))
    for organ, millilitres in ct.items():
        assert mr[organ] == pytest.approx(millilitres, rel=0.05), organ


def test_borders_between_fat_and_organs_are_shared(anatomy: Anatomy) -> None:
    assert anatomy.share.min() >= 0.49
    assert anatomy.share.max() <= 1
    fat = anatomy.fat
    assert fat.min() >= 0
    assert fat.max() < 1
    assert ((fat > 0.3) & (fat < 0.6)).mean() > 0.01


def test_mix_weighs_both_tissues_of_a_voxel() -> None:
    one = np.ones((1, 1, 1), np.uint8)
    anatomy = Anatomy(one * TISSUES["liver"], one * TISSUES["fat"], 0.75 * one.astype(np.float32), np.eye(4), 0.0)
    values = np.zeros(len(TISSUES), np.float32)
    values[TISSUES["liver"]], values[TISSUES["fat"]] = 100, -100
    assert anatomy.mix(values).item() == pytest.approx(50)


def test_grid_puts_its_centre_where_it_says() -> None:
    grid = Grid(size=10, slices=5, field=300.0, bottom=-100.0, top=100.0, centre=(20.0, -10.0))
    middle = grid.affine @ [2, 4.5, 4.5, 1]
    # 20 mm to the left and 10 mm to the front, in axes that run to the right and to the front.
    np.testing.assert_allclose(middle[:3], [-20, 10, 0], atol=1e-9)
    assert grid.spacing == (50.0, 30.0)
