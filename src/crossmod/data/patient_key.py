"""The patient key: the secret under which PatientIDs are hashed, so that stores of one site match and no one else can
test ids against them.

- A hash without a key would protect nothing: ids are short, and all of them can be tried in seconds.
- The key is made once for each user, outside every store. Sites that want their stores to match share the file.
- Two simultaneous commands cannot make two keys: a complete file is linked to its name, and the first one wins.
- HMAC-SHA256: RFC 2104 and FIPS 198-1.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crossmod.data.patient_identity import Mark
from crossmod.errors import InputError

logger = logging.getLogger(__name__)

VARIABLE = "CROSSMOD_PATIENT_KEY"
BYTES = 32
# What another process may need to write a file of 65 bytes, where the disk has no links.
WAIT_SECONDS, WAIT_STEP = 2.0, 0.05


@dataclass(frozen=True)
class PatientKey:
    """A key of 32 bytes, its file, and whether it was just made."""

    path: Path
    secret: bytes = field(repr=False)
    created: bool = False

    @property
    def fingerprint(self) -> str:
        """What stores keep of the key: hashes under keys of other fingerprints cannot be compared."""
        return hashlib.sha256(b"crossmod patient key\n" + self.secret).hexdigest()[:12]

    def hash(self, patient_id: str) -> str:
        """The keyed hash of a PatientID: 64 hexadecimal digits."""
        return hmac.new(self.secret, normal_id(patient_id).encode(), hashlib.sha256).hexdigest()

    def mark(self, patient_id: str) -> Mark:
        """The mark of the patient in other stores."""
        return Mark("id", self.fingerprint, self.hash(patient_id))


def trimmed_id(value: object) -> str:
    """A PatientID without what pads it: DICOM fills up with a space, some programs with NUL."""
    return str(value or "").strip(" \0\t\r\n")


def normal_id(patient_id: str) -> str:
    """A PatientID as it is hashed: trimmed, in one form of Unicode, ignoring case.

    The issuer does not count: scanners of one hospital often differ in it, which would split a person.
    """
    return unicodedata.normalize("NFC", trimmed_id(patient_id)).casefold()


def key_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the key lies: at `CROSSMOD_PATIENT_KEY`, an absolute path, else in the user's configuration folder."""
    stated = environment.get(VARIABLE)
    if stated and not Path(stated).is_absolute():
        found = f"{stated}, a relative path"
        raise InputError(VARIABLE, found=found, expected="an absolute path", do="Write the whole path.")
    if stated:
        return Path(stated)
    configuration = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not configuration.is_absolute():
        try:
            configuration = Path(environment.get("HOME") or Path.home()) / ".config"
        except RuntimeError:
            configuration = Path()
    if not configuration.is_absolute():
        do = f"Set {VARIABLE} to the path of a file that only you can read, outside of all stores."
        raise InputError("patient key", found="no home folder", expected="a place for the key", do=do)
    return configuration / "crossmod" / "patient-key"


def existing_key(environment: Mapping[str, str] = os.environ) -> PatientKey | None:
    """The user's key; None where there is none yet, an `InputError` if the file is no key or cannot be read."""
    path = key_path(environment)
    try:
        return PatientKey(path, _read(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_place(path, error) from None


def patient_key(environment: Mapping[str, str] = os.environ) -> PatientKey:
    """The user's key, made now where there is none; an `InputError` if its file is no key or cannot be made."""
    known = existing_key(environment)
    if known is not None:
        if known.path.stat().st_mode & 0o007:
            logger.warning("%s: every user of this computer can use the patient key. Close it: chmod o= %s",
                           known.path, known.path)  # fmt: skip
        return known
    path = key_path(environment)
    try:
        created = _create(path)
        key = PatientKey(path, _read(path), created)
    except OSError as error:
        raise _no_place(path, error) from None
    if created:
        logger.info(
            "Made a patient key: %s. PatientIDs are stored as hashes under it. Keep it: with another key, new stores "
            "do not match old ones. Do not share it with users of the stores.", path,
        )  # fmt: skip
    return key


def patient_key_for(store: Path) -> PatientKey:
    """The user's key, to hash ids for a store; an `InputError` if it lies in the store."""
    key = patient_key()
    if key.path.resolve().is_relative_to(store.resolve()):
        do = f"Set {VARIABLE} to a file elsewhere: a user of the store could test PatientIDs with the key."
        raise InputError(key.path, found="the patient key inside the store", expected="a key outside of it", do=do)
    return key


def _create(path: Path) -> bool:
    """Write a new key, whole or not at all; False where another process came first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    content = secrets.token_bytes(BYTES).hex() + "\n"
    try:
        _write_new(temporary, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without links: the name itself is taken, and readers wait until the file is complete.
            try:
                _write_new(path, content)
            except FileExistsError:
                return False
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _read(path: Path) -> bytes:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        text = path.read_bytes().strip()
        if re.fullmatch(rb"[0-9a-f]{64}", text):
            return bytes.fromhex(text.decode("ascii"))
        if len(text) >= 2 * BYTES or time.monotonic() >= end:
            break
        time.sleep(WAIT_STEP)
    do = "Restore it from a copy. If it is lost, remove the file: a new key is made, which old stores do not match."
    raise InputError(path, found="a file that is not a patient key", expected="64 hexadecimal digits", do=do)


def _no_place(path: Path, error: OSError) -> InputError:
    found = f"a place where no key can be made or read ({error.strerror or error})"
    do = f"Set {VARIABLE} to the path of a file that you can write, outside of all stores."
    return InputError(path, found=found, expected="a file for the patient key", do=do)


# Without accents and punctuation. Only whole words count, and a number makes an id of a word: ANON001 and ANON002, or
# TEST1 and TEST2, may be pseudonyms of two people, who would become one person if the number were ignored.
PLACEHOLDERS = frozenset(
    {"anon", "anonym", "anonymous", "anonymized", "anonymised", "anonymize", "anonymise", "anonymisiert", "anonyme"}
    | {"anonymiseret", "anonimo", "anonimizado", "anonimizzato", "anoniem", "geanonimiseerd", "pseudonymized"}
    | {"pseudonymised", "pseudonym", "pseudo", "deidentified", "removed", "deleted", "erased", "redacted", "masked"}
    | {"hidden", "withheld", "confidential", "unknown", "none", "null", "nil", "na", "noid", "noname", "nobody"}
    | {"patient", "patientid", "subject", "unnamed", "undefined", "default", "test", "dummy", "empty", "blank", "id"}
)
# They may stand beside a placeholder: `Anonymous Male`.
_BESIDE = frozenset({"male", "female", "name", "no"})
# 0000, xxx, 0x0
_FILLER = re.compile(r"[0x]*")


def is_placeholder(patient_id: str) -> bool:
    """Whether a PatientID is no id, but an anonymiser's placeholder for everyone, or empty."""
    plain = unicodedata.normalize("NFKD", normal_id(patient_id))
    words = re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one)))
    joined = "".join(words)
    if joined in PLACEHOLDERS or _FILLER.fullmatch(joined):
        return True
    return not PLACEHOLDERS.isdisjoint(words) and set(words) <= PLACEHOLDERS | _BESIDE


def known_id(patient_id: str) -> str:
    """The id as it is compared and hashed; empty where it is a placeholder."""
    return "" if is_placeholder(patient_id) else normal_id(patient_id)
