"""Every URL of a survey: pages of readers, the owner's page, images."""

import logging
import math
import secrets
import struct
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as PathPart
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from crossmod.reader.context import (
    LANGUAGE_COOKIE,
    OWNERS_FORM,
    READERS_FORM,
    AnswerForm,
    Failure,
    OwnedSurvey,
    ReaderSeat,
    context_of,
    languages,
    reader,
    render,
)
from crossmod.reader.context import owner as owned
from crossmod.reader.design import CHOICES, LONGEST_REASON, REALISM, REGIONS, WINDOWS
from crossmod.reader.security import Role, looks_like_token

log = logging.getLogger(__name__)
router = APIRouter(default_response_class=HTMLResponse)

ScanId = Annotated[str, PathPart(pattern=r"^[0-9a-f]{32}$")]
_HEADER = 348


@router.get("/image/{scan}.nii", response_class=Response)
def image(request: Request, scan: ScanId, seat: ReaderSeat) -> Response:
    """One of this reader's images; 404 for anything else."""
    context = context_of(request)
    if not context.study.may_see(seat, scan) or not can_be_shown(context.images, scan):
        raise Failure(404, "error_missing")
    # Not a file response, which would add the file's time and an ETag.
    return Response(
        (context.images / f"{scan}.nii").read_bytes(),
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, max-age=3600"},
    )


def can_be_shown(images: Path, scan: str) -> bool:
    """Whether an image exists and is complete, by its header and size; if not, it is logged."""
    flaw = _flaw(images / f"{scan}.nii")
    if flaw is not None:
        log.error("scan %s cannot be shown: %s", scan, flaw)
    return flaw is None


def _flaw(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
        size = path.stat().st_size
    except OSError as error:
        return f"not readable ({error.strerror})"
    if len(header) < _HEADER or header[344:348] != b"n+1\0" or header[:4] != struct.pack("<i", _HEADER):
        return "not a NIfTI file"
    rank, *sides = struct.unpack("<8h", header[40:56])
    (bits,) = struct.unpack("<h", header[72:74])
    (offset,) = struct.unpack("<f", header[108:112])
    values = math.prod(max(side, 1) for side in sides[: max(rank, 0)])
    expected = int(offset) + values * bits // 8
    return None if size >= expected else f"{size} bytes, {expected} in its header"


@router.get("/o/{token}", response_class=RedirectResponse, status_code=303)
def entrance(request: Request, token: str) -> Response:
    """Open the owner's link."""
    known = looks_like_token(token) and context_of(request).study.owner(token) is not None
    return begin(request, "owner", token, known=known, to="/owner")


@router.get("/owner", response_model=None)
def overview(request: Request) -> Response:
    """Progress, and closing."""
    waiting = bounce(request, "owner", "/owner")
    if waiting is not None:
        return waiting
    survey, context = owned(request), context_of(request)
    values = {"standing": context.study.standing(survey), "closed": context.study.closed(survey)}
    return render(request, "owner.html", name=context.design(survey).name, **values)


@router.get("/owner/progress")
def progress(request: Request, survey: OwnedSurvey) -> HTMLResponse:
    """The table alone, for the page that refreshes it."""
    return render(request, "progress.html", standing=context_of(request).study.standing(survey))


@router.post("/owner/close", dependencies=[OWNERS_FORM], status_code=204, response_class=Response)
def close(request: Request, survey: OwnedSurvey) -> Response:
    """Accept no more answers."""
    context_of(request).study.close(survey)
    return Response(status_code=204, headers={"HX-Redirect": "/owner"})


ARRIVING = "crossmod_arriving"
Number = Annotated[int, PathPart(ge=1, le=100_000)]


@router.get("/r/{token}", response_class=RedirectResponse, status_code=303)
def invitation(request: Request, token: str) -> Response:
    """Open an invitation: the link becomes a session, and disappears from the address."""
    known = looks_like_token(token) and context_of(request).study.seat(token) is not None
    return begin(request, "reader", token, known=known, to="/")


def begin(request: Request, role: Role, token: str, *, known: bool, to: str) -> Response:
    """Start a session for a valid link; count the tries with an invalid one."""
    context = context_of(request)
    if not known:
        wait = context.tries.failed(request.client.host if request.client else "")
        if wait:
            raise Failure(429, "error_tries", headers={"Retry-After": str(wait)}, seconds=wait)
        raise Failure(404, "error_link")
    response, https = RedirectResponse(to, 303), request.url.scheme == "https"
    context.keys.begin(response, role, token, https=https)
    response.set_cookie(ARRIVING, role, max_age=60, httponly=True, samesite="lax", secure=https)
    return response


def bounce(request: Request, role: Role, to: str) -> HTMLResponse | None:
    """For a visitor from another site, such as a mail: a page that loads the same page again.

    Browsers withhold a strict cookie on that first visit, also after redirects; on the second they send it. An empty
    cookie that is less strict, and is deleted here, shows that a session follows.
    """
    if request.cookies.get(ARRIVING) != role or context_of(request).keys.token(request, role):
        return None
    response = render(request, "moment.html", to=to)
    response.delete_cookie(ARRIVING)
    return response


@router.get("/", response_model=None)
def start(request: Request) -> Response:
    """The task and the progress; after the end, thanks."""
    waiting = bounce(request, "reader", "/")
    if waiting is not None:
        return waiting
    seat = reader(request)
    if seat.ended:
        return render(request, "thanks.html", seat=seat)
    answered = context_of(request).study.answered(seat)
    following = next((number for number in range(1, seat.total + 1) if number not in answered), seat.total)
    design = context_of(request).design(seat.survey)
    return render(request, "welcome.html", seat=seat, design=design, answered=answered, following=following)


@router.get("/language/{code}", response_class=RedirectResponse, status_code=303)
def language(code: str, to: Annotated[str, Query(pattern="^(/|/owner)$")] = "/") -> Response:
    """Change the language of the pages on this device."""
    if code not in languages():
        raise Failure(404, "error_missing")
    response = RedirectResponse(to, 303)
    response.set_cookie(LANGUAGE_COOKIE, code, max_age=365 * 86400, httponly=True, samesite="lax")
    return response


@router.get("/scan/{number}", response_model=None)
def scan(request: Request, number: Number, seat: ReaderSeat) -> Response:
    """One scan and its questions."""
    if seat.ended:
        return RedirectResponse("/", 303)
    context = context_of(request)
    shown = context.study.shown(seat, number)
    if shown is None:
        raise Failure(404, "error_missing")
    design = context.design(seat.survey)
    return render(
        request,
        "scan.html",
        seat=seat,
        shown=shown,
        values=shown.values or {},
        design=design,
        answered=context.study.answered(seat),
        drawn=can_be_shown(context.images, shown.scan),
        windows=WINDOWS[design.modality],
        choices=CHOICES,
        scores=range(REALISM[0], REALISM[-1] + 1) if design.realism else (),
        regions=REGIONS if design.regions else (),
        longest=LONGEST_REASON,
        # The page's script makes a key for each later answer.
        key=secrets.token_hex(16),
    )


@router.post("/scan/{number}", dependencies=[READERS_FORM])
def answer(request: Request, number: Number, seat: ReaderSeat, form: Annotated[AnswerForm, Form()]) -> HTMLResponse:
    """Store an answer; "saved" is shown only once it is on disk."""
    context = context_of(request)
    values = form.values(context.design(seat.survey))
    context.study.answer(seat, number, form.scan, values, seconds=form.seconds, key=form.key)
    return render(request, "saved.html")


@router.get("/submit", response_model=None)
def before_submit(request: Request, seat: ReaderSeat) -> Response:
    """The missing answers, or the button that ends the survey."""
    if seat.ended:
        return RedirectResponse("/", 303)
    answered = context_of(request).study.answered(seat)
    missing = [number for number in range(1, seat.total + 1) if number not in answered]
    return render(request, "submit.html", seat=seat, answered=answered, missing=missing)


@router.post("/submit", dependencies=[READERS_FORM], status_code=204, response_class=Response)
def submit(request: Request, seat: ReaderSeat) -> Response:
    """End a reader's survey; again, it has no effect."""
    if seat.submitted is None:
        context_of(request).study.submit(seat)
    return Response(status_code=204, headers={"HX-Redirect": "/"})
