"""Download one large file: resumed after a break, held against its checksum, whole or not there.

Notable:
- The unfinished part is kept beside the target with the server's `ETag`; `If-Range` makes a server whose file has
  changed send all of it, instead of a tail that does not fit.
- A server that ignores `Range` answers 200; then the part is started over.
"""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full
from crossmod.progress import Advance, progress

Algorithm = Literal["sha256", "md5"]

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60.0


class _UnfinishedError(Exception):
    """The connection broke, or the server asks to come back later."""


def fetch(
    url: str, target: Path, *, checksum: str, algorithm: Algorithm = "sha256", attempts: int = 6, pause: float = 2.0
) -> Path:
    """Download `url` to `target`, unless a file with the right checksum is there already.

    Args:
        url: http or https.
        target: where the file goes; the unfinished part lies beside it.
        checksum: hexadecimal, of the whole file.
        algorithm: of the checksum.
        attempts: how many broken connections in a row, without a byte gained, are borne.
        pause: seconds before the first retry; doubled each time.

    Raises:
        InputError: the server cannot be reached or refuses, the disk is full, or the checksum is another.
    """
    if target.is_file() and _digest(target, algorithm) == checksum.lower():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        _all_of_it(url, part, attempts, pause)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(target) from error
        raise
    found = _digest(part, algorithm)
    if found != checksum.lower():
        _forget(part)
        do = "Run the same command again; if it stays so, the file on the server has changed."
        raise InputError(url, found=f"a file with {algorithm} {found}", wanted=checksum, do=do)
    part.replace(target)
    _forget(part)
    return target


def _all_of_it(url: str, part: Path, attempts: int, pause: float) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _ask(url, part)
        except _UnfinishedError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= attempts:
                found = f"a connection that broke {failures} times ({error})"
                do = "Run the same command again later; it goes on where it stopped."
                raise InputError(url, found=found, wanted="the whole file", do=do) from None
            time.sleep(pause * 2 ** max(failures - 1, 0))


def _ask(url: str, part: Path) -> None:
    """One request for what is missing."""
    have, tag = _size(part), _read_tag(part)
    # Without a tag nobody can say whether the rest still belongs to what is here.
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
    # Compressed on the way, the byte counts of a resumed download would not fit.
    request = urllib.request.Request(url, headers={"User-Agent": "crossmod", "Accept-Encoding": "identity", **headers})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            _receive(response, part, have)
    except urllib.error.HTTPError as error:
        with error:
            _refused(url, part, error)
    except urllib.error.URLError as error:
        if is_disk_full(error):
            raise
        raise _UnfinishedError(str(error.reason)) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _UnfinishedError(f"{type(error).__name__}: {error}") from None


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> None:
    if error.code == 416:
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if total == str(_size(part)):
            return
        # More is here than there: the file on the server is another one.
        _forget(part)
        raise _UnfinishedError("the server's file has changed") from None
    if error.code in (408, 429) or error.code >= 500:
        raise _UnfinishedError(f"HTTP {error.code}") from None
    found = f"HTTP {error.code} {error.reason}"
    do = "Check the address; or download the file by hand and unpack it."
    raise InputError(url, found=found, wanted="the file", do=do) from None


def _receive(response: http.client.HTTPResponse, part: Path, have: int) -> None:
    start = have if response.status == 206 else 0
    if response.status == 206:
        sent = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if sent != str(have):
            _forget(part)
            raise _UnfinishedError("the server sent another part than was asked for")
    _write_tag(part, response)
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else 0
    with (
        part.open("ab" if start else "wb") as stream,
        progress(f"Downloading {part.stem} (MB)", -(-total // CHUNK), done=start // CHUNK) as advance,
    ):
        got = _copy(response, stream, advance)
    if length and got < int(length):
        raise _UnfinishedError(f"{got} of {length} bytes came")


def _copy(response: http.client.HTTPResponse, stream, advance: Advance) -> int:
    got = 0
    # read1 gives what has come, so that a broken connection loses nothing that was received.
    while chunk := response.read1(CHUNK):
        stream.write(chunk)
        advance((got + len(chunk)) // CHUNK - got // CHUNK)
        got += len(chunk)
    return got


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_tag(part: Path) -> str | None:
    try:
        return json.loads(_tag_file(part).read_text(encoding="utf-8"))["tag"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_tag(part: Path, response: http.client.HTTPResponse) -> None:
    tag = response.headers.get("ETag")
    # A weak tag promises the same meaning, not the same bytes.
    tag = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    _tag_file(part).write_text(json.dumps({"tag": tag}), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, algorithm: Algorithm) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
