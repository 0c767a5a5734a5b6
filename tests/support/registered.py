"""Stores of registered scans."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from tests.support.stores import made_volume


def two_sequences(path: Path, missing: str = "") -> Store:
    with writing_store(path) as writer:
        for number in range(4):
            for sequence in ("t1_in", "t1_out"):
                if f"{number}-{sequence}" != missing:
                    volume = replace(
                        made_volume(np.random.default_rng([number, len(sequence)]), "mr"), sequence=sequence
                    )
                    writer.add(f"{number}-{sequence}", volume, patient=f"p{number}")
    return Store(path)
