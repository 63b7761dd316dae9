"""The page at /, in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from spladert import SparseEncoder
from spladert.serve import ServerOptions
from support.checkpoints import LINES
from support.server import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("SPLADERT_CHROMIUM") or shutil.which("chromium")
# Without its background traffic, which a closed network refuses; root needs --no-sandbox.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium (apt-get install chromium), on PATH or named by SPLADERT_CHROMIUM")
    with playwright.sync_playwright() as running_playwright:
        browser = running_playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page, with what went wrong in it and whom it asked."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.page: Page = browser.new_context(**context).new_page()
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(url)

    def write(self, side: str, text: str) -> list[str]:
        """Type a text; the tokens of its bars once they are drawn."""
        with self.page.expect_response(lambda answer: "/v1/encode" in answer.url and text in answer.request.post_data):
            self.page.locator(f"[data-side={side}] textarea").fill(text)
        self.page.wait_for_timeout(50)
        return self.page.locator(f"[data-side={side}] .token").all_inner_texts()


@pytest.fixture
def url(client: httpx.Client) -> str:
    return str(client.base_url)


def test_two_texts_side_by_side(browser: Browser, url: str, encoder: SparseEncoder) -> None:
    opened = Opened(browser, url, locale="en-US")
    tokens = {side: opened.write(side, text) for side, text in (("query", LINES[0]), ("document", LINES[7]))}
    query, document = (encoder.encode(text).to_dict() for text in (LINES[0], LINES[7]))
    for side, text in (("query", LINES[0]), ("document", LINES[7])):
        assert tokens[side] == list(encoder.to_tokens(encoder.encode(text)))[:40]
    page = opened.page
    product = sum(weight * document[i] for i, weight in query.items() if i in document)
    assert float(page.locator("#score").inner_text()) == pytest.approx(product, abs=0.006)
    shared = len(query.keys() & document.keys())
    assert page.locator("#match tbody tr").count() == shared > 0
    assert f"{shared} token" in page.locator("#shared-note").inner_text()
    timing = page.locator("[data-side=query] .timing").inner_text()
    assert f"{len(query)} tokens" in timing
    assert "batch of 1" in timing
    assert opened.errors == []
    assert opened.hosts == {url.split("/")[2]}, "nothing comes from another host"


def test_markup_in_a_text_is_text(browser: Browser, url: str) -> None:
    opened = Opened(browser, url)
    opened.write("query", "<img src=x onerror=alert(1)>")
    assert opened.page.locator(".bars img").count() == 0
    assert opened.errors == []


def test_an_emptied_text_has_no_bars(browser: Browser, url: str) -> None:
    opened = Opened(browser, url)
    assert opened.write("query", LINES[0])
    opened.page.locator("[data-side=query] textarea").fill("")
    opened.page.locator("[data-side=query] .bars li").first.wait_for(state="detached")
    assert opened.page.locator("#score").inner_text() == "0.00"


@pytest.mark.parametrize(("locale", "title", "other"), [("ko-KR", "질의", "Query"), ("en-US", "Query", "질의")])
def test_two_languages(browser: Browser, url: str, locale: str, title: str, other: str) -> None:
    page = Opened(browser, url, locale=locale).page
    assert page.locator("#title-query").inner_text() == title
    assert page.locator("html").get_attribute("lang") == locale[:2]
    page.locator("#language").click()
    assert page.locator("#title-query").inner_text() == other
    page.reload()
    assert page.locator("#title-query").inner_text() == other, "the choice is kept"


BACK = "getComputedStyle(document.body).backgroundColor"
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement("i"));
  const of = (name) => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color); };
  const pairs = [["text", "back"], ["text", "raised"], ["text", "bar"], ["text", "shared"], ["quiet", "back"],
    ["accent", "back"], ["bad", "back"]];
  return pairs.map(([a, b]) => [of(a), of(b)].sort((x, y) => y - x))
    .map(([high, low]) => (high + 0.05) / (low + 0.05));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(browser: Browser, url: str, scheme: str) -> None:
    page = Opened(browser, url, color_scheme=scheme, locale="en-US").page
    assert (page.evaluate(BACK) == "rgb(255, 255, 255)") == (scheme == "light")
    for _ in range(2):
        assert min(page.evaluate(CONTRAST)) >= 4.5, "WCAG 2, AA"
        before = page.evaluate(BACK)
        page.locator("#theme").click()
        assert page.evaluate(BACK) != before
    page.locator("#theme").click()
    chosen = page.evaluate(BACK)
    page.reload()
    assert page.evaluate(BACK) == chosen, "the choice is kept"


def test_by_keyboard(browser: Browser, url: str) -> None:
    opened = Opened(browser, url, locale="en-US")
    opened.page.wait_for_selector("[data-side=document] .bars li")
    order = []
    for _ in range(6):
        opened.page.keyboard.press("Tab")
        order.append(
            opened.page.evaluate(
                "(document.activeElement.closest('[data-side]')?.dataset.side ?? '') + document.activeElement.tagName"
            )
        )
        width = opened.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width != "0px", "the focus can be seen"
    assert order == ["BUTTON", "BUTTON", "queryTEXTAREA", "queryOL", "documentTEXTAREA", "documentOL"]
    opened.page.locator("#language").focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#title-query").inner_text() == "질의"


@pytest.mark.parametrize("locale", ["ko-KR", "en-US"])
def test_at_360_pixels(browser: Browser, url: str, locale: str) -> None:
    opened = Opened(browser, url, viewport={"width": 360, "height": 640}, locale=locale)
    opened.write("query", LINES[1])
    opened.write("document", LINES[1] + "가" * 300)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    for selector in ("button:visible", "textarea"):
        for box in (found.bounding_box() for found in opened.page.locator(selector).all()):
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["height"] >= 24  # WCAG 2.2's smallest target


def test_the_api_key_is_asked_for(browser: Browser, encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(api_key="s3cret")) as client:
        page = Opened(browser, str(client.base_url), locale="en-US").page
        page.wait_for_selector("#access:visible")
        assert "API key" in page.locator("#error").inner_text()
        page.locator("#key").fill("s3cret")
        page.keyboard.press("Enter")
        page.wait_for_selector(".bars li")
        assert page.locator("#error").is_hidden()
        assert page.locator("#access").is_hidden()


def test_errors_are_shown(browser: Browser, encoder: SparseEncoder) -> None:
    with running(encoder, ServerOptions(max_text_length=100)) as client:
        opened = Opened(browser, str(client.base_url))
        opened.write("query", "a" * 101)
        assert "at most 100 characters" in opened.page.locator("[role=alert]").inner_text()
        opened.write("query", "a")
        assert opened.page.locator("[role=alert]").is_hidden()
