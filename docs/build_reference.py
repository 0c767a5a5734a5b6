"""Write docs/reference/commands.md and docs/reference/python.md from the docstrings: `make reference`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import crossmod
from crossmod import evaluate
from crossmod.cli.build import GROUPS, HELP
from crossmod.commands import COMMANDS, Command, as_typed, descriptions

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Generated from docstrings by docs/build_reference.py. Change them, then run `make reference`. -->"


def commands_page() -> str:
    """Every command with its options."""
    lines = [NOTE, "", "# Commands", "", *_prose(HELP), ""]
    for name, command in sorted(COMMANDS.items(), key=lambda item: _place(item[1])):
        lines += [f"## crossmod {name}", "", *_prose(_text(command.function)), ""]
        lines += ["| option | meaning | default |", "| --- | --- | --- |", *_options(command), ""]
        lines += [f"From Python: [`crossmod.{command.function.__name__}`](python.md#{command.function.__name__}).", ""]
    return "\n".join(lines).rstrip() + "\n"


def python_page() -> str:
    """Every public name."""
    lines = [NOTE, "", "# Python", "", *_prose(inspect.getdoc(crossmod) or ""), ""]
    called = {command.function.__name__: command for command in sorted(COMMANDS.values(), key=_place)}
    names = sorted(crossmod._HOMES, key=str.lower)
    own = [name for name in names if name not in called and name != "evaluate"]
    notes = inspect.getdoc(inspect.getmodule(Command)) or ""
    parts = {
        "Commands": (list(called), notes.split("Notable:\n")[1]),
        "Volumes, models, stores and settings": (own, ""),
    }
    for title, (members, text) in parts.items():
        lines += [f"## {title}", "", *([text, ""] if text else [])]
        for name in members:
            lines += [*_member(name, getattr(crossmod, name), "crossmod"), ""]
    lines += ["## Scores on arrays", "", *_prose(inspect.getdoc(evaluate) or ""), ""]
    for name in sorted(evaluate._HOMES):
        lines += [*_member(name, getattr(evaluate, name), "crossmod.evaluate"), ""]
    return "\n".join(lines).rstrip() + "\n"


def _place(command: Command) -> tuple[int, str, int]:
    group = command.words.split()[0]
    return (GROUPS[group][0] if group in GROUPS else command.order), group, command.order


def _options(command: Command) -> Iterator[str]:
    texts = descriptions(command.function)
    for name, parameter in command.signature.parameters.items():
        option = command.options.get(name)
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        shown = f"--{name.replace('_', '-')}" if keyword else name.upper()
        default = "required" if parameter.default is inspect.Parameter.empty else as_typed(parameter.default)
        text, _, preset = (option.help if option else texts[name]).partition(" [default: ")
        yield f"| `{shown}` | {_cell(text)} | {_cell(preset.removesuffix(']') or default)} |"


def _member(name: str, member: Any, package: str) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if inspect.isclass(member) and issubclass(member, BaseModel):
        yield from _settings(member)
        return
    if not inspect.isclass(member) or not issubclass(member, Exception):
        yield from ("```text", f"{package}.{name}{_shown_signature(member)}", "```", "")
    yield from _docstring(member)
    for key, method in vars(member).items() if inspect.isclass(member) else ():
        text = inspect.getdoc(method)
        if key.startswith("_") or not text or not (callable(method) or isinstance(method, property | staticmethod)):
            continue
        signature = _shown_signature(method) if inspect.isfunction(method) else ""
        yield from ("", f"#### `{name}.{key}{signature}`", "", *_docstring(method))


def _shown_signature(member: Any) -> str:
    """The signature without settings, which have a section of their own."""
    signature = inspect.signature(getattr(member, "__wrapped__", member))
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return re.sub(r"<factory>|<class '(\w+)'>", lambda match: match.group(1) or "{}", text)


def _settings(model: type[BaseModel]) -> Iterator[str]:
    yield from _prose(inspect.getdoc(model) or "")
    yield from ("", "| field | meaning | default |", "| --- | --- | --- |")
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else as_typed(field.get_default(call_default_factory=True))
        yield f"| `{name}` | {_cell(field.description or '')} | {_cell(default)} |"


def _docstring(member: Any) -> Iterator[str]:
    """The text, then a list for each of its sections."""
    text = inspect.getdoc(member) or ""
    head, *rest = re.split(r"^(Args|Returns|Raises|Yields):\n", text, flags=re.MULTILINE)
    yield from _prose(head)
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        yield from ("", f"**{'Arguments' if title == 'Args' else title}**", "")
        for entry in re.split(r"\n(?= {4}\S)", body.rstrip()):
            name, colon, meaning = " ".join(entry.split()).partition(": ")
            yield f"- `{name}`: {meaning}" if colon and title != "Returns" else f"- {name}{colon}{meaning}"


def _text(member: Any) -> str:
    """A docstring without its sections."""
    return re.split(r"^(?:Args|Returns|Raises):\n", inspect.getdoc(member) or "", flags=re.MULTILINE)[0]


def _prose(text: str) -> list[str]:
    """Paragraphs as they are; what is indented is code."""
    lines = []
    for block in re.split(r"\n{2,}(?! {4})", text.strip()):
        prose, _, code = ("", "", block) if block.startswith("    ") else block.partition("\n\n    ")
        code = "\n".join(line.removeprefix("    ") for line in code.splitlines())
        lines += [*([prose, ""] if prose else []), *(["```text", code, "```", ""] if code else [])]
    return lines[:-1]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Text of each page."""
    return {FOLDER / "commands.md": commands_page(), FOLDER / "python.md": python_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
