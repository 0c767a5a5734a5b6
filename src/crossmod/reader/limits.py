"""How much one address may try, and how much one request may send."""

import asyncio
import ipaddress
import math
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A reason of 2000 characters takes at most 24 kB in a form; nothing else that is sent comes near it.
LARGEST_BODY = 64 * 1024
# Of what is refused, as much is thrown away unread, in as many seconds: a browser that is cut off while it sends shows
# no answer at all.
THROWN_AWAY, PATIENCE = 2 * 1024 * 1024, 5.0


class Tries:
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
