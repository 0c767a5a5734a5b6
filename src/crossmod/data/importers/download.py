"""Download CHAOS: resumed after a break, checked against its checksum.

- The record lists an MD5, and this file holds the SHA-256 of the same archive. It was taken from two independent public
  projects that agree on it, one of which reports that its copy had the record's MD5 (df21053002a1cc86df918a87da3b2c19)
  and 890,771,694 bytes. The licence of the data is CC BY-NC-SA 4.0.
- The unfinished part is kept beside the target with the server's `ETag`; `If-Range` makes a server whose file has
  changed send all of it, instead of a tail that does not fit.
- A server that ignores `Range` answers 200; then the download starts over.
"""

import http.client
import json
import os
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full, sha256
from crossmod.progress import Advance, progress, track

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60.0


class _UnfinishedError(Exception):
    """The connection broke, or the server asks to come back later."""


def fetch(url: str, target: Path, *, checksum: str, attempts: int = 6, pause: float = 2.0) -> Path:
    """Download `url` to `target`, unless a file with the right SHA-256 `checksum` exists.

    Args:
        url: http or https.
        target: the file; its unfinished part is kept beside it.
        checksum: hexadecimal, of the whole file.
        attempts: broken connections in a row, without a byte gained, before giving up.
        pause: seconds before the first retry; doubled each time.

    Raises:
        InputError: the server cannot be reached or refuses, the disk is full, or the checksum is another.
    """
    if target.is_file() and sha256(target) == checksum.lower():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        _with_retries(url, part, attempts, pause)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(target) from error
        raise
    found = sha256(part)
    if found != checksum.lower():
        _forget(part)
        do = "Rerun the command; if that does not help, the file on the server has changed."
        raise InputError(url, found=f"a file with sha256 {found}", expected=checksum, do=do)
    part.replace(target)
    _forget(part)
    return target


def _with_retries(url: str, part: Path, attempts: int, pause: float) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _request(url, part)
        except _UnfinishedError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= attempts:
                found = f"a connection that broke {failures} times ({error})"
                do = "Rerun the command later; it resumes where it stopped."
                raise InputError(url, found=found, expected="the whole file", do=do) from None
            time.sleep(pause * 2 ** max(failures - 1, 0))


def _request(url: str, part: Path) -> None:
    """One request for what is missing."""
    have, tag = _size(part), _read_tag(part)
    # Without a tag it is unknown whether the rest still belongs to this part.
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
    raise InputError(url, found=found, expected="the file", do=do) from None


def _receive(response: http.client.HTTPResponse, part: Path, have: int) -> None:
    start = have if response.status == 206 else 0
    if response.status == 206:
        sent = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if sent != str(have):
            _forget(part)
            raise _UnfinishedError("the server sent another part than was asked for")
    tag = response.headers.get("ETag")
    # A weak tag promises the same meaning, not the same bytes.
    tag = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    _tag_file(part).write_text(json.dumps({"tag": tag}), encoding="utf-8")
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


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


CHAOS_URL = "https://zenodo.org/records/3431873/files/CHAOS_Train_Sets.zip"
CHAOS_SHA256 = "535f7d3417a0e0f0d9133fb3d962423d2a9cf3f103e4f09a3d8a1daf87d5d2fc"
CHAOS_FOLDER = "Train_Sets"


def download_chaos(folder: Path, *, url: str = CHAOS_URL, checksum: str = CHAOS_SHA256, pause: float = 2.0) -> Path:
    """Download the CHAOS training sets (as `fetch`) and unpack them; about 2.5 GB are needed temporarily.

    Returns:
        The folder `Train_Sets` in `folder`; at once, where it is there already.

    Raises:
        InputError: the download fails, its checksum is wrong, or the archive is not what it should be.
    """
    unpacked = folder / CHAOS_FOLDER
    # It appears only when everything is unpacked, so its presence is enough.
    if unpacked.is_dir():
        return unpacked
    archive = fetch(url, folder / PurePosixPath(url).name, checksum=checksum, pause=pause)
    temporary = folder / f".unpacking.{os.getpid()}.partial"
    try:
        unzip(archive, temporary)
        inside = next((path for path in sorted(temporary.rglob(CHAOS_FOLDER)) if path.is_dir()), None)
        if inside is None:
            inside_names = ", ".join(sorted(path.name for path in temporary.iterdir())[:5]) or "nothing"
            do = "Check the address of the archive."
            raise InputError(archive, found=f"an archive of {inside_names}", expected=f"a folder {CHAOS_FOLDER}", do=do)
        inside.replace(unpacked)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    archive.unlink()
    return unpacked


def unzip(archive: Path, folder: Path) -> None:
    """Unpack a zip file into `folder`; members that point outside it or are links are refused, and damaged archives."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            for member in members:
                _check_member(archive, member)
            folder.mkdir(parents=True, exist_ok=True)
            for member in track(members, "Unpacking"):
                packed.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        found = f"not a whole zip file ({error})"
        raise InputError(archive, found=found, expected="a zip file", do="Remove it and download it again.") from None
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        found = f"a member {member.filename!r} that leads outside"
        do = "Do not use this archive; get it from where it is published."
        raise InputError(archive, found=found, expected="plain files", do=do)
