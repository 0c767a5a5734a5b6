import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crossmod.data.importers import download as fetch_module
from crossmod.data.importers.download import download_chaos, fetch, unzip
from crossmod.errors import InputError


class Server:
    """A file on 127.0.0.1, with the habits that a test asks for."""

    def __init__(self, content: bytes):
        self.content = content
        self.tag: str | None = '"one"'
        self.ranges = True
        self.break_after: list[int] = []
        """After how many bytes each of the next answers breaks off."""
        self.statuses: list[int] = []
        """What the next answers are instead of the file."""
        self.seen: list[str | None] = []
        """The Range of every request."""
        self.on_answer = lambda: None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, format, *args):
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/CHAOS_Train_Sets.zip"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def answer(self, request) -> None:
        expected = request.headers.get("Range")
        self.seen.append(expected)
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = int(expected.removeprefix("bytes=").rstrip("-")) if expected else 0
        if not self.ranges or request.headers.get("If-Range", self.tag) != self.tag:
            start, expected = 0, None
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if expected else 200)
        if expected:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.tag:
            request.send_header("ETag", self.tag)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)
        self.on_answer()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def archive(**members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    return stream.getvalue()


CHAOS = {"Train_Sets/CT/1/x.dcm": "slice " * 5000, "Train_Sets/MR/1/y.dcm": "other", "__MACOSX/._x": "junk"}


@pytest.fixture
def server():
    server = Server(archive(**CHAOS))
    yield server
    server.close()


def get(server, target, **arguments):
    return fetch(server.url, target, checksum=server.sha256, pause=0.0, **arguments)


def test_chaos_is_fetched_checked_and_unpacked(tmp_path, server):
    folder = download_chaos(tmp_path, url=server.url, checksum=server.sha256)
    assert folder == tmp_path / "Train_Sets"
    assert (folder / "CT" / "1" / "x.dcm").read_text() == CHAOS["Train_Sets/CT/1/x.dcm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Train_Sets"]
    # A second call asks nobody.
    assert download_chaos(tmp_path, url="http://127.0.0.1:1/x.zip", checksum="0") == folder
    assert len(server.seen) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path, server):
    server.break_after = [1000, 5000, 1]
    assert get(server, tmp_path / "file").read_bytes() == server.content
    assert server.seen == [None, "bytes=1000-", "bytes=6000-", "bytes=6001-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path, server):
    server.break_after = [1000, 0]
    with pytest.raises(InputError, match=r"broke 1 times.*resumes where it stopped"):
        get(server, tmp_path / "file", attempts=1)
    assert not (tmp_path / "file").exists()
    assert get(server, tmp_path / "file").read_bytes() == server.content
    assert server.seen[-1] == "bytes=1000-"


def test_a_server_that_ignores_ranges_starts_over(tmp_path, server):
    server.ranges, server.break_after = False, [1000]
    assert get(server, tmp_path / "file").read_bytes() == server.content
    assert server.seen == [None, "bytes=1000-"]


def test_a_server_without_tags_is_asked_for_all_of_it(tmp_path, server):
    server.tag, server.break_after = None, [1000]
    assert get(server, tmp_path / "file").read_bytes() == server.content
    assert server.seen == [None, None]


def test_a_file_that_changes_between_two_tries_is_not_mixed(tmp_path, server):
    def change():
        server.content, server.tag = server.content[::-1] + b"more", '"two"'
        server.on_answer = lambda: None

    server.break_after, server.on_answer = [1000], change
    new = hashlib.sha256(server.content[::-1] + b"more").hexdigest()
    fetch(server.url, tmp_path / "file", checksum=new, pause=0.0)
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_part_that_is_whole_is_not_asked_for_again(tmp_path, server):
    (tmp_path / "file.part").write_bytes(server.content)
    (tmp_path / "file.part.json").write_text('{"tag": "\\"one\\""}')
    assert get(server, tmp_path / "file").read_bytes() == server.content
    assert server.seen == [f"bytes={len(server.content)}-"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path, server):
    (tmp_path / "file.part").write_bytes(server.content + b"more")
    (tmp_path / "file.part.json").write_text('{"tag": "\\"one\\""}')
    assert get(server, tmp_path / "file").read_bytes() == server.content


def test_a_busy_server_is_asked_again(tmp_path, server):
    server.statuses = [503, 429]
    assert get(server, tmp_path / "file").read_bytes() == server.content


def test_a_wrong_checksum_removes_the_file(tmp_path, server):
    with pytest.raises(InputError, match=f"CHAOS_Train_Sets.zip: a file with sha256 {server.sha256}. Expected: abc"):
        fetch(server.url, tmp_path / "file", checksum="abc")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there(tmp_path, server):
    fetch(server.url, tmp_path / "file", checksum=server.sha256.upper())
    fetch(server.url, tmp_path / "file", checksum=server.sha256)
    assert len(server.seen) == 1
    # A damaged file is fetched again.
    (tmp_path / "file").write_bytes(b"damaged")
    assert get(server, tmp_path / "file").read_bytes() == server.content


def test_a_file_that_is_not_on_the_server(tmp_path, server):
    server.statuses = [404]
    with pytest.raises(InputError, match="HTTP 404"):
        get(server, tmp_path / "file")


def test_no_server_at_all(tmp_path, server):
    server.close()
    with pytest.raises(InputError, match=r"broke 2 times.*refused"):
        get(server, tmp_path / "file", attempts=2)
    server.http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    server.thread.start()


def test_a_full_disk_is_said_and_keeps_what_came(tmp_path, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module, "_copy", full)
    with pytest.raises(InputError, match="the disk is full"):
        get(server, tmp_path / "file")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "C:/outside", "..\\outside"])
def test_an_archive_that_leads_outside_is_refused(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(archive(**{"fine": "x", name: "x"}))
    with pytest.raises(InputError, match=r"a\.zip: a member .*outside"):
        unzip(tmp_path / "a.zip", tmp_path / "into")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_an_archive_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=re.escape("a.zip: a member 'link'")):
        unzip(tmp_path / "a.zip", tmp_path / "into")


def test_what_is_no_zip_or_another_archive(tmp_path, server):
    for content, words in (
        (b"hello", "not a whole zip"),
        (archive(other="x"), "an archive of other. Expected: a folder"),
    ):
        server.content, server.tag = content, f'"{words}"'
        with pytest.raises(InputError, match=words):
            download_chaos(tmp_path, url=server.url, checksum=server.sha256)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CHAOS_Train_Sets.zip"]
