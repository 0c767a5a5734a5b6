import importlib.util

import pytest
from torch import nn

from crossmod.config import with_changes
from crossmod.machine import CHANNELS, first_layer, is_small
from crossmod.networks.unet import OWN, make_network
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.settings import CONTROLS


def test_numbers_in_the_first_layer() -> None:
    """By hand: 64 x 64 pixels x 16 filters; 256 x 256 x 64; four slices of 64 x 64 x 12."""
    assert first_layer(TRANSLATE["tiny"]) == 65_536
    assert first_layer(TRANSLATE["rafiq2025"]) == 4_194_304
    assert first_layer(with_changes(TRANSLATE["tiny"], batch_size=3, discriminator_filters=20)) == 245_760
    assert first_layer(SEGMENT["tiny"]) == 196_608


def test_presets_for_a_cpu_are_small_and_those_of_papers_are_not() -> None:
    presets = {**TRANSLATE, **{f"segment {name}": settings for name, settings in SEGMENT.items()}}
    assert {name for name, settings in presets.items() if is_small(settings)} == {
        name for name in presets if "tiny" in name or name in CONTROLS
    }


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_are_those_of_the_networks(name: str) -> None:
    if name not in OWN and importlib.util.find_spec("monai") is None:
        pytest.skip("MONAI is not installed")
    layers = [layer for layer in make_network(name, 64).modules() if isinstance(layer, nn.Conv2d)]
    assert layers[0].out_channels == CHANNELS[name]
