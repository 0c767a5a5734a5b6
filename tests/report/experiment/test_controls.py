"""Controls in the report of an experiment: the comparison, and the warning that there is none."""

import json
from pathlib import Path
from typing import Any

import yaml

from crossmod.report.experiment.build import build_experiment_report
from crossmod.report.experiment.data import families_of
from tests.support.experiment_folder import effect, save, write_experiment

MISSING = "The control is missing"


def row(control: str, mean: float, verdict: str) -> dict[str, Any]:
    own = {"control": control, "arm": f"real + 1x {control}", "holm": 0.012, "verdict": verdict, "obstacle": ""}
    return {**effect(mean), **own}


def page_of(root: Path) -> tuple[str, list[str]]:
    out = root.parent / f"{root.name}.html"
    out.unlink(missing_ok=True)
    return (out.read_text() if (sentences := build_experiment_report(root, out)) else ""), sentences


def with_design(root: Path, translators: dict[str, Any]) -> None:
    design = yaml.safe_load((root / "design.yaml").read_text())
    (root / "design.yaml").write_text(yaml.safe_dump({**design, "translators": translators}))


def test_a_missing_control_is_a_warning(tmp_path: Path) -> None:
    root = tmp_path / "experiment"
    write_experiment(root)
    with_design(root, {"essnet": {"preset": "rafiq2025"}, "gin": {"preset": "random_contrast"}})
    page, _ = page_of(root)
    assert MISSING in page
    assert "Add <code>source: {preset: source}</code> to translators." in page
    # Near the answer, before the tables.
    assert page.index('id="answer"') < page.index(MISSING) < page.index("Other scores")
    with_design(
        root, {"essnet": {"preset": "rafiq2025"}, "any": {"preset": "rafiq2025", "settings": {"family": "source"}}}
    )
    assert MISSING not in page_of(root)[0]
    # An earlier version's folder says nothing of translators.
    assert families_of({"seeds": [0]}) == {}


def test_the_comparison_is_read_near_the_answer_and_printed(tmp_path: Path) -> None:
    root = tmp_path / "experiment"
    findings = write_experiment(root)
    sentence = (
        "real + 1x essnet is not shown to be better than the control `source` (difference +0.010 [+0.000, +0.020])."
    )
    rows = [row("source", 0.01, "not shown"), row("random_contrast", 0.03, "improves")]
    findings["arms"][1]["controls"] = {"tests": 2, "rows": rows, "sentence": sentence}
    save(root, findings)
    page, sentences = page_of(root)
    assert sentences[-1] == sentence
    shown = sentence.replace("`source`", "<code>source</code>")
    assert page.index('id="answer"') < page.index(shown) < page.index("Against the controls")
    table = page[page.index("Against the controls") :]
    for words in ("+0.010 [+0.000, +0.020]", "not shown", "better", "random_contrast", "(Holm: 2)"):
        assert words in table
    assert "arms with the same baseline (2)" in page
    # The same folder without the key, as earlier versions wrote it.
    del findings["arms"][1]["controls"]
    save(root, json.loads(json.dumps(findings)))
    page, sentences = page_of(root)
    assert "Against the controls" not in page
    assert len(sentences) == 1
