"""What a finished segmenter leaves of its test: predictions, and what went in."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from crossmod.data.slices import SliceSet, class_map
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import take_slices
from crossmod.segment.chosen import Chosen, Sides


def write_predictions(path: Path, chosen: Chosen, test: SliceSet, answer: Bool[np.ndarray, "slices size size"]) -> None:
    """A store of the tested slices: image, truth and answer."""
    settings = chosen.settings
    # A run that was killed here before left a part of it.
    shutil.rmtree(path, ignore_errors=True)
    tested = by_case(test)
    with writing_store(path) as writer:
        for record in chosen.real:
            if record.id not in tested:
                continue
            rows = [i for i, key in enumerate(test.keys) if key.case == record.id]
            volume = test.frame(record).place(chosen.store.read(record.id))
            truth = class_map(volume, settings.organs, record.id)
            volume = replace(volume, labels=truth, label_names=dict(enumerate(settings.organs, start=1)))
            part = take_slices(volume, tested[record.id])
            found = answer[rows].astype(np.uint8)
            writer.add(record.id, part, patient=record.patient, person=record.person, answer=found)


def by_case(slices: SliceSet) -> dict[str, list[int]]:
    """The slices of each case, in their order."""
    found: dict[str, list[int]] = {}
    for key in slices.keys:
        found.setdefault(key.case, []).append(key.slice)
    return found


def data_card(out: Path, chosen: Chosen, sides: Sides) -> dict[str, Any]:
    """What a run's card says of its data."""
    made = [case.synthetic for case in chosen.synthetic if case.synthetic]
    train, test = sides.train, sides.test
    families, runs = sorted({one.family for one in made}), sorted({one.run for one in made})
    return {
        "real": os.path.relpath(chosen.store.path, out),
        "synthetic": os.path.relpath(chosen.extra.path, out) if chosen.extra else None,
        "synthetic_family": " + ".join(families) or None,
        "synthetic_run": " + ".join(runs) or None,
        "synthetic_models": sorted({one.model for one in made}),
        "synthetic_recipe": " + ".join(sorted({one.recipe for one in made})) or None,
        "train_slices": len(train) if train else 0,
        "train_patients": list(train.patients) if train else [],
        "test_slices": len(test),
        "test_patients": list(test.patients),
        "people": chosen.people.card(),
    }
