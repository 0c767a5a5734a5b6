"""What the owner sees: how far each reader is, and the button that closes the survey. Nothing of the key."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from crossmod.reader.pages import begin, bounce
from crossmod.reader.room import OWNERS_FORM, OwnedSurvey, render, room_of
from crossmod.reader.room import owner as owned
from crossmod.reader.security import looks_like_token

router = APIRouter(default_response_class=HTMLResponse)


@router.get("/o/{token}", response_class=RedirectResponse, status_code=303)
def entrance(request: Request, token: str) -> Response:
    """Open the owner's link."""
    known = looks_like_token(token) and room_of(request).study.owner(token) is not None
    return begin(request, "owner", token, known=known, to="/owner")


@router.get("/owner", response_model=None)
def overview(request: Request) -> Response:
    """Progress, and closing."""
    waiting = bounce(request, "owner", "/owner")
    if waiting is not None:
        return waiting
    survey = owned(request)
    study = room_of(request).study
    design = room_of(request).design(survey)
    return render(request, "owner.html", name=design.name, standing=study.standing(survey), closed=study.closed(survey))


@router.get("/owner/progress")
def progress(request: Request, survey: OwnedSurvey) -> HTMLResponse:
    """The table alone, for the page that renews it."""
    return render(request, "progress.html", standing=room_of(request).study.standing(survey))


@router.post("/owner/close", dependencies=[OWNERS_FORM], status_code=204, response_class=Response)
def close(request: Request, survey: OwnedSurvey) -> Response:
    """Take no more answers."""
    room_of(request).study.close(survey)
    return Response(status_code=204, headers={"HX-Redirect": "/owner"})
