"""Who gets in, what forged requests come to, and what browsers are told."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from crossmod.errors import InputError
from crossmod.reader import serve as serving
from crossmod.reader.security import LARGEST_BODY, SESSION_DAYS, THROWN_AWAY, BodyLimit, RateLimiter, TooLarge
from tests.support.web_study import SECRET, Served, fields, form_token, send, served


@pytest.fixture
def survey(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as made:
        yield made


def test_a_link_becomes_a_session_and_leaves_the_address(survey: Served) -> None:
    response = survey.client().get(f"/r/{survey.readers[0]}")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    secure = survey.client().get(f"https://testserver/r/{survey.readers[0]}")
    assert "Secure" in secure.headers["set-cookie"]


@pytest.mark.parametrize("token", ["x", "x" * 43, "x" * 5000, "%00", "a b", "\N{SNOWMAN}", "' or 1=1 --"])
def test_a_forged_link_does_not_open(survey: Served, token: str) -> None:
    for path in ("r", "o"):
        response = survey.client().get(f"/{path}/{token}")
        assert response.status_code == 404
        assert "This link does not work" in response.text
        assert "set-cookie" not in response.headers


def test_links_of_readers_and_owners_are_not_each_others(survey: Served) -> None:
    assert survey.client().get(f"/o/{survey.readers[0]}").status_code == 404
    assert survey.client().get(f"/r/{survey.owner}").status_code == 404
    reader = survey.client(survey.readers[0])
    assert reader.get("/owner").status_code == 403
    assert reader.post("/owner/close", headers=form_token(reader.get("/"))).status_code == 403
    assert survey.owners_client().get("/").status_code == 403


def test_an_expired_link_ends_its_session_too(survey: Served) -> None:
    token = survey.study.invite(survey.survey, "late", days=1e-9)
    assert survey.client().get(f"/r/{token}").status_code == 404
    client = survey.client(survey.readers[0])
    survey.clock.now += SESSION_DAYS * 86400 + 1
    assert client.get("/scan/1").status_code == 403
    # The link, opened again, goes on.
    assert survey.client(survey.readers[0]).get("/").status_code == 200


def test_a_session_goes_on_after_a_restart_and_not_with_another_secret(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    again = survey.client()
    again.cookies.update(client.cookies)
    assert again.get("/").status_code == 200


@pytest.mark.parametrize("harm", ["token", "until", "signature", "short", "empty"])
def test_a_forged_cookie_opens_nothing(survey: Served, harm: str) -> None:
    client = survey.client(survey.readers[0])
    ((name, value),) = [cookie for cookie in client.cookies.items() if cookie[0] != "crossmod_arriving"]
    token, until, signature = value.split(".")
    forged = {
        "token": f"{survey.readers[1]}.{until}.{signature}",
        "until": f"{token}.{int(until) + 1}.{signature}",
        "signature": f"{token}.{until}.{signature[::-1]}",
        "short": token,
        "empty": "..",
    }[harm]
    stranger = survey.client()
    stranger.cookies.set(name, forged)
    assert stranger.get("/").status_code == 403
    assert stranger.get("/scan/1").status_code == 403


def test_forms_of_others_are_refused(survey: Served) -> None:
    client, other = survey.client(survey.readers[0]), survey.client(survey.readers[1])
    page, good = client.get("/scan/1"), form_token(client.get("/scan/1"))
    bad = [
        {},
        {"X-Form-Token": "0" * 64},
        {"X-Form-Token": "\xe9".encode("latin-1").decode("latin-1")},
        form_token(other.get("/scan/1")),
        {**good, "Origin": "http://elsewhere.example"},
        {**good, "Origin": "null"},
        {**good, "Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {**good, "Sec-Fetch-Site": "same-site"},
        {**good, "Sec-Fetch-Site": "none"},
    ]
    for headers in bad:
        response = client.post(
            "/scan/1", data=fields(page), headers={k: v.encode("latin-1") for k, v in headers.items()}
        )
        assert response.status_code == 403, headers
    for headers in (good, {**good, "Origin": "http://testserver"}, {**good, "Sec-Fetch-Site": "same-origin"}):
        assert client.post("/scan/1", data=fields(page), headers=headers).status_code == 200


def test_a_script_in_a_reason_is_text_wherever_it_is_shown(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    evil = "</textarea><script>alert(1)</script>\"'{{7*7}}"
    send(client, 1, reason=evil)
    page = client.get("/scan/1").text
    assert "<script>alert" not in page
    assert "&lt;/textarea&gt;&lt;script&gt;alert(1)" in page
    assert "49" not in re.findall(r"<textarea.*</textarea>", page)[0]
    token = survey.study.invite(survey.survey, "<img src=x onerror=alert(1)>")
    assert "<img" not in survey.client(token).get("/").text
    assert "<img" not in survey.owners_client().get("/owner").text


def test_a_reason_of_a_megabyte_is_refused(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    page = client.get("/scan/1")
    response = client.post("/scan/1", data=fields(page, reason="x" * 1_000_000), headers=form_token(page))
    assert response.status_code == 413
    assert "NOT saved" in response.text
    assert "at most 2000 characters" in response.text

    # Sent in pieces, without saying how much it will be.
    pieces = (b"reason=" + b"x" * 10_000 for _ in range(100))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post("/scan/1", content=pieces, headers=form_token(page) | kind)
    assert response.status_code == 413


def test_what_is_too_large_is_not_read_to_its_end() -> None:
    read = 0

    async def receive() -> dict[str, object]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    async def send_nowhere(_: object) -> None: ...

    async def app(_: object, receive: object, __: object) -> None:
        while True:
            await receive()  # type: ignore[operator]

    limit, most = BodyLimit(app), (LARGEST_BODY + THROWN_AWAY) // 10_000 + 2  # type: ignore[arg-type]
    for headers in ([], [(b"content-length", b"70000")]):
        read = 0
        with pytest.raises(TooLarge):
            asyncio.run(limit({"type": "http", "headers": headers}, receive, send_nowhere))  # type: ignore[arg-type]
        assert 0 < read <= most


def test_failed_tries_are_limited_and_good_links_are_not(survey: Served) -> None:
    client = survey.client()
    statuses = [client.get(f"/r/{'x' * 40}{number}").status_code for number in range(12)]
    assert statuses == [404] * 10 + [429] * 2
    refused = client.get("/o/forged")
    assert 0 < int(refused.headers["retry-after"]) <= 6
    assert refused.headers["retry-after"] in refused.text
    # From the same address.
    assert client.get(f"/r/{survey.readers[0]}").status_code == 303
    assert client.get("/").status_code == 200
    survey.clock.now += 7
    assert client.get("/r/forged").status_code == 404
    assert client.get("/r/forged").status_code == 429


def test_tries_are_counted_by_address_and_forgotten() -> None:
    now = [0.0]
    tries = RateLimiter(lambda: now[0], at_once=2, every=10.0, most=3)
    assert [tries.failed("1.1.1.1") for _ in range(4)] == [0, 0, 10, 10]
    assert tries.failed("2.2.2.2") == 0
    # One machine has a whole /64 of IPv6.
    assert [tries.failed(f"2001:db8::{number}") for number in range(3)] == [0, 0, 10]
    assert tries.failed("2001:db8:0:1::1") == 0
    now[0] = 1000.0
    assert [tries.failed("1.1.1.1") for _ in range(3)] == [0, 0, 10]
    for number in range(10):
        tries.failed(f"3.3.3.{number}")
    assert len(tries._clear) == 3


@pytest.mark.parametrize("path", ["/", "/scan/1", "/nothing", "/static/style.css", "/r/forged", "/owner"])
def test_every_response_is_hardened(survey: Served, path: str) -> None:
    headers = survey.client(survey.readers[0]).get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-store" if "static" not in path else "public, max-age=31536000, immutable")


def test_one_from_another_site_is_let_in_on_the_second_step(survey: Served) -> None:
    # A browser keeps a strict cookie back on a visit from elsewhere, the redirect included, and sends this one.
    client = survey.client()
    client.cookies.set("crossmod_arriving", "reader")
    page = client.get("/")
    assert page.status_code == 200
    assert 'http-equiv="refresh" content="0;url=/"' in page.text
    assert 'crossmod_arriving=""' in page.headers["set-cookie"]
    client.cookies.clear()
    assert client.get("/").status_code == 403


def test_tokens_are_in_no_log(
    survey: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(type(survey.study), "seat", fail)
    assert survey.client().get(f"/r/{survey.readers[0]}").status_code == 500
    assert caplog.records
    assert survey.readers[0] not in "".join(record.getMessage() for record in caplog.records)


def test_the_schema_can_be_made_for_tests(survey: Served) -> None:
    paths = survey.app().openapi()["paths"]
    assert {"/", "/r/{token}", "/scan/{number}", "/image/{scan}.nii", "/submit", "/owner/close"} <= paths.keys()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            serving._listen("127.0.0.1", port)
    with serving._listen("127.0.0.1", 0) as free:
        assert free.getsockname()[1] > 0
        # Else asyncio leaves small answers waiting.
        assert free.proto == socket.IPPROTO_TCP
    with pytest.raises(InputError, match="port 99999"):
        serving._listen("127.0.0.1", 99999)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_starts_answers_and_stops(survey: Served, stop: signal.Signals) -> None:
    code = f"""
from pathlib import Path
from crossmod.reader.serve import serve
serve(Path({str(survey.images.parent)!r}), database=None, port=0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        first, _, third, *_ = [server.stdout.readline() for _ in range(4)]
        url = first.split()[-1]
        try:
            with httpx.Client(base_url=url) as client:
                assert client.get(f"/r/{survey.readers[0]}").headers["location"] == "/"
                page = client.get("/scan/1")
                # All of it is on its way before the answer comes.
                large = client.post("/scan/1", data=fields(page, reason="x" * 1_000_000), headers=form_token(page))
                assert large.status_code == 413
                assert "NOT saved" in large.text
                assert client.post("/scan/1", data=fields(page), headers=form_token(page)).status_code == 200
                assert "server" not in page.headers
        finally:
            server.send_signal(stop)
        _, err = server.communicate(timeout=120)
        assert "Fog is at http://127.0.0.1:" in first
        assert f"{url}/o/" in third
        assert (err, server.returncode) == ("", 0)
    seat = survey.study.seat(survey.readers[0])
    assert seat is not None
    assert survey.study.answered(seat) == {1}


def test_the_secret_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = serving._secret(path)
    assert len(first) == 32
    assert first != SECRET
    assert serving._secret(path) == first
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="5 bytes"):
        serving._secret(path)
