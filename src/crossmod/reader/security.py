"""Sessions, forged requests, rate limits, and security headers.

A session is a cookie with the link's own token, signed. The token and not the reader's number, so that each request
asks the database again: a link that expires or is withdrawn ends its sessions, and sessions survive a restart of the
server. Signed, so that tokens cannot be guessed through the cookie, which has no limit on failed tries.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Literal

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A reason of 2000 characters takes at most 24 kB in a form; everything else is far smaller.
LARGEST_BODY = 64 * 1024
# Bytes and seconds of a refused body that are read and discarded: a browser that is cut off while it sends shows no
# response at all.
THROWN_AWAY, PATIENCE = 2 * 1024 * 1024, 5.0


class RateLimiter:
    """Failed tries with a token, by address: some at once, then one every few seconds.

    Only failures count, and a valid token always works: a hospital shares one address, and a colleague's mistyped link
    must lock no one out. That is safe: tokens have 256 bits and cannot be guessed; the limit protects the server and
    its log from floods.

    Of `most` addresses, those that failed longest ago are dropped first.
    """

    def __init__(self, clock: Callable[[], float], *, at_once: int = 10, every: float = 6.0, most: int = 10_000):
        self._clock, self._at_once, self._every, self._most = clock, at_once, every, most
        # When the failures of an address no longer count.
        self._clear: dict[str, float] = {}

    def failed(self, address: str) -> int:
        """Count a failure; gives the seconds to wait, 0 while tries are left."""
        key, now = _network(address), self._clock()
        clear = max(self._clear.pop(key, now), now) + self._every
        wait = clear - now - self._at_once * self._every
        # Tries over the limit are not added: the wait stays short however often a page is loaded again.
        self._clear[key] = clear if wait <= 0 else clear - self._every
        while len(self._clear) > self._most:
            del self._clear[next(iter(self._clear))]
        return max(0, math.ceil(wait))


def _network(address: str) -> str:
    """An address; of IPv6 the /64, within which one household or machine can choose."""
    try:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    except ValueError:
        return address


class TooLarge(Exception):  # noqa: N818 - the sender's doing
    """A request sends more than it may."""


class BodyLimit:
    """Refuses a body that is too large: at once by its Content-Length, else as soon as it is."""

    def __init__(self, app: ASGIApp, *, largest: int = LARGEST_BODY):
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._largest:
            await _throw_away(receive)
            raise TooLarge
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._largest:
                if message.get("more_body"):
                    await _throw_away(receive)
                raise TooLarge
            return message

        await self._app(scope, counted, send)


async def _throw_away(receive: Receive) -> None:
    thrown = 0
    try:
        async with asyncio.timeout(PATIENCE):
            while thrown < THROWN_AWAY:
                message = await receive()
                thrown += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


Role = Literal["reader", "owner"]
SESSION_DAYS = 14
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")

# niivue draws with WebGL and sets styles through the DOM; it needs neither WebAssembly nor workers for plain NIfTI.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex",
}


def harden(headers: MutableHeaders) -> None:
    """Add the headers of every response; pages are not cached, so that going back shows the last answer."""
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


def looks_like_token(text: str) -> bool:
    """Whether a text has the form of a token; if not, no query is needed."""
    return _TOKEN.fullmatch(text) is not None


class SessionKeys:
    """Signs sessions and forms with a secret that is kept over restarts."""

    def __init__(self, secret: bytes, clock: Callable[[], float]):
        self._secret, self._clock = secret, clock

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()

    def cookie_name(self, role: Role) -> str:
        """One name per server: cookies ignore ports, and two surveys may run on one machine."""
        return f"crossmod_{role}_{self._sign('name')[:8]}"

    def begin(self, response: Response, role: Role, token: str, *, https: bool) -> None:
        """Start a session."""
        until = int(self._clock()) + SESSION_DAYS * 86400
        value = f"{token}.{until}.{self._sign('session', role, token, str(until))}"
        response.set_cookie(
            self.cookie_name(role), value, max_age=SESSION_DAYS * 86400, httponly=True, samesite="strict", secure=https
        )

    def token(self, request: Request, role: Role) -> str | None:
        """The token of a browser's session, if the signature is valid and it has not expired."""
        token, _, rest = request.cookies.get(self.cookie_name(role), "").partition(".")
        until, _, signature = rest.partition(".")
        if not hmac.compare_digest(self._sign("session", role, token, until).encode(), signature.encode()):
            return None
        return token if int(until) > self._clock() else None

    def form_token(self, role: Role, token: str) -> str:
        """The token that each form of a session must send."""
        return self._sign("form", role, token)

    def form_fits(self, role: Role, token: str, given: str) -> bool:
        """Whether a form belongs to this session."""
        return hmac.compare_digest(self.form_token(role, token).encode(), given.encode())


def from_here(request: Request) -> bool:
    """Whether a form was sent by one of our own pages, according to the browser.

    Browsers send `Sec-Fetch-Site` only over https and to the same machine; without it `Origin` decides. No current
    browser omits both; the form's token is checked anyway.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    # Not `urlsplit`, which raises on invalid addresses.
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")
