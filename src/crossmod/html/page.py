"""A page on disk: one HTML file, whole or not there, and written over nothing but an earlier one."""

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from crossmod.errors import InputError
from crossmod.files import write_text
from crossmod.version import __version__


def check_free(out: Path) -> None:
    """Refuse to write over anything but an earlier report.

    Raises:
        InputError: `out` is something else.
    """
    if not out.exists():
        return
    found = None if out.is_file() else "a folder" if out.is_dir() else "something that is no file"
    if out.is_file() and not out.read_bytes()[:15].lower().startswith(b"<!doctype html"):
        found = "a file that is no HTML page"
    if found:
        raise InputError(out, found=found, expected="a new file, or an earlier report", do="Choose another --out.")


def write_page(room: str, template: str, out: Path, **parts: object) -> None:
    """Fill a template and write it; text is escaped, and a name that the template misses is an error.

    Args:
        room: the package whose template it is, as `crossmod.report`; `style.css` is that of all pages.
        template: its name.
        out: the page.
        parts: what the template names.
    """
    loader = ChoiceLoader([PackageLoader(room), PackageLoader("crossmod.html")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    page = environment.get_template(template).render(version=__version__, **parts)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
