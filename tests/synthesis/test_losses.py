import math

import numpy as np
import pytest
import torch

from crossmod.synthesis.losses import cycle, discriminator_adversarial, generator_adversarial, segmentation


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def logits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(2, 1, 5, 7)), rng.normal(size=(2, 1, 5, 7))


def test_cross_entropy_is_equations_1_and_2(logits: tuple[np.ndarray, np.ndarray]) -> None:
    """D maximises E log D(y) + E log(1 - D(G(x))): what is minimised is half of its negative."""
    real, fake = logits
    by_hand = -(np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean()) / 2
    ours = discriminator_adversarial("cross_entropy", torch.tensor(real), torch.tensor(fake))
    assert ours.item() == pytest.approx(by_hand, rel=1e-9)
    wanted = generator_adversarial("cross_entropy", torch.tensor(fake))
    assert wanted.item() == pytest.approx(-np.log(sigmoid(fake)).mean(), rel=1e-9)


def test_least_squares_by_hand(logits: tuple[np.ndarray, np.ndarray]) -> None:
    real, fake = logits
    ours = discriminator_adversarial("least_squares", torch.tensor(real), torch.tensor(fake))
    assert ours.item() == pytest.approx((((real - 1) ** 2).mean() + (fake**2).mean()) / 2, rel=1e-9)
    assert generator_adversarial("least_squares", torch.tensor(fake)).item() == pytest.approx(((fake - 1) ** 2).mean())


def test_cycle_is_the_mean_absolute_difference(rng: np.random.Generator) -> None:
    first, second = rng.normal(size=(2, 3, 1, 4, 5))
    assert cycle(torch.tensor(first), torch.tensor(second)).item() == pytest.approx(np.abs(first - second).mean())


def test_segmentation_is_equation_5(rng: np.random.Generator) -> None:
    """-sum_i N_i log softmax(S)_i, averaged over pixels, for three classes."""
    scores = rng.normal(size=(2, 3, 4, 5))
    mask = rng.integers(0, 3, size=(2, 4, 5))
    exps = np.exp(scores)
    softmax = exps / exps.sum(axis=1, keepdims=True)
    by_hand = -np.log(np.take_along_axis(softmax, mask[:, None], axis=1)).mean()
    ours = segmentation(torch.tensor(scores), torch.tensor(mask), bounded=False)
    assert ours.item() == pytest.approx(by_hand, rel=1e-9)


def test_bounded_logits_cannot_fall_under_0_127() -> None:
    """The trap of the public code: two logits in [-1, 1] leave log(1 + exp(-2)) however sure S is."""
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    sure = torch.stack([torch.full((4, 4), 50.0), torch.full((4, 4), -50.0)])[None]
    assert segmentation(sure, mask, bounded=True).item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)
    assert segmentation(sure, mask, bounded=False).item() == pytest.approx(0.0, abs=1e-6)
