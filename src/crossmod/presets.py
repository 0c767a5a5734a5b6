"""Presets: named settings, as data."""

from crossmod.config import with_changes
from crossmod.settings import SegmentSettings, TranslateSettings

TRANSLATE: dict[str, TranslateSettings] = {
    # Rafiq et al. 2025, section 4, and what the code that they adapted defaults to.
    "rafiq2025": TranslateSettings(),
    # Small enough for two CPU cores: a few minutes.
    "tiny": TranslateSettings(
        size=64,
        # The same on every CPU; there is little to win at this size.
        precision="fp32",
        compile="off",
        generator_filters=16,
        generator_blocks=3,
        discriminator_filters=16,
        discriminator_layers=2,
        learning_rate=5e-4,
        discriminator_learning_rate=5e-4,
        ct_slices=0,
        mr_slices=0,
        epochs=10,
        decay=0.5,
    ),
}

# Crespi et al., "Methodology": MR to CT. What they leave open is as in the public CycleGAN code: rates, epochs, decay.
_MR_TO_CT = TranslateSettings(
    family="cyclegan",
    source="mr",
    slices="all",
    ct_slices=0,
    mr_slices=0,
    learning_rate=2e-4,
    epochs=200,
    decay=0.5,
    contrast="yes",
)
_SEVERAL = {"family": "multi_input"}
CRESPI: dict[str, TranslateSettings] = {
    # Either phase of T1 as the only input.
    "all_in": with_changes(_MR_TO_CT, inputs=("t1_in+t1_out",)),
    "in_phase": with_changes(_MR_TO_CT, inputs=("t1_in",)),
    # The same, with T1 of a second source: give both stores to --mr.
    "in_phase_plus": with_changes(_MR_TO_CT, inputs=("t1_in",)),
    "t2": with_changes(_MR_TO_CT, inputs=("t2_spir",)),
    "in_n_out": with_changes(_MR_TO_CT, inputs=("t1_in", "t1_out"), **_SEVERAL),
    # With CT without contrast agent, of another hospital.
    "in_n_out_hum": with_changes(_MR_TO_CT, inputs=("t1_in", "t1_out"), contrast="no", **_SEVERAL),
    "triple": with_changes(_MR_TO_CT, inputs=("t1_in", "t1_out", "t2_spir"), **_SEVERAL),
}
_SMALL = (
    "size",
    "precision",
    "compile",
    "generator_filters",
    "generator_blocks",
    "discriminator_filters",
    "discriminator_layers",
    "learning_rate",
    "discriminator_learning_rate",
    "epochs",
    "decay",
)
TRANSLATE |= CRESPI
TRANSLATE |= {
    f"tiny_{name}": with_changes(settings, branch_blocks=1, **{key: getattr(TRANSLATE["tiny"], key) for key in _SMALL})
    for name, settings in CRESPI.items()
}

SEGMENT: dict[str, SegmentSettings] = {
    # Rafiq et al. 2025, section 4: 300 epochs of all slices with liver, batch 2, tested on slices with liver.
    "rafiq2025": SegmentSettings(train_on="organ", test_on="organ"),
    "tiny": SegmentSettings(
        network="tiny",
        size=64,
        precision="fp32",
        learning_rate=2e-3,
        batch_size=4,
        steps=500,
        augment=True,
    ),
    # How segmenters are mostly trained today: nnU-Net's network and loss, AdamW, cosine, averages. Not of any paper.
    "modern": SegmentSettings(
        network="dynunet",
        loss="dice_cross_entropy",
        strong_augment=True,
        learning_rate=3e-4,
        schedule="cosine",
        weight_decay=1e-5,
        ema=0.999,
        batch_size=8,
    ),
}
# The same for a CPU, with what `tiny` has to be small. Averages reach back over fewer steps, as there are few.
SEGMENT["tiny_modern"] = with_changes(
    SEGMENT["modern"], network="tiny", size=64, precision="fp32", learning_rate=2e-3, ema=0.98, steps=500
)
