"""Sessions, forged requests, rate limits, and what browsers are told to forbid.

A session is a cookie with the link's own token, signed. The token and not the reader's number, so that each request
asks the database again: a link that expires or is withdrawn ends its sessions, and a server that was killed knows them
when it comes back. Signed, so that tokens cannot be guessed through the cookie, past the limit on failed tries.
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

# A reason of 2000 characters takes at most 24 kB in a form; nothing else that is sent comes near it.
LARGEST_BODY = 64 * 1024
# Of what is refused, as much is thrown away unread, in as many seconds: a browser that is cut off while it sends shows
# no answer at all.
THROWN_AWAY, PATIENCE = 2 * 1024 * 1024, 5.0


class RateLimiter:
    """Failed tries with a token, by address: some at once, then one every few seconds.

    Only failures count, and a good token is let in however many failed: a hospital shares one address, and a
    colleague's mistyped link must lock nobody out. That gives nothing away: tokens have 256 bits, so the limit is not
    what keeps guessing hopeless; it keeps a guesser from filling the server and its log.

    Args:
        clock: seconds.
        at_once: failures that may come in one go.
        every: seconds after which one more is allowed.
        most: addresses remembered; the ones that failed longest ago go first.
    """

    def __init__(self, clock: Callable[[], float], *, at_once: int = 10, every: float = 6.0, most: int = 10_000):
        self._clock, self._at_once, self._every, self._most = clock, at_once, every, most
        # When an address will have nothing on its account any more.
        self._clear: dict[str, float] = {}

    def failed(self, address: str) -> int:
        """Note a failure; gives the seconds to wait, 0 while there are tries left."""
        key, now = _network(address), self._clock()
        clear = max(self._clear.pop(key, now), now) + self._every
        wait = clear - now - self._at_once * self._every
        # What is over the limit is not added: the wait is short and ends however often a page is loaded again.
        self._clear[key] = clear if wait <= 0 else clear - self._every
        while len(self._clear) > self._most:
            del self._clear[next(iter(self._clear))]
        return max(0, math.ceil(wait))


def _network(address: str) -> str:
    """An address; of IPv6 the /64, which is one household's or one machine's to choose from."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


class TooLarge(Exception):  # noqa: N818 - the sender's doing
    """A request sends more than it may."""


class BodyLimit:
    """Refuses a request that sends too much: at once where it says so, else as soon as it has sent too much."""

    def __init__(self, app: ASGIApp, *, largest: int = LARGEST_BODY):
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self._largest:
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
# As long as a session lasts without the link being opened again.
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
    """Add what every response carries; pages are not kept by browsers, so that going back shows the last answer."""
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


def looks_like_token(text: str) -> bool:
    """Whether it can be a token at all; spares the database what cannot."""
    return _TOKEN.fullmatch(text) is not None


class SessionKeys:
    """What a server signs with.

    Args:
        secret: kept over restarts.
        clock: seconds since 1970.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float]):
        self._secret, self._clock = secret, clock

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()

    def cookie_name(self, role: Role) -> str:
        """One name a server: cookies know no ports, and two surveys may run on one machine."""
        return f"crossmod_{role}_{self._sign('name')[:8]}"

    def begin(self, response: Response, role: Role, token: str, *, https: bool) -> None:
        """Give a browser its session."""
        until = int(self._clock()) + SESSION_DAYS * 86400
        value = f"{token}.{until}.{self._sign('session', role, token, str(until))}"
        response.set_cookie(
            self.cookie_name(role), value, max_age=SESSION_DAYS * 86400, httponly=True, samesite="strict", secure=https
        )

    def token(self, request: Request, role: Role) -> str | None:
        """The token of a browser's session, if we signed it and it has not run out."""
        token, _, rest = request.cookies.get(self.cookie_name(role), "").partition(".")
        until, _, signature = rest.partition(".")
        if not hmac.compare_digest(self._sign("session", role, token, until).encode(), signature.encode()):
            return None
        return token if int(until) > self._clock() else None

    def form_token(self, role: Role, token: str) -> str:
        """What each form of a session must bring along."""
        return self._sign("form", role, token)

    def form_fits(self, role: Role, token: str, given: str) -> bool:
        """Whether a form was ours, and of this session."""
        return hmac.compare_digest(self.form_token(role, token).encode(), given.encode())


def from_here(request: Request) -> bool:
    """Whether a form was sent by one of our own pages, as far as the browser says.

    Browsers say `Sec-Fetch-Site` only over https and to the same machine, so a server in a plain network goes by
    `Origin`. One that says neither is no browser of today; the form's token still counts.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    # Not `urlsplit`, which refuses what is no address.
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")
