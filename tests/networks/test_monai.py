import re
import sys
from pathlib import Path

import pytest
import torch

import crossmod
from crossmod.engine.device import accelerate, choose
from crossmod.engine.state import parameters
from crossmod.errors import InputError
from crossmod.networks.blocks import on_grid
from crossmod.networks.monai import dynunet
from crossmod.networks.unet import make_network
from crossmod.segmentation.model import begin, build
from crossmod.settings import SegmentSettings
from tests.support.segmenting import segment
from tests.support.stores import Stores

# Without anything drawn: 25 M random numbers take seconds.
META = torch.device("meta")
# As MONAI 1.6.1 makes them; DynUNet's are those for 32 pixels, and for 256 they are counted below.
PARAMETERS = {"dynunet": 1_926_209, "attention_unet": 31_739_185, "swin_unetr": 25_137_931, "segresnet": 6_298_497}


def settings_of(name: str, seed: int = 0) -> SegmentSettings:
    return SegmentSettings.model_validate({"network": name, "size": 32, "seed": seed, "precision": "fp32"})


def test_dynunet_is_planned_as_nnunet_plans_256_pixels() -> None:
    """Each level: two 3 x 3 convolutions without bias, each with a norm of two numbers a channel."""
    widths = [32, 64, 128, 256, 512, 512, 512]
    down = sum(9 * (i + o) * o + 4 * o for i, o in zip([1, *widths], widths, strict=False))
    # Up: doubled by a 2 x 2 transposed convolution, then two convolutions over it and the skip.
    up = sum(4 * i * o + 9 * (2 * o + o) * o + 4 * o for i, o in zip(widths[1:], widths, strict=False))
    with META:
        network = dynunet(256)
    assert parameters(network) == down + up + 32 + 1 == 33_460_289
    assert network.step == 64


@pytest.mark.parametrize(("size", "step"), [(16, 4), (28, 4), (32, 8), (64, 16), (255, 32), (512, 128)])
def test_dynunet_halves_while_four_pixels_are_left(size: int, step: int) -> None:
    with META:
        assert dynunet(size).step == step
    assert 4 <= size / step < 8


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_training_step_on_an_odd_size_reaches_every_weight(name: str) -> None:
    trainee = build(settings_of(name), torch.device("cpu"))
    # Channels last, as segmenters are trained.
    trainee = accelerate(trainee, choose(torch.device("cpu"), "fp32", blocks=False))
    network = trainee.networks["segmenter"]
    assert parameters(network) == PARAMETERS[name]
    x = torch.rand(1, 1, 33, 47, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits = network(x)
    assert logits.shape == x.shape
    assert logits.isfinite().all()
    before = {key: weight.detach().clone() for key, weight in network.named_parameters()}
    trainee.step({"image": x, "mask": (x[:, 0] > 0).long()})
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.isfinite().all(), key
        # A norm takes away what the bias before it adds.
        if not key.endswith("bias"):
            assert weight.grad.abs().max() > 0, key
            assert not torch.equal(weight, before[key]), key


@pytest.mark.parametrize("name", ["dynunet", "segresnet", "tiny"])
def test_the_seed_decides_the_weights(name: str) -> None:
    first = begin(settings_of(name)).state_dict()
    torch.rand(3)
    generator = torch.get_rng_state()
    again, other = (begin(settings_of(name, seed)).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    # What is drawn for weights is drawn from no generator but their own.
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(("rows", "columns", "step", "least"), [(5, 8, 4, 1), (5, 8, 4, 16), (8, 8, 4, 1)])
def test_on_grid_pads_with_background_on_the_right_and_below(rows: int, columns: int, step: int, least: int) -> None:
    seen: list[torch.Tensor] = []

    def double(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return 2 * x

    x = torch.rand(2, 1, rows, columns)
    assert torch.equal(on_grid(double, x, step, least), 2 * x)
    wanted = torch.full((2, 1, max(-(-rows // step) * step, least), max(columns, least)), -1.0)
    wanted[..., :rows, :columns] = x
    assert torch.equal(seen[0], wanted)


def test_logits_are_fp32_where_convolutions_are_not() -> None:
    network = make_network("dynunet", 16).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.zeros(1, 1, 16, 16)).dtype == torch.float32


@pytest.mark.parametrize("missing", ["monai.networks.nets", "einops"])
def test_without_monai(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"--network dynunet: no MONAI .* Install it: pip install 'crossmod\[monai\]'"):
        build(settings_of("dynunet"), torch.device("cpu"))
    assert parameters(build(settings_of("tiny"), torch.device("cpu")).networks["segmenter"]) == 272_221


def test_no_module_imports_monai_when_it_is_imported_itself() -> None:
    """MONAI takes seconds, which `crossmod --help` would take too, and may not be there."""
    files = [*Path(crossmod.__file__).parent.rglob("*.py")]
    assert len(files) > 50
    assert not [
        file for file in files if re.search(r"^\s*(from|import) (monai|einops)", file.read_text(), re.MULTILINE)
    ]


def test_one_of_them_learns(tmp_path: Path, stores: Stores) -> None:
    run = segment(
        tmp_path / "run",
        stores.mr,
        network="dynunet",
        size=16,
        steps=30,
        learning_rate=1e-3,
        loss="dice_cross_entropy",
        schedule="cosine",
    )
    assert run.card["scores"]["patient"]["dice"] > 0.5
    assert not run.card["scores"]["constant"]
