"""Sessions, forged requests, and what browsers are told to forbid.

A session is a cookie with the link's own token, signed. The token and not the reader's number, so that each request
asks the database again: a link that expires or is withdrawn ends its sessions, and a server that was killed knows them
when it comes back. Signed, so that tokens cannot be guessed through the cookie, past the limit on failed tries.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Literal

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

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


class Keys:
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
