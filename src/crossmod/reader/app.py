"""The web application of a survey."""

import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmod.reader import owner, pages, pictures
from crossmod.reader.failures import answer_failures, respond
from crossmod.reader.limits import BodyLimit, Tries
from crossmod.reader.room import Room
from crossmod.reader.security import Keys, harden
from crossmod.reader.study import Study


def make_app(study: Study, images: Path, *, secret: bytes, clock: Callable[[], float] = time.time) -> FastAPI:
    """The application that serves the surveys of one database.

    Args:
        study: the database.
        images: folder with one `SCAN.nii` a scan.
        secret: what sessions are signed with; at least 16 bytes, the same after a restart.
        clock: seconds since 1970.
    """
    # The schema can be made for tests; nobody who reads needs it served.
    # No redirect for a slash too many: its address is made of what the client calls this server.
    app = FastAPI(title="crossmod reader", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.room = Room(study, images, Keys(secret, clock), Tries(clock))
    for part in (pages, pictures, owner):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=str(files("crossmod.reader") / "static")))
    answer_failures(app)
    app.add_middleware(BodyLimit)
    # Last added, so outermost: what the others refuse gets its headers, too.
    app.add_middleware(Guard)
    return app


class Guard:
    """Around every request: security headers on each response, HEAD like GET without its body, no failure unworded."""

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
