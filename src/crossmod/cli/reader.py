"""`crossmod reader`: can a doctor tell? Surveys of real and synthetic scans, their readers, and what they said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Literal

from cyclopts import App

from crossmod.cli.app import app, say
from crossmod.errors import InputError

reader = App(
    name="reader",
    sort_key=6,
    help="""Blind reading: doctors look at real and synthetic scans in a browser and say which is which.""",
)
app.command(reader)

ADDRESS = "http://127.0.0.1:8000"
# What comes with an extra and nothing else brings.
EXTRAS = {
    **dict.fromkeys(("alembic", "fastapi", "python_multipart", "sqlalchemy", "sqlmodel", "uvicorn"), "reader"),
    "psycopg": "postgresql",
}


@reader.command(sort_key=1)
def create(
    survey: Path,
    *,
    real: tuple[Path, ...],
    synthetic: tuple[Path, ...],
    source: tuple[Path, ...] = (),
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
) -> None:
    """Draw real and synthetic scans, as many of either in each axial layer, and make a survey of them.

    Parameters
    ----------
    survey
        The new folder; its name is the survey's.
    real
        Stores with real cases of the modality that was synthesized.
    synthetic
        Stores that `synthesize` made.
    source
        Stores with the scans that the synthetic cases were made from, which say where each slice lies; the real stores
        are looked into anyway.
    count
        Real and synthetic scans.
    layers
        Axial layers to draw from: 1 is the lower end of the kidneys, 10 the dome of the liver.
    unit
        Show slices, or volumes to scroll through.
    repeats
        Scans that each reader sees a second time, for self-agreement.
    realism
        Ask for realism from 1 to 5, too.
    regions
        Ask which regions looked wrong, too.
    size
        Pixels a side at which all scans are shown.
    window
        CT: the HU beyond which values are cut, in real and synthetic scans alike; the window that a model was trained
        with.
    language
        Of readers who were not invited in another.
    seed
        Another seed, another draw and other orders.
    database
        URL of a PostgreSQL database, where the answers are not to be in the folder: postgresql+psycopg://user@host/name.
    """
    with _extra():
        from crossmod.reader.create import create_survey

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
        made = create_survey(survey, real, synthetic, source=source, database=database, design=design)
    scans = f"{made.design.real} real scans of {made.patients[0]} patients"
    say(f"{survey}: {scans}, {made.design.synthetic} synthetic ones of {made.patients[1]}.")
    say(f"The owner's link, shown this once: {ADDRESS}/o/{made.owner}")
    say(f"Next: crossmod reader invite {quote(str(survey))} NAME...{_again(database)}")


@reader.command(sort_key=2)
def invite(
    survey: Path,
    names: tuple[str, ...],
    *,
    language: Literal["en", "it"] | None = None,
    days: float = 90.0,
    address: str = ADDRESS,
    database: str | None = None,
) -> None:
    """Invite readers: a link for each, shown this once.

    Parameters
    ----------
    survey
        A survey's folder.
    names
        A label of yours for each reader, such as "radiologist 3".
    language
        Of their pages, where it is not the survey's.
    days
        That the links open.
    address
        Of the server, as readers reach it.
    database
        URL, where it is not in the folder.
    """
    with _extra():
        from crossmod.reader.create import opened

        with opened(survey, database) as (study, number):
            for name in names:
                token = study.invite(number, name, language=language, days=days)
                say(f"{name}: {address.rstrip('/')}/r/{token}")
    say(f"Next: crossmod reader serve {quote(str(survey))}{_again(database)}")


@reader.command(sort_key=3)
def serve(survey: Path, *, host: str = "127.0.0.1", port: int = 8000, database: str | None = None) -> None:
    """Serve a survey to browsers, until it is stopped with Ctrl+C.

    Parameters
    ----------
    survey
        A survey's folder.
    host
        Address to listen at; 0.0.0.0 for other machines, too.
    port
        Port to listen at.
    database
        URL, where it is not in the folder.
    """
    with _extra():
        from crossmod.reader.serve import serve as work

        work(survey, database=database, host=host, port=port)


@reader.command(sort_key=4)
def close(survey: Path, *, database: str | None = None) -> None:
    """Take no more answers; from then on the key may be seen.

    Parameters
    ----------
    survey
        A survey's folder.
    database
        URL, where it is not in the folder.
    """
    with _extra():
        from crossmod.reader.create import opened

        with opened(survey, database) as (study, number):
            study.close(number)
            standing = study.standing(number)
    done = sum(submitted is not None for *_, submitted in standing)
    say(f"{survey}: closed; {done} of {len(standing)} readers have submitted.")
    say(f"Next: crossmod reader analyze {quote(str(survey))} --out FOLDER{_again(database)}")


@reader.command(sort_key=5)
def analyze(
    surveys: tuple[Path, ...], *, out: Path = Path("reading"), database: str | None = None, margin: float = 0.10
) -> None:
    """Can they tell? Tables, tests and intervals of closed surveys: one HTML page and a CSV.

    Parameters
    ----------
    surveys
        Folders of closed surveys.
    out
        The result folder.
    database
        URL, where it is not in the folders.
    margin
        Readers who are right within so much of a half are called equivalent to guessing.
    """
    with _extra():
        from crossmod.reader.analysis.run import analyze_surveys

        analyze_surveys(surveys, out=out, database=database, margin=margin)
    say(f"{out / 'report.html'}")


@reader.command(sort_key=6)
def demo(*, out: Path = Path("reader-demo"), port: int = 8000, no_open: bool = False, seed: int = 0) -> None:
    """Make a survey of made-up patients, invite one reader, and open it in a browser.

    No model is at work: its "synthetic" scans are blurred copies of real ones.

    Parameters
    ----------
    out
        The new folder.
    port
        Port to listen at.
    no_open
        Leave the browser alone.
    seed
        Another seed, other patients.
    """
    with _extra():
        from crossmod.reader.create import opened
        from crossmod.reader.demo import create_demo
        from crossmod.reader.serve import serve as work

        made = create_demo(out, seed)
        with opened(out / "survey") as (study, number):
            token = study.invite(number, "you")
        address = f"http://127.0.0.1:{port}"
        say(made.design.note)
        say(f"The owner's link: {address}/o/{made.owner}")
        say(f"The reader's link: {address}/r/{token}")
        if not no_open:
            _open_soon(f"{address}/r/{token}")
        work(out / "survey", database=None, port=port)


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
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        do = f"pip install 'crossmod[{EXTRAS[name]}]'"
        raise InputError("crossmod reader", found=f"no {name}", expected="its packages", do=do) from None
