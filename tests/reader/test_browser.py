"""A reader's way through a survey, in a real browser. Slow parts are shared: one server and one browser."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from crossmod.reader.serve import _listen
from tests.support.web_study import Served, served

# What was asked for is drawn in the next frame.
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'crossmod[dev]'")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # WebGL without a graphics card.
        arguments = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


@contextmanager
def live(folder: Path, **changes: Any) -> Iterator[tuple[Served, str]]:
    """A survey behind a real server."""
    with served(folder, **changes) as survey:
        survey.clock = time.time  # type: ignore[assignment]
        listening = _listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(survey.app(), log_level="warning", access_log=False))
        running = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        running.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield survey, f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            running.join()
            listening.close()


@contextmanager
def device(chromium: Any, url: str, size: tuple[int, int] = (1280, 800), **more: Any) -> Iterator[Any]:
    """A browser of its own, in which nothing may go wrong and nothing may leave for another server."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **more)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda sent: wrong.append(sent.url) if not sent.url.startswith((url, "blob:", "data:")) else None
    )
    page.wrong = wrong
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def ready(page: Any) -> str:
    """The viewer's state, when the scan is there."""
    page.wait_for_selector("#view[data-ready][data-state]", state="attached")
    page.evaluate(DRAWN)
    return page.locator("#view").get_attribute("data-state")


def pixels(page: Any) -> np.ndarray:
    page.evaluate(DRAWN)
    return np.asarray(Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("L"), dtype=float)


def saved(page: Any) -> None:
    page.wait_for_selector("#is-saved")


def drag(page: Any, dx: int, dy: int, button: str = "left") -> None:
    box = page.locator("#view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up(button=button)


def test_a_survey_from_the_link_to_the_thanks(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path) as (survey, url), device(chromium, url) as page:
        page.goto(f"{url}/r/{survey.readers[0]}")
        assert page.url == f"{url}/"
        page.screenshot(path=tmp_path / "welcome.png")
        page.get_by_role("link", name="Start").click()
        ready(page)
        page.screenshot(path=tmp_path / "scan.png")

        # By keys alone: answer, save, go on; then go on without saving first.
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        saved(page)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/scan/2")
        page.keyboard.press("3")
        page.keyboard.press("ArrowRight")
        page.wait_for_url(f"{url}/scan/3")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url(f"{url}/scan/2")
        assert page.locator("[value=cannot_tell]").is_checked()

        # Changed with a reason, and there after a reload and on another device.
        page.locator("label", has_text="Real").click()
        page.fill("#reason", "Ribs <b>differ</b> & 1 2 3")
        assert page.locator("#is-saved").count() == 0
        page.get_by_role("button", name="Save").dblclick()
        saved(page)
        page.reload()
        assert page.locator("#reason").input_value() == "Ribs <b>differ</b> & 1 2 3"
        with device(chromium, url) as other:
            other.goto(f"{url}/r/{survey.readers[0]}")
            assert other.get_by_text("2 of 4 answered").count() == 1
            other.get_by_role("link", name="Continue").click()
            for number in (3, 4):
                other.wait_for_url(f"{url}/scan/{number}")
                other.keyboard.press("1")
                other.keyboard.press("ArrowRight")
            other.wait_for_url(f"{url}/submit")
            other.screenshot(path=tmp_path / "submit.png")
            other.get_by_role("button", name="Submit").click()
            other.get_by_role("heading", name="Thank you").wait_for()
        # The first device learns of it.
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.get_by_text("you have already submitted the survey", exact=False).wait_for()
        page.wrong.clear()  # the browser's own note of a 409
        page.reload()
        assert page.get_by_role("heading", name="Thank you").count() == 1

        survey.study.close(survey.survey)
        given = survey.study.answers(survey.survey)
        assert [one.values["choice"] for one in given] == ["synthetic", "real", "real", "real"]
        assert 0 < given[0].seconds < 60


@pytest.mark.slow
def test_window_zoom_and_moving_change_the_pixels(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path) as (survey, url), device(chromium, url) as page:
        page.goto(f"{url}/r/{survey.readers[0]}")
        page.goto(f"{url}/scan/1")
        assert ready(page) == "40,400,1.000,1"
        first = pixels(page)
        assert first.max() > 100

        page.get_by_role("button", name="Liver").click()
        assert np.abs(pixels(page) - first).max() > 40
        assert page.get_by_role("button", name="Liver").get_attribute("aria-pressed") == "true"

        # After a click, keys are the scan's and not the button's.
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        saved(page)

        page.get_by_role("button", name="Reset").click()
        np.testing.assert_allclose(pixels(page), first, atol=2)
        drag(page, 0, -60)
        assert pixels(page).mean() > first.mean() + 5
        drag(page, 60, 60)
        assert int(ready(page).split(",")[1]) > 400

        page.get_by_role("button", name="Reset").click()
        page.locator("#view").hover()
        page.mouse.wheel(0, -300)
        assert float(ready(page).split(",")[2]) > 1.2
        zoomed = pixels(page)
        drag(page, 80, 0, button="right")
        moved = pixels(page)
        # To the right, by as much as the mouse.
        assert np.abs(moved[:, 80:] - zoomed[:, :-80]).mean() < 0.3 * np.abs(moved - zoomed).mean()


@pytest.mark.slow
def test_a_volume_is_scrolled_by_wheel_keys_slider_and_finger(chromium: Any, tmp_path: Path) -> None:
    with (
        live(tmp_path, unit="volume", modality="mr") as (survey, url),
        device(chromium, url, (820, 1180), has_touch=True) as page,
    ):
        page.goto(f"{url}/r/{survey.readers[0]}")
        page.goto(f"{url}/scan/1")
        assert ready(page).endswith(",5")
        middle = pixels(page).mean()
        page.locator("#view").hover()
        page.mouse.wheel(0, 100)
        brighter = pixels(page)
        assert ready(page).endswith(",6")
        assert brighter.mean() > middle + 2
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert pixels(page).mean() < middle - 2
        page.locator("#slice").fill("9")
        assert pixels(page).mean() > brighter.mean()
        assert page.locator("#slice-number").inner_text() == "9 / 9"

        before = ready(page)
        touch(page, [[(400, 600), (400, 300)]])
        assert int(ready(page).split(",")[3]) < 9
        assert ready(page).split(",")[:2] == before.split(",")[:2]
        touch(page, [[(380, 400), (300, 400)], [(420, 400), (500, 400)]])
        assert float(ready(page).split(",")[2]) > 1.5
        page.screenshot(path=tmp_path / "volume.png")


def touch(page: Any, fingers: list[list[tuple[int, int]]]) -> None:
    """Move fingers from one place to another, in steps."""
    session = page.context.new_cdp_session(page)

    def at(share: float) -> list[dict[str, float]]:
        return [
            {"x": a[0] + share * (b[0] - a[0]), "y": a[1] + share * (b[1] - a[1]), "id": number}
            for number, (a, b) in enumerate(fingers)
        ]

    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at(0)})
    for step in range(1, 9):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": at(step / 8)})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    pixels(page)


@pytest.mark.slow
def test_nothing_is_called_saved_that_is_not(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path) as (survey, url), device(chromium, url) as page:
        page.goto(f"{url}/r/{survey.readers[0]}")
        page.goto(f"{url}/scan/1")
        ready(page)
        page.fill("#reason", "the liver")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Choose one of the three answers").wait_for()

        # The database is gone for a while.
        away = survey.database.rename(tmp_path / "away")
        page.locator("label", has_text="Synthetic").click()
        page.get_by_role("button", name="Save").click()
        page.get_by_text("NOT saved").wait_for()
        page.get_by_text("The database cannot be reached now").wait_for()
        assert page.locator("#reason").input_value() == "the liver"
        away.rename(survey.database)
        page.get_by_role("button", name="Try again").click()
        saved(page)

        # So is the network; and going on does not lose what was not saved.
        page.fill("#reason", "the spleen")
        page.context.set_offline(True)
        page.get_by_role("link", name="Next").click()
        page.get_by_text("NOT saved").wait_for()
        assert page.url == f"{url}/scan/1"
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        saved(page)
        page.wrong.clear()  # the browser's own notes of the failures
        survey.study.close(survey.survey)
        assert [one.values["reason"] for one in survey.study.answers(survey.survey)] == ["the spleen"]


@pytest.mark.slow
def test_a_broken_image_is_said_in_words_and_can_be_answered(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path) as (survey, url), device(chromium, url) as page:
        page.goto(f"{url}/r/{survey.readers[0]}")
        page.route("**/image/*", lambda route: route.fulfill(status=200, body=b"no image"))
        page.goto(f"{url}/scan/1")
        page.get_by_text("This scan cannot be shown").wait_for()
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        saved(page)
        page.wrong.clear()  # what niivue says of it


def test_a_link_in_a_mail_on_another_site_opens_the_survey(chromium: Any, tmp_path: Path) -> None:
    # Browsers keep strict cookies back when one comes from elsewhere.
    with live(tmp_path) as (survey, url), device(chromium, url) as page:
        link = f"<a href='{url}/r/{survey.readers[0]}'>open</a>"
        page.route("http://mail.example/", lambda route: route.fulfill(body=link, content_type="text/html"))
        page.goto("http://mail.example/")
        page.click("a")
        page.get_by_role("link", name="Start").wait_for()
        assert page.url == f"{url}/"
        assert page.wrong[0] == "http://mail.example/"
        page.wrong.clear()


@pytest.mark.slow
def test_pages_fit_their_width_and_controls_have_names(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path, realism=True, regions=True) as (survey, url), device(chromium, url) as page:
        page.goto(f"{url}/r/{survey.readers[0]}")
        page.goto(f"{url}/language/it")
        for path in ("/", "/scan/1", "/submit", "/r/forged"):
            page.goto(url + path)
            if path == "/scan/1":
                ready(page)
                page.locator("summary").click()
            for width, height in ((1280, 800), (820, 1180), (390, 844), (320, 568)):
                page.set_viewport_size({"width": width, "height": height})
                page.screenshot(path=tmp_path / f"{width}{path.replace('/', '_')}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert page.evaluate(UNNAMED) == []
        page.wrong.clear()  # the browser's own note of the 404


# Controls that a screen reader could not name.
UNNAMED = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), textarea")]
  .filter(one => !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label")))
  .map(one => one.outerHTML)"""


@pytest.mark.slow
def test_the_owner_watches_and_closes(chromium: Any, tmp_path: Path) -> None:
    with live(tmp_path) as (survey, url), device(chromium, url, (390, 844)) as page:
        page.goto(f"{url}/o/{survey.owner}")
        assert page.url == f"{url}/owner"
        page.get_by_text("0/4").first.wait_for()
        seat = survey.study.seat(survey.readers[0])
        assert seat is not None
        shown = survey.study.shown(seat, 1)
        assert shown is not None
        survey.study.answer(seat, 1, shown.scan, {"choice": "real"}, seconds=1.0, key="k" * 20)
        page.get_by_text("1/4").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("summary").click()
        page.screenshot(path=tmp_path / "owner.png", full_page=True)
        page.get_by_role("button", name="close it now").click()
        page.get_by_text("crossmod reader analyze").wait_for()
        assert survey.study.closed(survey.survey) is not None
