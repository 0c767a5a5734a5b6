import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import gmean
from torch import Tensor, nn

from crossmod.errors import InputError
from crossmod.metrics.features import FeatureExtractor, detector
from crossmod.metrics.segmentation import label_consistency as consistency
from crossmod.networks.blocks import MultiInputGenerator, MultiOutputGenerator, ResNet
from crossmod.synthesis.validation import Scores, score_translator

CPU = torch.device("cpu")


class Does(nn.Module):
    """A network that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


IDENTITY = Does(lambda x: x)
# Two classes: 1 where the image is bright.
BRIGHT = Does(lambda x: torch.cat([torch.zeros_like(x), x], dim=1))
# Of one feature, the image's mean: distances are then a closed form of few numbers.
MEAN = FeatureExtractor("mean", "", lambda x: x.mean(dim=(2, 3)))


def score(
    forth: nn.Module = IDENTITY,
    back: nn.Module = IDENTITY,
    S: nn.Module | None = None,
    *,
    source: np.ndarray,
    target: np.ndarray,
    masks: np.ndarray | None = None,
    with_detector: FeatureExtractor | None = None,
    batch: int = 8,
) -> Scores:
    """Of slices with one image each, `[slices, size, size]`, or with several, `[slices, images, size, size]`."""
    used = with_detector or detector("random")
    source, target = (side[:, None] if side.ndim == 3 else side for side in (source, target))
    return score_translator(forth, back, S, source, masks, target, used, CPU, batch=batch)


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, (7, 17, 17)).astype(np.float32)


def test_identities_on_equal_sets_leave_nothing_to_wish_for_but_labels(images: np.ndarray) -> None:
    """The answer of S is the left half; of the masks one is that, one half of it, one its double, one shows nothing."""
    images = images[:4]
    half = torch.zeros(16, 16).index_fill(1, torch.arange(8), 1.0)
    left = Does(lambda x: torch.cat([torch.zeros_like(x), half.expand_as(x)], dim=1))
    masks = np.zeros((4, 16, 16), np.uint8)
    masks[0, :, :8] = masks[1, :8, :8] = masks[2] = 1
    found = score(S=left, source=images[:, :16, :16], target=images[:, :16, :16], masks=masks)
    dices = 1, 2 * 64 / (64 + 128), 2 * 128 / (128 + 256)
    assert found.consistency == pytest.approx(sum(dices) / 3)
    assert found.cycle == 0
    assert found.frechet == pytest.approx(0, abs=1e-9)


def test_consistency_is_that_of_synthesis_over_slices_that_show_an_organ(rng: np.random.Generator) -> None:
    """Three organs; S says what lies in the image as a number, so that any answer can be given."""
    answers, masks = rng.integers(0, 4, (2, 9, 16, 16)).astype(np.uint8)
    masks[2], masks[5] = 0, np.where(masks[5] == 3, 0, masks[5])
    answers[7] = 0
    reads = Does(lambda x: torch.cat([-((x * 4 - number) ** 2) for number in range(4)], dim=1))
    found = score(S=reads, source=answers / 4, target=answers / 4, masks=masks, batch=4)
    pairs = [(a, m) for a, m in zip(answers, masks, strict=True) if m.any()]
    assert found.consistency == pytest.approx(np.mean([consistency(a, m) for a, m in pairs]))


def test_consistency_is_asked_of_the_translated_image(images: np.ndarray) -> None:
    """What inverts the image turns the answer of S over."""
    masks = (images > 0).astype(np.uint8)
    inverts = Does(lambda x: -x)
    assert score(inverts, inverts, BRIGHT, source=images, target=images, masks=1 - masks).consistency == 1
    assert score(inverts, inverts, BRIGHT, source=images, target=images, masks=masks).consistency == 0


@pytest.mark.parametrize("case", ["no S", "no masks", "no organ"])
def test_without_labels_there_is_no_consistency(images: np.ndarray, case: str) -> None:
    masks = None if case == "no masks" else np.zeros(images.shape, np.uint8)
    found = score(S=None if case == "no S" else BRIGHT, source=images, target=images[::-1], masks=masks)
    assert found.consistency is None
    assert set(found.as_reading()) == {"select_cycle", "select_frechet", "select_score"}


def test_the_cycle_of_straight_lines_is_known(rng: np.random.Generator) -> None:
    """Forth halves, back adds 0.1: x / 2 + 0.1 against x, and (y + 0.1) / 2 against y; each side counts the same."""
    source, target = rng.uniform(-1, 1, (5, 17, 17)), rng.uniform(-1, 1, (2, 17, 17))
    found = score(Does(lambda x: x / 2), Does(lambda x: x + 0.1), source=source, target=target, batch=2)
    expected = (np.abs(0.1 - source / 2).mean() + np.abs(0.05 - target / 2).mean()) / 2
    assert found.cycle == pytest.approx(expected, rel=1e-5)


def test_a_constant_is_worse_than_the_identity(images: np.ndarray) -> None:
    masks = (images > 0).astype(np.uint8)
    constant = Does(lambda x: torch.zeros_like(x))
    good = score(S=BRIGHT, source=images, target=images, masks=masks)
    bad = score(constant, S=BRIGHT, source=images, target=images, masks=masks)
    assert bad.score > 1000 * good.score
    assert bad.consistency == 0
    assert bad.cycle > good.cycle
    assert bad.frechet is not None
    assert bad.frechet > 0.01


def test_the_order_of_slices_and_the_size_of_batches_do_not_matter(rng: np.random.Generator) -> None:
    source, target = rng.uniform(-1, 1, (2, 6, 16, 16)).astype(np.float32)
    masks = (rng.uniform(size=source.shape) < 0.3).astype(np.uint8)
    torch.manual_seed(0)
    forth, back = ResNet(filters=2, blocks=1), ResNet(filters=2, blocks=1)
    S = ResNet(2, filters=2, blocks=1, head="linear")
    first = score(forth, back, S, source=source, target=target, masks=masks)
    order = rng.permutation(6)
    moved = score(forth, back, S, source=source[order], target=target[::-1], masks=masks[order])
    for batch in (1, 4, 6):
        small = score(forth, back, S, source=source, target=target, masks=masks, batch=batch)
        assert small.as_reading() == pytest.approx(first.as_reading(), rel=1e-4)
    assert moved.as_reading() == pytest.approx(first.as_reading(), rel=1e-4)


@pytest.mark.parametrize(("sources", "targets"), [(3, 9), (9, 3), (5, 5)])
def test_as_many_images_of_each_side_are_compared_and_always_the_same(
    sources: int, targets: int, rng: np.random.Generator
) -> None:
    """With a detector of the image's mean the distance is a closed form of the means chosen."""
    source, target = (np.full((n, 16, 16), rng.uniform(-1, 1, (n, 1, 1))) for n in (sources, targets))
    found = score(source=source, target=target, with_detector=MEAN)
    count = min(sources, targets)
    wanted = set()
    for a in choices(source[:, 0, 0], count):
        for b in choices(target[:, 0, 0], count):
            distance = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
            wanted.add(round(float(distance), 5))
    assert found.frechet is not None
    assert min(abs(found.frechet - one) for one in wanted) < 2e-5
    assert score(source=source, target=target, with_detector=MEAN) == found


def choices(values: np.ndarray, count: int) -> list[np.ndarray]:
    """Every choice of `count` values."""
    numbers = range(2 ** len(values))
    kept = [np.array([value for i, value in enumerate(values) if number >> i & 1]) for number in numbers]
    return [some for some in kept if len(some) == count]


def flat(*values: tuple[float, ...]) -> np.ndarray:
    """Slices of uniform images, whose values are given slice by slice."""
    return np.broadcast_to(np.array(values)[:, :, None, None], (len(values), len(values[0]), 16, 16))


def test_several_inputs_to_one_target_by_hand() -> None:
    """Forth is the mean of both inputs, back adds 0.4 for the first and takes 0.3 away for the second."""
    forth = Does(lambda x: x.mean(dim=1, keepdim=True))
    back = Does(lambda y: torch.cat([y + 0.4, y - 0.3], dim=1))
    source = flat((0.2, -0.2), (0.4, 0.0), (0.6, 0.2))
    found = score(forth, back, source=source, target=flat((0.1,), (0.1,), (0.1,)), with_detector=MEAN, batch=2)
    # Of each slice the first input comes back 0.2 too high and the second 0.1 too low, the target 0.05 too high.
    assert found.cycle == pytest.approx(((0.2 + 0.1) / 2 + 0.05) / 2)
    # What is made is 0, 0.2 and 0.4: mean 0.2, standard deviation 0.2; all that is real is 0.1.
    assert found.frechet == pytest.approx((0.2 - 0.1) ** 2 + 0.2**2, rel=1e-4)


def test_one_source_to_several_targets_by_hand() -> None:
    """Forth gives the image and its negative, back takes the first: each target is held against its own kind."""
    forth, back = Does(lambda x: torch.cat([x, -x], dim=1)), Does(lambda y: y[:, :1])
    target = flat((0.3, -0.2), (0.3, 0.0), (0.3, -0.4))
    found = score(forth, back, source=flat((0.0,), (0.2,), (0.4,)), target=target, with_detector=MEAN, batch=2)
    # The source comes back as it was, and the first target; the second as -0.3, off by 0.1, 0.3 and 0.1.
    assert found.cycle == pytest.approx((0 + (0 + (0.1 + 0.3 + 0.1) / 3) / 2) / 2)
    # Made are means of 0.2 and -0.2, real ones of 0.3 and -0.2; only the first target does not vary, the rest by 0.2.
    assert found.frechet == pytest.approx(((0.1**2 + 0.2**2) + 0) / 2, rel=1e-4)


def test_labels_are_looked_for_in_what_several_inputs_become(rng: np.random.Generator) -> None:
    """The second input minus the first is bright where the organ is, neither is alone."""
    masks = (rng.uniform(size=(4, 16, 16)) < 0.3).astype(np.uint8)
    first = rng.uniform(-0.3, 0.3, masks.shape)
    source = np.stack([first, first + np.where(masks == 1, 0.1, -0.1)], axis=1)
    forth, back = Does(lambda x: x[:, 1:] - x[:, :1]), Does(lambda y: torch.cat([y, y], dim=1))
    assert score(forth, back, BRIGHT, source=source, target=first, masks=masks).consistency == 1


@pytest.mark.parametrize("direction", ["merge", "spread"])
def test_networks_of_several_images_give_one_score_however_many_slices_go_in(
    direction: str, rng: np.random.Generator
) -> None:
    torch.manual_seed(0)
    merge, spread = (
        MultiInputGenerator(3, filters=2, blocks=2, branch_blocks=1),
        MultiOutputGenerator(3, filters=2, blocks=1),
    )
    several, one = rng.uniform(-1, 1, (5, 3, 16, 16)).astype(np.float32), rng.uniform(-1, 1, (5, 16, 16))
    forth, back, source, target = (
        (merge, spread, several, one) if direction == "merge" else (spread, merge, one, several)
    )
    first = score(forth, back, source=source, target=target)
    assert set(first.as_reading()) == {"select_cycle", "select_frechet", "select_score"}
    small = score(forth, back, source=source, target=target, batch=1)
    assert small.as_reading() == pytest.approx(first.as_reading(), rel=1e-4)
    # Each of the images counts.
    for which in range(3):
        other = several.copy()
        other[:, which] *= -1
        changed = {"source": source, "target": target, "source" if direction == "merge" else "target": other}
        assert score(forth, back, source=changed["source"], target=changed["target"]).cycle != first.cycle


def test_one_slice_has_a_cycle_and_no_distance(images: np.ndarray) -> None:
    found = score(source=images[:1], target=images)
    assert found.frechet is None
    assert set(found.as_reading()) == {"select_cycle", "select_score"}


@pytest.mark.parametrize("side", ["source", "target"])
def test_no_slices_are_refused(images: np.ndarray, side: str) -> None:
    sets = {"source": images, "target": images, side: images[:0]}
    with pytest.raises(InputError, match=f"no held-out {side} slices"):
        score(source=sets["source"], target=sets["target"])


def test_a_translator_that_diverged_is_never_the_best(images: np.ndarray) -> None:
    broken = Does(lambda x: x * math.nan)
    assert score(broken, source=images, target=images).score == math.inf
    assert score(IDENTITY, broken, source=images, target=images).score == math.inf


def test_networks_are_left_as_they_were(images: np.ndarray) -> None:
    """Modes of every layer, weights, running means and gradients; also where something fails on the way."""
    forth = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5)).train()
    forth[1].eval()
    back = nn.Conv2d(1, 1, 1).eval()
    before = {name: value.clone() for name, value in forth.state_dict().items()}
    first = score(forth, back, source=images, target=images)
    assert score(forth, back, source=images, target=images) == first  # no dropout
    with pytest.raises(RuntimeError, match="channels"):
        score(forth, nn.Conv2d(2, 1, 1), source=images, target=images)
    assert [layer.training for layer in forth.modules()] == [True, True, False, True]
    assert not back.training
    assert all(torch.equal(value, before[name]) for name, value in forth.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in forth.parameters())


def test_the_score_is_the_geometric_mean_of_what_there_is() -> None:
    whole = Scores(consistency=0.9, cycle=0.05, frechet=3.0)
    assert whole.score == pytest.approx(gmean([0.1, 0.05, 3.0]))
    assert replace(whole, consistency=None).score == pytest.approx(gmean([0.05, 3.0]))
    assert Scores(None, 0.05, None).score == pytest.approx(0.05)
    # To halve any of them counts the same, whatever its unit.
    halved = [replace(whole, consistency=0.95), replace(whole, cycle=0.025), replace(whole, frechet=1.5)]
    assert [one.score for one in halved] == pytest.approx([whole.score / 2 ** (1 / 3)] * 3)
    assert whole.as_reading() == {
        "select_consistency": 0.9, "select_cycle": 0.05, "select_frechet": 3.0, "select_score": whole.score
    }  # fmt: skip


def test_a_perfect_part_does_not_hide_the_others() -> None:
    better, worse = Scores(1.0, 0.05, 3.0), Scores(1.0, 0.06, 3.0)
    assert 0 < better.score < worse.score < Scores(0.99, 0.05, 3.0).score
