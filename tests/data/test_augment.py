import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.augment import cut, draw_affines, draw_crops, warp, windows


def test_crops_reach_every_corner_and_half_are_mirrored(rng: np.random.Generator) -> None:
    top, left, mirrored = draw_crops(rng, 2000, 20, 16, flip=True)
    assert set(top) == set(left) == set(range(5))
    assert set(mirrored) == {0, 1}
    assert abs(mirrored.mean() - 0.5) < 0.06
    for pair in ((top, left), (top, mirrored), (left, mirrored)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 0.08


def test_without_mirroring_the_crops_are_the_same() -> None:
    flipped, plain = (draw_crops(np.random.default_rng(3), 50, 20, 16, flip=flip) for flip in (True, False))
    np.testing.assert_array_equal(flipped[:2], plain[:2])
    assert not plain[2].any()


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 9))
def test_a_longer_draw_begins_with_a_shorter_one(count: int, more: int, seed: int) -> None:
    def crops(number: int) -> np.ndarray:
        return draw_crops(np.random.default_rng(seed), number, 20, 16, flip=True)

    def affines(number: int) -> np.ndarray:
        return draw_affines(np.random.default_rng(seed), number)

    np.testing.assert_array_equal(crops(count + more)[:, :count], crops(count))
    np.testing.assert_array_equal(affines(count + more)[:count], affines(count))


def test_cut_by_hand() -> None:
    images = np.arange(32).reshape(2, 4, 4)
    places = np.array([[0, 0, 1], [1, 1, 2], [2, 2, 0], [0, 1, 0]])
    wanted = [[[6, 7], [10, 11]], [[7, 6], [11, 10]], [[24, 25], [28, 29]]]
    assert cut(windows(images, 2), places, flip=True).tolist() == wanted
    tensors = windows(torch.from_numpy(images), 2)
    assert cut(tensors, torch.from_numpy(places), flip=True).tolist() == wanted


@given(st.integers(0, 10**6), st.booleans(), st.integers(0, 3))
def test_host_and_device_cut_what_slicing_cuts(seed: int, flip: bool, room: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(-32767, 32768, (3, 8 + room, 8 + room)).astype(np.int16)
    crops = draw_crops(generator, 5, 8 + room, 8, flip=flip)
    places = np.concatenate([generator.integers(0, 3, (1, 5)), crops])
    parts = [images[index, top : top + 8, left : left + 8] for index, top, left, _ in places.T]
    wanted = np.stack([part[:, ::-1] if m else part for part, m in zip(parts, places[3], strict=True)])
    untouched = images.copy()
    # Tensors are cut as on a device, wherever they lie.
    for held, at in ((images, places), (torch.from_numpy(images), torch.from_numpy(places))):
        found = cut(windows(held, 8), at, flip=flip)
        assert found.dtype == torch.int16
        np.testing.assert_array_equal(found.numpy(), wanted)
    np.testing.assert_array_equal(images, untouched)


def test_windows_copy_nothing() -> None:
    images = np.zeros((2, 6, 6), np.int16)
    tensor = torch.from_numpy(images)
    views, same = windows(images, 4), windows(tensor, 4)
    images[1, 5, 5] = 7
    assert isinstance(views, np.ndarray)
    assert views[1, 2, 2, 3, 3] == 7
    assert same[1, 2, 2, 3, 3] == 7


def test_affines_scale_turn_and_shift_as_far_as_they_say(rng: np.random.Generator) -> None:
    drawn = draw_affines(rng, 4000)
    scale = np.sqrt(np.linalg.det(drawn[:, :, :2]))
    turn = np.rad2deg(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    # A shift of 0.1 is 5 % of a field that goes from -1 to 1.
    for values, low, high in (
        (scale, 0.9, 1.1),
        (turn, -10, 10),
        (drawn[:, 0, 2], -0.1, 0.1),
        (drawn[:, 1, 2], -0.1, 0.1),
    ):
        width = high - low
        assert low - 1e-5 <= values.min() < low + 0.01 * width
        assert high - 0.01 * width < values.max() <= high + 1e-5
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02 * width)


def discs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = np.mgrid[0:64, 0:64]
    disc = ((y - 30) ** 2 + (x - 26) ** 2 < 14**2).astype(np.float32)
    return torch.from_numpy(np.stack([disc * 2 - 1] * count))[:, None], torch.from_numpy(
        np.stack([disc] * count)
    ).long()


def test_warp_moves_image_and_mask_together(rng: np.random.Generator) -> None:
    image, mask = discs(8)
    moved, classes = warp(image, mask, torch.from_numpy(draw_affines(rng, 8)))
    assert not torch.equal(classes, mask)
    assert ((moved[:, 0] > 0).long() == classes).float().mean() > 0.99
    # Nothing, turned by nothing, is nothing: the unit affine changes no pixel.
    unit = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(8, 1, 1)
    same, kept = warp(image, mask, unit)
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    assert torch.equal(kept, mask)


def test_warp_is_that_of_torchs_own_grid(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.uniform(-1, 1, (5, 1, 33, 33)).astype(np.float32))
    affines = torch.from_numpy(draw_affines(rng, 5))
    moved, _ = warp(image, torch.zeros(5, 33, 33).long(), affines)
    grid = F.affine_grid(affines, list(image.shape), align_corners=False)
    inside = F.grid_sample(torch.ones_like(image), grid, align_corners=False)
    wanted = F.grid_sample(image, grid, align_corners=False) - (1 - inside)
    torch.testing.assert_close(moved, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [17, 64])
def test_a_slice_is_moved_the_same_alone_as_in_a_batch(size: int, rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.uniform(-1, 1, (7, 1, size, size)).astype(np.float32))
    mask = torch.from_numpy(rng.integers(0, 2, (7, size, size)))
    affines = torch.from_numpy(draw_affines(rng, 7))
    together = warp(image, mask, affines)
    for i in range(7):
        alone = warp(image[i : i + 1], mask[i : i + 1], affines[i : i + 1])
        assert all(torch.equal(one[0], all_of_them[i]) for one, all_of_them in zip(alone, together, strict=True))
