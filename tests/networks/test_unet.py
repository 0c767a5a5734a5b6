import numpy as np
import pytest
import torch

from crossmod.engine.state import parameters
from crossmod.networks.unet import UNet, UpConvolution, initialise, paper_unet, tiny_unet


def test_the_papers_unet_has_the_papers_parameters() -> None:
    assert parameters(paper_unet()) == 31_031_685


def test_the_papers_unet_has_one_convolution_more_than_the_paper_says() -> None:
    """23 is the count of Ronneberger et al. 2015; with the parameters that Rafiq et al. print there are 24.

    5 levels down and 4 up with two each, 4 on the way up, and the two of the head. Without the first of the head's the
    last one sees 64 channels, and the parameters are not those of Table 5.
    """
    found = [module for module in paper_unet().modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(found) == 2 * 5 + 2 * 4 + 4 + 2 == 24
    without = UNet(head=0)
    assert len([module for module in without.modules() if isinstance(module, torch.nn.Conv2d)]) == 23
    assert parameters(without) == 31_031_685 - (64 * 9 + 1) * 2 - 3 + 65


def test_up_convolution_pads_as_keras_same_does(rng: np.random.Generator) -> None:
    """Keras pads an even kernel on the right and below: out[r, c] looks at rows r, r+1 and columns c, c+1."""
    layer = UpConvolution(4)
    x = rng.normal(size=(1, 4, 3, 5)).astype(np.float32)
    doubled = x.repeat(2, axis=2).repeat(2, axis=3)
    padded = np.zeros((4, 7, 11), dtype=np.float32)
    padded[:, :6, :10] = doubled[0]
    weight, bias = layer.convolution.weight.detach().numpy(), layer.convolution.bias
    assert bias is not None
    by_hand = np.zeros((2, 6, 10), dtype=np.float32)
    for out in range(2):
        for r in range(6):
            for c in range(10):
                by_hand[out, r, c] = (weight[out] * padded[:, r : r + 2, c : c + 2]).sum() + bias[out].item()
    np.testing.assert_allclose(layer(torch.tensor(x))[0].detach().numpy(), by_hand.clip(min=0), atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (17, 31), (8, 8), (33, 40)])
def test_any_size_goes_in_and_comes_out(rows: int, columns: int) -> None:
    network = tiny_unet().eval()
    assert network(torch.zeros(2, 1, rows, columns)).shape == (2, 1, rows, columns)


def test_odd_sizes_are_padded_with_background_on_the_right_and_below() -> None:
    network = tiny_unet().eval()
    x = torch.rand(1, 1, 19, 22, generator=torch.Generator().manual_seed(0)) * 2 - 1
    padded = torch.full((1, 1, 24, 24), -1.0)
    padded[..., :19, :22] = x
    torch.testing.assert_close(network(x), network(padded)[..., :19, :22])


def test_the_paper_net_layer_by_layer() -> None:
    """The Keras network written down flat, level by level, in two levels and without dropout."""
    network = UNet((2, 4), dropout=0.5).eval()
    p = dict(network.named_parameters())
    conv, relu = torch.nn.functional.conv2d, torch.relu

    def two(x: torch.Tensor, name: str) -> torch.Tensor:
        for layer in (0, 2):
            x = relu(conv(x, p[f"{name}.{layer}.weight"], p[f"{name}.{layer}.bias"], padding=1))
        return x

    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    top = two(x, "down.0")
    bottom = two(torch.nn.functional.max_pool2d(top, 2), "down.1")
    up = torch.nn.functional.pad(bottom.repeat_interleave(2, 2).repeat_interleave(2, 3), (0, 1, 0, 1))
    up = relu(conv(up, p["up.0.convolution.weight"], p["up.0.convolution.bias"]))
    merged = two(torch.cat([top, up], 1), "merge.0")
    two_channels = relu(conv(merged, p["head.0.weight"], p["head.0.bias"], padding=1))
    torch.testing.assert_close(network(x), conv(two_channels, p["head.2.weight"], p["head.2.bias"]))


def test_dropout_acts_while_training_only_after_the_last_two_levels() -> None:
    network = UNet((2, 4, 8), dropout=0.5)
    x = torch.randn(1, 1, 8, 8)
    seen: list[tuple[int, ...]] = []
    network.dropout.register_forward_hook(lambda module, args, out: seen.append(tuple(args[0].shape)))
    network.train()
    network(x)
    assert seen == [(1, 4, 4, 4), (1, 8, 2, 2)]
    network.eval()
    assert torch.equal(network(x), network(x))


def test_initial_weights_are_he_normal() -> None:
    torch.manual_seed(0)
    network = paper_unet()
    initialise(network)
    weight = network.down[3][0].weight  # pyright: ignore[reportIndexIssue]
    wanted = (2 / (256 * 9)) ** 0.5
    assert weight.std().item() == pytest.approx(wanted, rel=0.01)
    # Cut at two standard deviations of the normal that was cut.
    assert weight.abs().max().item() <= 2 * wanted / 0.8796
    assert all(p.abs().max() == 0 for name, p in network.named_parameters() if name.endswith("bias"))
