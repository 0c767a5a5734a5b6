from pathlib import Path

import pytest
import yaml

from crossmod.errors import InputError
from crossmod.experiment.design import presets, read_design
from tests.support.small_design import SEGMENTER, TRANSLATOR, small_design


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_whole(name: str) -> None:
    design = read_design(name)
    assert design.about
    assert design.target == "mr"
    assert any(str(count) == "0" for count in design.counts)


def test_the_papers_tables() -> None:
    """Rafiq et al. 2025, Tables 2 to 4: counts, the split, the training of both networks."""
    third, fourth = read_design("rafiq2025_table3"), read_design("rafiq2025_table4")
    assert third.counts == (0, 354, 714, 1034, 1487, 2050)
    assert (third.split, third.test_slices) == ("slice", 58)
    assert fourth.counts == (0, 714)
    families = {name: one.family for name, one in fourth.translator_settings.items()}
    assert families == {"essnet": "essnet", "cyclegan": "cyclegan"}
    for one in third.segmenter_settings.values():
        assert (one.network, one.epochs, one.batch_size, one.learning_rate) == ("unet", 300, 2, 1e-4)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(small_design().model_dump(mode="json", exclude_defaults=True)))
    assert read_design(str(path)) == small_design()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": ["many"]}, "counts such as 354 or 0.5x"),
        ({"counts": [0, 0]}, "each of counts once"),
        ({"seeds": []}, "at least one of seeds"),
        ({"labelled": [-1]}, "one or more labelled patients"),
        ({"labelled": [0, "none"]}, "each of labelled once"),
        ({"only_folds": [2]}, "folds from 0 to 1"),
        ({"min_consistency": [1.5]}, "a Dice from 0 to 1"),
        ({"split": "slice", "labelled": [2]}, "with `split: slice`"),
        ({"split": "slice", "test_patients": ["a"]}, "no test_patients and no source_left_out with `split: slice`"),
        ({"only_folds": [0], "test_patients": ["a"]}, "folds or test_patients"),
        ({"test_patients": ["a", "a"]}, "each of test_patients once"),
        ({"translators": {}}, "at least one of translators"),
        ({"translators": {"a/b": TRANSLATOR}}, "letters, digits"),
        ({"colour": "red"}, "a known setting"),
    ],
)
def test_what_a_design_may_not_ask(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        small_design(**changes)


@pytest.mark.parametrize(
    ("part", "recipe", "words"),
    [
        ("translators", {"preset": "nothing"}, r"translators\.one\.preset"),
        ("translators", {"preset": "tiny", "settings": {"sice": 32}}, r"translators\.one\.settings"),
        ("segmenters", {"preset": "tiny", "settings": {"batch_size": 0}}, r"segmenters\.one\.settings"),
        # Sides of its own for one run would be a leak.
        ("translators", {"preset": "tiny", "settings": {"test_patients": ["p"]}}, "the experiment decides"),
        ("segmenters", {"preset": "tiny", "settings": {"fold": 1}}, "the experiment decides"),
    ],
)
def test_what_a_recipe_may_not_ask(tmp_path: Path, part: str, recipe: dict[str, object], words: str) -> None:
    values = {"translators": {"one": TRANSLATOR}, "segmenters": {"one": SEGMENTER}, part: {"one": recipe}}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=words):
        read_design(str(tmp_path / "d.yaml"))


def test_translators_and_segmenters_of_two_modalities(tmp_path: Path) -> None:
    values = {
        "translators": {"one": TRANSLATOR},
        "segmenters": {"one": {"preset": "tiny", "settings": {"modality": "ct"}}},
    }
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="Expected: one modality"):
        read_design(str(tmp_path / "d.yaml"))


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"'tyni'.*liver_patients.*tiny"):
        read_design("tyni")
