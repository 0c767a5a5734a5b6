"""Presets: named settings, as data."""

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
}
