from pathlib import Path

import pytest
from pydantic import ValidationError

from crossmod.config import Settings, build, read_yaml, with_changes
from crossmod.errors import InputError


class Example(Settings):
    """For these tests."""

    size: int = 3
    """Pixels."""
    name: str | None = None
    """A name."""


def test_settings_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().size = 4  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=r"file --sise: 4\. Expected: a known setting"):
        build(Example, {"sise": 4}, subject="file")


def test_changes_change_only_what_was_given() -> None:
    assert with_changes(Example(size=7), name="x") == Example(size=7, name="x")
    assert with_changes(Example(size=7)) == Example(size=7)
    assert with_changes(Example(), size=9) == Example(size=9)


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("size: 4\n")
    assert read_yaml(path) == {"size": 4}
    path.write_text("- 4\n")
    with pytest.raises(InputError, match="a list"):
        read_yaml(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not YAML"):
        read_yaml(path)
