"""Pages on disk: one HTML file, written whole or not at all, and over nothing but an earlier report."""

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from crossmod.errors import InputError
from crossmod.files import write_text
from crossmod.version import __version__


def check_free(out: Path) -> None:
    """Refuse to write over anything but an earlier report."""
    if not out.exists():
        return
    found = None if out.is_file() else "a folder" if out.is_dir() else "something that is no file"
    if out.is_file() and not out.read_bytes()[:15].lower().startswith(b"<!doctype html"):
        found = "a file that is no HTML page"
    if found:
        raise InputError(out, found=found, expected="a new file, or an earlier report", do="Choose another --out.")


def templates(room: str) -> Environment:
    """The templates of a package and those of all pages; text is escaped, an undefined name in one is an error."""
    loader = ChoiceLoader([PackageLoader(room), PackageLoader("crossmod.html")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def write_page(room: str, template: str, out: Path, **parts: object) -> None:
    """Fill a template of `templates(room)` with `parts` and write the page."""
    page = templates(room).get_template(template).render(version=__version__, **parts)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
