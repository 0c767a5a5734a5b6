"""CHAOS from where it is published.

Notable: the record lists an MD5, and this file holds the SHA-256 of the same archive. It was taken from two independent
public projects that agree on it, one of which reports that its copy had the record's MD5
(df21053002a1cc86df918a87da3b2c19) and 890,771,694 bytes. The licence of the data is CC BY-NC-SA 4.0.
"""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from crossmod.data.fetch import Algorithm, fetch
from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full
from crossmod.progress import track

CHAOS_URL = "https://zenodo.org/records/3431873/files/CHAOS_Train_Sets.zip"
CHAOS_SHA256 = "535f7d3417a0e0f0d9133fb3d962423d2a9cf3f103e4f09a3d8a1daf87d5d2fc"
CHAOS_FOLDER = "Train_Sets"


def download_chaos(
    folder: Path,
    *,
    url: str = CHAOS_URL,
    checksum: str = CHAOS_SHA256,
    algorithm: Algorithm = "sha256",
    keep_archive: bool = False,
    pause: float = 2.0,
) -> Path:
    """Fetch the CHAOS training sets and unpack them.

    Args:
        folder: where `Train_Sets` will be; made if it is not there. It needs about 2.5 GB for a while.
        url: the archive.
        checksum: of the archive, hexadecimal.
        algorithm: of the checksum.
        keep_archive: whether the zip file stays after it was unpacked.
        pause: seconds before a broken download is taken up again; doubled each time.

    Returns:
        The folder `Train_Sets`; at once, where it is there already.

    Raises:
        InputError: the download fails, its checksum is wrong, or the archive is not what it should be.
    """
    unpacked = folder / CHAOS_FOLDER
    # It appears only when everything is unpacked, so its presence is enough.
    if unpacked.is_dir():
        return unpacked
    archive = fetch(url, folder / PurePosixPath(url).name, checksum=checksum, algorithm=algorithm, pause=pause)
    temporary = folder / f".unpacking.{os.getpid()}.partial"
    try:
        unzip(archive, temporary)
        inside = next((path for path in sorted(temporary.rglob(CHAOS_FOLDER)) if path.is_dir()), None)
        if inside is None:
            held = ", ".join(sorted(path.name for path in temporary.iterdir())[:5]) or "nothing"
            do = "Check the address of the archive."
            raise InputError(archive, found=f"an archive of {held}", wanted=f"a folder {CHAOS_FOLDER}", do=do)
        inside.replace(unpacked)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not keep_archive:
        archive.unlink()
    return unpacked


def unzip(archive: Path, folder: Path) -> None:
    """Unpack a zip file into `folder`; nothing is written outside it, and no link is made.

    Raises:
        InputError: no zip file, a damaged one, a member that points outside, or a full disk.
    """
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
        raise InputError(archive, found=found, wanted="a zip file", do="Remove it and download it again.") from None
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
        raise InputError(archive, found=found, wanted="plain files", do=do)
