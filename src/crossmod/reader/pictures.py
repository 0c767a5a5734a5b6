"""The images of a survey, as they leave the server: the same headers for each, and nothing of where it comes from."""

import logging
import struct
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as PathPart
from fastapi.responses import HTMLResponse, Response

from crossmod.reader.room import Failure, ReaderSeat, room_of

log = logging.getLogger(__name__)
router = APIRouter(default_response_class=HTMLResponse)

ScanId = Annotated[str, PathPart(pattern=r"^[0-9a-f]{32}$")]
_HEADER = 348


@router.get("/image/{scan}.nii", response_class=Response)
def image(request: Request, scan: ScanId, seat: ReaderSeat) -> Response:
    """One image of this reader's; whatever else is asked for is not there."""
    room = room_of(request)
    if not room.study.may_see(seat, scan) or not can_be_shown(room.images, scan):
        raise Failure(404, "error_missing")
    # Not a file response: that would add the file's time and a tag made of it.
    return Response(
        (room.images / f"{scan}.nii").read_bytes(),
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, max-age=3600"},
    )


def can_be_shown(images: Path, scan: str) -> bool:
    """Whether an image is there and whole, as far as its header and its size say; logged where it is not."""
    flaw = _flaw(images / f"{scan}.nii")
    if flaw is not None:
        log.error("scan %s cannot be shown: %s", scan, flaw)
    return flaw is None


def _flaw(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
        size = path.stat().st_size
    except OSError as error:
        return f"not readable ({error.strerror})"
    if len(header) < _HEADER or header[344:348] != b"n+1\0" or header[:4] != struct.pack("<i", _HEADER):
        return "not a NIfTI file"
    rank, *sides = struct.unpack("<8h", header[40:56])
    (bits,) = struct.unpack("<h", header[72:74])
    (offset,) = struct.unpack("<f", header[108:112])
    values = 1
    for side in sides[: max(rank, 0)]:
        values *= max(side, 1)
    wanted = int(offset) + values * bits // 8
    return None if size >= wanted else f"{size} bytes, {wanted} in its header"
