"""The page that `tokenwire trace --html` writes, in a real browser, from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_page, running_chromium, shoot
from tests.support.otlp_lines import MS, Plant, make_follow, make_stream, write_lines
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.html import write_page
from tokenwire.traces.source import choose
from tokenwire.traces.streams import assemble

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("trace page")]

PLANTS = [
    Plant(1_117, "link", 812, behind=40),
    Plant(2_900, "model", 1_200, "core_loop"),
    Plant(4_300, "write", 2_000),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.support import system  # noqa: PLC0415 - the fixture of that name is a function's

    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 5,000 tokens, whose run was followed as well."""
    folder = tmp_path_factory.mktemp("page")
    made = make_stream(5_000, PLANTS, browser=True)
    follow = make_follow(made, 4_000, 100, start_ns=made.stamps["write"][4_100] - 5 * MS)
    source = TraceFiles([write_lines(folder / "s.jsonl", made, follow)], pytest.fail)
    path = folder / "trace.html"
    write_page(assemble(source.trace(choose(made.id, source.candidates(made.id)))), path)
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """The page, which may neither complain nor ask for anything."""
    asked: list[str] = []
    opened, complaints = open_page(browser, "about:blank")
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert asked == [file.as_uri()]
    assert not complaints


def test_the_page_shows_the_stream_without_asking_for_anything(page: Page) -> None:
    """Head, spans, stalls and summary are there, and its own policy lets it run."""
    expect(page.get_by_role("heading", name="POST /api/chat")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("2.02 s")
    expect(page.locator("#spans .span")).to_have_count(9)
    expect(page.locator("#summary tr")).to_have_count(7)
    expect(page.locator("#others")).to_contain_text("client_disconnect")
    shoot(page, "trace-page")


def test_a_stall_of_the_list_leads_to_its_row(page: Page) -> None:
    """By a click, and by the keyboard alone."""
    detail = page.locator("#detail")
    page.get_by_role("button", name="token 4,300").click()
    expect(detail).to_contain_text("token 4,300 · ")
    expect(detail).to_contain_text("stall write 2.00 s")
    assert page.evaluate("document.activeElement.id") == "waterfall"
    page.get_by_role("button", name="token 1,117").press("Enter")
    expect(detail).to_contain_text("stall link 812 ms, 40 behind")


def test_keys_lead_through_the_rows(page: Page) -> None:
    """Rows, stalls, ends and zoom, without a mouse."""
    waterfall, detail = page.locator("#waterfall"), page.locator("#detail")
    waterfall.focus()
    for key, told in [
        ("Home", "token 1 "), ("ArrowDown", "token 2 "), ("End", "token 5,000 "), ("ArrowUp", "token 4,999 "),
        ("p", "token 4,300 "), ("p", "token 2,900 "), ("n", "token 4,300 "),
    ]:  # fmt: skip
        page.keyboard.press(key)
        expect(detail).to_contain_text(told)
    far = page.evaluate("document.getElementById('waterfall').scrollHeight")
    page.keyboard.press("0")
    assert page.evaluate("document.getElementById('waterfall').scrollHeight") < far / 50
    page.keyboard.press("+")
    expect(detail).to_contain_text("token 4,300 ")


def test_pointing_at_a_row_tells_its_hops(page: Page) -> None:
    """Each hop with its time."""
    page.get_by_role("button", name="token 1,117").click()
    page.locator("#chart").hover(position={"x": 600, "y": 170})
    for hop in ("model", "log", "send", "link", "write", "browser"):
        expect(page.locator("#tip")).to_contain_text(hop)
    page.get_by_role("button", name="Durations").click()
    expect(page.get_by_role("button", name="Durations")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("left_out", "heading"),
    [(("tokens",), "POST /api/chat"), (("tokens", "POST /api/chat"), "No stream in trace")],
)
def test_a_trace_without_tokens_is_a_page_as_well(
    browser: Browser, tmp_path: Path, left_out: tuple[str, ...], heading: str
) -> None:
    """Its spans are shown, and the rest is empty: no error, also when the window changes."""
    made = make_stream(20)
    made.spans = [(service, span) for service, span in made.spans if span.name not in left_out]
    source = TraceFiles([write_lines(tmp_path / "s.jsonl", made)], pytest.fail)
    write_page(assemble(source.trace(choose(made.id, source.candidates(made.id)))), tmp_path / "t.html")
    page, complaints = open_page(browser, (tmp_path / "t.html").as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    expect(page.locator("#spans")).to_contain_text("invoke_agent assistant")
    page.set_viewport_size({"width": 700, "height": 600})
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.close()
    assert not complaints


def test_the_page_is_drawn_in_dark_too(page: Page) -> None:
    """The chart takes the colours of the moment: what is behind the rows is dark then."""

    def ground() -> list[int]:
        pixel = "[...document.getElementById('chart').getContext('2d').getImageData(3, 3, 1, 1).data]"
        return [int(part) for part in page.evaluate(pixel)][:3]

    page.emulate_media(color_scheme="light")
    page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(246, 247, 249)'")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert min(ground()) > 200
    page.emulate_media(color_scheme="dark")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert max(ground()) < 60
    shoot(page, "trace-page-dark")
