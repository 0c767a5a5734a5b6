"""The web application of a survey, and its error pages."""

import logging
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmod.reader import routes
from crossmod.reader.context import AppContext, Failure, render, words_for
from crossmod.reader.design import LONGEST_REASON
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import AnswerRejected, NotSaved
from crossmod.reader.security import BodyLimit, RateLimiter, SessionKeys, TooLarge, harden

log = logging.getLogger(__name__)

# The first words after a failed form.
_NOT_DONE = {"scan": "not_saved", "submit": "not_submitted", "owner": "owner_not_closed"}
_REFUSED = {
    "closed": (409, "was_closed"),
    "submitted": (409, "was_submitted"),
    "not yours": (409, "not_yours"),
    "unfit": (422, "unfit"),
    "incomplete": (409, "submit_incomplete"),
}
_FIELDS = {"choice": "choose", "reason": "reason_long"}


# Failures that are a page of their own; all others are logged.
_FAILURES = (Failure, AnswerRejected, NotSaved, SQLAlchemyError, TooLarge, RequestValidationError, HTTPException)


def respond(request: Request, failure: Exception) -> HTMLResponse:
    """The page of any failure; an unexpected one is logged, and the page gives no details."""
    match failure:
        case Failure():
            return _say(request, failure.status, failure.text, failure.headers, **failure.values)
        case AnswerRejected():
            status, text = _REFUSED.get(failure.why, (409, "refused"))
            return _notice(request, status, words_for(request)(text, words=failure))
        case NotSaved() | SQLAlchemyError():
            log.error("%s %s: the database did not answer: %s", request.method, _route(request), failure)
            return _say(request, 503, "error_away", {"Retry-After": "5"})
        # FastAPI raises one error for everything that fails while it reads a form. The rest of the body is not read.
        case TooLarge() | HTTPException(__cause__=TooLarge()):
            return _say(request, 413, "error_large", {"Connection": "close"}, most=LONGEST_REASON)
        case RequestValidationError():
            return _unfit(request, failure)
        case HTTPException():
            text = {404: "error_missing", 405: "error_method"}.get(failure.status_code, "error_unfit")
            return _say(request, failure.status_code, text, failure.headers)
    log.error("%s %s failed", request.method, _route(request), exc_info=failure)
    return _say(request, 500, "error_server")


def _notice(request: Request, status: int, text: str) -> HTMLResponse:
    """The part of a page that reports a form that was not accepted, with its translated text."""
    first = request.url.path.split("/")[1]
    not_done = _NOT_DONE.get(first) if request.method == "POST" else None
    return render(request, "notice.html", status=status, not_done=not_done, text=text, again=not_done == "not_saved")


def _say(
    request: Request, status: int, text: str, headers: Mapping[str, str] | None = None, **values: object
) -> HTMLResponse:
    t = words_for(request)
    what = t(f"{text}_what", **values)
    if "hx-request" in request.headers:
        response = _notice(request, status, what)
    else:
        # Without a session, the start page would lead back to this page.
        inside = text not in ("error_session", "error_link", "error_tries")
        response = render(request, "error.html", status=status, title=t(text), what=what, inside=inside)
    response.headers.update(headers or {})
    return response


def _unfit(request: Request, failure: RequestValidationError) -> HTMLResponse:
    places = [error["loc"] for error in failure.errors()]
    if any(place[0] == "path" for place in places):
        return _say(request, 404, "error_missing")
    field = next((str(place[1]) for place in places if len(place) > 1 and place[1] in _FIELDS), None)
    if field is None:
        return _say(request, 422, "error_unfit")
    return _notice(request, 422, words_for(request)(_FIELDS[field], most=LONGEST_REASON))


def _route(request: Request) -> str:
    # Links contain tokens, and more people read a log than the database.
    first = request.url.path.split("/")[1]
    return f"/{first}/..." if first in ("r", "o") else request.url.path


def make_app(
    study: ReaderRepository, images: Path, *, secret: bytes, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The application that serves the surveys of one database; `images` has one `SCAN.nii` per scan."""
    # Only tests use the schema. No redirect for a surplus slash: it would use the host name that the client sent.
    app = FastAPI(title="crossmod reader", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.context = AppContext(study, images, SessionKeys(secret, clock), RateLimiter(clock))
    app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=str(files("crossmod.reader") / "static")))
    for kind in _FAILURES:
        app.add_exception_handler(kind, respond)
    app.add_middleware(BodyLimit)
    # Added last, so outermost: responses of the others also get its headers.
    app.add_middleware(Guard)
    return app


class Guard:
    """Around every request: security headers, HEAD as GET without a body, and an error page for every failure."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, head = False, scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith("/static/") and message["status"] == 200:
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                harden(headers)
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app({**scope, "method": "GET"} if head else scope, receive, guarded)
        except Exception as failure:
            if begun:
                raise
            await respond(Request(scope), failure)(scope, receive, guarded)
