import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from crossmod import __version__
from crossmod.errors import InputError
from crossmod.report.build import build_report
from crossmod.report.experiment import paper as published
from crossmod.report.experiment.build import build_experiment_report, pictures
from crossmod.report.experiment.data import read_experiment
from crossmod.report.experiment.figures import extremes
from crossmod.report.experiment.methods import bibtex
from tests.support.experiment_folder import PATIENTS, effect, run_name, save, write_experiment
from tests.support.paths import ROOT


class Words(HTMLParser):
    """What a reader reads: text and the descriptions of pictures."""

    def __init__(self, page: str):
        super().__init__()
        self.words: list[str] = []
        self.hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag == "style"
        self.words += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(root: Path) -> str:
    build_experiment_report(root, root.parent / f"{root.name}.html")
    return (root.parent / f"{root.name}.html").read_text()


def text_of(root: Path) -> str:
    return Words(page_of(root)).text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("experiment") / "whole"
    write_experiment(root)
    return root


@pytest.fixture(scope="module")
def page(whole: Path) -> str:
    return page_of(whole)


def test_the_answer_stands_first(page: str) -> None:
    text = Words(page).text
    assert "What is it worth?" in text
    assert "Liver in MR. 4 test patients, 2 folds, 2 seeds per arm and fold; tested on patients that nothing" in text
    answer = text.index("Synthetic slices improve 3D Dice (1 arm).")
    sentence = text.index("real + 1x essnet: improves 3D Dice by +0.050 (4 patients, 2 seeds).")
    assert answer < sentence < text.index("Change of 3D Dice [95 %]") < text.index("Every arm against its baseline")
    order = ['id="answer"', 'id="figures"', 'id="paper"', 'id="cases"', 'id="papers"', 'id="costs"']
    assert [page.index(one) for one in order] == sorted(page.index(one) for one in order)


def test_the_table_of_arms(page: str) -> None:
    rows = re.findall(r"<tr[^>]*>(?:<td.*?</td>\s*)+</tr>", page, re.DOTALL)
    cells = [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows[:2]]
    assert cells == [
        ["real", "350", "0", "0.825 [0.750, 0.950]", "0.815 to 0.835", "", "", "", "baseline"],
        ["real + 1x essnet", "350", "3", "0.875 [0.750, 0.950]", "0.865 to 0.885", "+0.050 [+0.040, +0.060]", "0.004",
         "0.125", "improves"],
    ]  # fmt: skip


def test_the_table_of_other_scores(page: str) -> None:
    others = page[page.index("Other scores") :]
    rows = re.findall(r"<tr[^>]*>(?:<td.*?</td>\s*)+</tr>", others, re.DOTALL)
    cells = [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows[:2]]
    same = ["0.710", "12.3 mm", "3.2 mm", "45.7 mm", "8.9 %", "0.690", "0.8765", "0.7801", "0.9876"]
    assert cells == [["real", *same], ["real + 1x essnet", *same]]


def test_nothing_comes_from_outside(page: str, whole: Path) -> None:
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert not re.search(r"url\(|@import|<script", page)
    assert all(re.findall(r"<img [^>]*alt=\"([^\"]+)\"", page))
    assert page.count("<img ") == page.count(' alt="')
    assert str(whole.parent) not in page


def test_no_hole_shows(page: str) -> None:
    text = Words(page).text
    assert not re.search(r"\b(None|nan|inf)\b", text)
    assert "Table 4: this experiment has no arm with slices of CycleGAN." in text
    for words in ("Figure 11", "Figure 12", "What failed", "leaking split", "Why:"):
        assert words not in text


def test_published_numbers_are_those_of_the_paper(page: str) -> None:
    assert [(row.real + row.synthetic, row.dice, row.iou) for row in published.ESSNET] == [
        (350, 0.9459, 0.8974), (704, 0.9467, 0.8989), (1064, 0.9524, 0.9091), (1384, 0.9485, 0.9020),
        (1837, 0.9475, 0.9002), (2400, 0.9505, 0.9058),
    ]  # fmt: skip
    assert [row.synthetic for row in published.ESSNET] == [0, 354, 714, 1034, 1487, 2050]
    assert [(row.dice, row.iou) for row in published.CYCLEGAN] == [(0.9459, 0.8974), (0.9460, 0.8976)]
    assert (published.TRAINED_MR, published.TRAINED_CT, published.GENERATED, published.TESTED_MR) == (
        350,
        350,
        2050,
        58,
    )
    costs = published.COSTS
    assert (costs["essnet"].parameters, costs["essnet"].seconds, costs["essnet"].speed) == (28256644, 230, 2.02)
    assert (costs["unet"].parameters, costs["unet"].seconds, costs["unet"].speed) == (31031685, 80, 21)
    text = Words(page).text
    assert "the best row is +0.0065 Dice and +0.0117 IoU above real slices alone" in text
    assert "lower numbers are expected and do not contradict the paper" in text


def test_the_published_scores_are_pooled_over_pixels() -> None:
    """Seven rows of two tables: IoU = Dice / (2 - Dice), within the rounding of both to four digits.

    Of all pixels together this always holds. Of means over slices it does not: their IoU is larger, the more the slices
    differ; 58 slices whose Dice has an SD of 0.03 are off by ten roundings.
    """
    rows = {(row.real, row.synthetic, row.dice): row for row in (*published.ESSNET, *published.CYCLEGAN)}
    assert len(rows) == 7
    for row in rows.values():
        ends = [dice / (2 - dice) for dice in (row.dice - 5e-5, row.dice + 5e-5)]
        assert ends[0] - 5e-5 <= row.iou <= ends[1] + 5e-5
    slices = np.clip(np.random.default_rng(0).normal(0.9459, 0.03, 58), 0, 1)
    means = slices.mean(), (slices / (2 - slices)).mean()
    assert means[1] > means[0] / (2 - means[0]) + 1e-3


def row_of(page: str, first: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(<td.*?)</tr>", page, re.DOTALL)
    cells = [[re.sub("<[^>]+>", "", one) for one in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows]
    return [row for row in cells if row and row[0] == first]


def test_our_rows_stand_beside_the_published_ones(page: str) -> None:
    """350 real slices alone are the paper's first row; ours with 3 synthetic ones is none of theirs."""
    assert row_of(page, "essnet")[0] == ["essnet", "4", "2", "3", "3"]
    measured = ["0.8765", "0.7801", "0.7012", "0.6034"]
    assert ["350 real", "0.9459", "0.8974", *measured, "0.825 [0.750, 0.950]"] in row_of(page, "350 real")
    ours = ["real + 1x essnet", "", "", *measured, "0.875 [0.750, 0.950]"]
    assert ours in row_of(page, "real + 1x essnet")
    assert ["real + 1x essnet", "350", "3", "353", "6"] in row_of(page, "real + 1x essnet")


def test_costs(page: str) -> None:
    text = Words(page).text
    detail = "G1 10, G2 20, D1 1, D2 2, S 5; 2 G + 2 D, as the paper counts: 33"
    assert f"essnet (EssNet) {detail} 38 2 2.5000 5.00 50.0 to 51.0 8 min a GPU" in text
    (unet,) = row_of(page, "unet")
    assert unet[1:7] == ["1,234", "8", "0.2000", "2.00", "30.0", "5 min"]
    assert "All finished trainings together took 14 min: 8 min for 2 translators and 5 min for 8 segmenters" in text
    assert row_of(page, "EssNet, Rafiq et al. 2025")[0][4:6] == ["230", "2.02"]


def test_methods_and_references(page: str) -> None:
    methods, references = (html.unescape(one) for one in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL))
    for words in (
        "4 test patients", "divided into 2 folds", "each was tested on once", "EssNet (2 trainings; CT: 2 slices of 1",
        "weights lambda 1 to 5: 1, 1, 10, 10, 1", "learning rate 0.0001", "100 epochs (100 steps)", "1,234 parameters",
        "200 steps", "Student's t", "8 segmenters", "PyTorch 2.13.0", "a GPU",
    ):  # fmt: skip
        assert words in methods, words
    keys = ("rafiq2025", "zhu2017cyclegan", "huo2018essnet", "ronneberger2015unet", "kavur2021chaos", "crossmod")
    for key in (*keys, "nadeau2003inference"):
        assert f"{{{key}," in references
    assert "synthetic slices in general" not in methods
    assert "MONAI" not in references
    assert "stacks" not in methods

    assert references.count("{") == references.count("}")


def test_the_methods_tell_of_stacks(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "stacks")
    for path in (tmp_path / "stacks").rglob("card.json"):
        card = json.loads(path.read_text())
        if "generator_blocks" in card.get("settings", {}):
            card["settings"]["stack"], card["stack_mm"] = 3, 7.25
            path.write_text(json.dumps(card))
    text = text_of(tmp_path / "stacks")
    assert "patients): stacks of 3 slices, 7.2 mm apart; generators with" in text


def test_monai_is_cited_where_it_was_used() -> None:
    references = bibtex(["unet", "dynunet", "dynunet", "swin_unetr"])
    assert [references.count(key) for key in ("{cardoso2022monai", "{isensee2021nnunet", "{hatamizadeh2022swin")] == [
        1
    ] * 3
    assert "oktay" not in references
    assert references.count("{") == references.count("}")


def test_crossmod_is_cited_as_its_citation_file_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    references = bibtex([])
    (author,) = citation["authors"]
    assert f"author = {{{{{author['name']}}}}}" in references
    assert f"version = {{{citation['version']}}}" in references
    assert citation["version"] == __version__
    (paper,) = citation["references"]
    assert paper["title"] in references
    for one in paper["authors"]:
        assert f"{one['family-names']}, {one['given-names']}" in references


def test_best_and_worst_cases(whole: Path, page: str) -> None:
    found: Any = extremes(read_experiment(whole))
    assert found is not None
    assert (found["slices"], found["better"], found["worse"], found["seed"]) == (8, 8, 0, 0)
    assert set(found["panels"]) == {"Largest gains"}
    # One slice a case: in slice 2 the baseline has 0.1 less, and the arm 0.1 more.
    assert "a, slice 2: Dice 0.60 to 0.85" in found["panels"]["Largest gains"]["alt"]
    assert "slice 1" not in found["panels"]["Largest gains"]["alt"]
    assert "of 8 test slices that show the organ 8 gain and 0 lose" in Words(page).text


def test_luck_is_told_in_numbers(whole: Path) -> None:
    """Seeds of the baseline: 0.815 and 0.835; of the arm: 0.865 and 0.885."""
    shown: Any = pictures(read_experiment(whole))
    assert "anything from +0.030 to +0.070; over all seeds it is +0.050" in str(shown["luck"])
    assert all(shown[name] for name in ("forest", "patients", "seeds"))
    assert "best mean is at 3 synthetic slices. Enough: 0" in shown["curves"][0]["words"]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where words alone are looked at, pictures need not be drawn: it takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda _, stream, **__: stream.write(b"no picture"))


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    root = tmp_path / "small"
    return root, write_experiment(root)


@pytest.mark.usefixtures("undrawn")
def test_warnings_of_a_bad_design(tmp_path: Path) -> None:
    root = tmp_path / "leaking"
    findings = write_experiment(root, leaking=True, seeds=(0,))
    findings["arms"][1]["effects"]["dice"] = effect(0.05, "not shown")
    save(root, findings)
    text = text_of(root)
    assert "Split by slice, as in Rafiq et al. 2025" in text
    assert "One seed per arm: two runs of one arm often differ by more than two arms do" in text
    assert "No effect shown (1 arm); this does not show that there is none." in text
    assert "Ours over all pixels are the same measure on the same kind of split" in text
    # What takes two seeds to see is not drawn.
    assert "What one lucky run could have shown" not in text
    assert "One training of" not in text


@pytest.mark.usefixtures("undrawn")
def test_the_headline_says_what_hurts(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    findings["arms"][1]["effects"]["dice"] = effect(-0.05, "hurts")
    save(root, findings)
    assert "Synthetic slices lower 3D Dice (1 arm)." in text_of(root)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("scope", "headline", "cell"), [
    ("this model", "This model improves 3D Dice (1 arm).", "this model improves"),
    ("these models", "These models improve 3D Dice (1 arm).", "these models improve"),
])  # fmt: skip
def test_what_one_translator_shows_is_of_that_model(
    small: tuple[Path, dict[str, Any]], scope: str, headline: str, cell: str
) -> None:
    root, findings = small
    found = effect(0.05, scope=scope)
    findings["arms"][1]["effects"]["dice"] = found
    save(root, findings)
    page = page_of(root)
    text = Words(page).text
    assert headline in text
    assert row_of(page, "real + 1x essnet")[0][-1] == cell
    assert "The results are of these trained translators, and not of synthetic slices in general." in text
    assert not re.search("synthetic slices (improve|lower|hurt)", text, re.IGNORECASE)


@pytest.mark.usefixtures("undrawn")
def test_findings_of_an_earlier_version_speak_of_their_models(small: tuple[Path, dict[str, Any]]) -> None:
    """Their translators had one seed in all folds, and nothing was kept of what patients had no score."""
    root, findings = small
    old = {"mean", "low", "high", "p", "patients", "seeds", "left_out", "holm", "wilcoxon", "wilcoxon_holm", "arms"}
    for arm in findings["arms"]:
        for metric in ("mssd", "ravd"):
            del arm["effects"][metric], arm["scores"][metric]
        for metric in ("pooled_dice", "pooled_iou"):
            del arm["by_run"][metric]
        for metric, found in arm["effects"].items():
            if found is not None:
                kept = {key: value for key, value in found.items() if key in old | {"verdict", "sentence"}}
                arm["effects"][metric] = kept
    save(root, findings)
    text = text_of(root)
    assert "These models improve 3D Dice (1 arm)." in text
    assert not re.search(r"\b(None|nan)\b", text)


@pytest.mark.usefixtures("undrawn")
def test_a_baseline_that_was_not_trained_allows_no_conclusion(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    why = "the baseline is not trained enough (its Dice is 0.180)"
    sentence = f"real + 1x essnet: 3D Dice not comparable: {why}."
    for metric in findings["arms"][1]["effects"]:
        found = effect(-0.2, "not comparable", untrained=why, obstacle=why, sentence=sentence)
        findings["arms"][1]["effects"][metric] = found
    save(root, findings)
    page = page_of(root)
    text = Words(page).text
    assert "Not trained enough to compare (1 arm)." in text
    assert sentence in text
    assert f"T{why[1:]}: no arm can be compared with it. Train longer." in text
    assert row_of(page, "real + 1x essnet")[0][-1] == "not comparable"
    assert not re.search("(improve|lower|hurt)s? 3D Dice", text)


@pytest.mark.usefixtures("undrawn")
def test_both_arms_counts_of_patients_with_a_score_are_shown(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    words = "HD95 is defined for 3 of 4 patients without synthetic slices and for 2 with them."
    for arm, missing in zip(findings["arms"], (1, 2), strict=True):
        arm["scores"]["hd95"]["undefined"] = missing
    findings["arms"][1]["effects"]["hd95"] |= {"failures": words, "left_out": 2}
    save(root, findings)
    page = page_of(root)
    assert ">12.3 mm (3 of 4)</td>" in page
    assert ">12.3 mm (2 of 4)</td>" in page
    text = Words(page).text
    assert f"real + 1x essnet: {words}" in text
    assert "HD95: undefined for some patients" in text
    assert "real: 1 of 4, real + 1x essnet: 2 of 4 patients" in text
    assert "ASSD: undefined" not in text


@pytest.mark.usefixtures("undrawn")
def test_warnings_of_the_runs(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    findings["arms"][1]["constant"] = 1
    findings["arms"][1]["wanted"] = 6
    findings["arms"][1]["scores"]["hd95"] = {**findings["arms"][1]["scores"]["hd95"], "mean": None, "undefined": 2}
    findings["missing"] = ["real + 2x essnet"]
    findings["failed"] = [
        {"title": "two", "kind": "segment", "run": "segment-2", "why": "out of memory"},
        {"title": "three", "kind": "segment", "run": "segment-3", "why": "it needs segment-2, which failed"},
    ]
    save(root, findings)
    plan = json.loads((root / "plan.json").read_text())
    plan["jobs"].append({"name": "segment-3", "kind": "segment", "title": "", "needs": {"x": "segment-2"}, "work": 1})
    (root / "plan.json").write_text(json.dumps(plan))
    card = root / "runs" / run_name("real + 1x essnet", 0, 0) / "card.json"
    alarm = {"step": 3, "alarm": "loss is stuck", "seen": "x", "advice": "y"}
    card.write_text(json.dumps({**json.loads(card.read_text()), "steps": 300, "alarms": [alarm]}))
    text = text_of(root)
    for words in (
        "real + 1x essnet: in 1 of 4 runs the network found nothing or everything",
        "real + 1x essnet: 4 of 6 runs are finished", "HD95: undefined for some patients", "real + 1x essnet: 2 of 4",
        "Without results, as no seed is finished in all folds: real + 2x essnet",
        "1 run failed, and 1 more could not be made because of that", "out of memory",
        "different numbers of training steps (real: 200, real + 1x essnet: 300)",
        "Alarms (loss is stuck) were raised in 1 of 8 trainings of segmenters",
        "2 folds: the effect that a fold's translator and training side have",
    ):  # fmt: skip
        assert words in text, words
    assert "ASSD: undefined" not in text


@pytest.mark.usefixtures("undrawn")
def test_a_failed_experiment_has_a_page_too(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    findings["failed"] = [{"title": "t", "kind": "segment", "run": "r", "why": "it was lost"}]
    save(root, {**findings, "arms": [], "curves": [], "patients": [], "missing": ["real"]})
    text = text_of(root)
    assert "No arm with synthetic slices has results yet." in text
    assert "it was lost" in text
    assert not re.search(r"\b(None|nan)\b", text)


@pytest.mark.usefixtures("undrawn")
def test_a_baseline_alone(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    save(root, {**findings, "arms": findings["arms"][:1], "curves": [], "missing": ["real + 1x essnet"]})
    text = text_of(root)
    assert "No arm with synthetic slices has results yet." in text
    assert "Best and worst cases" not in text
    assert "Table 3: this experiment has no arm with slices of EssNet." in text


@pytest.mark.usefixtures("undrawn")
def test_an_arm_without_its_baseline_is_not_compared(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    alone = findings["arms"][1]
    alone["effects"] = dict.fromkeys(alone["effects"])
    alone["power"] = None
    save(root, {**findings, "arms": [alone], "curves": [], "missing": ["real"]})
    text = text_of(root)
    assert "not compared, since its baseline (real) has no results" in text
    assert "Not compared: the baseline has no results (1 arm)." in text


@pytest.mark.usefixtures("undrawn")
def test_cyclegan_has_its_table_and_no_consistency(tmp_path: Path) -> None:
    root = tmp_path / "cyclegan"
    write_experiment(root, family="cyclegan")
    text = text_of(root)
    assert "Table 4: Segmentation with slices of CycleGAN" in text
    assert "Table 3: this experiment has no arm with slices of EssNet." in text
    assert "so that its slices have no label consistency" in text
    assert "weights lambda 1 to 4" in text


def test_names_are_text_and_never_markup(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    name = 'a <b>&"c" $x$'
    for arm in findings["arms"]:
        arm["name"] = arm["name"].replace("real + 1x essnet", name)
    findings["about"] = "<script>alert(1)</script>"
    findings["failed"] = [{"title": "<i>", "kind": "segment", "run": "r", "why": "a < b"}]
    save(root, findings)
    page = page_of(root)
    assert "<script>" not in page
    assert "<b>" not in page
    assert html.escape(name, quote=False).split('"')[0] in page
    assert name in Words(page).text


@pytest.mark.usefixtures("undrawn")
def test_many_arms_leave_the_largest_effects_first(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    base, arm = findings["arms"]
    copies = []
    for number in range(1, 13):
        verdict = "improves" if number > 2 else "not shown"
        found = {**effect(number / 100, verdict), "sentence": f"arm {number}: {verdict}."}
        copies.append({**arm, "name": f"arm {number}", "effects": {**arm["effects"], "dice": found}})
    save(root, {**findings, "arms": [base, *copies]})
    page = page_of(root)
    first = page[page.index('class="headline"') : page.index("The other 4 arms")]
    assert re.findall(r"arm (\d+): improves", first) == [str(number) for number in range(5, 13)]
    assert "6 more are in results.csv" in Words(page).text


@pytest.mark.usefixtures("undrawn")
def test_report_takes_an_experiment_by_itself(whole: Path, tmp_path: Path) -> None:
    build_report([whole], tmp_path / "page.html")
    assert "real + 1x essnet: improves 3D Dice" in (tmp_path / "page.html").read_text()
    # Named twice it is the same one; written over, as it is an earlier report.
    build_report([whole, whole / "runs" / ".."], tmp_path / "page.html")
    with pytest.raises(InputError, match="an experiment, beside"):
        build_report([whole / "runs" / "train-0", whole], tmp_path / "page.html")
    with pytest.raises(InputError, match="no HTML page"):
        build_experiment_report(whole, whole / "findings.json")


@pytest.mark.usefixtures("undrawn")
def test_an_experiment_without_results_is_told_apart(tmp_path: Path) -> None:
    write_experiment(tmp_path / "x")
    (tmp_path / "x" / "findings.json").unlink()
    with pytest.raises(InputError, match=r"without findings\.json"):
        build_report([tmp_path / "x"], tmp_path / "page.html")
    (tmp_path / "x" / "findings.json").write_text("[]")
    with pytest.raises(InputError, match="something else"):
        build_report([tmp_path / "x"], tmp_path / "page.html")


@pytest.mark.usefixtures("undrawn")
def test_pictures_of_what_was_taken_away_are_left_out(small: tuple[Path, dict[str, Any]]) -> None:
    root, _ = small
    for path in (root / "runs").glob("segment-*/predictions"):
        shutil.rmtree(path)
    for path in (root / "runs").glob("synthesize-*"):
        shutil.rmtree(path)
    text = text_of(root)
    assert "Best and worst cases" not in text
    assert "Figure 9" not in text
    assert "Figure 10" in text
    assert "real + 1x essnet: improves 3D Dice" in text


def test_the_patients_of_the_findings_are_those_of_the_runs(whole: Path) -> None:
    experiment = read_experiment(whole)
    tested = {name for run in experiment.segmenters.values() for name in run.card["data"]["test_patients"]}
    assert sorted(tested) == sorted(PATIENTS)


def a_map(findings: dict[str, Any]) -> dict[str, Any]:
    """MR only and one arm with one and with all labelled patients."""
    base, arm = findings["arms"]
    amount = {"value": 1.4, "relation": "="}
    ends = {"low": {"value": 0.3, "relation": "="}, "high": {"value": 6.0, "relation": ">"}}
    value = {"more": amount, **ends, "equal_to": {"value": 2.4, "relation": "="}, "sentence": "worth 1.4 more"}
    curves = []
    for found, name, control in ((base, "MR only", False), (arm, "essnet", False), (arm, "source", True)):
        rest = {"dice": found["scores"]["dice"], "slices": found["slices"]}
        points = [
            {
                "arm": found["name"], "labelled": labelled, "patients": number, **rest,
                "gain": found["effects"]["dice"], "against": base["name"],
                "worth": None if found is base else value,
            }
            for labelled, number in (("1", 1.0), ("all", 6.5))
        ]  # fmt: skip
        kind = {"segmenter": "unet", "translator": None if found is base else name, "count": "1x"}
        more = {"min_consistency": 0.0, "control": control, "points": points, "no_gain_from": 6.5, "sentences": []}
        curves.append({"name": name, **kind, **more})
    numbers = [
        {"labelled": "1", "patients": 1.0, "least": 1, "most": 1},
        {"labelled": "all", "patients": 6.5, "least": 6, "most": 7},
    ]
    answer = [f"With 1 labelled patient, sentence {number}." for number in range(6)]
    return {"numbers": numbers, "curves": curves, "notes": ["MR only falls."], "answer": answer}


def test_the_map_stands_first(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    save(root, {**findings, "worth": a_map(findings)})
    page = page_of(root)
    text = Words(page).text
    assert text.index("What are the synthetic slices worth?") < text.index("Every arm against its baseline")
    assert "With 1 labelled patient, sentence 3." in text
    assert "The other 2 sentences" in text
    assert "1.4 [0.3, more than 6]" in text
    assert "all (6 to 7)" in text
    assert "+ source (control)" in text
    assert page.count("3D Dice over the number of labelled MR patients, a line per arm.") == 1


@pytest.mark.usefixtures("undrawn")
def test_without_a_map_there_is_no_section_and_its_reason_is_shown(small: tuple[Path, dict[str, Any]]) -> None:
    root, findings = small
    assert "What are the synthetic slices worth?" not in text_of(root)
    save(root, {**findings, "worth": {"numbers": [], "curves": [], "notes": ["No map: one number."], "answer": []}})
    assert "No map: one number." in text_of(root)


@pytest.mark.usefixtures("undrawn")
def test_numbers_of_patients_that_were_left_out_are_shown(small: tuple[Path, dict[str, Any]]) -> None:
    root, _ = small
    plan = json.loads((root / "plan.json").read_text())
    (root / "plan.json").write_text(
        json.dumps({**plan, "left_out": ["The arms with 8 labelled patients are left out."]})
    )
    assert "The arms with 8 labelled patients are left out." in text_of(root)
