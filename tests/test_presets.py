"""Every option of `train` and `segment`, beside every preset: it takes effect, or it is refused in words."""

import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from crossmod import registry
from crossmod.cli.app import main
from crossmod.config import Settings
from crossmod.data.augment import Augmentation
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.experiment.executors.options import ExecutorOptions, executor_of
from crossmod.presets import RIVALS, SEGMENT, TRANSLATE, idle, with_asked
from crossmod.segmentation.train import train_segmenter
from crossmod.settings import SegmentSettings, TranslateSettings
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from tests.support.stores import Stores, made_volume

PRESETS: dict[str, Mapping[str, Any]] = {"train": TRANSLATE, "segment": SEGMENT}
OPTIONS = [
    (command, preset, name)
    for command, presets in PRESETS.items()
    for preset, settings in presets.items()
    for name in type(settings).model_fields
]


def literals(kind: Any) -> tuple[Any, ...]:
    """The words that a setting may be, where there are only some, also where it may be left open."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return tuple(word for part in typing.get_args(kind) for word in literals(part))


MEMBERS: dict[str, registry.Kind] = {
    "family": "family",
    "adversarial": "adversarial_loss",
    "network": "segmenter",
    "loss": "segmentation_loss",
    "augmentation": "augmentation",
}


@pytest.fixture(autouse=True)
def an_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is built in."""
    unchanged = Augmentation(lambda rng, count: {}, lambda images, masks: (images, masks))
    monkeypatch.setitem(registry._REGISTERED["augmentation"], "unchanged", unchanged)


def other_values(settings: Settings, name: str) -> Iterator[Any]:
    """Values of one setting that the preset has not; at least one of them is in range."""
    before, kind = getattr(settings, name), type(settings).model_fields[name].annotation
    choices: tuple[Any, ...] = (
        *literals(kind),
        *(registry.names(MEMBERS[name]) if name in MEMBERS else ()),
        *((True,) if isinstance(before, bool) else ()),
        *((before * 2, before + 1, 1, 3, 8) if isinstance(before, int) and not isinstance(before, bool) else ()),
        *((before / 2, before * 2 + 0.25, 0.5) if isinstance(before, float) else ()),
        *({"window": [(-100.0, 300.0)], "percentiles": [(1.0, 99.0)]}.get(name, ())),
        *({"organs": [("spleen",)], "inputs": [("t1_in",), ("t1_in", "t1_out")]}.get(name, ())),
        *([("p1", "p2")] if name in ("test_patients", "train_patients", "source_patients") else []),
        *(["yes", "no"] if name == "same_people" else []),
        *(["t2_spir"] if name == "sequence" else []),
        *([settings.size + 8] if name == "load_size" else []),  # pyright: ignore[reportAttributeAccessIssue]
    )
    yield from (value for value in choices if value != before)


def asked(settings: Any, name: str, value: Any) -> tuple[Any, str]:
    """The settings with one option, or why it is refused."""
    try:
        return with_asked(settings, {name: value}), ""
    except InputError as error:
        return None, str(error)


@pytest.mark.parametrize(("command", "preset", "name"), OPTIONS)
def test_an_option_that_is_typed_takes_effect_or_is_refused_in_words(command: str, preset: str, name: str) -> None:
    settings = PRESETS[command][preset]
    option, tried = f"--{name.replace('_', '-')}", 0
    for value in other_values(settings, name):
        tried += 1
        made, refusal = asked(settings, name, value)
        if made is None:
            # The option, or what stands against it, is named.
            assert option in refusal or name in refusal
            continue
        changed = {one for one in type(made).model_fields if getattr(made, one) != getattr(settings, one)}
        assert getattr(made, name) == value
        assert name not in idle(made)
        # Nothing else changes but what the option replaces.
        assert changed <= {name, *RIVALS.get(name, {})}
    assert tried or getattr(settings, name) is True, f"no other value of {name} was tried"


@pytest.mark.parametrize(
    ("preset", "typed", "expected"),
    [
        ("tiny", {"epochs": 3}, {"epochs": 3, "steps": 0}),
        ("tiny_modern", {"epochs": 3}, {"epochs": 3, "steps": 0}),
        ("tiny", {"steps": 7}, {"steps": 7}),
        ("tiny", {"strong_augment": True}, {"strong_augment": True, "augment": False}),
        ("modern", {"augment": True}, {"strong_augment": False, "augment": True}),
    ],
)
def test_what_is_typed_wins_over_what_a_preset_says_instead(
    preset: str, typed: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = with_asked(SEGMENT[preset], typed)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("command", "preset", "typed", "words"),
    [
        ("segment", "tiny", {"epochs": 3, "steps": 9}, "--epochs 3 and --steps 9"),
        ("segment", "tiny", {"augment": True, "strong_augment": True}, "one augmentation"),
        ("segment", "tiny", {"window": (0.0, 100.0)}, "--window: a setting that would have no effect"),
        ("segment", "tiny", {"min_consistency": 0.5}, "--count with it"),
        ("train", "tiny", {"test_slices": 9}, "--split slice with it"),
        ("train", "tiny", {"split": "slice", "fold": 2}, "--split patient with it"),
        ("train", "tiny", {"test_patients": ("a",), "fold": 2}, "no --test-patients beside it"),
        ("train", "tiny", {"branch_blocks": 2}, "--family multi_input and several --inputs"),
        ("train", "tiny", {"family": "cyclegan", "lambda_5": 3.0}, "--family essnet with it"),
        ("train", "tiny_triple", {"branch_blocks": 4}, "at most 3, the residual blocks"),
        ("train", "tiny", {"select_patients": 2}, "--select-every with it"),
    ],
)
def test_a_refusal_says_what_stands_against_it(command: str, preset: str, typed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_asked(PRESETS[command][preset], typed)


def test_the_command_line_follows(capsys: pytest.CaptureFixture[str]) -> None:
    main(["segment", "out", "--real", "x", "--preset", "tiny", "--epochs", "3", "--dry-run"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["epochs"], printed["steps"]) == (3, 0)
    with pytest.raises(SystemExit):
        main(["segment", "out", "--real", "x", "--preset", "tiny", "--epochs", "3", "--steps", "3", "--dry-run"])
    assert "--epochs 3 and --steps 3. Expected: one of the two" in capsys.readouterr().err


def test_a_file_wins_too_and_a_run_s_own_file_is_taken_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part, whole = tmp_path / "part.yaml", tmp_path / "config.yaml"
    part.write_text("epochs: 3\n")
    whole.write_text(yaml.safe_dump({"kind": "segment", "settings": SEGMENT["tiny"].model_dump(mode="json")}))
    for path, expected in ((part, (3, 0)), (whole, (300, 500))):
        main(["segment", "out", "--real", "x", "--preset", "tiny", "--config", str(path), "--dry-run"])
        printed = yaml.safe_load(capsys.readouterr().out)
        assert (printed["epochs"], printed["steps"]) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gpus": 1.0}, "--executor ray or slurm"),
        ({"hours": 3.0, "executor": "ray"}, "--executor slurm"),
        ({"address": "auto", "executor": "slurm"}, "--executor ray"),
        ({"partition": "long"}, "--executor slurm"),
    ],
)
def test_an_option_of_another_executor_is_refused(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        executor_of(tmp_path, ExecutorOptions(**given))


# What idle() says is held against what a training really reads and what really changes its result.
READ: set[str] = set()
SMALL: dict[str, Any] = {"precision": "fp32", "size": 16, "epochs": 1}
TRAIN: dict[str, Any] = {
    **SMALL,
    "epochs": 2,
    "sample_every": 1,
    "generator_filters": 2,
    "generator_blocks": 1,
    "discriminator_filters": 2,
    "discriminator_layers": 1,
    "compile": "off",
    "ct_slices": 4,
    "mr_slices": 4,
}


def watched(kind: type[Settings]) -> type[Settings]:
    """The same settings, which note what is read of them."""

    class Watched(kind):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
        def __getattribute__(self, name: str) -> Any:
            READ.add(name)
            return super().__getattribute__(name)

    return Watched


def trained(out: Path, stores: Stores, given: dict[str, Any]) -> dict[str, Any]:
    settings = watched(TranslateSettings)(**{**TRAIN, **given})
    READ.clear()
    return train_translator(out, ct=stores.ct, mr=stores.mr, settings=settings).card  # pyright: ignore[reportArgumentType]


def segmented(out: Path, stores: Stores, given: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {**SMALL, "network": "tiny", "batch_size": 8}
    settings = watched(SegmentSettings)(**{**plain, **given})
    real, synthetic = (stores.ct, None) if given.get("modality") == "ct" else (stores.mr, None)
    if given.get("count"):
        source = out.parent / "translator"
        train_translator(source, ct=stores.ct, mr=stores.mr, settings=TranslateSettings(**TRAIN))
        synthetic = synthesize(source, source=stores.ct, out=out.parent / f"{out.name}-made").store.path
    READ.clear()
    return train_segmenter(out, real=real, synthetic=synthetic, settings=settings).card  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Stores:
    """Two sequences of each MR patient."""
    from dataclasses import replace

    import numpy as np

    path, rng = tmp_path_factory.mktemp("several") / "mr", np.random.default_rng(2)
    with writing_store(path) as writer:
        for number in range(5):
            volume = made_volume(rng, "mr")
            for name in ("t1_in", "t1_out"):
                writer.add(f"mr-{number}-{name}", replace(volume, sequence=name), patient=f"mr-{number}")
    return Stores(stores.ct, path)


Work = Callable[[Path, Stores, dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("work", "kind", "given", "several_inputs"),
    [
        (trained, TranslateSettings, {}, False),
        (trained, TranslateSettings, {"family": "cyclegan", "slices": "all"}, False),
        (trained, TranslateSettings, {"family": "cyclegan", "test_patients": ("mr-1",)}, False),
        (trained, TranslateSettings, {"split": "slice", "test_slices": 3}, False),
        (
            trained,
            TranslateSettings,
            {"family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "branch_blocks": 1},
            True,
        ),
        (segmented, SegmentSettings, {}, False),
        (segmented, SegmentSettings, {"modality": "ct", "steps": 3}, False),
        (segmented, SegmentSettings, {"count": 4, "without_real": True}, False),
        (segmented, SegmentSettings, {"split": "slice", "test_slices": 3}, False),
    ],
)
def test_what_is_said_to_have_no_effect_has_none_and_the_rest_is_read(
    tmp_path: Path,
    stores: Stores,
    several: Stores,
    work: Work,
    kind: type[TranslateSettings] | type[SegmentSettings],
    given: dict[str, Any],
    several_inputs: bool,
) -> None:
    own = several if several_inputs else stores
    card = work(tmp_path / "one", own, given)
    settings = kind(**{**(TRAIN if kind is TranslateSettings else SMALL), **given})
    said = set(idle(settings))
    unread = set(kind.model_fields) - READ - said
    assert not unread, f"nothing reads {sorted(unread)}, and nothing says so"
    # A rival that is read and overruled, such as epochs beside steps, is told by the result alone.
    changes = {name: next(other_values(settings, name)) for name in sorted(said - {"stack_mm", "sequence"})}
    for name in ("test_patients", "train_patients"):
        if name in changes:
            changes[name] = ("mr-0",) if name == "test_patients" else ("mr-2",)
    again = work(tmp_path / "two", own, {**given, **changes})
    assert again["weights_sha256"] == card["weights_sha256"], f"one of {sorted(said)} has an effect"
