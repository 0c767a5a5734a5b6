"""`crossmod reader`: can a doctor tell? Surveys of real and synthetic scans, their readers, and their answers."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from crossmod.commands import Paths, command, several
from crossmod.errors import InputError
from crossmod.files import PathName
from crossmod.progress import say

if TYPE_CHECKING:
    from crossmod.reader.create import Created

ADDRESS = "http://127.0.0.1:8000"
# Packages that only an extra brings.
EXTRAS = {
    **dict.fromkeys(("alembic", "fastapi", "python_multipart", "sqlalchemy", "sqlmodel", "uvicorn"), "reader"),
    "psycopg": "postgresql",
}


@command("reader create", 1)
def create_survey(
    survey: PathName,
    *,
    real: Paths,
    synthetic: Paths,
    source: Paths = (),
    count: str = "10+10",
    layers: str = "1-10",
    unit: Literal["slice", "volume"] = "slice",
    repeats: int = 0,
    realism: bool = False,
    regions: bool = False,
    size: int = 256,
    window: tuple[float, float] = (-160.0, 240.0),
    language: Literal["en", "it"] = "en",
    seed: int = 0,
    database: str | None = None,
) -> "Created":
    """Draw real and synthetic scans, equally many per axial layer, and make a survey of them.

    Args:
        survey: The new folder; its name is the survey's.
        real: Stores with real cases of the synthetic modality.
        synthetic: Stores made by `synthesize`.
        source: Stores with the scans that the synthetic cases were made from, which give the position of each slice;
            the real stores are searched anyway.
        count: Number of real and of synthetic scans.
        layers: Axial layers to draw from: 1 is the lower end of the kidneys, 10 the dome of the liver.
        unit: Show slices, or volumes to scroll through.
        repeats: Scans that each reader sees a second time, for self-agreement.
        realism: Also ask for realism from 1 to 5.
        regions: Also ask which regions looked wrong.
        size: Side in pixels at which all scans are shown.
        window: CT: the HU beyond which values are cut, in real and synthetic scans alike; use the window that the model
            was trained with.
        language: Default language, for readers whose invitation sets none.
        seed: Seed of the draw and of the orders.
        database: URL of a PostgreSQL database, to keep the answers there and not in the folder:
            postgresql+psycopg://user@host/name.

    Returns:
        The survey's design, number and owner's token.

    Raises:
        InputError: stores without suitable cases, too few of them, or `survey` exists.
    """
    folder = Path(survey)
    with _extra():
        from crossmod.reader import create

        design = {
            **_counts(count),
            "layers": _range(layers),
            "unit": unit,
            "repeats": repeats,
            "realism": realism,
            "regions": regions,
            "size": size,
            "window": window,
            "language": language,
            "seed": seed,
        }
        stores = several(real), several(synthetic)
        created = create.create_survey(folder, *stores, source=several(source), database=database, design=design)
    scans = f"{created.design.real} real scans of {created.patients[0]} patients"
    say(f"{survey}: {scans}, {created.design.synthetic} synthetic ones of {created.patients[1]}.")
    say(f"The owner's link, shown this once: {ADDRESS}/o/{created.owner}")
    say(f"Next: crossmod reader invite {quote(str(survey))} NAME...{_again(database)}")
    return created


@command("reader invite", 2)
def invite_readers(
    survey: PathName,
    names: tuple[str, ...],
    *,
    language: Literal["en", "it"] | None = None,
    days: float = 90.0,
    address: str = ADDRESS,
    database: str | None = None,
) -> dict[str, str]:
    """Invite readers: one link per reader, shown this once.

    Args:
        survey: The survey's folder.
        names: Your label for each reader, such as "radiologist 3".
        language: Language of their pages; default: the survey's.
        days: Days until the links expire.
        address: Address of the server, as readers reach it.
        database: URL of the database, if the answers are not in the folder.

    Returns:
        The link of each reader.

    Raises:
        InputError: no such survey, a closed one, or a name that was invited before.
    """
    links: dict[str, str] = {}
    with _extra():
        from crossmod.reader.create import opened

        with opened(Path(survey), database) as (study, number):
            for name in names:
                links[name] = f"{address.rstrip('/')}/r/{study.invite(number, name, language=language, days=days)}"
                say(f"{name}: {links[name]}")
    say(f"Next: crossmod reader serve {quote(str(survey))}{_again(database)}")
    return links


@command("reader serve", 3)
def serve_survey(survey: PathName, *, host: str = "127.0.0.1", port: int = 8000, database: str | None = None) -> None:
    """Serve a survey to browsers, until it is stopped with Ctrl+C.

    Args:
        survey: The survey's folder.
        host: Address to listen at; 0.0.0.0 for other machines, too.
        port: Port to listen at.
        database: URL of the database, if the answers are not in the folder.

    Raises:
        InputError: no such survey, or a port in use.
    """
    with _extra():
        from crossmod.reader.serve import serve

        serve(Path(survey), database=database, host=host, port=port)


@command("reader close", 4)
def close_survey(survey: PathName, *, database: str | None = None) -> None:
    """Accept no more answers; from then on the key may be seen.

    Args:
        survey: The survey's folder.
        database: URL of the database, if the answers are not in the folder.

    Raises:
        InputError: no such survey.
    """
    with _extra():
        from crossmod.reader.create import opened

        with opened(Path(survey), database) as (study, number):
            study.close(number)
            standing = study.standing(number)
    done = sum(submitted is not None for *_, submitted in standing)
    say(f"{survey}: closed; {done} of {len(standing)} readers have submitted.")
    say(f"Next: crossmod reader analyze {quote(str(survey))} --out FOLDER{_again(database)}")


@command("reader analyze", 5)
def analyze_surveys(
    surveys: Paths, *, out: PathName = "reading", database: str | None = None, margin: float = 0.10
) -> dict[str, Any]:
    """Can readers tell real from synthetic? Tables, tests and intervals of closed surveys: an HTML page and a CSV.

    Args:
        surveys: Folders of closed surveys.
        out: The result folder.
        database: URL of the database, if the answers are not in the folders.
        margin: Readers whose share of correct answers is within this of one half are equivalent to guessing.

    Returns:
        The content of analysis.json.

    Raises:
        InputError: an open survey, one without answers, or `out` is something else.
    """
    with _extra():
        from crossmod.reader.analysis import run

        result = run.analyze_surveys(several(surveys), out=Path(out), database=database, margin=margin)
    say(f"{Path(out) / 'report.html'}")
    return result


@command("reader demo", 6)
def run_reader_demo(*, out: PathName = "reader-demo", port: int = 8000, no_open: bool = False, seed: int = 0) -> None:
    """Make a survey of made-up patients, invite one reader, and open it in a browser.

    It involves no model: its "synthetic" scans are blurred copies of real ones.

    Args:
        out: The new folder.
        port: Port to listen at.
        no_open: Do not open the browser.
        seed: Seed; another one gives other patients.

    Raises:
        InputError: `out` exists, or a port in use.
    """
    survey = Path(out) / "survey"
    with _extra():
        from crossmod.reader.create import opened
        from crossmod.reader.demo import create_demo
        from crossmod.reader.serve import serve

        created = create_demo(Path(out), seed)
        with opened(survey) as (study, number):
            token = study.invite(number, "you")
        address = f"http://127.0.0.1:{port}"
        say(created.design.note)
        say(f"The owner's link: {address}/o/{created.owner}")
        say(f"The reader's link: {address}/r/{token}")
        if not no_open:
            _open_soon(f"{address}/r/{token}")
        serve(survey, database=None, port=port)


def _counts(text: str) -> dict[str, int]:
    real, plus, synthetic = text.partition("+")
    if not (plus and real.strip().isdecimal() and synthetic.strip().isdecimal()):
        expected = "real + synthetic scans, such as 10+10"
        raise InputError(
            "--count", found=repr(text), expected=expected, do="Write two numbers with a plus between them."
        )
    return {"real": int(real), "synthetic": int(synthetic)}


def _range(text: str) -> tuple[int, int]:
    first, minus, last = text.partition("-")
    if not first.strip().isdecimal() or (minus and not last.strip().isdecimal()):
        do = "Write the first and the last one."
        raise InputError("--layers", found=repr(text), expected="layers such as 3-8", do=do)
    return int(first), int(last if minus else first)


def _again(database: str | None) -> str:
    # The URL may hold a password: it is not repeated.
    return "" if database is None else " --database URL"


def _open_soon(address: str) -> None:
    """Open a page when the server has had time to start."""
    import threading
    import webbrowser

    timer = threading.Timer(1.5, webbrowser.open, [address])
    timer.daemon = True
    timer.start()


@contextmanager
def _extra() -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        do = f"pip install 'crossmod[{EXTRAS[name]}]'"
        raise InputError("crossmod reader", found=f"no {name}", expected="its packages", do=do) from None
