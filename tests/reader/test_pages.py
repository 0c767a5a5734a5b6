"""What readers and owners are answered, for good requests and for bad ones."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossmod.reader.design import LONGEST_REASON
from tests.support.web_study import Served, answer_all, fields, form_token, send, served, truncate


@pytest.fixture
def survey(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as made:
        yield made


def kept(survey: Served) -> list[dict[str, Any]]:
    survey.study.close(survey.survey)
    return [dict(one.values) for one in survey.study.answers(survey.survey)]


def test_a_survey_is_answered_and_submitted(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    assert "4 CT scans" in client.get("/").text
    assert 'href="/scan/1">Start' in client.get("/").text
    for number in range(1, 5):
        assert f"<h1>{number} of 4</h1>" in client.get(f"/scan/{number}").text
        assert "Saved" in send(client, number, reason=f"reason {number}").text
    page = client.get("/submit")
    assert "All 4 scans" in page.text
    done = client.post("/submit", headers=form_token(page))
    assert (done.status_code, done.headers["hx-redirect"]) == (204, "/")
    assert "Thank you" in client.get("/").text
    assert [values["reason"] for values in kept(survey)] == [f"reason {number}" for number in range(1, 5)]


def test_one_goes_on_where_one_stopped_on_another_device(survey: Served) -> None:
    send(survey.client(survey.readers[0]), 1, choice="synthetic", reason="ribs")
    other = survey.client(survey.readers[0])
    assert 'href="/scan/2">Continue' in other.get("/").text
    page = other.get("/scan/1").text
    assert 'value="synthetic" checked' in page
    assert ">ribs</textarea>" in page


def test_an_answer_can_be_changed_and_sent_twice(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    page = client.get("/scan/1")
    for _ in range(2):
        assert client.post("/scan/1", data=fields(page), headers=form_token(page)).status_code == 200
    with sqlite3.connect(survey.database) as database:
        assert database.execute("select count(*) from answer").fetchone() == (1,)
    database.close()
    assert send(client, 1, choice="cannot_tell").status_code == 200
    assert [values["choice"] for values in kept(survey)] == ["cannot_tell"]


def test_submit_lists_what_is_missing_and_refuses(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    send(client, 2)
    page = client.get("/submit")
    assert [f'href="/scan/{number}">Scan {number}' in page.text for number in range(1, 5)] == [True, False, True, True]
    refused = client.post("/submit", headers=form_token(page))
    assert refused.status_code == 409
    assert "Not submitted" in refused.text


def test_after_submission_nothing_changes(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    answer_all(client)
    before, last = client.get("/scan/1"), client.get("/submit")
    assert client.post("/submit", headers=form_token(last)).status_code == 204
    assert client.post("/submit", headers=form_token(last)).status_code == 204
    assert client.get("/scan/1").headers["location"] == "/"
    late = client.post("/scan/1", data=fields(before, choice="synthetic"), headers=form_token(before))
    assert late.status_code == 409
    assert "NOT saved" in late.text
    assert "already submitted the survey" in late.text
    # The link still opens, and thanks.
    assert "Thank you" in survey.client(survey.readers[0]).get("/").text
    assert {values["choice"] for values in kept(survey)} == {"real"}


def test_a_survey_that_is_closed_while_a_reader_is_inside(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    page = client.get("/scan/1")
    survey.study.close(survey.survey)
    late = client.post("/scan/1", data=fields(page), headers=form_token(page))
    assert (late.status_code, "has been closed" in late.text, "NOT saved" in late.text) == (409, True, True)
    assert "The survey is closed" in client.get("/").text
    assert client.post("/submit", headers=form_token(page)).status_code == 409


def test_an_answer_to_anothers_place_or_scan_is_refused(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    page, other = client.get("/scan/1"), client.get("/scan/2")
    wrong = client.post("/scan/1", data=fields(page, scan=fields(other)["scan"]), headers=form_token(page))
    assert (wrong.status_code, "not at this place" in wrong.text) == (409, True)
    nowhere = client.post("/scan/99", data=fields(page), headers=form_token(page))
    assert (nowhere.status_code, "NOT saved" in nowhere.text) == (409, True)
    assert kept(survey) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choice": ""}, "Choose one of the three"),
        ({"choice": "perhaps"}, "Choose one of the three"),
        ({"reason": "x" * (LONGEST_REASON + 1)}, "longer than 2000"),
        ({"scan": "../../etc/passwd"}, "does not fit"),
        ({"key": ""}, "does not fit"),
        ({"realism": "6"}, "does not fit"),
        ({"regions": "hat"}, "does not fit"),
    ],
)
def test_a_form_that_does_not_fit_is_said_in_words(survey: Served, change: dict[str, str], said: str) -> None:
    response = send(survey.client(survey.readers[0]), 1, **change)
    assert response.status_code == 422
    assert "NOT saved" in response.text
    assert said in response.text


def test_a_reason_of_2000_characters_in_any_script_is_kept(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    # As a browser sends it: a line's end is two characters.
    assert send(client, 1, reason="\U0001fa7b" * (LONGEST_REASON - 1) + "\r\n").status_code == 200
    assert send(client, 2, reason="a\0b\x1b\u202e").status_code == 200
    assert [values["reason"] for values in kept(survey)] == ["\U0001fa7b" * (LONGEST_REASON - 1), "ab"]


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "soon", ""])
def test_a_clock_that_makes_no_sense_costs_no_answer(survey: Served, seconds: str) -> None:
    assert send(survey.client(survey.readers[0]), 1, seconds=seconds).status_code == 200
    survey.study.close(survey.survey)
    assert survey.study.answers(survey.survey)[0].seconds == 0


def test_what_is_optional_is_asked_where_the_design_says_so(tmp_path: Path) -> None:
    with served(tmp_path, realism=True, regions=True, modality="mr") as survey:
        client = survey.client(survey.readers[0])
        send(client, 1, realism="4", regions=["vessels", "liver", "liver"])
        send(client, 2)
        page = client.get("/scan/1").text
        assert page.count("checked") == 4
        assert 'data-window="auto"' in page
        first, second = kept(survey)
    assert first == {"choice": "real", "reason": "", "realism": 4, "regions": ["liver", "vessels"]}
    assert second == {"choice": "real", "reason": "", "regions": []}


def test_images_are_alike_in_all_but_their_pixels(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    answers = [client.get(f"/image/{path.stem}.nii") for path in survey.images.iterdir()]
    assert len(answers) == 4
    headers = [{name: value for name, value in answer.headers.items() if name != "date"} for answer in answers]
    assert all(header == headers[0] for header in headers)
    assert not {"etag", "last-modified", "content-encoding"} & set(headers[0])
    assert headers[0]["cache-control"].startswith("private, max-age=")
    assert all(answer.content[:4] == b"\x5c\x01\x00\x00" for answer in answers)


def test_pages_of_scans_differ_in_number_id_and_keys_alone(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    texts = set()
    for number in (2, 3):
        page = client.get(f"/scan/{number}")
        text = page.text
        for name in ("scan", "key"):
            text = text.replace(fields(page)[name], name)
        for near in (-1, 0, 1):
            text = text.replace(f"/scan/{number + near}", f"/scan/{near}")
        texts.add(text.replace(f"{number} of 4", "").replace(f"Scan {number}", "").replace(f'place="{number}"', ""))
    assert len(texts) == 1


def test_what_is_not_a_readers_scan_is_not_there(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    stray = "f" * 32
    (survey.images / f"{stray}.nii").write_bytes(b"x")
    missing = [client.get(path) for path in (f"/image/{stray}.nii", f"/image/{'e' * 32}.nii", "/image/x.nii")]
    assert {answer.status_code for answer in missing} == {404}
    assert len({answer.text for answer in missing}) == 1
    assert survey.client().get(f"/image/{stray}.nii").status_code == 403


@pytest.mark.parametrize("harm", ["gone", "cut", "other"])
def test_a_broken_image_has_a_page_and_is_logged(survey: Served, caplog: pytest.LogCaptureFixture, harm: str) -> None:
    client = survey.client(survey.readers[0])
    scan = fields(client.get("/scan/1"))["scan"]
    path = survey.images / f"{scan}.nii"
    {"gone": path.unlink, "cut": lambda: truncate(path), "other": lambda: path.write_text("no" * 9000)}[harm]()
    with caplog.at_level(logging.ERROR):
        page = client.get("/scan/1")
    assert page.status_code == 200
    assert "cannot be shown" in page.text
    assert "niivue" not in page.text
    assert scan in caplog.text
    assert client.get(f"/image/{scan}.nii").status_code == 404
    assert send(client, 1, choice="cannot_tell").status_code == 200


def test_a_database_that_is_locked_or_gone_saves_nothing_and_says_so(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    page = client.get("/scan/1")
    locked = sqlite3.connect(survey.database, isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    refused = client.post("/scan/1", data=fields(page), headers=form_token(page))
    assert (refused.status_code, "NOT saved" in refused.text, "Try again" in refused.text) == (503, True, True)
    assert refused.headers["retry-after"] == "5"
    locked.execute("ROLLBACK")
    locked.close()
    assert client.post("/scan/1", data=fields(page), headers=form_token(page)).status_code == 200

    away = survey.database.rename(survey.database.with_suffix(".away"))
    page2 = client.post("/scan/1", data=fields(page, choice="synthetic", key="b" * 32), headers=form_token(page))
    assert (page2.status_code, "NOT saved" in page2.text) == (503, True)
    away.rename(survey.database)
    assert kept(survey) == [{"choice": "real", "reason": ""}]


def test_languages(survey: Served) -> None:
    client = survey.client(survey.readers[0])
    assert "Real or synthetic?" in client.get("/").text
    assert client.get("/language/it").headers["location"] == "/"
    assert '<html lang="it">' in client.get("/").text
    assert "Immagine" in client.get("/scan/1").text
    assert client.get("/language/en?to=/owner").headers["location"] == "/owner"
    assert client.get("/language/xx").status_code == 404
    assert client.get("/language/en?to=//elsewhere.example").status_code == 422
    stranger = survey.client()
    assert "Apra il Suo link" in stranger.get("/", headers={"Accept-Language": "it"}).text
    token = survey.study.invite(survey.survey, "Dr. Rossi", language="it")
    assert "Reale o sintetica?" in survey.client(token).get("/").text


def test_the_owner_sees_progress_and_closes(survey: Served) -> None:
    send(survey.client(survey.readers[0]), 1)
    owner = survey.owners_client()
    page = owner.get("/owner")
    assert "1/4" in page.text
    assert "0/4" in page.text
    assert "analyze" not in page.text
    assert "radiologist 1" in owner.get("/owner/progress").text
    closed = owner.post("/owner/close", headers=form_token(page))
    assert (closed.status_code, closed.headers["hx-redirect"]) == (204, "/owner")
    after = owner.get("/owner").text
    assert "crossmod reader analyze" in after
    assert "every 3s" not in after
    assert owner.post("/owner/close", headers=form_token(page)).status_code == 204


@pytest.mark.parametrize("path", ["/", "/scan/1", "/submit", "/static/style.css"])
def test_head_is_get_without_the_body(survey: Served, path: str) -> None:
    client = survey.client(survey.readers[0])
    head, got = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/scan/0", 404),
        ("GET", "/scan/5", 404),
        ("GET", "/scan/two", 404),
        ("GET", "/scan/99999999999999999999", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/static/", 404),
        ("GET", "/static/../app.py", 404),
        ("DELETE", "/scan/1", 405),
        ("POST", "/", 405),
        ("GET", "/owner/close", 405),
    ],
)
def test_what_does_not_exist_is_a_page_in_words(survey: Served, method: str, path: str, status: int) -> None:
    response = survey.client(survey.readers[0]).request(method, path)
    assert response.status_code == status
    assert "<h1>" in response.text
    assert "content-security-policy" in response.headers


def test_an_unforeseen_failure_tells_nothing_of_the_program(
    survey: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = survey.client(survey.readers[0])

    def fail(*_: object) -> None:
        raise RuntimeError("the key lies under the mat")

    monkeypatch.setattr(type(survey.study), "answered", fail)
    response = client.get("/")
    assert response.status_code == 500
    assert "under the mat" not in response.text
    assert "Something went wrong" in response.text
    assert "content-security-policy" in response.headers
    assert "the key lies under the mat" in caplog.text
