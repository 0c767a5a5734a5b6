import pytest
import torch
from torch import nn

from crossmod.networks.blocks import Float32Sequential


def layers() -> tuple[nn.Module, ...]:
    torch.manual_seed(0)
    return nn.Conv2d(4, 1, 3, padding=1), nn.Tanh()


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16, torch.float16])
def test_under_autocast_it_computes_in_fp32(given: torch.dtype) -> None:
    """Held against double precision: bf16 is off by up to 0.4 %, fp32 by a millionth."""
    x = torch.randn(2, 4, 24, 24).to(given)
    with torch.autocast("cpu", torch.bfloat16):
        image, plain = Float32Sequential(*layers())(x), nn.Sequential(*layers())(x)
        # Outside of it autocast goes on.
        assert nn.functional.conv2d(x.float(), torch.ones(1, 4, 1, 1)).dtype == torch.bfloat16
    expected = nn.Sequential(*layers()).double()(x.double())
    assert image.dtype == torch.float32
    assert (image - expected).abs().max() < 1e-5
    assert len(image.unique()) > 256
    assert plain.dtype == torch.bfloat16
    assert (plain - expected).abs().max() > 1e-4


def test_its_gradients_come_back_in_what_came_in() -> None:
    x = torch.randn(1, 4, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    head = Float32Sequential(*layers())
    with torch.autocast("cpu", torch.bfloat16):
        head(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in head.parameters())


def test_double_stays_double_and_its_weights_are_named_as_in_any_sequence() -> None:
    head = Float32Sequential(*layers()).double()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    assert head(x).dtype == torch.float64
    assert torch.equal(head(x), nn.Sequential(*layers()).double()(x))
    assert list(head.state_dict()) == list(nn.Sequential(*layers()).state_dict())
