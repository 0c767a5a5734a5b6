import re
from pathlib import Path
from typing import Any

import pytest

from crossmod.experiment.analysis.explain import explain_gain
from crossmod.html.page import templates
from crossmod.report.experiment.analysis import why_section
from tests.support.made_up_runs import Made, layer_of

COUNTS = [0, 3, 4, 5, 6, 7, 8, 20]


def page(findings: Any) -> str:
    return templates("crossmod.report").get_template("experiment_why.html").render(why=why_section(findings))


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("experiment")
    made = Made(
        dice=lambda arm, case, number: 0.7 + 0.1 * (arm == "real + 20 essnet" and layer_of(number) == 3),
        changes={"counts": COUNTS, "folds": 4},
    )
    plan, results = made.experiment(root)
    arms = [{"name": arm.name, "baseline": arm.baseline} for arm in plan.arms.values()]
    return {"organ": "liver", "arms": arms, "why": explain_gain(plan, root, results)}


def test_words_follow_the_numbers_and_nothing_comes_from_outside(findings: dict[str, Any]) -> None:
    text = page(findings)
    for words in (
        "real + 20 essnet: slice Dice changes in layer 3 by +0.10",
        "no arm&#39;s change of what is found there is shown",
        "6 of 7 arms are drawn.",
        "kidneys to dome (8)",
        "not shown: needs at least 8 synthetic sets; there are 4.",
        "8 of 8 patients gain",
        "A loss still fell by more than a tenth",
    ):
        assert words in text, words
    assert text.count("data:image/png;base64,") == 3
    assert text.count("alt=") == 3
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    bare = re.sub(r"base64,[^\"]*", "", text)
    assert "None" not in bare
    assert not re.search(r"\bnan\b|\binf\b", bare)


@pytest.mark.slow
def test_where_nothing_stands_out_it_says_so(tmp_path: Path) -> None:
    plan, results = Made(changes={"counts": [0, 4]}, test_on="organ").experiment(tmp_path)
    text = page({"organ": "liver", "arms": [], "why": explain_gain(plan, tmp_path, results)})
    assert "No axial layer stands out" in text
    assert "No size of the organ stands out" in text
    assert "No slice without the organ was tested" in text
    assert "Too few slices for a Fréchet distance" in text


@pytest.mark.slow
def test_of_baselines_alone_there_are_curves(tmp_path: Path) -> None:
    plan, results = Made(changes={"counts": [0]}).experiment(tmp_path)
    found = explain_gain(plan, tmp_path, results)
    assert found["quality"] is None
    text = page({"organ": "liver", "arms": [{"name": "real", "baseline": None}], "why": found})
    assert "How the trainings went" in text
    assert "Where the gain lies" not in text


def test_what_could_not_be_read_is_said(findings: dict[str, Any]) -> None:
    lost = {**findings["why"], "strata": None, "notes": ["Where the gain lies is left out."]}
    text = page({**findings, "why": lost})
    assert '<p class="warning">Where the gain lies is left out.</p>' in text
    assert "What the synthetic slices were like" in text


def test_an_experiment_without_it_has_no_section(findings: Any) -> None:
    empty: Any = {"strata": None, "quality": None, "curves": None, "notes": []}
    without: list[Any] = [{**findings, "why": None}, {"arms": []}, {"why": empty}]
    assert [why_section(one) for one in without] == [None] * 3
