import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from crossmod.errors import InputError
from crossmod.phantom.anatomy import ORGANS, TISSUES, Anatomy, organ_labels
from crossmod.phantom.scanners import SCANNERS, SEQUENCES, render_ct, render_mr
from crossmod.phantom.tissues import shading, standing_wave, table
from tests.support.anatomy import draw_anatomy


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(2, 72, 22)


@pytest.fixture(scope="module")
def images(anatomy: Anatomy) -> dict[str, np.ndarray]:
    images = {str(sequence): render_mr(anatomy, sequence, 9).voxels.astype(float) for sequence in SEQUENCES}
    return {"ct": render_ct(anatomy, 9).voxels.astype(float), **images}


def median(image: np.ndarray, anatomy: Anatomy, tissue: str) -> float:
    return float(np.median(image[(anatomy.tissues == TISSUES[tissue]) & (anatomy.share > 0.95)]))


def test_images_follow_from_the_seed(anatomy: Anatomy) -> None:
    np.testing.assert_array_equal(render_ct(anatomy, 1).voxels, render_ct(anatomy, 1).voxels)
    assert (render_ct(anatomy, 1).voxels != render_ct(anatomy, 2).voxels).mean() > 0.3
    seed = np.random.SeedSequence(1, spawn_key=(7,))
    np.testing.assert_array_equal(
        render_mr(anatomy, "t1_in", seed).voxels,
        render_mr(anatomy, "t1_in", np.random.SeedSequence(1, spawn_key=(7,))).voxels,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_organs_have_portal_venous_hounsfield_units(anatomy: Anatomy, seed: int) -> None:
    hu = render_ct(anatomy, seed).voxels
    labels = organ_labels(anatomy)
    ranges = {"liver": (90, 126), "right_kidney": (145, 195), "left_kidney": (145, 195), "spleen": (105, 138)}
    for value, organ in ORGANS.items():
        low, high = ranges[organ]
        assert low < np.median(hu[labels == value]) < high, organ


def test_other_tissues_have_their_hounsfield_units(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    wanted = {"fat": -103, "muscle": 57, "lung": -850, "artery": 152, "vein": 150, "stomach_fluid": 10, "air": -1000}
    for tissue, hu in wanted.items():
        assert median(images["ct"], anatomy, tissue) == pytest.approx(hu, abs=35), tissue
    assert (images["ct"] > 350).mean() > 0.002
    assert images["ct"].min() >= -1000


def test_a_table_lies_under_the_patient_in_ct_only(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    lowest = np.flatnonzero((anatomy.tissues != TISSUES["air"]).any(axis=(0, 2)))[-1]
    below = (slice(None), slice(lowest + 1, None))
    assert images["ct"][below].max() > -100
    above = images["ct"][:, : anatomy.tissues.shape[1] // 8]
    assert above.max() < -900
    assert images["t1_in"][below].mean() == pytest.approx(images["t1_in"][:, :3].mean(), rel=0.1)


def test_t1_shows_fat_bright_and_fluid_dark(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    t1 = images["t1_in"]
    fat, liver, spleen, fluid = (median(t1, anatomy, name) for name in ("fat", "liver", "spleen", "stomach_fluid"))
    assert fat > liver > spleen > fluid


def test_t2_spir_shows_fat_dark_and_fluid_bright(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    t2 = images["t2_spir"]
    names = ("stomach_fluid", "spleen", "liver", "muscle")
    fluid, spleen, liver, muscle = (median(t2, anatomy, name) for name in names)
    assert fluid > spleen > liver > muscle
    assert median(t2, anatomy, "fat") < 0.5 * liver
    assert median(t2, anatomy, "left_cortex") > 1.3 * liver


def test_fat_and_water_cancel_at_borders_out_of_phase(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    held = {TISSUES["spleen"], TISSUES["muscle"], TISSUES["left_cortex"], TISSUES["right_cortex"]}
    pair = np.isin(anatomy.tissues, list(held)) & (anatomy.partners == TISSUES["fat"])
    border = pair & (anatomy.share > 0.5) & (anatomy.share < 0.75)
    inside = pair & (anatomy.share > 0.97)
    ratio = images["t1_out"] / np.maximum(images["t1_in"], 1)
    assert border.sum() > 200
    assert np.median(ratio[border]) < 0.45
    assert np.median(ratio[inside]) > 0.8


def test_the_dark_line_lies_where_fat_and_water_signals_are_equal() -> None:
    """A wedge from pure fat to pure muscle: |W - F| has a zero inside, |W + F| none."""
    share = np.broadcast_to(np.linspace(0, 1, 41, dtype=np.float32), (3, 40, 41)).copy()
    tissues, partners = (np.full(share.shape, TISSUES[name], np.uint8) for name in ("muscle", "fat"))
    wedge = Anatomy(tissues, partners, share, np.diag([5.0, 3.0, 3.0, 1.0]), 0.0)
    profiles = {name: render_mr(wedge, name, 4).voxels.mean(axis=(0, 1)) for name in ("t1_in", "t1_out")}
    lowest = int(profiles["t1_out"].argmin())
    assert 20 < lowest < 36
    assert profiles["t1_out"][lowest] < 0.1 * profiles["t1_out"][[0, -1]].min()
    assert profiles["t1_in"].min() > 0.8 * profiles["t1_in"][[0, -1]].min()


def test_both_t1_phases_share_grain_and_shading(anatomy: Anatomy, images: dict[str, np.ndarray]) -> None:
    # The spleen holds no fat, so that its phases differ by noise alone.
    spleen = np.logical_and(binary_erosion(anatomy.tissues == TISSUES["spleen"]), anatomy.share > 0.999)
    apart = (images["t1_in"] - images["t1_out"])[spleen]
    assert spleen.sum() > 50
    assert abs(apart.mean()) < 6
    assert 8 < apart.std() < 25
    assert images["t1_in"][spleen].std() > 1.2 * apart.std() / np.sqrt(2)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_noise_in_air_is_rayleigh(anatomy: Anatomy, images: dict[str, np.ndarray], sequence: str) -> None:
    air = images[sequence][(anatomy.tissues == TISSUES["air"]) & (anatomy.share == 1)]
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / 2) / np.sqrt(2 - np.pi / 2), rel=0.03)


def test_mr_is_twelve_bit(images: dict[str, np.ndarray]) -> None:
    for sequence in SEQUENCES:
        assert images[sequence].min() >= 0
        assert 500 < images[sequence].max() <= 4095


def test_mr_is_shaded_smoothly_and_always_positive(rng: np.random.Generator) -> None:
    field = shading(rng, (10, 30, 30), 0.4)
    assert field.min() > 0
    assert 1.2 < field.max() / field.min() < 12
    # Smooth: neighbours differ far less than the whole range.
    assert np.abs(np.diff(field, axis=2)).max() < 0.15 * np.ptp(field)


def test_an_unknown_sequence_is_refused(anatomy: Anatomy) -> None:
    with pytest.raises(Exception, match="flair") as caught:
        render_mr(anatomy, "flair", 0)  # pyright: ignore[reportArgumentType]
    assert caught.type.__name__ in (InputError.__name__, "TypeCheckError", "BeartypeCallHintParamViolation")


@pytest.fixture(scope="module")
def native(anatomy: Anatomy) -> np.ndarray:
    return render_ct(anatomy, 9, contrast=False).voxels.astype(float)


def test_organs_without_contrast_agent_have_native_hounsfield_units(anatomy: Anatomy, native: np.ndarray) -> None:
    """Ranges of Buzug 2008 and Prokop 2003, as `crossmod.phantom.tissues` names them, and the noise's width."""
    wanted = {"liver": (45, 65), "spleen": (35, 55), "left_cortex": (20, 40), "artery": (40, 65), "vein": (40, 65)}
    for tissue, (low, high) in wanted.items():
        assert low - 3 < median(native, anatomy, tissue) < high + 3, tissue
    assert 1 < median(native, anatomy, "liver") - median(native, anatomy, "spleen") < 18
    assert median(native, anatomy, "liver_vessel") < median(native, anatomy, "liver")
    assert abs(median(native, anatomy, "left_cortex") - median(native, anatomy, "left_medulla")) < 6


def test_contrast_agent_changes_what_takes_it_up_and_nothing_else(
    anatomy: Anatomy, native: np.ndarray, images: dict[str, np.ndarray]
) -> None:
    more = images["ct"] - native
    same = np.isin(anatomy.tissues, [TISSUES[name] for name in ("air", "fat", "lung", "bone", "bile", "gas")])
    pure = anatomy.share > 0.999
    assert np.abs(more[same & pure]).max() <= 1
    taking = [
        TISSUES[name] for name in ("liver", "spleen", "left_cortex", "right_cortex", "artery", "vein", "pancreas")
    ]
    for tissue in taking:
        assert np.median(more[(anatomy.tissues == tissue) & pure]) > 30
    volumes = [render_ct(anatomy, 9, contrast=contrast) for contrast in (True, False)]
    assert [(volume.contrast, volume.sequence) for volume in volumes] == [(True, "portal_venous"), (False, "native")]


def spoiled_gradient_echo(t1: float, repetition: float, flip: float) -> float:
    """Ernst: the steady signal of a tissue, ms and degrees."""
    left, angle = np.exp(-repetition / t1), np.deg2rad(flip)
    return float(np.sin(angle) * (1 - left) / (1 - np.cos(angle) * left))


def test_t1_of_the_second_source_follows_from_its_times() -> None:
    """T1 at 3 T of de Bazelaire et al. 2004, ms."""
    scanner = SCANNERS[2]
    repetition, _, flip = scanner.times["t1_in"]
    fat = spoiled_gradient_echo(382, repetition, flip)
    for tissues, t1 in (
        (["liver"], 809),
        (["spleen"], 1328),
        (["left_cortex", "right_cortex"], 1142),
        (["left_medulla", "right_medulla"], 1545),
        (["muscle"], 898),
    ):
        wanted = spoiled_gradient_echo(t1, repetition, flip) / fat
        for tissue in tissues:
            assert table(scanner.water_t1)[TISSUES[tissue]] == pytest.approx(wanted, abs=0.01), tissue


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_second_source_is_another_distribution_of_t1(anatomy: Anatomy, seed: int) -> None:
    one, two = (render_mr(anatomy, "t1_in", seed, source=source).voxels.astype(float) for source in (1, 2))
    air = (anatomy.tissues == TISSUES["air"]) & (anatomy.share == 1)
    body = anatomy.tissues != TISSUES["air"]
    noise = [image[air].std() / np.median(image[body]) for image in (one, two)]
    assert 2 < noise[1] / noise[0] < 5
    # Flatter: what is bright is less so, what is dark is less so.
    fat, spleen = ([median(image, anatomy, name) for image in (one, two)] for name in ("fat", "spleen"))
    liver, fluid = ([median(image, anatomy, name) for image in (one, two)] for name in ("liver", "stomach_fluid"))
    assert fat[1] / liver[1] < 0.92 * fat[0] / liver[0]
    assert spleen[1] / liver[1] > 1.15 * spleen[0] / liver[0]
    assert fluid[1] / fat[1] > 1.5 * fluid[0] / fat[0]


def test_standing_waves_darken_the_middle_and_leave_the_rim() -> None:
    field = standing_wave((2, 41, 61), 0.35)
    assert field[0, 20, 30] == pytest.approx(0.65)
    assert field[1, 0, 0] > 0.99
    assert (np.diff(field[0, 20, 30:]) >= 0).all()
