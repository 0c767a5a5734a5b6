"""What a stranger may send: each is refused in a sentence, at once, in little memory, and nothing is written."""

import copy
import hashlib
import json
import os
import resource
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crossmod.errors import InputError
from crossmod.inference.bundle.export import export_bundle
from crossmod.inference.bundle.load import MOST_HEADER, MOST_JSON, load_networks
from tests.support.stores import Stores
from tests.support.training import train

# Of CPU time. Refusing took 1.2 s once, with coverage on a busy machine; far more is for a file that causes long work.
SECONDS, MEGABYTES = 10.0, 300


def compact(header: Any) -> bytes:
    """Without white space, of which one kind is as good as another."""
    return json.dumps(header, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Good:
    """A bundle that is as it should be, in memory."""

    plain: dict[str, Any]
    header: dict[str, Any]
    numbers: bytes

    def weights(self, header: Any = None, numbers: bytes | None = None, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else compact(self.header if header is None else header)
        return struct.pack("<Q", len(text) if length is None else length) + text + (
            self.numbers if numbers is None else numbers
        )  # fmt: skip

    def write(self, folder: Path, plain: bytes | None = None, weights: bytes | None = None) -> Path:
        """Checksums follow the weights: a liar's are right."""
        weights = self.weights() if weights is None else weights
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(weights)
        text = json.dumps(self.told(weights)).encode() if plain is None else plain
        (folder / "bundle.json").write_bytes(text)
        return folder

    def told(self, weights: bytes) -> dict[str, Any]:
        told = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
        return {**self.plain, "files": {"weights.safetensors": told}}


@pytest.fixture(scope="module")
def good(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Good:
    root = tmp_path_factory.mktemp("good")
    run = train(root / "run", stores, epochs=1)
    export_bundle([run.path], root / "out", licence="CC0")
    content = (root / "out" / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    plain = json.loads((root / "out" / "bundle.json").read_text())
    made = Good(plain, json.loads(content[8 : 8 + length]), content[8 + length :])
    return replace(made, plain=made.told(made.weights()))


@pytest.fixture(autouse=True, scope="module")
def memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES


def refused(folder: Path, match: str | None = None) -> str:
    there = sorted(folder.parent.rglob("*"))
    began = time.process_time()
    with pytest.raises(InputError, match=match) as caught:
        load_networks(folder, device="cpu")[0]
    assert time.process_time() - began < SECONDS
    assert sorted(folder.parent.rglob("*")) == there
    sentence = str(caught.value)
    assert all(one.isprintable() for one in sentence)
    assert len(sentence) < 1000
    assert caught.value.expected
    assert caught.value.do.endswith(".")
    return sentence


def changed(good: Good, change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    plain = copy.deepcopy(good.plain)
    change(plain)
    return plain


def test_the_good_one_loads(good: Good, tmp_path: Path) -> None:
    assert load_networks(good.write(tmp_path / "b"), device="cpu")[0].about.licence == "CC0"


# --- weights.safetensors


def headers(good: Good) -> dict[str, tuple[bytes, str]]:
    first, second = sorted(good.header, key=lambda name: good.header[name]["data_offsets"])[:2]
    told = good.header[first]

    def with_first(**more: Any) -> bytes:
        return good.weights({**good.header, first: {**told, **more}})

    begin, end = told["data_offsets"]
    text = compact(good.header).decode()
    renamed = {f"../../{name}" if name == first else name: one for name, one in good.header.items()}
    absolute = {f"/etc/{name}" if name == first else name: one for name, one in good.header.items()}
    return {
        "empty": (b"", "a header of 0 bytes"),
        "seven bytes": (b"\x01" * 7, "a header of"),
        "length beyond the file": (good.weights(length=10**6), "a header of 1000000 bytes in a file"),
        "length of 2^64 - 1": (good.weights(length=2**64 - 1), "a header of 18446744073709551615 bytes"),
        "length 0": (good.weights(length=0), "no such JSON"),
        "length one short": (good.weights(length=len(text) - 1), "no such JSON"),
        "length one more": (good.weights(length=len(text) + 1), "no such JSON"),
        "oversized": (good.weights(text.encode() + b" " * MOST_HEADER), "more than the"),
        "no JSON": (good.weights(b"\xff\xfe{}"), "no such JSON"),
        "a list": (good.weights(b"[]"), "no header"),
        "deep": (good.weights(b"[" * 100_000), "nested deeper"),
        "a tensor twice": (good.weights(f'{{"a": {{}}, "b": {{}}, {text[1:-1]}, "a": {{}}}}'.encode()), "'a' twice"),
        "many keys twice": (good.weights(b"{" + b'"k":1,' * 150_000 + b'"k":1}'), "'k' twice"),
        "metadata": (good.weights({**good.header, "__metadata__": {}}), "other tensors"),
        "one missing": (good.weights({n: one for n, one in good.header.items() if n != first}), "other tensors"),
        "a path as a name": (good.weights(renamed), "other tensors than the architecture has: ../../"),
        "an absolute path": (good.weights(absolute), "other tensors than the architecture has: /etc/"),
        "another type": (with_first(dtype="I32"), "F32"),
        "half precision": (with_first(dtype="BF16"), "F32"),
        "unknown type": (with_first(dtype=["F32"]), "F32"),
        "another shape": (with_first(shape=[1, *told["shape"]]), "shape"),
        "shape of booleans": (with_first(shape=[True for _ in told["shape"]]), "shape"),
        "huge shape": (with_first(shape=[10**18]), "shape"),
        "negative place": (with_first(data_offsets=[-4, end]), "data_offsets"),
        "place beyond the file": (with_first(data_offsets=[begin, 2**63]), "data_offsets"),
        "place as text": (with_first(data_offsets=["0", end]), "data_offsets"),
        "place as a fraction": (with_first(data_offsets=[float(begin), end]), "data_offsets"),
        "one above another": (
            good.weights({**good.header, second: {**good.header[second], "data_offsets": told["data_offsets"]}}),
            "data_offsets",
        ),
        "more than that": (with_first(more=1), "more"),
        "nothing of it": (good.weights({**good.header, first: None}), "None for"),
        "numbers missing": (good.weights(numbers=good.numbers[:-4]), "bytes of numbers where"),
        "numbers left over": (good.weights(numbers=good.numbers + b"\0" * 4), "bytes of numbers where"),
    }


def test_weights_that_lie(good: Good, tmp_path: Path) -> None:
    for number, (name, (weights, words)) in enumerate(headers(good).items()):
        sentence = refused(good.write(tmp_path / str(number), weights=weights))
        assert words in sentence, (name, sentence)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(good: Good, tmp_path: Path, value: float) -> None:
    numbers = np.frombuffer(good.numbers, np.float32).copy()
    numbers[len(numbers) // 2] = value
    refused(good.write(tmp_path / "b", weights=good.weights(numbers=numbers.tobytes())), "NaN or infinity")


def test_other_weights_than_the_networks_are_said_to_have(good: Good, tmp_path: Path) -> None:
    numbers = np.frombuffer(good.numbers, np.float32) + 1
    refused(good.write(tmp_path / "b", weights=good.weights(numbers=numbers.tobytes())), "other weights than")


def test_weights_that_overflow(good: Good, tmp_path: Path) -> None:
    """Each is a number; what they make is none."""
    weights = good.weights(numbers=np.full(len(good.numbers) // 4, 3e38, np.float32).tobytes())
    folder = good.write(tmp_path / "b", weights=weights)
    sentence = refused(folder, "other weights")
    assert sentence
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossmod.inference.bundle.load.hash_of", lambda entry, tensors: entry.weights)
        network = load_networks(folder, device="cpu")[0]
    with pytest.raises(InputError, match="NaN or infinity in its output"):
        network.translate(np.random.default_rng(0).uniform(-1, 1, (1, 1, 32, 32)).astype(np.float32))


def test_bytes_that_do_not_fit_the_checksum(good: Good, tmp_path: Path) -> None:
    folder = good.write(tmp_path / "b")
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    refused(folder, "other bytes than bundle.json names")


def test_truncated_anywhere(good: Good, tmp_path: Path) -> None:
    whole = good.weights()
    for length in (*range(0, 64, 9), *np.linspace(64, len(whole) - 1, 12).astype(int)):
        refused(good.write(tmp_path / "b", weights=whole[:length]))
    text = json.dumps(good.plain).encode()
    for length in np.linspace(0, len(text) - 1, 20).astype(int):
        refused(good.write(tmp_path / "c", plain=text[:length]))


def test_a_file_of_100_gigabytes_is_not_read(good: Good, tmp_path: Path) -> None:
    folder = good.write(tmp_path / "b")
    with (folder / "weights.safetensors").open("r+b") as stream:
        stream.truncate(100 * 2**30)
    refused(folder, "107374182400 bytes where there should be")
    plain = changed(good, lambda p: p["files"]["weights.safetensors"].update(bytes=100 * 2**30))
    (folder / "bundle.json").write_text(json.dumps(plain))
    refused(folder, "more than the")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_flipped_bytes(good: Good, data: st.DataObject) -> None:
    whole = bytearray(good.weights())
    # Half of them in the header, where they say more.
    limit = data.draw(st.sampled_from([len(whole) - len(good.numbers), len(whole)])) - 1
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, limit))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as root:
        folder = good.write(Path(root) / "b", weights=bytes(whole))
        if bytes(whole) != good.weights():
            refused(folder)


# --- bundle.json


def entry(**more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda plain: plain["networks"][0].update(more)


def numbers_of(**more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda plain: plain["networks"][0]["architecture"].update(more)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a hundred gigabytes": (numbers_of(filters=256, blocks=32), "networks of more than 200000000 numbers"),
    "wider than any": (numbers_of(filters=10**9), "less than or equal to 256"),
    "blocks without end": (numbers_of(blocks=10**12), "less than or equal to 32"),
    "below nothing": (numbers_of(filters=-1), "greater than or equal to 1"),
    "another architecture": (numbers_of(blocks=2), "other tensors"),
    "other widths": (numbers_of(filters=3), "bytes of numbers where the architecture has"),
    "many branches": (
        lambda p: (p.update(inputs=["x"] * 8), numbers_of(kind="merge", inputs=8, blocks=32, branch_blocks=32)(p)),
        "up to 256 residual blocks",
    ),
    "a name of a class": (numbers_of(kind="torch.nn.Module"), "architecture.kind"),
    "a number as text": (numbers_of(filters="2"), "valid integer"),
    "a number as truth": (numbers_of(filters=True), "valid integer"),
    "a fraction": (numbers_of(filters=2.5), "valid integer"),
    "two inputs of one": (numbers_of(inputs=2), "one input for resnet"),
    "classes without organs": (numbers_of(classes=5), "a class an organ"),
    "a slice of 16 gigabytes": (entry(size=65536), "less than or equal to 2048"),
    "wide and large": (lambda p: (entry(size=2048)(p), numbers_of(filters=64)(p)), "filters times pixels"),
    "odd size": (entry(size=33), "multiple of 4"),
    "a window from high to low": (entry(window=[240, -160]), "a rising pair as window"),
    "percentiles beyond 100": (entry(percentiles=[0, 101]), "less than or equal to 100"),
    "equal ends": (entry(low=1.0, high=1.0), "a rising pair as low and high"),
    "a field of nothing": (entry(field_mm=0), "greater than 0"),
    "a path as a network": (entry(name="../../x"), "networks.0.name"),
    "an absolute path": (entry(name="/etc/passwd"), "networks.0.name"),
    "a name with an end of line": (entry(name="x\n"), "networks.0.name"),
    "a name that is not shown": (lambda p: p.update(name="\u202e\u200b"), "a name that can be shown"),
    "a long name": (lambda p: p.update(name="x" * 10**5), "at most 100"),
    "a hash of another length": (entry(weights="0" * 63), "networks.0.weights"),
    "a path as a file": (lambda p: p["files"].update({"../x": {"bytes": 1, "sha256": "0" * 64}}), "files"),
    "a link as a file": (lambda p: p["files"].update({"/dev/zero": {"bytes": 1, "sha256": "0" * 64}}), "files"),
    "no weights": (lambda p: p["files"].pop("weights.safetensors"), "weights.safetensors among the files"),
    "negative bytes": (lambda p: p["files"]["weights.safetensors"].update(bytes=-1), "greater than or equal to 0"),
    "no networks": (lambda p: p.update(networks=[]), "at least 1"),
    "many networks": (lambda p: p.update(networks=p["networks"] * 9), "at most 8"),
    "the same twice": (lambda p: p.update(networks=p["networks"] * 2), "each network once"),
    "from CT to CT": (lambda p: p.update(target="ct"), "another target"),
    "a modality that there is not": (lambda p: p.update(source="pet"), "source"),
    "a field that there is not": (lambda p: p.update(command="rm"), "command"),
    "one missing": (lambda p: p.pop("card"), "card"),
    "many patients": (entry(trained_on={"ct": {"patients": 10**12, "slices": 1}}), "trained_on"),
    "a newer version": (lambda p: p.update(format=2), "format 2, made by a newer crossmod. Expected: format 1"),
    "a much newer one": (lambda p: p.update(format=10**4000), "a bundle of a newer crossmod"),
    "an older one than any": (lambda p: p.update(format=0), "format"),
    "a version of truth": (lambda p: p.update(format=True), "format"),
    "a version in words": (lambda p: p.update(format="1"), "format"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_numbers_that_lie(good: Good, tmp_path: Path, name: str) -> None:
    change, words = CHANGES[name]
    folder = good.write(tmp_path / "b")
    (folder / "bundle.json").write_text(json.dumps(changed(good, change)))
    assert words in refused(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no such JSON"),
        (b"null", "as a whole"),
        (b"[" * 200_000, "nested deeper than 16"),
        (b'{"a":' * 200_000, "nested deeper than 16"),
        (b'{"format": 1, "format": 1}', "'format' twice"),
        (b'{"format": 1, "name": NaN}', "NaN, which is not JSON"),
        (b'{"format": -Infinity}', "-Infinity, which is not JSON"),
        (b'{"format": ' + b"9" * 5000 + b"}", "no such JSON"),
        (b'{"format": 1e999}', "format"),
        (b'{"format": 1, "name": "\\ud800"}', "Invalid JSON"),
        (b'\xef\xbb\xbf{"format": 1}', "BOM"),
        (b'{"format": 1, "name": "\xff"}', "no such JSON"),
        (b" " * (MOST_JSON + 1), "more than the 1048576 that such a file may have"),
        (b'{"x": "' + b"\\\\" * 400_000 + b'"}', "Field required"),
    ],
)
def test_no_json_of_a_bundle(good: Good, tmp_path: Path, text: bytes, words: str) -> None:
    assert words in refused(good.write(tmp_path / "b", plain=text))


# What any place of the file may be given in place of what is there.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([0, -1, 2**31, 2**63, 1e308, "", "../..", "\x1b[2J", "\u202e", "ct", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(plain: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key in it."""
    for key in list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ():
        yield plain, key
        yield from places(plain[key])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_anything_anywhere(good: Good, data: st.DataObject) -> None:
    """It loads as something within bounds, or it is refused."""
    plain = copy.deepcopy(good.plain)
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(list(places(plain))))
        if data.draw(st.booleans()) or isinstance(holder, list):
            holder[key] = data.draw(ANYTHING)
        else:
            holder[data.draw(st.text(max_size=8))] = holder.pop(key)
    with tempfile.TemporaryDirectory() as root:
        folder = good.write(Path(root) / "b", weights=good.weights())
        (folder / "bundle.json").write_text(json.dumps(plain))
        began = time.process_time()
        with suppress(InputError):
            for about in (network.about for network in load_networks(folder, device="cpu")):
                shown = (about.name, about.family, about.licence, about.version, *about.organs, *about.inputs)
                assert all(one.isprintable() for one in "".join(shown))
                assert 16 <= about.size <= 2048
                assert about.window[0] < about.window[1]
        assert time.process_time() - began < SECONDS


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.binary(max_size=200), inside=st.booleans())
@example(text=b"{}", inside=False)
def test_any_bytes(good: Good, text: bytes, inside: bool) -> None:
    with tempfile.TemporaryDirectory() as root:
        whole = json.dumps(good.plain).encode()
        refused(good.write(Path(root) / "b", plain=whole[:100] + text + whole[100:] + b"}" if inside else text))


def test_what_a_terminal_would_obey_is_not_shown(good: Good, tmp_path: Path) -> None:
    tricks = "a\u202egnp.exe\x1b[31m\x07\r\nb\u200b\u2028c"
    card = {**good.plain["card"], "licence": tricks}
    plain = changed(good, lambda p: (p.update(name=tricks, card=card), entry(organs=[tricks])(p)))
    folder = good.write(tmp_path / "b")
    (folder / "bundle.json").write_text(json.dumps(plain))
    about = load_networks(folder, device="cpu")[0].about
    assert about.name == about.licence == about.organs[0] == "a gnp.exe [31m b c"


# --- the folder


def test_links_and_other_things_are_no_files(good: Good, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for name in ("bundle.json", "weights.safetensors"):
        folder = good.write(tmp_path / name)
        (folder / name).rename(secret)
        (folder / name).symlink_to(secret)
        refused(folder, "a link")
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, "no regular file")
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, "no regular file|is a directory")
        (folder / name).rmdir()
        (folder / name).symlink_to(tmp_path / "nowhere")
        refused(folder, "a link")
        (folder / name).unlink()
        refused(folder, "no bundle.json in it|no such file")
    refused(tmp_path / "not-there", "no such folder")
    refused(secret, "a file")


def test_what_else_lies_in_the_folder_is_not_looked_at(good: Good, tmp_path: Path) -> None:
    folder = good.write(tmp_path / "b")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "setup.py").write_text("raise SystemExit")
    (folder / "model.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (folder / "link").symlink_to("/nowhere")
    (folder / "sub").mkdir()
    load_networks(folder, device="cpu")[0]
