import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from hypothesis import given
from hypothesis import strategies as st
from monai.losses.dice import DiceCELoss, DiceLoss

from crossmod.segmentation.model import cross_entropy, dice_cross_entropy, soft_dice


def drawn(seed: int, shape: tuple[int, ...], share: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, shape).astype(np.float32)).requires_grad_()
    return logits, torch.from_numpy((rng.random(shape) < share).astype(np.float32))


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_value_and_gradient_are_those_of_monai(seed: int, batch: int, share: float) -> None:
    logits, truth = drawn(seed, (batch, 6, 7), share)
    theirs = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    wanted = theirs(logits[:, None], truth[:, None])
    found = torch.stack([*dice_cross_entropy(logits, truth).values()]).sum()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_soft_dice_by_hand() -> None:
    """p = 1/2, 3/4 and 1/2, 0 against 1, 1 and 0, 0: 1 - 2 x 1.25 / (1.75 + 2), over both slices together."""
    logits = torch.tensor([[[0.0, math.log(3)]], [[0.0, -1e9]]])
    truth = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    assert soft_dice(logits, truth).item() == pytest.approx(1 - 2.5 / 3.75, abs=1e-5)
    by_slice = DiceLoss(sigmoid=True, smooth_nr=1e-5, smooth_dr=1e-5)(logits[:, None], truth[:, None]).item()
    assert by_slice != pytest.approx(1 - 2.5 / 3.75, abs=0.1)


def test_the_ends_of_soft_dice() -> None:
    truth = torch.zeros(2, 4, 4)
    truth[0, 1:3, 1:3] = 1
    right = (truth * 2 - 1) * 1e4
    assert soft_dice(right, truth).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice(-right, truth).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])
def test_without_the_organ_cross_entropy_teaches_alone(level: float) -> None:
    logits, truth = torch.full((2, 8, 8), level, requires_grad=True), torch.zeros(2, 8, 8)
    dice = soft_dice(logits, truth)
    # Nothing where nothing is, is right.
    assert dice.item() == pytest.approx(0 if level < 0 else 1, abs=1e-5)
    (gradient,) = torch.autograd.grad(dice, logits)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e-6
    (gradient,) = torch.autograd.grad(dice_cross_entropy(logits, truth)["cross_entropy"], logits)
    assert gradient.isfinite().all()
    assert gradient.mean().item() == pytest.approx(torch.tensor(level).sigmoid().item() / truth.numel())


def test_the_papers_loss_is_what_it_was() -> None:
    logits, truth = drawn(0, (3, 5, 5), 0.3)
    terms = cross_entropy(logits, truth)
    assert list(terms) == ["cross_entropy"]
    assert torch.equal(terms["cross_entropy"], F.binary_cross_entropy_with_logits(logits, truth))
