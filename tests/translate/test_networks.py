import pytest
import torch
from torch import nn

from crossmod.engine.trainee import parameters
from crossmod.settings import TranslateSettings
from crossmod.translate import cyclegan, essnet
from crossmod.translate.networks import InstanceNorm, PatchGAN, ResNet, initialise


def test_parameter_counts_are_the_published_ones() -> None:
    """Table 5 of Rafiq et al. 2025 counts 2 G + 2 D = 28,256,644 and leaves S out."""
    G, D, S = ResNet(), PatchGAN(), ResNet(2, head="linear")
    assert parameters(G) == 11_365_633
    assert parameters(D) == 2_762_689
    assert parameters(S) == 11_368_770
    assert 2 * parameters(G) + 2 * parameters(D) == 28_256_644


def test_the_family_trains_all_of_them() -> None:
    settings = TranslateSettings()
    cpu = torch.device("cpu")
    trained = essnet.build(settings, cpu)
    assert sum(parameters(network) for network in trained.networks.values()) == 39_625_414
    moved = [
        weight for adam in trained.optimizers.values() for group in adam.param_groups for weight in group["params"]
    ]
    assert sum(weight.numel() for weight in moved) == 39_625_414
    without = cyclegan.build(settings, cpu)
    assert sum(parameters(network) for network in without.networks.values()) == 28_256_644


def test_the_generator_is_the_one_of_johnson_layer_by_layer() -> None:
    """Against the same network written down flat, with PyTorch's layers and nothing of ours."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(nn.functional.instance_norm(self.first(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"))))
            return x + nn.functional.instance_norm(self.second(nn.functional.pad(y, (1, 1, 1, 1), mode="reflect")))

    flat = nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(1, 4, 7), nn.InstanceNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 8, 3, 2, 1), nn.InstanceNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1), nn.InstanceNorm2d(16), nn.ReLU(),
        Block(), Block(),
        nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(4), nn.ReLU(),
        nn.ReflectionPad2d(3), nn.Conv2d(4, 1, 7), nn.Tanh(),
    )  # fmt: skip
    ours = ResNet(1, filters=4, blocks=2)
    for mine, theirs in zip(ours.parameters(), flat.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    x = torch.randn(2, 1, 20, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), flat(x))


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_sees_as_many_pixels_as_its_name_says(layers: int, field: int) -> None:
    """The receptive field, found by asking which pixels change one logit when no norm mixes positions."""
    network = PatchGAN(filters=2, layers=layers)
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index, layer in enumerate(module):
                if isinstance(layer, InstanceNorm):
                    module[index] = nn.Identity()
        elif isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
    x = torch.ones(1, 1, 128, 128, requires_grad=True)
    logits = network(x)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert x.grad is not None
    touched = x.grad[0, 0].nonzero()
    extent = (touched.max(dim=0).values - touched.min(dim=0).values + 1).tolist()
    assert extent == [field, field]


def test_initial_weights_follow_the_public_code() -> None:
    torch.manual_seed(0)
    network = ResNet(1, filters=32, blocks=2)
    initialise(network)
    weights = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert abs(weights.mean().item()) < 2e-4
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(p.abs().max() == 0 for name, p in network.named_parameters() if name.endswith("bias"))


def test_cyclegan_and_essnet_begin_with_the_same_generators() -> None:
    settings = TranslateSettings(generator_filters=2, generator_blocks=1, discriminator_filters=2)
    first, second = (family.build(settings, torch.device("cpu")) for family in (cyclegan, essnet))
    for name in ("G1", "G2", "D1", "D2"):
        for mine, theirs in zip(first.networks[name].parameters(), second.networks[name].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    assert not torch.equal(next(first.networks["G1"].parameters()), next(first.networks["G2"].parameters()))
