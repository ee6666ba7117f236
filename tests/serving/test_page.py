"""A real browser uses the page: by keyboard, at the width of a telephone, light and dark, at every state.

Pictures go to the folder that DFD_SCREENSHOTS names; those of the documentation were made so.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_video

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
PATIENCE = 240_000  # milliseconds


def browser_program() -> str | None:
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@pytest.fixture(scope="module")
def browser():
    program = browser_program()
    if program is None and os.environ.get("DFD_BROWSER") != "required":
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Seen:
    """A page, and what went wrong on it."""

    def __init__(self, page, address: str) -> None:
        self.page, self.wrong = page, []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))
        page.on(
            "request",
            lambda request: request.url.startswith((address, "blob:", "data:")) or self.wrong.append(request.url),
        )
        page.goto(address)

    def shot(self, name: str) -> None:
        folder = os.environ.get("DFD_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=f"{folder}/serve_{name}.png", full_page=True)

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def enter(self, key: str) -> None:
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#desk:not([hidden])")


@pytest.fixture(params=[(1100, "light"), (390, "dark")], ids=["wide-light", "narrow-dark"])
def seen(request, browser, served):
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
    seen = Seen(context.new_page(), served.address)
    seen.name = f"{width}"
    yield seen
    context.close()


def test_from_the_key_to_the_verdict_and_away(seen, served, clip, tmp_path):
    page = seen.page
    page.wait_for_selector("#health:has-text('ready')")
    seen.shot(f"key_{seen.name}")
    page.fill("#key", "not-the-key")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-error:has-text('not known')")
    seen.wrong.clear()  # the browser reports the 401 itself
    seen.shot(f"wrong_key_{seen.name}")
    seen.enter(served.key)
    assert page.evaluate("document.activeElement.id") == "files"
    seen.shot(f"empty_{seen.name}")

    odd = tmp_path / "not a video.mp4"
    odd.write_bytes(b"odd" * 100)
    faceless = write_video(tmp_path / "grey wall.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 5)
    page.set_input_files("#files", [str(odd), str(faceless), str(clip)])
    page.wait_for_selector("progress")
    seen.shot(f"running_{seen.name}")
    page.wait_for_selector(".verdict")
    page.wait_for_selector("li:has-text('not a video.mp4') .notice:has-text('decode_error')")
    page.wait_for_selector("li:has-text('grey wall.mp4') .notice:has-text('no_face')")
    page.wait_for_selector("img[src^='blob:'] >> nth=1")
    words = page.inner_text(".verdict")
    assert words.startswith(("Fake: ", "Real: "))
    assert "not a probability" in words
    assert page.locator(".plot circle").count() == 4
    playwright.expect(page.locator(".scroll img[src]")).to_have_count(1)
    assert seen.fits()
    seen.shot(f"done_{seen.name}")

    with page.expect_download() as download:
        page.get_by_role("button", name="Scores (CSV)").click()
    assert "score (higher = fake)" in Path(download.value.path()).read_text()
    page.emulate_media(media="print")
    page.evaluate(
        "document.body.classList.add('one'); document.querySelector('li:has(.verdict)').classList.add('printed')"
    )
    assert not page.is_visible("#drop")
    assert page.is_visible(".verdict")
    page.emulate_media(media="screen")
    page.evaluate("document.body.classList.remove('one')")

    while page.locator(".jobs li").count():  # by keyboard alone
        before = page.locator(".jobs li").count()
        page.locator("[data-name=erase]").first.focus()
        page.keyboard.press("Enter")
        playwright.expect(page.locator(".jobs li")).to_have_count(before - 1, timeout=PATIENCE)
    assert page.is_visible("#empty")
    assert seen.wrong == []


def test_a_whole_run_by_keyboard(seen, served, clip):
    page = seen.page
    page.wait_for_selector("#key:focus")
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    page.keyboard.type(served.key)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#files:focus")
    for _ in range(20):  # the dialog is the browser's own: one that it opens before it is listened to is lost
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        if chosen:
            break
    chosen[0].set_files(str(clip))
    page.wait_for_selector(".verdict")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 0
    page.locator("[data-name=erase]").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#empty:not([hidden])")
    assert seen.wrong == []


def answer(route, status, body):
    route.fulfill(status=status, content_type="application/json", json=body)


def test_states_that_are_rare(seen, served, clip):
    """Refused uploads, an inconclusive verdict of several runs and people, a server that is gone."""
    page = seen.page
    seen.enter(served.key)
    problem = {
        "title": "The file is too large",
        "status": 413,
        "code": "too_large",
        "detail": "at most 5 bytes are taken",
    }
    page.route("**/v1/uploads*", lambda route: answer(route, 413, problem))
    page.set_input_files("#files", str(clip))
    page.wait_for_selector(".notice:has-text('too_large')")
    page.unroute("**/v1/uploads*")
    page.route("**/v1/uploads*", lambda route: answer(route, 200, rich_job()))
    page.set_input_files("#files", str(clip))
    page.wait_for_selector(".verdict.inconclusive")
    assert "between 0.300 and 0.700" in page.inner_text(".verdict")
    assert page.locator(".plot polyline").count() >= 4
    assert page.locator(".plot .stretch").count() == 2
    page.route(
        "**/readyz",
        lambda route: answer(
            route, 503, {"ready": False, "checks": {"workers": "RuntimeError: no worker is alive: jobs wait"}}
        ),
    )
    page.wait_for_selector("#health.bad")
    assert seen.fits()
    seen.shot(f"rare_{seen.name}")


def rich_job() -> dict:
    """A job whose file several runs of all kinds have judged."""
    operating = {
        "origin": "real below 0.300, fake above 0.700: chosen on validation videos",
        "threshold": 0.5,
        "band": [0.3, 0.7],
        "false_alarms": 0.1,
        "calibrated": True,
    }
    reason = {
        "code": "in_band",
        "detail": "its score lies between 0.300 and 0.700, where validation found both real and fake",
    }
    views = {
        "run": "tall",
        "kind": "views",
        "model": "tall",
        "verdict": "inconclusive",
        "score": 0.52,
        "probability": 0.55,
        "reason": reason,
        "operating": operating,
        "views": 8,
        "warnings": [],
        "artifacts": {},
        "people": [
            {"person": 0, "t": [0, 1, 2, 3], "score": [0.4, 0.5, 0.7, 0.5]},
            {"person": 1, "t": [0, 1, 2, 3], "score": [0.1, 0.2, 0.1, 0.3]},
        ],
    }
    waves = [abs(((i * 7) % 20) - 10) / 10 for i in range(80)]
    segments = {
        **views,
        "run": "localiser",
        "kind": "segments",
        "people": [],
        "waveform": waves,
        "segments": [
            {"start": 0.5, "end": 1.2, "score": 0.8, "stream": "audio"},
            {"start": 2.5, "end": 3.0, "score": 0.6, "stream": "both"},
        ],
    }
    delays = {
        **views,
        "run": "sync",
        "kind": "delays",
        "people": [],
        "delays": [{"t": t / 4, "delay": 0.04 * (t % 3 - 1)} for t in range(16)],
    }
    result = {
        "format": 1,
        "direction": "higher = fake",
        "verdict": "inconclusive",
        "probability": 0.55,
        "score": 0.52,
        "reason": reason,
        "warnings": ["trained on the rendered sample: its verdicts on real media mean nothing"],
        "media": {
            "format": "mov",
            "width": 640,
            "height": 480,
            "frames": 100,
            "fps": 25.0,
            "duration": 4.0,
            "sound": True,
        },
        "runs": [views, segments, delays],
        "seconds": {"probing": 0.1, "decoding": 2.0, "inference": 1.0},
        "artifacts": [],
    }
    return {
        "id": "f" * 32,
        "name": "interview.mp4",
        "state": "done",
        "stage": "reporting",
        "progress": 1,
        "estimate": None,
        "waiting": None,
        "size": 123456,
        "sha256": "0" * 64,
        "created": 1.7e9,
        "started": 1.7e9,
        "finished": 1.7e9,
        "attempts": 1,
        "verdict": "inconclusive",
        "code": None,
        "detail": None,
        "result": result,
        "links": {},
    }
