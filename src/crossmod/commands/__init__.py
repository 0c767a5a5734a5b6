"""One documented function per command: Python calls it, and the command line is generated from it.

    crossmod.train("runs/essnet", ct="store", mr="store", preset="tiny")

Notable:
- Paths are text or `Path`; where several paths are possible, one may stand by itself.
- Called from Python, a command is quiet, unless `crossmod.show_progress()` was called before: then it shows progress
  and prints what it made, as the command line does.
- Settings are keyword arguments, with the names of the options; None stands for the preset's value.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, wraps
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from crossmod.config import Settings, SettingsType, build, invalid
from crossmod.files import PathName
from crossmod.progress import progress_if_asked, say

Paths = PathName | Sequence[PathName]

Words = ParamSpec("Words")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Option:
    """A setting that a command takes as a keyword argument."""

    annotation: Any  # its type; None where the preset decides
    default: Any  # what Python and the command line start from
    help: str  # what it means, with its default in words
    panel: str | None = None  # heading in the help; None: the first


@dataclass(frozen=True)
class Command:
    """A function and how the command line offers it."""

    words: str  # what is typed after `crossmod`
    function: Callable[..., Any]
    order: int  # place in the list of commands
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])  # its settings, by name
    exit_code: Callable[[Any], int] | None = None  # of its result; default: 0
    joined: str | None = None  # the name in the help of the first two parameters together: several paths and a last one

    @property
    def signature(self) -> inspect.Signature:
        """Parameters as the command line takes them: paths are `Path`, settings have names of their own."""
        return _signature(self.function.__wrapped__, self.options)  # pyright: ignore[reportFunctionMemberAccess]


COMMANDS: dict[str, Command] = {}


def several(paths: Paths) -> tuple[Path, ...]:
    """One path or several."""
    return (Path(paths),) if isinstance(paths, str | PathLike) else tuple(Path(path) for path in paths)


def command(
    words: str,
    order: int,
    *,
    options: Mapping[str, Option] | None = None,
    exit_code: Callable[[Any], int] | None = None,
    joined: str | None = None,
) -> Callable[[Callable[Words, Result]], Callable[Words, Result]]:
    """Make a function a command; the arguments are those of `Command`."""

    def add(function: Callable[Words, Result]) -> Callable[Words, Result]:
        call = checked(function, options or {})
        COMMANDS[words] = Command(words, call, order, options or {}, exit_code, joined)
        return call

    return add


def checked(function: Callable[Words, Result], options: Mapping[str, Option]) -> Callable[Words, Result]:
    """The function with arguments that are converted and checked, and quiet unless progress is asked for."""
    signature = _signature(function, options, plain=False)

    @wraps(function)
    def call(*args: Words.args, **kwargs: Words.kwargs) -> Result:
        bound = signature.bind(*args, **kwargs)
        for name, check in _checks(function).items():
            if name in bound.arguments:
                try:
                    bound.arguments[name] = check(bound.arguments[name])
                except ValidationError as error:
                    raise invalid(error, f"--{name.replace('_', '-')}") from None
        with progress_if_asked():
            return function(*bound.args, **bound.kwargs)

    call.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    return call


def descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """What the `Args:` of a docstring say of each parameter."""
    # `cleandoc`: from Python 3.13 on, docstrings are compiled without their indentation.
    text = inspect.cleandoc(function.__doc__ or "") + "\n"
    section = re.search(r"^Args:\n((?: {4}.*\n)+)", text, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*\n(?: {8}.*\n)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def settings_of(
    model: type[Settings],
    *,
    preset: Settings | None = None,
    stated: Iterable[str] = (),
    only: Iterable[str] | None = None,
    panels: Mapping[str, str] | None = None,
) -> dict[str, Option]:
    """The fields of a settings class (or `only` some), as options under the headings of `panels`.

    With a preset, fields are None unless asked for, and help shows its values; the paper states those of `stated`.
    """
    chosen = model.model_fields if only is None else {name: model.model_fields[name] for name in only}
    options: dict[str, Option] = {}
    for name, info in chosen.items():
        text, panel = (info.description or "").strip(), None if panels is None else panels.get(name, "Data")
        if preset is None:
            options[name] = Option(info.annotation, info.get_default(call_default_factory=True), text, panel)
        else:
            value = as_typed(getattr(preset, name))
            source = ", as in the paper" if name in stated else ""
            shown = f"{text} [default: {value}{source}]" if value else text
            options[name] = Option(Union[info.annotation, None], None, shown, panel)  # noqa: UP007 - any annotation
    return options


def as_typed(value: Any) -> str:
    """A default as it would be typed; "" for none."""
    if isinstance(value, tuple | list):
        return " ".join(map(as_typed, cast("tuple[object, ...]", value)))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None or value is False or value is inspect.Parameter.empty else str(value)


def _signature(function: Callable[..., Any], options: Mapping[str, Option], *, plain: bool = True) -> inspect.Signature:
    hints = get_type_hints(_without_result(function), include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            parameters += [
                inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation)
                for key, one in options.items()
            ]
        else:
            parameters.append(parameter.replace(annotation=_as_path(hints[name]) if plain else hints[name]))
    return inspect.Signature(parameters)


def _without_result(function: Callable[..., Any]) -> Any:
    """What `get_type_hints` reads, without the result, whose type is imported only for type checkers."""
    source = inspect.unwrap(function)
    holder = type("Holder", (), {"__annotations__": {k: v for k, v in source.__annotations__.items() if k != "return"}})
    holder.__module__ = source.__module__
    return holder


def _as_path(annotation: Any) -> Any:
    """`Path` in place of what a path may be written as, and a tuple of them in place of one or several."""
    if get_origin(annotation) is Annotated:
        inner, *rest = get_args(annotation)
        return Annotated[(_as_path(inner), *rest)]
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    parts = get_args(annotation)
    if PathLike[str] not in parts:
        return annotation
    several = any(get_origin(part) is Sequence for part in parts)
    path = tuple[Path, ...] if several else Path
    return path | None if NoneType in parts else path


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str | PathLike) else value


@cache
def _checks(function: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    """What checks and converts each argument, but for settings, which check themselves."""
    checks: dict[str, Callable[[Any], Any]] = {}
    for name, parameter in _signature(function, {}).parameters.items():
        kind: Any = parameter.annotation
        if kind in (tuple[Path, ...], tuple[Path, ...] | None):
            kind = Annotated[kind, BeforeValidator(_tuple)]
        whole: Any = tuple[kind, ...] if parameter.kind is inspect.Parameter.VAR_POSITIONAL else kind
        checks[name] = TypeAdapter(whole).validate_python
    return checks


def build_settings(model: type[SettingsType], values: Mapping[str, Any]) -> tuple[SettingsType, dict[str, object]]:
    """Settings from keyword arguments, and the arguments that are not among its fields."""
    own = {name: value for name, value in values.items() if name in model.model_fields}
    return build(model, own, subject=""), {name: value for name, value in values.items() if name not in own}


def print_yaml(settings: SettingsType, *, exclude_defaults: bool = False) -> SettingsType:
    """Print settings as YAML, and give them back."""
    import yaml

    content = settings.model_dump(mode="json", exclude_defaults=exclude_defaults)
    say(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip())
    return settings
