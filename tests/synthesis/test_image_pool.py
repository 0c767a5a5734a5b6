import numpy as np
import torch

from crossmod.synthesis.image_pool import ImagePool


def pool_of(size: int, rows: int = 2) -> ImagePool:
    return ImagePool(size, (1, rows, rows), torch.device("cpu"))


def query(pool: ImagePool, images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return pool.exchange(images, pool.draw(len(images), rng))


def image(value: float) -> torch.Tensor:
    return torch.full((1, 1, 2, 2), value)


def test_against_the_published_algorithm() -> None:
    """Replayed with the same draws on a list of numbers: Shrivastava et al.'s buffer, as CycleGAN uses it."""
    pool, draws, kept = pool_of(5), np.random.default_rng(3), []
    generator = np.random.default_rng(3)
    for value in range(60):
        given = query(pool, image(float(value)), generator)
        if len(kept) < 5:
            kept.append(value)
            expected = value
        elif draws.random() < 0.5:
            expected = value
        else:
            place = int(draws.integers(5))
            expected, kept[place] = kept[place], value
        assert given.flatten()[0].item() == expected
    assert sorted(int(i.flatten()[0]) for i in pool.images) == sorted(kept)


def test_half_of_what_comes_back_is_new_once_it_is_full() -> None:
    pool, generator = pool_of(10), np.random.default_rng(0)
    new = [query(pool, image(float(v)), generator).flatten()[0].item() == v for v in range(4010)][10:]
    # 4000 fair coins: six standard deviations are 0.047.
    assert abs(np.mean(new) - 0.5) < 0.048


def test_no_pool_gives_back_what_came_without_its_gradient() -> None:
    x = image(1.0).requires_grad_()
    given = query(pool_of(0), x * 2, np.random.default_rng(0))
    assert torch.equal(given, x.detach() * 2)
    assert not given.requires_grad
    assert not query(pool_of(3), x * 2, np.random.default_rng(0)).requires_grad


def test_a_kept_image_does_not_change_with_the_tensor_it_came_from() -> None:
    pool, x = pool_of(2), image(1.0)
    query(pool, x, np.random.default_rng(0))
    x.fill_(9.0)
    assert pool.images[0].max() == 1.0


def test_each_image_of_a_batch_is_drawn_for_itself() -> None:
    pool, generator = pool_of(4, 1), np.random.default_rng(0)
    query(pool, torch.arange(4.0).reshape(4, 1, 1, 1), generator)
    given = query(pool, torch.arange(100.0, 164.0).reshape(64, 1, 1, 1), generator).flatten()
    assert 0 < int((given == torch.arange(100.0, 164.0)).sum()) < 64


def test_a_batch_gives_what_its_images_give_one_by_one() -> None:
    batch, single = (pool_of(3, 1) for _ in range(2))
    first, second = (np.random.default_rng(7) for _ in range(2))
    for start in range(0, 60, 6):
        values = torch.arange(start, start + 6.0).reshape(6, 1, 1, 1)
        together = query(batch, values, first)
        alone = torch.cat([query(single, value, second) for value in values.split(1)])
        assert torch.equal(together, alone)
    assert torch.equal(batch.images, single.images)


def test_state_survives() -> None:
    pool = pool_of(3, 4)
    query(pool, torch.randn(2, 1, 4, 4), np.random.default_rng(0))
    other = pool_of(3, 4)
    other.load_state_dict(pool.state_dict())
    assert torch.equal(pool.images, other.images)
    assert len(other.images) == other.filled == 2
    empty = pool_of(3)
    empty.load_state_dict(pool_of(3).state_dict())
    assert len(empty.images) == 0
