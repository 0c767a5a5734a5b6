"""Base of all settings: frozen, typed, documented field by field; unknown names are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from crossmod.errors import InputError

Modality = Literal["ct", "mr"]


class Settings(BaseModel):
    """Base of every settings class; the docstring under a field is its help on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


SettingsType = TypeVar("SettingsType", bound=Settings)


def with_changes(settings: SettingsType, **changes: Any) -> SettingsType:
    """`settings` with some fields changed, checked again as a whole."""
    return build(type(settings), {**settings.model_dump(), **changes}, subject="")


def build(settings: type[SettingsType], values: Mapping[str, object], *, subject: object) -> SettingsType:
    """Make settings from plain values."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise invalid(error, subject) from None


def invalid(error: ValidationError, subject: object) -> InputError:
    """The message for the first invalid setting; `subject`: the file of the settings, or "" for the command line."""
    first = error.errors()[0]
    name = "".join(f" --{str(part).replace('_', '-')}" for part in first["loc"] if isinstance(part, str))
    expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    expected = PLAIN_WORDS.get(first["type"], expected)
    # The checks of crossmod have the form "EXPECTED, got FOUND".
    expected, _, got = expected.partition(", got ")
    found = got or (repr(first["input"]) if first["type"] != "missing" else "nothing")
    do = "Change it; `--help` lists what each option takes."
    return InputError(f"{subject}{name}".strip() or "options", found=found, expected=expected, do=do)


# Plain words for pydantic's error types.
PLAIN_WORDS = {
    "extra_forbidden": "a known setting",
    "missing": "a value",
    "tuple_type": "a list of values",
    "too_short": "at least one value",
}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, found="no such file", expected="a YAML file of settings", do="Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found = f"not YAML ({str(error).splitlines()[0]})"
        raise InputError(path, found=found, expected="a YAML file of settings", do="Correct the file.") from None
    if not isinstance(content, dict):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise InputError(path, found=found, expected="a mapping of settings", do="Write `name: value` lines.")
    return content
