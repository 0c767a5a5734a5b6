"""Each check on what it is for: one thing is wrong, and the one sentence about it is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from crossmod.data.deidentify import SYNTHETIC
from crossmod.data.pixel_size import training_scale
from crossmod.data.slices import load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.ensemble import load_run
from crossmod.inference.paired import AgainstTruth
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.trust.assess import Limits, Trust, assess_trust
from crossmod.inference.trust.report import write_trust
from crossmod.inference.trust.similarity import fingerprint_of, read_fingerprint
from crossmod.inference.types import Options, Translation
from crossmod.metrics.fingerprint import CaseGrid, Fingerprint, Training, fingerprint
from crossmod.settings import TranslateSettings
from tests.support.small_models import Made, about, body
from tests.support.stores import Stores, made_volume
from tests.support.training import train

Work = Callable[[np.ndarray], np.ndarray]


def same(images: np.ndarray) -> np.ndarray:
    return images[:, 0]


def patient(slices: int = 10, size: int = 64) -> Volume:
    """Tissue with a texture, and a round liver."""
    volume = body((slices, size, size), (5.0, 5.0, 5.0))
    texture = gaussian_filter(np.random.default_rng(0).normal(size=volume.voxels.shape), 1.5) * 1500
    _, y, x = np.indices(volume.voxels.shape)
    liver = np.asarray((y - 30) ** 2 + (x - 28) ** 2 < 100)
    voxels = np.where(volume.voxels > -900, np.clip(volume.voxels + texture + 300 * liver, -900, 900), -1000)
    named = volume.with_labels(liver.astype(np.uint8), {1: "liver"})
    return replace(named, voxels=voxels.astype(np.float32))


def made(work: Work = same, volume: Volume | None = None, label: Work | None = None, **more: Any) -> Translation:
    """A translation of CT to CT by a network that is a function."""
    organs = ("liver",) if label is not None else ()
    network = Made(about(size=64, organs=organs), work=work, label=label)
    return translate_volume([network], [volume or patient()], Options(**more))


def outcomes(trust: Trust) -> dict[str, str]:
    return {check.name: check.outcome for check in trust.checks}


def judged(translation: Translation, limits: Limits | None = None) -> Trust:
    return assess_trust(translation, None, limits)


def true_labels(images: np.ndarray) -> np.ndarray:
    labels = patient(len(images)).labels
    assert labels is not None
    return labels


def shifted(images: np.ndarray) -> np.ndarray:
    return np.roll(images[:, 0], (3, -2), (1, 2))


def flickering(images: np.ndarray) -> np.ndarray:
    return images[:, 0] * np.where(np.arange(len(images)) % 2, 0.3, 1)[:, None, None]


def test_what_changes_nothing_is_not_warned_of() -> None:
    trust = judged(made(label=true_labels))
    assert trust.ok
    # Its training is not known: there is nothing to compare with.
    assert trust.status == trust.verdict == "not assessed"
    assert trust.shift is not None
    assert (trust.shift.rows, trust.shift.columns, trust.shift.scale) == pytest.approx((0, 0, 1), abs=0.01)
    assert trust.jump == pytest.approx(1, abs=0.01)
    (liver,) = trust.organs
    assert liver.before == pytest.approx(liver.after)
    assert liver.change is not None
    assert liver.change.dice == 1
    assert any("variant" in line for line in trust.unknown)
    assert any("were not compared with the training" in line for line in trust.unknown)


@pytest.mark.parametrize(
    ("translation", "words"),
    [
        (lambda: made(shifted), "shifted by 18.0 mm from the input (+3.0 rows, -2.0 columns"),
        (lambda: made(flickering), "Slices do not fit together"),
        (lambda: made(label=lambda images: np.zeros(images.shape)), "The liver has vanished"),
        (lambda: made(label=lambda images: np.roll(true_labels(images), 15, 1)), "The liver is not where it was"),
        (
            lambda: made(label=lambda images: true_labels(images) * (np.indices(images.shape)[1] > 27)),
            "A piece of the liver was lost",
        ),
        (lambda: replace(made(), clipped=0.5), "50% of the body lies at or beyond -1000 to 1000 HU"),
        (
            lambda: made(lambda images: images[:, 0] + 0.5 * np.linspace(-1, 1, 64), variants=("flip",)),
            "variants differ by more than 200 HU",
        ),
        (lambda: replace(made(), body=np.zeros_like(made().body)), "No body"),
    ],
)
def test_one_thing_is_wrong_and_one_sentence_says_so(translation: Callable[[], Translation], words: str) -> None:
    trust = judged(translation())
    (sentence,) = trust.warnings
    assert words in sentence
    assert not trust.ok
    assert trust.verdict == "1 warning"


def test_an_organ_that_was_not_there_was_made_up() -> None:
    source = patient()
    assert source.labels is not None
    empty = replace(source, labels=np.zeros_like(source.labels))
    assert judged(made(volume=empty, label=true_labels)).warnings[0].startswith("The liver was invented")
    unlabelled = replace(source, labels=None, label_names={})
    trust = judged(made(volume=unlabelled, label=lambda images: np.zeros(images.shape)))
    assert trust.ok
    assert "S finds no liver: it was not scanned, or is lost." in trust.unknown


def test_limits_are_ones_own() -> None:
    assert not judged(made(), Limits(jump=0.5)).ok
    assert judged(made(flickering), Limits(jump=5)).ok
    with pytest.raises(ValidationError):
        Limits(dice=2)


def test_one_slice_has_no_neighbours() -> None:
    trust = judged(made(volume=patient(slices=1)))
    assert trust.ok
    assert any("no neighbours" in line for line in trust.unknown)
    assert trust.plain()["slice_jump_ratio"] is None
    assert trust.plain()["status"] == "not assessed"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fingerprint, list[Volume]]:
    """Of twelve MR patients, and they themselves."""
    rng = np.random.default_rng(3)
    volumes = [made_volume(rng, "mr") for _ in range(12)]
    folder = tmp_path_factory.mktemp("trained") / "mr"
    with writing_store(folder) as writer:
        for number, volume in enumerate(volumes):
            writer.add(f"p{number}", volume, patient=f"p{number}")
    store = Store(folder)
    settings = TranslateSettings(family="cyclegan", source="mr", size=32, load_size=36, frame="stretch", slices="all")
    found = load_slices(store, store.cases, settings, scale=training_scale(settings), labelled=False)
    grids = {case.id: CaseGrid(32, 10.0) for case in store.cases}
    training = Training((found,), (found,), found, None, grids, lambda images: images[:, 0])
    plain = fingerprint(training, settings).model_dump(mode="json", exclude_unset=True)
    read = read_fingerprint({"fingerprint": json.loads(json.dumps(plain))})
    assert read is not None
    assert (read.patients, read.slices_each) == (12, 6)
    return read, volumes


def of_mr(volume: Volume) -> Translation:
    network = Made(about(source="mr", inputs=("t2_spir",)), work=same)
    return translate_volume([network], [volume])


def test_a_training_patient_is_like_the_training(trained: tuple[Fingerprint, list[Volume]]) -> None:
    reference, volumes = trained
    for volume in volumes[:4]:
        trust = assess_trust(of_mr(volume), reference)
        (like,) = trust.likenesses
        assert like.score is not None
        assert 0 < like.score <= 1
        assert like.histogram.sum() == pytest.approx(1)
        assert like.trained.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda voxels: voxels.max() - voxels,
        lambda voxels: np.maximum(voxels, 0) ** 3 / 1e5 + 3 * (np.indices(voxels.shape)[2] % 5),
    ],
    ids=["inverted", "another scanner"],
)
def test_what_looks_otherwise_is_warned_of(
    trained: tuple[Fingerprint, list[Volume]], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    reference, volumes = trained
    other = replace(volumes[0], voxels=change(volumes[0].voxels.astype(np.float32)).astype(np.float32))
    unlike = [line for line in assess_trust(of_mr(other), reference).warnings if "does not look like" in line]
    assert any("The input (t2_spir)" in line for line in unlike)


def test_few_patients_and_none_say_little(trained: tuple[Fingerprint, list[Volume]]) -> None:
    reference, volumes = trained
    translation = of_mr(volumes[0])
    short = {"histogram_distances": reference.inputs[0].histogram_distances[:4]}
    few = reference.model_copy(update={"inputs": (reference.inputs[0].model_copy(update=short),)})
    assert any("trained on 4 patients" in line for line in assess_trust(translation, few).unknown)
    alone = reference.inputs[0].model_copy(update={"histogram_distances": (), "feature_distances": ()})
    one = reference.model_copy(update={"inputs": (alone,), "patients": 1})
    trust = assess_trust(translation, one)
    assert any("it has 0 patients on one side, and limits need 3" in line for line in trust.unknown)
    assert outcomes(trust)["input against training"] == "not assessed"
    assert any("not of the kind" in line for line in assess_trust(made(), reference).unknown)


def test_a_run_knows_what_it_was_trained_on(tmp_path: Path, stores: Stores) -> None:
    run = train(tmp_path / "run", stores, family="cyclegan", source="mr", epochs=1)
    network = load_run(run.path, device="cpu")
    reference = fingerprint_of([network])
    assert reference is not None
    several = fingerprint_of([Made(about()), network])
    assert several is not None
    # Of several networks it is not known what they usually make together.
    assert several == reference.model_copy(update={"made": None})
    assert reference.target is not None
    assert reference.made is not None
    assert len(reference.made.structure) == 5
    assert len(reference.target.organs["liver"]) == network.about.trained_on["ct"]["patients"]
    assert (reference.patients, reference.size, reference.slices) == (5, 32, "organ")
    assert reference == Fingerprint.model_validate(reference.model_dump(mode="json"))
    volume = Store(stores.mr).read("mr-0")
    trust = assess_trust(translate_volume([network], [volume]), reference)
    assert [one.name for one in trust.likenesses] == ["t2_spir"]
    assert any("trained on 4 patients on one side" in line for line in trust.unknown)
    assert trust.output is not None
    assert trust.output.real is not None
    assert trust.output.own is not None
    assert trust.output.own.score is not None
    # One of its own training patients looks as usual; the outcome of one epoch may well be unlike a real CT.
    assert trust.output.own.score <= 1


def test_a_fingerprint_that_is_damaged_is_refused(trained: tuple[Fingerprint, list[Volume]]) -> None:
    plain = trained[0].model_dump(mode="json")
    assert read_fingerprint({}) is None
    assert fingerprint_of([Made(about())]) is None
    for bad in ({"size": 10**9}, {"inputs": []}, {"window": [0, float("nan")]}, {"more": 1}):
        with pytest.raises(InputError):
            read_fingerprint({"fingerprint": {**plain, **bad}})


def test_the_page_tells_all_and_needs_no_other_file(tmp_path: Path, trained: tuple[Fingerprint, list[Volume]]) -> None:
    translation = of_mr(trained[1][0])
    spread = np.where(translation.body, 30, 0).astype(np.float32)
    labels = translation.body.astype(np.uint8)
    full = replace(
        translation, uncertainty=spread, labels=labels, about=replace(translation.about, organs=("liver",), name="<b>")
    )
    trust = assess_trust(full, trained[0])
    write_trust(full, trust, tmp_path / "made.trust.html")
    page = (tmp_path / "made.trust.html").read_text()
    assert page.count("data:image/png") == 4
    assert "not for diagnosis" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert all(line.split(":")[0] in page for line in trust.unknown)
    plain = json.loads((tmp_path / "made.trust.json").read_text())
    assert plain["warnings"] == list(trust.warnings)
    assert plain["uncertainty"]["mean"] == pytest.approx(30)
    assert len(plain["uncertainty"]["by_slice"]) == 6
    write_trust(made(), judged(made()), tmp_path / "made.trust.html")
    (tmp_path / "other.html").write_text("mine")
    with pytest.raises(InputError, match="no HTML page"):
        write_trust(full, trust, tmp_path / "other.html")


def test_the_page_knows_stacks_and_a_truth(tmp_path: Path) -> None:
    translation = made()
    plain = replace(translation, about=replace(translation.about, stack=1))
    several = replace(translation, about=replace(translation.about, stack=5, stack_mm=7.5))
    truth = AgainstTruth("HU", 12.3, 45.6, 30.0, 0.9, 1000, 0.5)
    pages = []
    for one, known in ((plain, None), (several, truth)):
        write_trust(one, judged(one), tmp_path / "a.trust.html", truth=known)
        pages.append(" ".join((tmp_path / "a.trust.html").read_text().split()))
    assert "it sees each slice by itself" in pages[0]
    assert "Compared with the real scan" not in pages[0]
    assert "it sees 5 slices at a time" in pages[1]
    assert "5, 7.5 mm apart" in pages[1]
    assert "Compared with the real scan: mean absolute error 12.3 HU (45.6 where the truth is not cut" in pages[1]
    assert "the scan shows 50% of the body, the rest is not compared" in pages[1]


def test_a_synthetic_input_is_warned_of() -> None:
    translation = made()
    source = replace(translation.sources[0], notes=(SYNTHETIC,))
    warned = judged(replace(translation, sources=(source,))).warnings
    assert warned == ("The input is itself synthetic: its errors are carried over.",)


@pytest.mark.parametrize(
    ("slices", "apart", "said"),
    [
        (6, 7.0, None),
        (6, 9.0, "The model was trained on slices 5.0 mm apart, and the input's lie 9.0 mm"),
        (1, 5.0, "The model sees 3 slices at once, but the input has only one"),
    ],
)
def test_stacks_that_are_not_what_the_model_learnt(slices: int, apart: float, said: str | None) -> None:
    translation = translate_volume([Made(about(stack=3, stack_mm=5.0))], [body((slices, 40, 44), (apart, 8.0, 7.0))])
    found = [one for one in judged(translation).warnings if one.startswith("The model ")]
    assert [one.startswith(said or "-") for one in found] == ([] if said is None else [True])
    alone = replace(translation, about=replace(translation.about, stack=1, stack_mm=None))
    assert not [one for one in judged(alone).warnings if one.startswith("The model ")]


def nonsense(values: float) -> Work:
    return lambda images: np.full(images[:, 0].shape, values)


@pytest.mark.parametrize("values", [-1.0, -0.2, 0.3, 1.0])
def test_an_output_without_structure_is_never_within_limits(
    trained: tuple[Fingerprint, list[Volume]], values: float
) -> None:
    reference, volumes = trained
    network = Made(about(source="mr", inputs=("t2_spir",)), work=nonsense(values))
    trust = assess_trust(translate_volume([network], [volumes[0]]), reference)
    assert trust.status == "doubtful"
    assert any("structure of the input is lost" in line for line in trust.warnings)


def test_a_second_lump_is_found() -> None:
    """A fifth of the organ, elsewhere: Dice and volume are within their limits."""

    def with_lump(images: np.ndarray) -> np.ndarray:
        labels = true_labels(images).copy()
        labels[:, 40:48, 44:52] = 1
        return labels

    (warning,) = judged(made(label=with_lump)).warnings
    assert warning.startswith("A piece of liver was invented")
    organ = judged(made(label=with_lump)).plain()["organs"]["liver"]
    assert organ["dice"] > 0.88
    assert (organ["pieces_before"], organ["pieces_after"]) == (1, 2)


def test_half_a_pixel_is_measured() -> None:
    """Of 5 mm: too little for a warning; one pixel is enough for one."""
    half = judged(made(lambda images: (images[:, 0] + np.roll(images[:, 0], 1, 2)) / 2)).shift
    assert half is not None
    assert half.distance_mm == pytest.approx(2.5, abs=0.4)
    (warning,) = judged(made(lambda images: np.roll(images[:, 0], 1, 1))).warnings
    assert "shifted by 5.0 mm" in warning
    assert judged(made(lambda images: np.roll(images[:, 0], 1, 1)), Limits(shift_mm=8)).ok


def test_a_body_that_fills_the_slices_is_warned_of() -> None:
    translation = made()
    full = replace(translation, body=np.ones_like(translation.body))
    assert any("100% of the slices are taken for body" in line for line in judged(full).warnings)


def test_slices_out_of_order_are_named() -> None:
    volume = patient()
    order = [0, 1, 2, 3, 3, 5, 6, 7, 8, 9]
    copied = replace(volume, voxels=volume.voxels[order])
    (warning,) = judged(made(volume=copied)).warnings
    assert warning == "Input slices are copies of the slice before: slice 5."


def test_a_card_of_an_earlier_version_is_not_assessed(trained: tuple[Fingerprint, list[Volume]]) -> None:
    reference, volumes = trained
    plain = reference.model_dump(mode="json")
    kept = ("histogram", "mean", "variance", "histogram_distances", "feature_distances")
    older = {key: value for key, value in plain.items() if key not in ("target", "made", "made_epoch")}
    older["inputs"] = [{key: one[key] for key in kept} for one in plain["inputs"]]
    read = read_fingerprint({"fingerprint": older})
    assert read is not None
    trust = assess_trust(of_mr(volumes[0]), read)
    found = outcomes(trust)
    assert {found[name] for name in ("input against training", "output against real images")} == {"not assessed"}
    assert any("earlier version" in line for line in trust.unknown)
