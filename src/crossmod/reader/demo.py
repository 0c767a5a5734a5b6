"""A survey of made-up patients, in seconds and without a model.

Notable: nothing is synthesized. The "synthetic" scans are real ones of other made-up patients, blurred and with less
contrast, like the output of a poor model; the survey's note says so. A survey of a model's output is made with `train`,
`synthesize` and `reader create`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from scipy.ndimage import gaussian_filter

from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.store import SliceOrigin, Store, Synthetic
from crossmod.data.store_writer import writing_store
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.reader.create import Created, create_survey

PATIENTS, SIZE, SLICES = 8, 128, 24
# Pixels, and the remaining share of the contrast.
BLUR, CONTRAST = 0.7, 0.95
NOTE = "Made-up patients. No model was used: the synthetic scans are blurred copies of other patients' real ones."


def create_demo(out: Path, seed: int = 0) -> Created:
    """Make up patients, and a survey of 10 real and 10 blurred slices."""
    phantom = PhantomSettings(ct_patients=PATIENTS, mr_patients=0, size=SIZE, slices=SLICES, seed=seed)
    write_phantom(out / "phantom", phantom)
    prepare_chaos(out / "phantom", out / "all")
    store = Store(out / "all")
    cases = sorted(store.cases, key=lambda case: case.id)
    with writing_store(out / "real") as writer:
        for record in cases[::2]:
            writer.add(record.id, store.read(record.id), patient=record.patient, person=record.person)
    with writing_store(out / "synthetic") as writer:
        for record in cases[1::2]:
            volume = store.read(record.id)
            voxels = blurred(volume.voxels)
            provenance = _provenance(record.id, record.sha256, len(voxels))
            copy = replace(volume, voxels=voxels)
            writer.add(f"{record.id}-blurred", copy, patient=record.patient, person=record.person, synthetic=provenance)
    design = {"layers": (2, 9), "realism": True, "regions": True, "seed": seed, "note": NOTE}
    return create_survey(out / "survey", [out / "real"], [out / "synthetic"], source=[out / "all"], design=design)


def blurred(voxels: Shaped[np.ndarray, "slices rows columns"]) -> Float[np.ndarray, "slices rows columns"]:
    """The output of a poor model."""
    smooth = gaussian_filter(np.clip(voxels, -160, 240).astype(np.float32), (0, BLUR, BLUR))
    return smooth.mean() + CONTRAST * (smooth - smooth.mean())


def _provenance(case: str, checksum: str, slices: int) -> Synthetic:
    return Synthetic(
        family="blur",
        model="0" * 64,
        recipe="0" * 64,
        run="none",
        split="patient",
        source_case=case,
        source_sha256=checksum,
        source_range=(-160.0, 240.0),
        shift=(0.0, 0.0),
        slices_per_second=0.0,
        trained_on=(),
        trained_cases=(),
        slices=tuple(SliceOrigin(source_slice=index) for index in range(slices)),
    )
