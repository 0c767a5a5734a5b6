"""What readers see. Pages are made from `Shown` and `Seat` alone, which do not know which scan is synthetic."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as PathPart
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from crossmod.reader.design import CHOICES, LONGEST_REASON, REALISM, REGIONS
from crossmod.reader.forms import AnswerForm
from crossmod.reader.pictures import can_be_shown
from crossmod.reader.room import LANGUAGE_COOKIE, READERS_FORM, Failure, ReaderSeat, reader, render, room_of
from crossmod.reader.security import Role, looks_like_token
from crossmod.reader.study import Seat
from crossmod.reader.texts import languages
from crossmod.reader.windows import WINDOWS

router = APIRouter(default_response_class=HTMLResponse)

ARRIVING = "crossmod_arriving"
Number = Annotated[int, PathPart(ge=1, le=100_000)]


@router.get("/r/{token}", response_class=RedirectResponse, status_code=303)
def invitation(request: Request, token: str) -> Response:
    """Open an invitation: the link becomes a session, and leaves the address."""
    known = looks_like_token(token) and room_of(request).study.seat(token) is not None
    return begin(request, "reader", token, known=known, to="/")


def begin(request: Request, role: Role, token: str, *, known: bool, to: str) -> Response:
    """Give a session to who has a good link; count the tries of who has not."""
    room = room_of(request)
    if not known:
        wait = room.tries.failed(request.client.host if request.client else "")
        if wait:
            raise Failure(429, "error_tries", headers={"Retry-After": str(wait)}, seconds=wait)
        raise Failure(404, "error_link")
    response, https = RedirectResponse(to, 303), request.url.scheme == "https"
    room.keys.begin(response, role, token, https=https)
    response.set_cookie(ARRIVING, role, max_age=60, httponly=True, samesite="lax", secure=https)
    return response


def bounce(request: Request, role: Role, to: str) -> HTMLResponse | None:
    """For one who comes from another site, as from a mail: a page that loads the same page again.

    Browsers keep a strict cookie back on that first visit, redirects included; on the second they send it. A cookie
    that is less strict, holds nothing, and is taken back here tells that there is a session to come.
    """
    if request.cookies.get(ARRIVING) != role or room_of(request).keys.token(request, role):
        return None
    response = render(request, "moment.html", to=to)
    response.delete_cookie(ARRIVING)
    return response


@router.get("/", response_model=None)
def start(request: Request) -> Response:
    """What is asked and how far one is; after the end, thanks."""
    waiting = bounce(request, "reader", "/")
    if waiting is not None:
        return waiting
    seat = reader(request)
    if _ended(seat):
        return render(request, "thanks.html", seat=seat)
    answered = room_of(request).study.answered(seat)
    following = next((number for number in range(1, seat.total + 1) if number not in answered), seat.total)
    design = room_of(request).design(seat.survey)
    return render(request, "welcome.html", seat=seat, design=design, answered=answered, following=following)


@router.get("/language/{code}", response_class=RedirectResponse, status_code=303)
def language(code: str, to: Annotated[str, Query(pattern="^(/|/owner)$")] = "/") -> Response:
    """Change the language of the pages, on this device."""
    if code not in languages():
        raise Failure(404, "error_missing")
    response = RedirectResponse(to, 303)
    response.set_cookie(LANGUAGE_COOKIE, code, max_age=365 * 86400, httponly=True, samesite="lax")
    return response


@router.get("/scan/{number}", response_model=None)
def scan(request: Request, number: Number, seat: ReaderSeat) -> Response:
    """One scan and its questions."""
    if _ended(seat):
        return RedirectResponse("/", 303)
    room = room_of(request)
    shown = room.study.shown(seat, number)
    if shown is None:
        raise Failure(404, "error_missing")
    design = room.design(seat.survey)
    return render(
        request,
        "scan.html",
        seat=seat,
        shown=shown,
        values=shown.values or {},
        design=design,
        answered=room.study.answered(seat),
        drawn=can_be_shown(room.images, shown.scan),
        windows=WINDOWS[design.modality],
        choices=CHOICES,
        scores=range(REALISM[0], REALISM[-1] + 1) if design.realism else (),
        regions=REGIONS if design.regions else (),
        longest=LONGEST_REASON,
        # A page's script makes its own for each answer; this one serves the first.
        key=secrets.token_hex(16),
    )


@router.post("/scan/{number}", dependencies=[READERS_FORM])
def answer(request: Request, number: Number, seat: ReaderSeat, form: Annotated[AnswerForm, Form()]) -> HTMLResponse:
    """Keep an answer; "saved" is said when it is on the disk, and not before."""
    room = room_of(request)
    values = form.values(room.design(seat.survey))
    room.study.answer(seat, number, form.scan, values, seconds=form.seconds, key=form.key)
    return render(request, "saved.html")


@router.get("/submit", response_model=None)
def before_submit(request: Request, seat: ReaderSeat) -> Response:
    """What is still missing, or the button that ends it."""
    if _ended(seat):
        return RedirectResponse("/", 303)
    answered = room_of(request).study.answered(seat)
    missing = [number for number in range(1, seat.total + 1) if number not in answered]
    return render(request, "submit.html", seat=seat, answered=answered, missing=missing)


@router.post("/submit", dependencies=[READERS_FORM], status_code=204, response_class=Response)
def submit(request: Request, seat: ReaderSeat) -> Response:
    """End a reader's survey; a second time changes nothing."""
    if seat.submitted is None:
        room_of(request).study.submit(seat)
    return Response(status_code=204, headers={"HX-Redirect": "/"})


def _ended(seat: Seat) -> bool:
    return seat.submitted is not None or seat.closed is not None
