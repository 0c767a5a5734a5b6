"""The documents' snippets run, each document's in order, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCUMENTS = sorted(
    path
    for path in (ROOT / "docs").rglob("*.md")
    if re.search(r"^```(bash|python)$", path.read_text(encoding="utf-8"), re.M)
)


def test_there_are_documents_with_snippets() -> None:
    assert {path.name for path in DOCUMENTS} >= {"first-experiment.md", "make-a-store.md"}


# Their snippets are of commands that the suite runs elsewhere, too.
SLOW = {
    "first-experiment",
    "judge-images",
    "make-a-store",
    "measure-speed",
    "run-a-reader-study",
    "run-an-experiment",
    "translate-a-volume",
    "use-nnunet",
}


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else (), id=path.stem) for path in DOCUMENTS],
)
def test_snippets_run(document: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "default",
        "OMP_NUM_THREADS": "1",
    }
    for language, snippet in re.findall(r"^```(bash|python)\n(.*?)^```$", document.read_text(), re.M | re.S):
        command = ["bash", "-euo", "pipefail", "-c", snippet] if language == "bash" else [sys.executable, "-c", snippet]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{snippet}\n{done.stdout}\n{done.stderr}"
    if document.stem == "first-experiment":
        page = (tmp_path / "report.html").read_text()
        assert "with its label" not in page
        assert page.count("data:image/png;base64,") >= 8
        assert re.search(r"this model (improves|lowers) 3D Dice|3D Dice not shown", page)
        assert "not trained enough" not in page
        assert "synthetic slices improve" not in page
        assert 'src="http' not in page
        assert 'href="http' not in page


def test_every_command_of_the_readme_exists() -> None:
    """The README's own commands need data that is not here; at least each of them and its options are real."""
    from crossmod.cli.app import app

    text = (ROOT / "README.md").read_text()
    lines = [line.split("#")[0] for line in text.splitlines() if line.startswith("crossmod ")]
    assert len(lines) >= 7
    for line in lines:
        app.parse_args(line.split()[1:], exit_on_error=False, print_error=False)


def test_relative_links_lead_somewhere() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_reference_is_what_the_docstrings_say() -> None:
    from docs.build_reference import pages

    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is outdated: run `make reference`"


def test_every_public_name_is_described() -> None:
    import crossmod
    from crossmod import evaluate

    for package in (crossmod, evaluate):
        for name in package._HOMES:
            assert getattr(package, name).__doc__, name


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    find, names = (text.split(f"## {title}")[1].split("\n## ")[0] for title in ("Where do I find ...", "Tasks and"))
    files = [re.findall(r"`((?!src/)[a-z_]+/[\w/]*(?:\.\w+)?)`", table) for table in (find, names)]
    assert len(files[0]) >= 40
    assert len(files[1]) >= 40
    files = files[0] + files[1]
    missing = [file for file in files if not (ROOT / "src" / "crossmod" / file).exists()]
    assert not missing
