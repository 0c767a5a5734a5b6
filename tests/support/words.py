"""Finds the phrases of tests/words.txt in the project's texts: `python -m tests.support.words [FILE...]`.

Of Python files only comments and strings with a space are text; of Markdown all but code. A phrase is also found
across a line break.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.support.paths import ROOT

LIST = ROOT / "tests" / "words.txt"
TEXTS = (
    "src/**/*.py",
    "src/**/*.html",
    "src/**/*.txt",
    "src/**/*.yaml",
    "src/**/*.md",
    "docs/**/*.md",
    "*.md",
    ".github/**/*.md",
    "Makefile",
    "pyproject.toml",
    ".ci/run",
    "benchmarks/*",
    "runs/*",
)
WORD = re.compile(r"[\w'-]+")
STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}


@dataclass(frozen=True)
class Allowed:
    """An exception: the phrase may stand inside `text` in the files of a pattern.

    Args:
        line: of the list, for messages.
        files: a path below the project's folder, or a pattern of such.
        text: in which the phrase may stand; `*`: any.
    """

    line: int
    files: str
    text: str


@dataclass(frozen=True)
class Words:
    """The list.

    Args:
        replacements: what to write instead, by phrase.
        allowed: exceptions.
    """

    replacements: dict[str, str]
    allowed: tuple[Allowed, ...]


@dataclass(frozen=True)
class Finding:
    """A phrase in a file, which an exception may allow."""

    file: str
    line: int
    phrase: str
    good: str
    allowed: Allowed | None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: '{self.phrase}'. Write: {self.good}."


def read_words(path: Path = LIST) -> Words:
    """The list of a file.

    Raises:
        ValueError: a line is neither an entry nor an exception, or a phrase comes twice.
    """
    replacements: dict[str, str] = {}
    allowed: list[Allowed] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if exception := re.fullmatch(r"! (\S+) \| (\S.*?) \| (\S.*)", line):
            allowed.append(Allowed(number, exception[1], exception[2]))
            continue
        entry = re.fullmatch(r"([a-z][a-z' :]*)->(\S.*)", line)
        if entry is None:
            raise ValueError(f"{path.name}:{number}: expected BAD->GOOD or ! FILES | TEXT | REASON, found: {line}")
        if entry[1] in replacements:
            raise ValueError(f"{path.name}:{number}: '{entry[1]}' comes twice")
        replacements[entry[1]] = entry[2]
    return Words(replacements, tuple(allowed))


def text_files(root: Path = ROOT) -> list[Path]:
    """The files that hold texts of the project."""
    found = {path for pattern in TEXTS for path in root.glob(pattern) if path.is_file() and path.suffix != ".pyc"}
    return sorted(found)


def findings(words: Words, paths: Iterable[Path], root: Path = ROOT) -> Iterator[Finding]:
    """Every phrase of the list in the texts of some files, allowed or not."""
    # By first word, the longer phrase first; marks of a comment or a string may lie between two words.
    index: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for phrase in sorted(words.replacements, key=len, reverse=True):
        index.setdefault(WORD.findall(phrase)[0], []).append((phrase, re.compile(_spaced(phrase) + r"(?![\w-])", re.I)))
    for path in paths:
        name = path.relative_to(root).as_posix()
        text = prose(path)
        here = [one for one in words.allowed if fnmatch(name, one.files)]
        spans = [(one, span) for one in here for span in _spans(one, text)]
        end = 0
        for word in WORD.finditer(text):
            for phrase, pattern in index.get(word[0].lower(), ()):
                found = pattern.match(text, word.start()) if word.start() >= end else None
                if found:
                    end = found.end()
                    inside = (one for one, (first, last) in spans if first <= found.start() and end <= last)
                    line = text.count("\n", 0, found.start()) + 1
                    yield Finding(name, line, phrase, words.replacements[phrase], next(inside, None))


def _spaced(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


def _spans(one: Allowed, text: str) -> list[tuple[int, int]]:
    if one.text == "*":
        return [(0, len(text))]
    return [found.span() for found in re.finditer(_spaced(one.text), text, re.I)]


def prose(path: Path) -> str:
    """The text of a file with everything else blanked out, line by line as in the file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = _python(text)
    elif path.suffix == ".md":
        text = _blank(r"^```.*?^```$|\]\([^)]*\)", text)
    elif path.suffix == ".html":
        text = _blank(r"<style.*?</style>|<script.*?</script>|\{\{.*?\}\}|\{%.*?%\}|<[^>]*>", text)
    else:
        text = re.sub(r"(?m)^(\s*)#+", lambda found: " " * len(found[0]), text)
    return _blank(r"`[^`]*`", text)


def _blank(pattern: str, text: str) -> str:
    """Replace what matches by a character that is in no phrase."""
    return re.sub(pattern, lambda found: re.sub(r"[^\n]", "\0", found[0]), text, flags=re.M | re.S)


def _python(text: str) -> str:
    """Comments, and strings with a space in them, at their places; their marks are spaces, all code is NUL."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    kept = [one if one.isspace() else "\0" for one in text]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.type == tokenize.COMMENT:
            kept[start:end] = re.sub(r"^#+", lambda found: " " * len(found[0]), text[start:end])
        elif token.type in STRINGS and re.search(r"\s", text[start:end]):
            kept[start:end] = _string(text[start:end])
    return "".join(kept)


def _string(literal: str) -> str:
    """A literal, its prefix, quotes and line breaks as spaces; what an f-string inserts is blanked out."""
    opened = re.match(r"([a-zA-Z]*)('''|\"\"\"|'|\")", literal)
    if opened is None:  # a part of an f-string, from Python 3.12 on
        return literal
    inner = literal[opened.end() : len(literal) - len(opened[2])]
    if "f" in opened[1].lower():
        inner = _blank(r"\{[^{}\n]*\}", inner)
    inner = inner.replace("\\n", "  ")
    return " " * opened.end() + inner + " " * len(opened[2])


def main(arguments: Sequence[str]) -> int:
    """Print what is not allowed; the exit code says whether there is any."""
    paths = [Path(one).resolve() for one in arguments] or text_files()
    words = read_words()
    bad = [one for one in findings(words, set(paths) & set(text_files())) if one.allowed is None]
    print(*bad, sep="\n", end="\n" if bad else "")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
