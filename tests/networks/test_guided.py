"""The guided generator: shapes, what a pixel depends on, and its initial weights."""

import pytest
import torch

from crossmod.networks.blocks import ResNet, blocks, initialise
from crossmod.networks.guided import GuidedGenerator


def made(images: int = 1, filters: int = 4, blocks: int = 2, seed: int = 0) -> GuidedGenerator:
    torch.manual_seed(seed)
    network = GuidedGenerator(images, filters, blocks)
    initialise(network)
    return network.eval()


@pytest.mark.parametrize(("images", "rows", "columns"), [(1, 16, 16), (1, 20, 36), (3, 24, 16)])
def test_images_in_and_out_have_one_size(images: int, rows: int, columns: int) -> None:
    out = made(images)(torch.rand(2, images, rows, columns) * 2 - 1)
    assert out.shape == (2, images, rows, columns)
    assert out.abs().max() <= 1
    assert out.std() > 0.01  # not collapsed before any training


@torch.no_grad()
def test_without_context_the_map_of_a_pixel_depends_on_its_neighbours_alone() -> None:
    network = made()
    network.context = torch.nn.Identity()  # type: ignore[assignment]
    network.context.forward = lambda x: torch.zeros(len(x), 16, *x.shape[2:])  # type: ignore[method-assign]
    x = torch.rand(1, 1, 20, 20) * 2 - 1
    changed = x.clone()
    changed[..., 10, 10] += 0.5
    reached = (network(x) != network(changed))[0, 0].nonzero()
    assert (reached - 10).abs().max() == 1


def test_it_has_about_as_many_weights_as_the_papers_and_is_compiled_in_parts() -> None:
    guided, usual = GuidedGenerator(1, 64, 9), ResNet(1, 64, 9)
    count = [sum(p.numel() for p in network.parameters()) for network in (guided, usual)]
    assert count[0] == pytest.approx(count[1], rel=0.05)
    assert len(blocks([guided])) == 3


def test_initial_weights_are_drawn_by_the_seed() -> None:
    first, again, other = (made(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert first["pixelwise.4.weight"].std() == pytest.approx(0.1, abs=0.05)
    # He et al. 2015: a standard deviation of sqrt(2 / fan in).
    assert first["pixelwise.2.weight"].std() == pytest.approx((2 / 32) ** 0.5, rel=0.2)
