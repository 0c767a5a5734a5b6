"""Each command is one function: the same names, options and defaults from Python and on the command line."""

import inspect
import re
from pathlib import Path

import pytest
from cyclopts import App
from cyclopts.argument import Argument

import crossmod
from crossmod.cli.app import app
from crossmod.commands import COMMANDS, Command, descriptions
from crossmod.progress import progress_shown
from tests.support.stores import Stores

TINY = {"preset": "tiny", "size": 32, "folds": 2}


def typed(words: str) -> dict[str, Argument]:
    """The arguments of a command as they are typed, by their names in Python."""
    command: App = app
    for word in words.split():
        command = command[word]
    arguments = command.assemble_argument_collection(default_parameter=app.default_parameter)
    return {argument.field_info.name: argument for argument in arguments}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.words.replace(" ", "-"))
def test_python_and_the_command_line_offer_the_same(command: Command) -> None:
    public = getattr(crossmod, command.function.__name__)
    assert public is command.function
    python = dict(inspect.signature(public).parameters)
    line = typed(command.words)
    if command.joined:
        del line["paths"]
        first, second = list(python)[:2]
        del python[first], python[second]
    assert list(line) == list(python)
    for name, parameter in python.items():
        option = f"--{name.replace('_', '-')}"
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            assert line[name].names == (option,)
        default = line[name].field_info.default
        assert default is parameter.default or default == parameter.default, name
        assert line[name].parameter.help or descriptions(public)[name]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.words.replace(" ", "-"))
def test_docstrings_are_whole(command: Command) -> None:
    """Every argument is described, and so are the result and the errors."""
    function = command.function
    source = inspect.signature(inspect.unwrap(function))
    assert list(descriptions(function)) == list(source.parameters)
    text = function.__doc__ or ""
    assert ("Returns:" in text) == (source.return_annotation is not None)
    assert "Raises:" in text


def test_the_command_line_has_no_other_commands() -> None:
    def words(application: App, before: str = "") -> set[str]:
        found = set()
        for name in application:
            if not name.startswith("-"):
                inner = words(application[name], f"{before}{name} ")
                found |= inner or {f"{before}{name}"}
        return found

    assert words(app) == set(COMMANDS)


def test_a_pipeline_from_python(tmp_path: Path, stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    """Text or paths, one or several; quiet unless asked; results are objects with a short repr."""
    run = crossmod.train(tmp_path / "run", ct=str(stores.ct), mr=[stores.mr], **TINY, epochs=1)
    synthetic = crossmod.synthesize(str(tmp_path / "run"), source=stores.ct, out=str(tmp_path / "synthetic"))
    segmenter = crossmod.segment(tmp_path / "seg", real=stores.mr, synthetic=synthetic.path, count=4, steps=2, **TINY)
    page = crossmod.build_report([tmp_path / "run", tmp_path / "seg"], out=str(tmp_path / "page.html"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")
    assert page.is_file()
    assert isinstance(run, crossmod.Run)
    assert isinstance(segmenter, crossmod.Run)
    assert run.card["settings"]["epochs"] == 1
    assert repr(run) == f"Run({str(tmp_path / 'run')!r}: train, finished)"
    assert re.fullmatch(r"Store\('.*synthetic': \d+ MR cases\)", repr(synthetic))
    with progress_shown():
        crossmod.synthesize(tmp_path / "run", source=stores.ct, out=tmp_path / "again")
    out, err = capsys.readouterr()
    assert "synthetic slices" in out
    assert err


def test_a_run_that_cannot_be_read_has_a_repr_all_the_same(tmp_path: Path) -> None:
    assert repr(crossmod.Run(tmp_path)) == f"Run({str(tmp_path)!r}: not readable, not finished)"
    (tmp_path / "config.yaml").write_text("- 1")
    assert "not readable" in repr(crossmod.Run(tmp_path))


def test_a_dry_run_gives_the_settings(tmp_path: Path) -> None:
    settings = crossmod.train(tmp_path / "run", ct="a", mr="b", preset="tiny", epochs=7, dry_run=True)
    assert isinstance(settings, crossmod.TranslateSettings)
    assert (settings.epochs, settings.size) == (7, 64)


def test_values_and_names_are_checked(tmp_path: Path) -> None:
    with pytest.raises(crossmod.InputError, match=r"--slices: 'liver'. Expected: 'organ' or 'all'"):
        crossmod.synthesize("run", source="a", out="b", slices="liver")  # pyright: ignore[reportArgumentType]
    with pytest.raises(crossmod.InputError, match=r"--size: 30. Expected: a multiple of 4"):
        crossmod.train(tmp_path / "run", ct="a", mr="b", size=30)
    with pytest.raises(crossmod.InputError, match=r"--patients: 'many'. Expected: a valid integer"):
        crossmod.write_phantom(tmp_path / "out", patients="many")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="epoch"):
        crossmod.train(tmp_path / "run", ct="a", mr="b", epoch=3)
    assert list(tmp_path.iterdir()) == []


def test_a_phantom_becomes_a_store(tmp_path: Path) -> None:
    made = crossmod.write_phantom(tmp_path / "made", patients=1, size=32, slices=8)
    store = crossmod.prepare_chaos(made, tmp_path / "store", sequences=("ct", "t2_spir"), contrast="yes")
    assert repr(store) == f"Store({str(tmp_path / 'store')!r}: 1 CT + 1 MR cases)"
    assert [case.contrast for case in store.cases if case.modality == "ct"] == [True]
    volume = store.read(store.cases[0].id)
    assert re.fullmatch(
        r"Volume\(CT, \d+ x 32 x 32 voxels of [\d.]+ x [\d.]+ x [\d.]+ mm, HU, labels: .*\)", repr(volume)
    )
    assert "chaos" in crossmod.info(store.path)
