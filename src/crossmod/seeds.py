"""Every random draw comes from a generator derived from the run's seed and the draw's name.

A new generator is created from `(seed, names)` wherever one is needed, so there is no generator state to save: the
data order of epoch 7 is the same whether the run was interrupted and resumed or not.
"""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every one of `names`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one named draw."""
    return np.random.default_rng(derive(seed, *names))
