"""Presets, and what happens to options that are given beside one: they take effect, or are refused.

Notable:
- Some settings replace one another, such as steps and epochs. The one that is asked for wins over the preset's other.
- Some settings matter only together with another one, such as the weight of a segmentor's loss. Asked for alone they
  are refused, but not in a file that holds all settings, such as a run's config.yaml.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from crossmod.config import build, with_changes
from crossmod.errors import InputError
from crossmod.settings import (
    CONTROLS,
    ONE_INPUT,
    WITHOUT_SEGMENTOR,
    ImageSettings,
    SegmentSettings,
    SplitSettings,
    TranslateSettings,
)

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

# The tool's own synthesizer for labelled source slices. Measured on development patients (docs/log.md), not published.
TRANSLATE["guided"] = TranslateSettings(
    family="guided",
    lambda_3=5.0,
    lambda_4=5.0,
    learning_rate=2e-4,
    ct_slices=0,
    mr_slices=0,
    ema=0.999,
    decay=0.5,
)
TRANSLATE["tiny_guided"] = with_changes(
    TRANSLATE["tiny"], family="guided", size=96, lambda_3=5.0, lambda_4=5.0, ema=0.998
)

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
_NAMES = (
    "size precision compile generator_filters generator_blocks discriminator_filters discriminator_layers "
    "learning_rate discriminator_learning_rate epochs decay"
)
_SMALL: set[str] = set(_NAMES.split())
TRANSLATE |= CRESPI
TRANSLATE |= {
    f"tiny_{name}": with_changes(settings, branch_blocks=1, **TRANSLATE["tiny"].model_dump(include=_SMALL))
    for name, settings in CRESPI.items()
}
# Controls by their own names: settings for the data as in rafiq2025, and nothing is trained.
TRANSLATE |= {name: TranslateSettings(family=name) for name in CONTROLS}

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
    # Common practice today: nnU-Net's network and loss, AdamW, cosine schedule, EMA. Not from a paper.
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
# The same for a CPU, with the small network of `tiny`. The EMA decays faster, since there are fewer steps.
SEGMENT["tiny_modern"] = with_changes(
    SEGMENT["modern"], network="tiny", size=64, precision="fp32", learning_rate=2e-3, ema=0.98, steps=500
)

# Settings whose defaults Rafiq et al. 2025 state; the others are those of the code that they adapted, or ours.
_STATED: dict[type[SplitSettings], str] = {
    TranslateSettings: "family size test_slices slices ct_slices mr_slices generator_blocks discriminator_layers "
    "epochs lambda_1 lambda_2 lambda_3 lambda_4 lambda_5 learning_rate discriminator_learning_rate batch_size",
    SegmentSettings: "network size test_slices train_on test_on learning_rate batch_size epochs",
}
STATED = {model: frozenset(names.split()) for model, names in _STATED.items()}

Chosen = TypeVar("Chosen", bound=SplitSettings)

# A requested setting switches others off: the values that these then have.
RIVALS: dict[str, dict[str, Any]] = {
    "epochs": {"steps": 0},
    "augment": {"strong_augment": False, "augmentation": None},
    "strong_augment": {"augment": False, "augmentation": None},
    "augmentation": {"augment": False, "strong_augment": False},
}


# How synthetic slices are used beside real ones.
BESIDE_REAL = frozenset({"real_share", "synthetic_weight", "pretrain"})


def without_idle_use(settings: SegmentSettings) -> SegmentSettings:
    """The settings with defaults for the use of synthetic slices where it has no effect, so that equal runs are one."""
    defaults = {name: SegmentSettings.model_fields[name].default for name in BESIDE_REAL & idle(settings).keys()}
    return with_changes(settings, **defaults)


def with_asked(settings: Chosen, asked: Mapping[str, Any], *, every: bool = True, subject: object = "") -> Chosen:
    """A preset's settings with the values requested on the command line or in the file `subject`. `every`: refuse
    settings without an effect; False for files that contain all settings."""
    fields = type(settings).model_fields
    switched = {
        other: off
        for name, others in RIVALS.items()
        for other, off in others.items()
        if asked.get(name) and other in fields and other not in asked
    }
    if every and asked.get("epochs") and asked.get("steps"):
        found = f"--epochs {asked['epochs']} and --steps {asked['steps']}"
        raise InputError("--epochs", found=found, expected="one of the two", do="Leave one out.")
    made = build(type(settings), {**settings.model_dump(), **switched, **asked}, subject=subject)
    if every:
        _refuse_idle(settings, made, asked)
    return made


def _refuse_idle(before: Chosen, made: Chosen, asked: Mapping[str, Any]) -> None:
    reasons = idle(made)
    for name in asked:
        # What the preset says anyway is not ignored.
        if name in reasons and getattr(made, name) != getattr(before, name):
            option = f"--{name.replace('_', '-')}"
            found, do = "a setting that would have no effect", f"Leave {option} out, or change the other setting."
            raise InputError(option, found=found, expected=reasons[name], do=do)


def idle(settings: SplitSettings) -> dict[str, str]:
    """The settings that have no effect beside the others, and what each would need."""
    found = _idle_of_split(settings)
    if isinstance(settings, TranslateSettings):
        found |= _idle_of_translate(settings)
    if isinstance(settings, SegmentSettings):
        found |= _idle_of_segment(settings)
    return found


def _idle_of_split(s: SplitSettings) -> dict[str, str]:
    if s.split == "slice":
        return dict.fromkeys(("folds", "fold", "test_patients", "train_patients"), "--split patient with it")
    found = {"test_slices": "--split slice with it"}
    if s.test_patients:
        found |= dict.fromkeys(("folds", "fold"), "no --test-patients beside it")
        if not getattr(s, "select_every", 0):
            found["split_seed"] = "no --test-patients beside it"
    return found


# What a control takes from its settings; all others are of networks and their training.
_OF_CONTROLS = frozenset(
    {*ImageSettings.model_fields, "family", "inputs", "contrast", "source", "source_patients", "slices"}
    | {"ct_slices", "mr_slices"}
)


def _idle_of_translate(s: TranslateSettings) -> dict[str, str]:
    if s.family in CONTROLS:
        own = {"sequence": "no --inputs beside it"} if s.inputs else {}
        unused = [name for name in TranslateSettings.model_fields if name not in _OF_CONTROLS]
        return own | dict.fromkeys(unused, "a --family with networks with it, such as essnet: controls have none")
    found = {}
    if s.family in WITHOUT_SEGMENTOR:
        found |= dict.fromkeys(("lambda_5", "bounded_logits"), "--family essnet with it, which has a segmentor")
    if s.family == "guided":
        found["bounded_logits"] = "--family essnet with it"
    elif s.judge is None:
        found["segmentor_steps"] = "--family guided, whose segmentor is trained before, or --judge with it"
    if s.family in ONE_INPUT or len(s.mr_inputs) < 2:
        found["branch_blocks"] = "--family multi_input and several --inputs with it"
    elif s.branch_blocks > s.generator_blocks:
        found["branch_blocks"] = f"at most {s.generator_blocks}, the residual blocks of the generators"
    if s.stack == 1:
        found["stack_mm"] = "--stack 3 or more with it"
    if s.inputs:
        found["sequence"] = "no --inputs beside it"
    if not s.select_every:
        found["select_patients"] = "--select-every with it"
    return found


def _idle_of_segment(s: SegmentSettings) -> dict[str, str]:
    found = {"window": "--modality ct with it"} if s.modality == "mr" else {}
    if s.modality == "ct":
        found |= dict.fromkeys(("sequence", "percentiles"), "--modality mr with it")
    if s.steps:
        found["epochs"] = "no --steps beside it"
    if not s.count:
        found["min_consistency"] = "--count with it"
    if not s.count or s.without_real:
        found |= dict.fromkeys(BESIDE_REAL, "--count with it, and no --without-real")
    elif s.pretrain:
        alone = "no --pretrain beside it, whose batches have slices of one kind"
        found |= dict.fromkeys(("real_share", "synthetic_weight"), alone)
    if s.without_real:
        found |= dict.fromkeys(("real_slices", "train_on"), "no --without-real beside it")
    if s.split == "slice":
        found["test_on"] = "--split patient with it: slices are held out among those that show the organ"
    return found
