"""Start the server of a survey."""

import os
import secrets
import signal
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import uvicorn
from rich.console import Console

from crossmod.errors import InputError
from crossmod.reader.app import make_app
from crossmod.reader.create import IMAGES, opened

SECRET = "secret"
# Seconds that open requests have to finish when the server stops.
_STOP_WITHIN = 10
_EVERYWHERE = ("0.0.0.0", "::")


def serve(
    survey: Path, *, database: str | None, host: str = "127.0.0.1", port: int, open_browser: bool = False
) -> None:
    """Serve a survey until it is stopped; one process."""
    with opened(survey, database) as (study, number):
        listening = _listen(host, port)
        try:
            app = make_app(study, survey / IMAGES, secret=_secret(survey / SECRET))
            address = _address(host, listening.getsockname()[1])
            _tell(study.design(number).name, address, host)
            if open_browser:
                # Later, when the server answers.
                opening = Timer(1.0, webbrowser.open, [address])
                opening.daemon = True
                opening.start()
            config = uvicorn.Config(
                app,
                # No access log: links contain tokens.
                access_log=False,
                log_level="warning",
                server_header=False,
                # For a proxy with https on this machine; headers from other addresses are not trusted.
                proxy_headers=True,
                forwarded_allow_ips="127.0.0.1",
                timeout_graceful_shutdown=_STOP_WITHIN,
            )
            with _stopped_in_peace():
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            listening.close()


@contextmanager
def _stopped_in_peace() -> Iterator[None]:
    """Do not fail on SIGTERM: uvicorn stops the server, then raises the signal again."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _listen(host: str, port: int) -> socket.socket:
    """Open the port before its address is printed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With IPPROTO_TCP asyncio sends small responses at once; else each page waits 40 ms for the browser's ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # Two servers may bind one port, but not listen at it.
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or str(error)
        do = "Choose another --port; 0 takes any free one."
        raise InputError(f"port {port} at {host}", found=why, expected="a free port", do=do) from None
    return listening


def _secret(path: Path) -> bytes:
    """The secret that signs sessions: made once, so that they survive a restart."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError as error:
        found, do = f"not writable ({error.strerror})", "Change its permissions."
        raise InputError(path, found=found, expected="a folder to write to", do=do) from None
    secret = path.read_bytes()
    if len(secret) < 32:
        do = "Remove it; readers open their links again."
        raise InputError(path, found=f"{len(secret)} bytes", expected="32", do=do)
    return secret


def _address(host: str, port: int) -> str:
    shown = socket.gethostname() if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _tell(name: str, address: str, host: str) -> None:
    say = Console(highlight=False, soft_wrap=True).print
    say(f"Survey {name} is at {address}", markup=False)
    say(f"Readers open their invitations: {address}/r/TOKEN", markup=False)
    say(f"You watch them and close the survey with the owner's link: {address}/o/TOKEN", markup=False)
    if host not in ("127.0.0.1", "::1", "localhost"):
        say("Others can reach it, and the network can read what they send: put a proxy with https in front.")
    say("Ctrl+C stops it; every saved answer is kept, and readers can continue after a restart.")
