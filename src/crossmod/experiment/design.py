"""The design of an experiment, a short YAML file: translators, segmenters, counts, folds and seeds."""

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from crossmod import registry
from crossmod.config import Modality, Settings, build, read_yaml, with_changes
from crossmod.errors import InputError
from crossmod.experiment.published import protocols
from crossmod.presets import BESIDE_REAL, SEGMENT, TRANSLATE, Chosen, with_asked
from crossmod.settings import CONTROLS, ImageSettings, SegmentSettings, TranslateSettings

PRESETS = Path(__file__).parent / "presets"

# Settings that the plan decides for each run.
DECIDED = frozenset(
    {"split", "test_slices", "folds", "fold", "split_seed", "test_patients", "train_patients", "seed", "count"}
    | {"source_patients", "min_consistency", "without_real", "same_people"}
)
# Settings of a translator, and some of them of a segmenter, about what is seen of which data; with the same ones,
# networks and controls differ in nothing else.
ABOUT_DATA = (
    *("organs", "sequence", "window", "percentiles", "size", "frame", "pixel_mm"),
    *("inputs", "contrast", "source", "slices", "ct_slices", "mr_slices"),
)
# Controls that need no image of the target; `random_contrast` as an augmentation needs none either.
WITHOUT_TARGET = ("source", "random_contrast", "class_contrast", "painted")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
COUNT = re.compile(r"(\d+)|(\d+(?:\.\d+)?)x")
# Fields that list different things.
ONCE = ("counts", "labelled", "min_consistency", "only_folds", "test_patients", "source_left_out", "seeds")
# Values of `labelled`.
ALL, NONE = "all", "none"


class Recipe(Settings):
    """A preset of `train` or `segment`, and its changes."""

    preset: str
    """Its name."""
    settings: dict[str, object] = Field(default_factory=dict)
    """Settings that override the preset's."""


class Phantom(Settings):
    """Made-up patients, for an experiment without data."""

    ct_patients: int = Field(ge=1)
    mr_patients: int = Field(ge=1)
    size: int = 64
    slices: int = 24
    seed: int = 0


class Design(Settings):
    """An experiment: every combination is one arm, trained on each fold with each seed."""

    about: str = ""
    """Its purpose, in a sentence or two."""
    translators: dict[str, Recipe]
    """By any name; their target modality is segmented."""
    segmenters: dict[str, Recipe]
    """By any name."""
    counts: tuple[int | str, ...] = (0, "1x")
    """Synthetic slices to add: a number, or a multiple of the real training slices, such as 0.5x; 0 is the baseline."""
    labelled: tuple[int | Literal["all", "none"], ...] = (ALL,)
    """Real patients whose labels a segmenter may use: a number, `all`, or `none` (or 0) for synthetic slices only."""
    min_consistency: tuple[float, ...] = (0.0,)
    """Use only synthetic slices with at least this label consistency; for translators with a segmentor or judge."""
    split: Literal["patient", "slice"] = "patient"
    """Test on patients that nothing was trained on; or on slices, as Rafiq et al. do (leaking)."""
    folds: int = Field(default=5, ge=2)
    """Parts of the patients; each is tested on once."""
    only_folds: tuple[int, ...] = ()
    """Test on these parts only; default: all."""
    test_patients: tuple[str, ...] = ()
    """Target patients to test on, instead of folds, by the name of the patient or of a case; others are trained on."""
    source_left_out: tuple[str, ...] = ()
    """Source patients that nothing is trained on, by the name of the patient or of a case."""
    test_slices: int = Field(default=58, ge=1)
    """Slices to test on, with `split: slice`."""
    split_seed: int = 0
    """Seed of the division, and of which patients are labelled."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each arm and fold has one segmenter per seed; every fold derives its own seeds from these."""
    same_people: Literal["yes", "no"] | None = None
    """Whether equal case names in two stores are one person if there are no patient ids; default: ask if it matters."""
    published: str | None = None
    """Benchmark whose published results are shown beside these, and whose rules hold: uda_abdomen or dg_abdomen."""
    retrain: bool = False
    """Also train a translator for each seed; otherwise all seeds of a fold share one. Folds never share one."""
    phantom: Phantom | None = None
    """Made-up patients, used if no data is given."""

    @field_validator("labelled")
    @classmethod
    def _name_zero(cls, labelled: tuple[int | str, ...]) -> tuple[int | str, ...]:
        return tuple(NONE if number == 0 else number for number in labelled)

    @model_validator(mode="after")
    def _check(self) -> "Design":
        for problem in (*self._problems_of_values(), *self._problems_of_sides()):
            raise ValueError(problem)
        return self

    def _problems_of_values(self) -> Iterator[str]:
        for name in ("translators", "segmenters", "counts", "labelled", "min_consistency", "seeds"):
            if not getattr(self, name):
                yield f"at least one of {name}, got none"
        for name in ONCE:
            values = list(map(str, getattr(self, name)))
            if len(set(values)) < len(values):
                yield f"each of {name} once, got {', '.join(values)}"
        names = [name for name in (*self.translators, *self.segmenters) if not NAME.fullmatch(name)]
        yield from (f"a name of letters, digits, '.', '_' and '-', got {name!r}" for name in names)
        if self.published not in (None, *protocols()):
            yield f"{' or '.join(protocols())}, got published: {self.published}"
        yield from (f"counts such as 354 or 0.5x, got {n!r}" for n in self.counts if not COUNT.fullmatch(str(n)))

    def _problems_of_sides(self) -> Iterator[str]:
        yield from (f"one or more labelled patients, got {n}" for n in self.labelled if isinstance(n, int) and n < 1)
        unknown = sorted(set(self.only_folds) - set(range(self.folds)))
        yield from (f"folds from 0 to {self.folds - 1}, got {fold}" for fold in unknown)
        if self.split == "slice" and (self.only_folds or self.labelled != (ALL,)):
            yield "no only_folds and no labelled with `split: slice`, got some"
        if self.split == "slice" and (self.test_patients or self.source_left_out):
            yield "no test_patients and no source_left_out with `split: slice`, got some"
        if self.test_patients and self.only_folds:
            yield "folds or test_patients, got only_folds beside test_patients"
        if any(not 0 <= least <= 1 for least in self.min_consistency):
            yield f"a Dice from 0 to 1 for min_consistency, got {self.min_consistency}"

    @cached_property
    def chosen_folds(self) -> tuple[int, ...]:
        """The folds that are tested on; a split by slice has one, and so have named test patients."""
        one = self.split == "slice" or self.test_patients
        return (0,) if one else self.only_folds or tuple(range(self.folds))

    @cached_property
    def translator_settings(self) -> dict[str, TranslateSettings]:
        """Of each translator, without fold and seed; controls see the data as the first network does."""
        own = {name: _settings(TRANSLATE, recipe, f"translators.{name}") for name, recipe in self.translators.items()}
        controls = {name for name, settings in own.items() if _is_control(settings.family)}
        like = next((own[name] for name in own if name not in controls), None)
        like = like or next(iter(self.segmenter_settings.values()))
        for name in controls:
            own[name] = _seen_alike(own[name], like, self.translators[name].settings)
        return own

    @cached_property
    def segmenter_settings(self) -> dict[str, SegmentSettings]:
        """Of each segmenter, without fold and seed."""
        return {name: _settings(SEGMENT, recipe, f"segmenters.{name}") for name, recipe in self.segmenters.items()}

    @property
    def target(self) -> Modality:
        """The modality that is synthesized and segmented."""
        targets: dict[Modality, str] = {
            "mr" if settings.source == "ct" else "ct": name for name, settings in self.translator_settings.items()
        }
        modalities = {settings.modality for settings in self.segmenter_settings.values()}
        if len(targets) > 1 or modalities != set(targets):
            synthesized = ", ".join(f"{modality} by {name}" for modality, name in targets.items())
            found = f"{synthesized}; segmenters of {', '.join(sorted(modalities))}"
            do = "Set `source` of the translators or `modality` of the segmenters."
            raise InputError("design", found=found, expected="one modality", do=do)
        return next(iter(targets))


def _is_control(family: str) -> bool:
    if family in registry.built_in("family"):
        return family in CONTROLS
    # PyTorch takes seconds to load, which `--show` does not need.
    from crossmod.synthesis.families import is_control

    return is_control(family)


def _seen_alike(control: TranslateSettings, like: ImageSettings, stated: Collection[str]) -> TranslateSettings:
    """A control's settings with all of another run that are about data; those that the design states stay."""
    values = {name: value for name, value in like.model_dump(include=set(ABOUT_DATA)).items() if name not in stated}
    # A control has one input.
    values |= {"inputs": values["inputs"][:1]} if values.get("inputs") else {}
    return with_changes(control, **values)


def _settings(presets: dict[str, Chosen], recipe: Recipe, where: str) -> Chosen:
    if recipe.preset not in presets:
        do = "Name one of them."
        raise InputError(f"{where}.preset", found=repr(recipe.preset), expected=", ".join(sorted(presets)), do=do)
    decided = sorted(DECIDED & set(recipe.settings))
    if decided:
        raise InputError(
            f"{where}.settings",
            found=f"{decided[0]}, which the experiment decides for each run",
            expected="other settings only",
            do=f"Set it for the experiment, or leave {decided[0]} out: runs with different splits would leak.",
        )
    beside = {name: value for name, value in recipe.settings.items() if name in BESIDE_REAL}
    others = {name: value for name, value in recipe.settings.items() if name not in beside}
    try:
        made = with_asked(presets[recipe.preset], others)
        # Each run decides whether slices are added, without which these would have no effect.
        added = {"count": 1} if beside and isinstance(made, SegmentSettings) else {}
        made = with_asked(with_changes(made, **added), beside)
        return with_changes(made, **dict.fromkeys(added, 0))
    except InputError as error:
        raise InputError(
            f"{where}.settings", found=str(error), expected="settings that fit", do="Change them."
        ) from None


def presets() -> list[str]:
    """The names of the experiments that come with crossmod."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_design(name: str) -> Design:
    """A design by the name of a preset, or from a YAML file."""
    path = Path(name)
    if not path.is_file():
        path = PRESETS / f"{name}.yaml"
        if name not in presets():
            do = "Name one of them, or give the path of a YAML file; --show PRESET prints one to copy."
            raise InputError("PRESET", found=repr(name), expected=f"a YAML file or {', '.join(presets())}", do=do)
    design = build(Design, read_yaml(path), subject=path.name)
    # Errors in a recipe are reported before any data is read.
    _ = design.target
    refuse_against_rules(design)
    return design


def sees_target(family: str) -> bool:
    """Whether synthetic slices of a family of translators depend on images of the target: all do but some controls."""
    if family in registry.built_in("family"):
        return family not in WITHOUT_TARGET
    # PyTorch takes seconds to load, which `--show` does not need.
    from crossmod.synthesis.families import Control, family_of

    control = family_of(family).control
    return control is None or control.fit is not Control.fit


def refuse_against_rules(design: Design) -> None:
    """Refuse a design that breaks the rules of the benchmark that it names, which its numbers would stand beside.

    Raises:
        InputError: another direction than CT to MR, organs that the benchmark does not have, labels of the target in
            the training of a translator, or its images where the benchmark allows none.
    """
    if design.published is None:
        return
    rules, name = protocols()[design.published], design.published
    if design.target != "mr":
        do = "Set `source: ct` of the translators, or delete `published`."
        raise InputError("published", found="MR to CT", expected=f"CT to MR, as {name}", do=do)
    for segmenter, settings in design.segmenter_settings.items():
        others = [organ for organ in settings.organs if organ not in rules.organs]
        if others:
            do = "Leave it out, or delete `published`."
            expected = f"organs of {name}: {', '.join(rules.organs)}"
            raise InputError(f"segmenters.{segmenter}", found=others[0], expected=expected, do=do)
    if not rules.target_images:
        _refuse_target_images(design, name)
    _refuse_target_labels(design, name)


def _refuse_target_labels(design: Design, name: str) -> None:
    for key, settings in design.translator_settings.items():
        by_label = settings.slices == "organ" and sees_target(settings.family)
        used = "judge: target_labels" if settings.judge == "target_labels" else "slices: organ" if by_label else ""
        if used:
            do = "Set slices: source." if by_label else "Set judge: random_contrast, or leave it out."
            found = f"{used}, which uses MR labels"
            raise InputError(f"translators.{key}", found=found, expected=f"none in translators, as {name}", do=do)


def _refuse_target_images(design: Design, name: str) -> None:
    where = {f"translators.{key}": one.family for key, one in design.translator_settings.items()}
    seeing = {key: family for key, family in where.items() if sees_target(family)}
    seeing |= {
        f"segmenters.{key}": "adapt_batch_norm"
        for key, one in design.segmenter_settings.items()
        if one.adapt_batch_norm
    }
    if seeing:
        key, what = next(iter(seeing.items()))
        raise InputError(
            key,
            found=f"{what}, which uses MR images of the training side",
            expected=f"no MR image in training, as {name}: {', '.join(WITHOUT_TARGET)}",
            do="Leave it out, or compare it with `published: uda_abdomen`.",
        )
