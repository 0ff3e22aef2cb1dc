"""The page's conversation outlives the page: it is in the address, and its turns are at the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import answer_text, open_page, running_chromium
from tests.support.processes import Processes, Stack

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("page sessions")]

PATIENCE_MS = 60_000
TOKENS, SIZE, RATE = 120, 4, 8
"""Fifteen seconds: time to reload and to open another page before the end."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def pace(shared_processes: Processes) -> Stack:
    return shared_processes.up(agents=(), settings={"TOKENWIRE_AGENT": "pace"})


def ask_for_tokens(browser: Browser, stack: Stack) -> tuple[Page, list[str]]:
    page, complaints = open_page(browser, stack.url)
    page.get_by_test_id("question").fill(json.dumps({"tokens": TOKENS, "size": SIZE, "rate": RATE}))
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("answer")).to_contain_text("00010002", timeout=PATIENCE_MS)
    return page, complaints


def expect_whole_answer(page: Page) -> None:
    expect(page.get_by_test_id("footer")).to_contain_text("token", timeout=PATIENCE_MS)
    assert answer_text(page).strip() == pace_text(TOKENS, SIZE)
    expect(page.get_by_test_id("turn-user")).to_have_count(1)
    expect(page.get_by_test_id("turn-user")).to_contain_text(f'"tokens": {TOKENS}')


def test_a_reload_and_a_second_browser_go_on_where_the_answer_is(browser: Browser, pace: Stack) -> None:
    """Both show the question, and the whole answer once; the run is one."""
    page, complaints = ask_for_tokens(browser, pace)
    page.reload()
    expect(page.get_by_test_id("answer")).to_contain_text("00010002", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stop")).to_be_visible()
    other, other_complaints = open_page(browser, page.url)
    expect(other.get_by_test_id("answer")).to_contain_text("00010002", timeout=PATIENCE_MS)
    expect_whole_answer(page)
    expect_whole_answer(other)
    runs = page.evaluate("() => window.tokenwire.getSnapshot().turns.map(({runId}) => runId)")
    assert other.evaluate("() => window.tokenwire.getSnapshot().turns.map(({runId}) => runId)") == runs
    assert complaints + other_complaints == []


def test_what_has_ended_is_there_after_a_reload_and_a_new_chat_is_empty(
    browser: Browser, stack: Stack
) -> None:
    """The transcript brings question and answer back; the link beside it forgets them."""
    page, complaints = open_page(browser, stack.url)
    page.get_by_test_id("question").fill("fruit?")
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    page.reload()
    expect(page.get_by_test_id("turn-user")).to_contain_text("fruit?", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("answer")).to_have_text("Apples, pears and plums.")
    page.get_by_test_id("new-chat").click()
    expect(page.get_by_test_id("question")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_test_id("turn-user")).to_have_count(0)
    assert complaints == []


def test_what_a_past_answer_did_is_there_after_a_reload_as_long_as_its_log_is(
    browser: Browser, stack: Stack
) -> None:
    """The transcript has the text alone: the tools are read from the run's events."""
    page, complaints = open_page(browser, stack.url)
    page.get_by_test_id("question").fill("fruit?")
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    before = page.get_by_test_id("tools").text_content()
    page.reload()
    expect(page.get_by_test_id("tool")).to_have_count(2, timeout=PATIENCE_MS)
    assert page.get_by_test_id("tools").text_content() == before
    page.route("**/api/runs/**/events", lambda route: route.fulfill(status=404, body="{}"))
    with page.expect_response("**/api/runs/**/events"):
        page.reload()
    expect(page.get_by_test_id("answer")).to_have_text("Apples, pears and plums.", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("tool")).to_have_count(0)
    expect(page.get_by_test_id("status")).to_have_text("Ready")
    assert [text for text in complaints if "404" not in text] == []


def test_the_list_of_chats_leads_back_to_each_by_keyboard(browser: Browser, stack: Stack) -> None:
    """Two conversations, the newest first; one is opened, one is removed from the list."""
    page, complaints = open_page(browser, stack.url)
    for question in ("fruit?", "and nuts?"):
        page.get_by_test_id("question").fill(question)
        page.get_by_test_id("send").click()
        expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
        if question == "fruit?":
            page.get_by_test_id("new-chat").click()
    page.get_by_test_id("conversations").press("Enter")
    entries = page.get_by_test_id("conversation-list").get_by_role("listitem").get_by_role("link")
    expect(entries).to_contain_text(["and nuts?", "fruit?"])
    entries.nth(1).press("Enter")
    expect(page.get_by_test_id("turn-user")).to_have_text(re.compile("fruit"), timeout=PATIENCE_MS)
    expect(page.get_by_test_id("answer")).to_have_text("Apples, pears and plums.")
    page.get_by_test_id("conversations").press("Enter")
    page.get_by_role("button", name="Remove from the list: and nuts?").press("Enter")
    expect(entries).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("conversations")).to_be_focused()
    page.reload()
    page.get_by_test_id("conversations").press("Enter")
    expect(entries).to_contain_text(["fruit?"])
    assert complaints == []


def test_the_end_stays_in_view_until_the_reader_scrolls_away(browser: Browser, pace: Stack) -> None:
    """The answer grows beyond the window; who scrolls up is left in peace, and comes back with a button."""
    page, complaints = open_page(browser, pace.url)
    page.set_viewport_size({"width": 400, "height": 500})
    page.get_by_test_id("question").fill(json.dumps({"tokens": 900, "size": 8, "rate": 150}))
    page.get_by_test_id("send").click()
    thread = page.get_by_role("group", name="Conversation")
    below = "(element) => element.scrollHeight - element.clientHeight - element.scrollTop"
    page.wait_for_function("() => document.querySelector('.tw-thread').scrollTop > 200", timeout=PATIENCE_MS)
    assert thread.evaluate(below) < 48
    thread.hover()
    page.mouse.wheel(0, -150)
    latest = page.get_by_role("button", name="Latest")
    expect(latest).to_be_visible(timeout=PATIENCE_MS)
    top = thread.evaluate("(element) => element.scrollTop")
    length = len(answer_text(page))
    page.wait_for_function(
        "(least) => window.tokenwire.getSnapshot().turns.at(-1).run.segments.join('').length > least",
        arg=length + 400,
        timeout=PATIENCE_MS,
    )
    assert thread.evaluate("(element) => element.scrollTop") == top
    latest.click()
    expect(latest).to_have_count(0)
    page.wait_for_function(f"() => ({below})(document.querySelector('.tw-thread')) < 48", timeout=PATIENCE_MS)
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("send")).to_be_visible(timeout=PATIENCE_MS)
    assert complaints == []


def test_one_line_up_by_an_arrow_key_leaves_the_end(browser: Browser, pace: Stack) -> None:
    """Also while tokens come: a keyboard moves less than a wheel, and must not be pulled back."""
    page, complaints = open_page(browser, pace.url)
    page.set_viewport_size({"width": 400, "height": 500})
    page.get_by_test_id("question").fill(json.dumps({"tokens": 100_000, "size": 8, "rate": 150}))
    page.get_by_test_id("send").click()
    page.wait_for_function("() => document.querySelector('.tw-thread').scrollTop > 200", timeout=PATIENCE_MS)
    thread = page.get_by_role("group", name="Conversation")
    thread.press("ArrowUp")
    expect(page.get_by_role("button", name="Latest")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function(
        "() => { const { scrollHeight, clientHeight, scrollTop } = document.querySelector('.tw-thread');"
        " return scrollHeight - clientHeight - scrollTop > 300 }",
        timeout=PATIENCE_MS,
    )
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("send")).to_be_visible(timeout=PATIENCE_MS)
    assert complaints == []
