"""Texts in all languages, and the files of others that are served."""

import hashlib
import re
import string
from pathlib import Path

import pytest

import crossmod.reader
from crossmod.reader.context import accepted, languages, words

HERE = Path(crossmod.reader.__file__).parent


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", sorted(languages()))
def test_each_language_says_all_that_english_says(code: str) -> None:
    english, other = languages()["en"].texts, languages()[code].texts
    assert other.keys() == english.keys()
    for key, text in english.items():
        assert placeholders(other[key]) == placeholders(text), key
        assert other[key].strip(), key


def test_languages_of_designs_are_there() -> None:
    assert {"en", "it"} <= languages().keys()


def test_each_text_is_used_and_each_used_text_is_there() -> None:
    code = "".join(path.read_text() for path in [*HERE.glob("*.py"), *HERE.glob("templates/*.html")])
    texts = languages()["en"].texts
    for key in texts:
        # Some are put together: `choice_` and the choice.
        assert re.search(rf"""["'](_?{key}|{key.removesuffix("_what")}|{key.partition("_")[0]}_)["']""", code), key
    for key in re.findall(r"""\bt\('([a-z_]+)'[,)]""", code):
        assert key in texts


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("it-IT,it;q=0.9,en;q=0.8", "it"),
        ("de, en;q=0.5, it;q=0.7", "it"),
        ("it;q=0, en", "en"),
        ("fr", "en"),
        ("", "en"),
        (";q=nonsense,,*", "en"),
    ],
)
def test_a_browser_is_answered_in_a_language_it_asks_for(header: str, found: str) -> None:
    assert words(accepted(header)).code == found


def test_files_of_others_are_those_that_are_listed() -> None:
    listed = dict(
        re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (HERE / "static" / "VENDORED.md").read_text(), re.M)
    )
    found = {path.name for path in (HERE / "static").iterdir() if path.name.endswith((".min.js", ".umd.js"))}
    assert listed.keys() == found
    for name, sha256 in listed.items():
        assert hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest() == sha256
        assert (HERE / "static" / f"{name.partition('.')[0]}.LICENSE.txt").read_text()


def test_our_own_scripts_and_pages_name_no_other_server() -> None:
    own = [*HERE.glob("templates/*"), *(HERE / "static" / name for name in ("viewer.js", "answer.js", "style.css"))]
    for path in own:
        assert not re.search(r"https?://|//[a-z]+\.", path.read_text()), path
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script>|javascript:", path.read_text()), path
