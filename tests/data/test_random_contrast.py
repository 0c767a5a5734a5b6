"""Random contrast (GIN) against the same formula for one slice, and what it must leave as it is."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from scipy.ndimage import correlate

from crossmod import registry
from crossmod.data.random_contrast import AUGMENTATION, CHANNELS, LAYERS, draw_networks, random_contrast, spread


def tensors(drawn: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in drawn.items()}


def one_slice(image: np.ndarray, kernels: np.ndarray, shifts: np.ndarray, share: float) -> np.ndarray:
    """The formula in float64, one channel after the other, by SciPy's correlation."""
    x = (image.astype(np.float64) + 1) / 2
    maps, at, shift_at = [x], 0, 0
    for layer in range(LAYERS):
        outputs = 1 if layer == LAYERS - 1 else CHANNELS
        made = []
        for output in range(outputs):
            total = np.full(x.shape, float(shifts[shift_at + output]))
            for number, one in enumerate(maps):
                begin = at + 9 * (output * len(maps) + number)
                total += correlate(one, kernels[begin : begin + 9].reshape(3, 3).astype(np.float64), mode="nearest")
            made.append(total if layer == LAYERS - 1 else np.where(total > 0, total, 0.01 * total))
        at, shift_at, maps = at + 9 * outputs * len(maps), shift_at + outputs, made
    mixed = share * maps[0] + (1 - share) * x
    return 2 * (mixed - mixed.min()) / (mixed.max() - mixed.min()) - 1


def test_each_slice_has_a_network_of_its_own_as_in_the_formula_for_one() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (5, 1, 9, 12)).astype(np.float32)
    drawn = draw_networks(rng, 5)
    made = random_contrast(torch.from_numpy(images), **tensors(drawn)).numpy()
    for place in range(5):
        kernels, shifts, share = (drawn[name][place] for name in ("kernels", "shifts", "shares"))
        expected = one_slice(images[place, 0], kernels, shifts, float(share[0]))
        np.testing.assert_allclose(made[place, 0], expected, atol=1e-3)
    assert made.min() == -1
    assert np.abs(made.max(axis=(1, 2, 3)) - 1).max() < 1e-5


def test_about_half_of_the_kernels_see_one_pixel() -> None:
    kernels = draw_networks(np.random.default_rng(1), 1000)["kernels"].reshape(1000, -1, 9)
    around = np.delete(kernels, 4, axis=2)
    pointwise = (around == 0).all(axis=2)
    assert (kernels[:, :, 4] != 0).all()
    assert 0.45 < pointwise.mean() < 0.55
    # All kernels of one layer are alike: the first layer has two.
    assert (pointwise[:, 0] == pointwise[:, 1]).all()


def test_structures_stay_and_a_constant_slice_is_dark() -> None:
    image = np.full((1, 1, 32, 32), -1, np.float32)
    image[..., 8:24, 8:24] = 0.4
    made = random_contrast(torch.from_numpy(image), **tensors(draw_networks(np.random.default_rng(2), 1)))[0, 0]
    # Four layers of at most 3 x 3 reach four pixels: further inside, and far outside, nothing varies.
    assert np.ptp(made[12:20, 12:20].numpy()) < 1e-5
    assert np.ptp(made[:4].numpy()) < 1e-5
    assert (spread(torch.full((2, 1, 3, 3), 0.7)) == -1).all()


def test_as_an_augmentation_it_changes_most_slices_and_moves_masks_with_images() -> None:
    member = registry.member("augmentation", "random_contrast")
    assert member is AUGMENTATION
    drawn = member.draw(np.random.default_rng(3), 400)
    assert 0.72 < drawn["changed"].mean() < 0.88
    assert {len(values) for values in drawn.values()} == {400}
    few = {name: torch.from_numpy(values[:6]) for name, values in drawn.items()}
    # Neither contrast nor place of any slice is changed: what is left is the image itself.
    few |= {"changed": torch.zeros(6, 1), "affines": torch.eye(2, 3).expand(6, 2, 3)}
    few["intensities"] = torch.tensor([1.0, 1.0, 0.0]).expand(6, 3)
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    masks = F.one_hot(torch.arange(6) % 3, 16)[:, :, None].expand(6, 16, 16).contiguous()
    same, classes = member.apply(images, masks, **few)
    torch.testing.assert_close(same, images)
    assert (classes == masks).all()
    few["changed"] = torch.ones(6, 1)
    other, _ = member.apply(images, masks, **few)
    # By how much is drawn: the network's share may be small.
    assert ((other - images).abs().mean(dim=(1, 2, 3)) > 1e-3).all()
