"""The key under which PatientIDs are hashed: made once, for its owner alone, by whichever process comes first."""

import hmac
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crossmod.data import patient_key as room
from crossmod.data.patient_key import existing_key, key_path, patient_key, patient_key_for
from crossmod.errors import InputError


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert existing_key(environment) is None
    with caplog.at_level("INFO"):
        key = patient_key(environment)
    assert key.path == tmp_path / "config/crossmod/patient-key"
    assert str(key.path) in caplog.text
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert len(key.secret) == 32
    assert (key.created, patient_key(environment).created) == (True, False)
    assert patient_key(environment).secret == key.secret
    assert [path.name for path in key.path.parent.iterdir()] == ["patient-key"]
    # Neither a message nor a traceback shows it.
    assert key.secret.hex() not in repr(key) + caplog.text


def test_the_hash_is_hmac_sha256_of_the_trimmed_id(tmp_path: Path) -> None:
    """Against `hmac.digest`; padding, case and form of Unicode do not count."""
    key = patient_key({room.VARIABLE: str(tmp_path / "key")})
    wanted = hmac.digest(key.secret, b"id-4711 x", "sha256").hex()
    for text in ("ID-4711 X", " ID-4711 X ", "ID-4711 X\0", "\0 id-4711 x\r\n"):
        assert key.hash(text) == wanted
    assert key.hash("Mu\u0308ller") == key.hash("M\u00fcller")
    assert key.hash("ID-4711  X") != wanted


def test_other_keys_have_other_hashes_and_fingerprints(tmp_path: Path) -> None:
    one, two = (patient_key({room.VARIABLE: str(tmp_path / name)}) for name in ("one", "two"))
    assert one.hash("A") != two.hash("A")
    assert one.fingerprint != two.fingerprint
    # What a store keeps of the key gives nothing of it away.
    assert one.fingerprint not in one.secret.hex()


@pytest.mark.parametrize("links", [True, False])
def test_processes_that_start_at_once_have_one_key(tmp_path: Path, links: bool) -> None:
    """Also on a disk without links, where a reader may find a file that is not complete yet."""
    go = tmp_path / "go"
    program = f"""
import os, time
from pathlib import Path
from crossmod.data.patient_key import patient_key
if not {links}:
    def link(*_): raise OSError("no links here")
    os.link = link
while not Path({str(go)!r}).exists():
    time.sleep(0.001)
key = patient_key()
print(key.secret.hex(), key.created)
"""
    environment = {**os.environ, room.VARIABLE: str(tmp_path / "key")}
    several = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    go.touch()
    answers = [one.communicate()[0].split() for one in several]
    assert len({secret for secret, _ in answers}) == 1
    assert [created for _, created in answers].count("True") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go", "key"]


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"HOME": "/home/x"}, "/home/x/.config/crossmod/patient-key"),
        ({"HOME": "/home/x", "XDG_CONFIG_HOME": "/c"}, "/c/crossmod/patient-key"),
        # By the XDG base directory specification, a relative path is ignored.
        ({"HOME": "/home/x", "XDG_CONFIG_HOME": "c"}, "/home/x/.config/crossmod/patient-key"),
        ({"HOME": "/home/x", "CROSSMOD_PATIENT_KEY": "/k/site"}, "/k/site"),
    ],
)
def test_where_the_key_lies(environment: dict[str, str], place: str) -> None:
    assert key_path(environment) == Path(place)


def test_without_a_place_the_message_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for environment in ({"HOME": str(blocked)}, {"HOME": "relative"}, {"CROSSMOD_PATIENT_KEY": "key"}):
        with pytest.raises(InputError, match="CROSSMOD_PATIENT_KEY"):
            patient_key(environment)

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(InputError, match=r"no home folder.*Set CROSSMOD_PATIENT_KEY"):
        patient_key({})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"no key can be made.*Set CROSSMOD_PATIENT_KEY"):
        patient_key({"HOME": str(tmp_path)})


@pytest.mark.parametrize("content", ["", "hello", "ab" * 33])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.01)
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(InputError, match=r"not a patient key.*64 hexadecimal digits"):
        patient_key({room.VARIABLE: str(path)})
    assert path.read_text() == content


def test_a_key_in_the_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(room.VARIABLE, str(tmp_path / "store" / "key"))
    with pytest.raises(InputError, match="the patient key inside the store"):
        patient_key_for(tmp_path / "store")


def test_a_key_that_everybody_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = patient_key({room.VARIABLE: str(tmp_path / "key")}).path
    path.chmod(0o644)
    patient_key({room.VARIABLE: str(path)})
    assert re.search(r"every user of this computer.*chmod o=", caplog.text)
