"""`dict[str, Any]` only where no type can say more: each place has its reason here."""

from collections import Counter
from pathlib import Path

import crossmod

REASONS = {
    "cli/build.py": "keyword arguments of cyclopts",
    "commands/prepare.py": "keyword arguments of the importers",
    "commands/reader.py": "the analysis of a survey, a JSON of nested tables by question and reader",
    "config.py": "YAML by a user, checked afterwards",
    "data/deidentify.py": "the kept DICOM attributes, whose types are those of DICOM",
    "data/dicom/header.py": "the same",
    "data/store.py": "the same",
    "engine/state.py": "a checkpoint: states of optimizers, as torch gives them",
    "inference/trust/findings.py": "one JSON for the command line and the batch; its numbers are those of Trust",
    "presets.py": "values of settings of several classes",
    "reader/analysis/report.py": "keyword arguments of matplotlib",
    "reader/analysis/run.py": "the analysis of a survey, as above",
    "registry.py": "members of all kinds",
    "runs.py": "files of runs of any version; the typed cards say what this version writes",
    "settings.py": "settings as an earlier version recorded them",
}
MOST = 25


def test_untyped_dictionaries_are_few_and_have_a_reason() -> None:
    source = Path(crossmod.__file__).parent
    found = Counter(
        {
            path.relative_to(source).as_posix(): count
            for path in source.rglob("*.py")
            if (count := path.read_text(encoding="utf-8").count("dict[str, Any]"))
        }
    )
    assert set(found) == set(REASONS)
    assert found.total() <= MOST
