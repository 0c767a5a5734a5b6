"""The project's texts use standard technical English: none of the phrases of tests/words.txt."""

from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.words import LIST, TEXTS, Words, findings, main, prose, read_words, text_files

SAMPLE = "anew->again\nheld against->compared with\n! docs/*.md | as told by an old man | a quotation\ntold->reported\n"


@pytest.fixture
def sample(tmp_path: Path) -> Words:
    (tmp_path / "list.txt").write_text(SAMPLE, encoding="utf-8")
    return read_words(tmp_path / "list.txt")


def test_no_text_uses_a_phrase_of_the_list() -> None:
    bad = [str(one) for one in findings(read_words(), text_files()) if one.allowed is None]
    assert not bad, f"{len(bad)} phrases of {LIST.name}:\n" + "\n".join(bad)


def test_every_exception_is_needed() -> None:
    words = read_words()
    used = {one.allowed for one in findings(words, text_files())}
    unused = [f"{LIST.name}:{one.line}: {one.files}: {one.text}" for one in words.allowed if one not in used]
    assert not unused, "Remove these exceptions, which no text needs any more:\n" + "\n".join(unused)


def test_every_pattern_of_texts_finds_files() -> None:
    assert not [pattern for pattern in TEXTS if not any(ROOT.glob(pattern))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("anew", "list.txt:2: expected BAD->GOOD"),
        ("anew->", "list.txt:2: expected BAD->GOOD"),
        ("Anew -> again", "list.txt:2: expected BAD->GOOD"),
        ("anew=>again", "list.txt:2: expected BAD->GOOD"),
        ("! docs/log.md | told", "list.txt:2: expected BAD->GOOD or ! FILES"),
        ("told->said", "list.txt:2: 'told' comes twice"),
    ],
)
def test_a_line_of_another_format_fails(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"told->reported\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_words(path)


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "It is told\nanew. `told`\n```\ntold\n```\nTOLD, told-of, retold, [x](told)\n", [1, 2, 6]),
        ("a.md", "It is held\nagainst it, and held on against it.\n", [1]),
        ("a.py", '"""It is held\n    against it."""\n', [1]),
        ("a.py", 'x = "it is held " "against it"\ny = (\n    "it was held"\n    " against"\n)\n', [1, 3]),
        ("a.py", "told = 1  # told\n# held\n# against\nprint(told)\n", [1, 2]),
        ("a.py", 'a = "told"\nb = f"so {told} it"\nc = f"was told {a}"\nd = {"told": "as told"}\n', [3, 4]),
        ("a.html", "<p class='told'>{{ told }} {% if told %}told{% endif %}</p>\n", [1]),
        ("Makefile", "# told\ntold:\n\t@echo told\n", [1, 2, 3]),
        ("docs/a.md", "as told by an old man, and as told by him\n", [1]),
    ],
)
def test_phrases_are_found_in_texts_alone(
    name: str, text: str, lines: list[int], sample: Words, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    found = [one for one in findings(sample, [path], tmp_path) if one.allowed is None]
    assert [one.line for one in found] == lines
    assert len(prose(path)) == len(text)


def test_a_finding_says_where_and_what_to_write(sample: Words, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("One line.\nIt is held  against it.\n", encoding="utf-8")
    (found,) = findings(sample, [tmp_path / "a.md"], tmp_path)
    assert str(found) == "a.md:2: 'held against'. Write: compared with."


def test_the_command_checks_the_named_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "README.md"), str(ROOT / "LICENSE")]) == 0
    assert capsys.readouterr().out == ""
