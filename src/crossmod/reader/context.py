"""What all requests share: the survey's database, its images, texts, forms, and the rendering of pages."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from fastapi import Depends, Header, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, BeforeValidator, Field

from crossmod.reader.design import LONGEST_REASON, REGIONS, Choice, Design, Values
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import ReaderSession
from crossmod.reader.security import RateLimiter, Role, SessionKeys, from_here

FALLBACK = "en"


@dataclass(frozen=True)
class Words:
    """The texts of one language, by key, with fields such as `{number}`."""

    code: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """One text with its fields filled in."""
        return self.texts[key].format(**values)


@cache
def languages() -> dict[str, Words]:
    """All languages, by code; `name` is the language's own name."""
    found = sorted((files("crossmod.reader") / "texts").iterdir(), key=lambda file: file.name)
    read = {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text("utf-8")) for file in found}
    return {code: Words(code, texts) for code, texts in read.items()}


def words(codes: Iterable[str | None]) -> Words:
    """The first available language."""
    available = languages()
    return next((available[code] for code in codes if code in available), available[FALLBACK])


def accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header, best first; beyond 200 characters it is ignored."""
    ranked = []
    for part in header[:200].split(","):
        code, _, weight = part.strip().partition(";q=")
        ranked.append((_weight(weight), code.partition("-")[0].lower()))
    return [code for weight, code in sorted(ranked, key=lambda pair: -pair[0]) if weight > 0]


def _weight(text: str) -> float:
    try:
        return float(text or "1")
    except ValueError:
        return 0.0


def _cleaned(text: Any) -> Any:
    """Browsers send two characters for a line's end and count one; control characters are removed."""
    if not isinstance(text, str):
        return text
    text = text.replace("\r\n", "\n")
    return "".join(c for c in text if c in "\n\t" or c.isprintable()).strip()


def _seconds(text: Any) -> float:
    """The browser's count, or 0 if it is invalid: the answer is accepted anyway."""
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


class AnswerForm(BaseModel):
    """One answer as the page sends it."""

    scan: str = Field(pattern="^[0-9a-f]{32}$")
    choice: Choice
    reason: Annotated[str, BeforeValidator(_cleaned)] = Field("", max_length=LONGEST_REASON)
    realism: int | None = Field(None, ge=1, le=5)
    regions: list[Literal[REGIONS]] = []  # type: ignore[valid-type]
    seconds: Annotated[float, BeforeValidator(_seconds)] = 0.0
    key: str = Field(pattern="^[0-9a-f-]{16,64}$")

    def values(self, design: Design) -> Values:
        """By question, only what the design asks for."""
        # In the order of the page, each once.
        regions = {"regions": [region for region in REGIONS if region in self.regions]} if design.regions else {}
        realism = {"realism": self.realism} if design.realism and self.realism is not None else {}
        return {"choice": self.choice, "reason": self.reason, **realism, **regions}


LANGUAGE_COOKIE = "crossmod_language"


class Failure(Exception):  # noqa: N818 - most are a reader's, such as a mistyped link
    """A request that is not served: the key of its page's title, which with `_what` is that of the explanation."""

    def __init__(self, status: int, text: str, *, headers: dict[str, str] | None = None, **values: object):
        self.status, self.text, self.values, self.headers = status, text, values, headers or {}
        super().__init__(text)


@dataclass(frozen=True)
class AppContext:
    """The objects of one server."""

    study: ReaderRepository
    images: Path
    keys: SessionKeys
    tries: RateLimiter
    _designs: dict[int, Design] = field(default_factory=dict)

    def design(self, survey: int) -> Design:
        """The design of a survey; read once, since it never changes."""
        if survey not in self._designs:
            self._designs[survey] = self.study.design(survey)
        return self._designs[survey]


def context_of(request: Request) -> AppContext:
    """The objects of the server that got this request."""
    return request.app.state.context


def words_for(request: Request) -> Words:
    """The language of a page: the reader's choice, else the invitation's, else the browser's."""
    invited = getattr(request.state, "language", None)
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return words([chosen, invited, *accepted(request.headers.get("accept-language", ""))])


@cache
def static(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers can cache the file for long."""
    content = (files("crossmod.reader") / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("crossmod.reader", "templates"),
        # In every template: the readers' own texts are shown to them again.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static
    return environment


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """A page, or a part of one, in the reader's language."""
    token = getattr(request.state, "form_token", "")
    shared = {"t": words_for(request), "languages": languages().values(), "form_token": token}
    return HTMLResponse(_templates().get_template(template).render(**shared, **values), status)


def _enter(request: Request, role: Role) -> str:
    """The token of this session."""
    keys = context_of(request).keys
    token = keys.token(request, role)
    if token is None:
        raise Failure(403, "error_session")
    request.state.form_token = keys.form_token(role, token)
    return token


def reader(request: Request) -> ReaderSession:
    """The reader of the session; looked up in the database each time, so that an expired link ends it."""
    seat = context_of(request).study.seat(_enter(request, "reader"))
    if seat is None:
        raise Failure(403, "error_session")
    request.state.language = seat.language
    return seat


def owner(request: Request) -> int:
    """The survey that this session owns."""
    survey = context_of(request).study.owner(_enter(request, "owner"))
    if survey is None:
        raise Failure(403, "error_session")
    return survey


def _own_form(role: Role):
    def check(request: Request, x_form_token: Annotated[str, Header()] = "") -> None:
        """Refuse a form that no page of this session sent."""
        token = _enter(request, role)
        if not from_here(request) or not context_of(request).keys.form_fits(role, token, x_form_token):
            raise Failure(403, "error_forged")

    return check


ReaderSeat = Annotated[ReaderSession, Depends(reader)]
OwnedSurvey = Annotated[int, Depends(owner)]
# Required by every request that changes something.
READERS_FORM = Depends(_own_form("reader"))
OWNERS_FORM = Depends(_own_form("owner"))
