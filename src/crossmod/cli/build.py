"""The command line's application, out of the functions of `crossmod.commands`."""

import inspect
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from cyclopts import App, Group, Parameter

from crossmod import registry
from crossmod.commands import COMMANDS, Command, as_typed, checked
from crossmod.errors import InputError
from crossmod.version import __version__

# Importing them fills the table of commands.
MODULES = ("benchmark", "evaluate", "experiment", "nnunet", "prepare", "reader", "report", "train", "translate")
for module in MODULES:
    import_module(f"crossmod.commands.{module}")

log = logging.getLogger(__name__)

HELP = """Unpaired cross-modality image synthesis between CT and MR, with evaluation of its downstream benefit.

Typical workflow: `prepare` builds a dataset store; `train` learns to translate one modality into the other;
`synthesize` turns labelled slices into labelled synthetic slices; `segment` trains a segmenter on real and synthetic
slices and tests it on held-out patients; `report` shows all results on one page. `demo` runs everything on made-up
patients in a few minutes."""

# Commands that have commands of their own: place in the list, and help.
GROUPS = {
    "prepare": (1, "Build a dataset store from image files."),
    "evaluate": (5, "Compare synthetic with real images without pairs, and rank the models."),
    "nnunet": (
        6,
        """Export the slices of `segment` to nnU-Net, and read its predictions back as a run of `segment`.

        nnU-Net is not part of crossmod: it runs in its own environment, with the commands that `export` prints.""",
    ),
    "reader": (6, "Blind reading: doctors see real and synthetic scans in a browser and say which is which."),
    "bench": (
        9,
        """Time crossmod against plain PyTorch, on this machine and on made-up data.

        The reference is the same networks in eager fp32. Both take the same steps in turns, after a check that they
        compute the same.""",
    ),
}

_PANELS = ("Data", "Networks", "Losses", "Schedule", "Hardware")
PANELS = {name: Group(name, sort_key=place) for place, name in enumerate(_PANELS)}


def build_app() -> App:
    """The application, with a command for each function."""
    app = App(
        name="crossmod",
        version=__version__,
        # No --no-... and --empty-... beside every option: the help stays short.
        default_parameter=Parameter(negative=(), consume_multiple=True),
        help=HELP,
    )
    groups = {name: App(name=name, sort_key=order, help=text) for name, (order, text) in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for command in COMMANDS.values():
        *group, name = command.words.split()
        usage = f"crossmod {command.words} [OPTIONS] RUN INPUT... OUTPUT" if name == "translate" else None
        (groups[group[0]] if group else app).command(_callable(command), name=name, sort_key=command.order, usage=usage)
    return app


def add_importers(app: App) -> None:
    """`crossmod prepare NAME` for each importer of a package; one that cannot be imported is named and left out."""
    for name in sorted(set(registry.names("importer")) - set(registry.built_in("importer"))):
        try:
            function = checked(registry.member("importer", name), {})
        except InputError as error:
            log.warning("%s", error)
            continue
        if name not in app["prepare"]:
            app["prepare"].command(_callable(Command(f"prepare {name}", function, 4)), name=name, sort_key=4)


def _callable(command: Command) -> Callable[..., None]:
    """The function as the command line calls it, with an exit code in place of a result."""
    parameters = [_parameter(command, parameter) for parameter in command.signature.parameters.values()]
    if command.joined:
        joined = Annotated[tuple[Path, ...], Parameter(name=command.joined, help=_joined_help(command), negative=())]
        first = inspect.Parameter("paths", inspect.Parameter.POSITIONAL_ONLY, annotation=joined)
        parameters = [first, *parameters[2:]]

    def run(*args: Any, **kwargs: Any) -> None:
        if command.joined:
            args = _parted(command, *args)
        result = command.function(*args, **kwargs)
        if command.exit_code and (code := command.exit_code(result)):
            sys.exit(code)

    run.__doc__ = command.function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(command: Command, parameter: inspect.Parameter) -> inspect.Parameter:
    more: dict[str, Any] = {"show_default": as_typed if as_typed(parameter.default) else False}
    kind = parameter.annotation
    if get_origin(kind) is Annotated:
        kind, more["name"] = get_args(kind)
    if option := command.options.get(parameter.name):
        more["help"] = option.help
        if option.panel is not None:
            more["group"] = PANELS[option.panel]
    return parameter.replace(annotation=Annotated[kind, Parameter(**more)])


def _joined_help(command: Command) -> str:
    from crossmod.commands import descriptions

    first, last = list(command.signature.parameters)[:2]
    texts = descriptions(command.function)
    return f"{texts[first]} Last: {texts[last][0].lower()}{texts[last][1:]}"


def _parted(command: Command, paths: tuple[Path, ...] = ()) -> tuple[Any, ...]:
    """Several paths and a last one, where the command line has one list."""
    if len(paths) < 2:
        found = f"{len(paths)} folder" if paths else "no folder"
        do = "Give a run folder and a new one."
        raise InputError(f"crossmod {command.words}", found=found, expected=str(command.joined), do=do)
    return paths[:-1], paths[-1]
