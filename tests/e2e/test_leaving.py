"""A browser goes away, on real processes: with `cancel` the agent's task and the model stop."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.support.processes import PATIENT, Processes, wait_until

pytestmark = pytest.mark.usefixtures("transport")

STOPPED_S = 5.0
"""Generous: it takes milliseconds on an idle machine."""

QUICK_HEARTBEATS = {"TOKENWIRE_HEARTBEAT_S": "0.1"}


class Browser:
    """A bare socket: closes when told, without a word, as a closed tab does."""

    def __init__(self, url: str, **body: Any) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        content = json.dumps({"message": "hi", "sessionId": uuid4().hex, **body}).encode()
        head = (
            f"POST /api/chat HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._socket.sendall(head.encode() + content)
        self.seen = b""

    def read_until(self, text: bytes, times: int = 1) -> None:
        """Read until the server has sent something, so many times."""
        while self.seen.count(text) < times:
            received = self._socket.recv(4096)
            assert received, f"ended before {text!r}: {self.seen!r}"
            self.seen += received

    def leave(self) -> None:
        self._socket.close()


def journal(processes: Processes) -> list[tuple[str, str]]:
    """Return what the agents wrote down: (run id, event)."""
    if not processes.journal.exists():
        return []
    lines = processes.journal.read_text().splitlines()
    return [(entry["run_id"], entry["event"]) for entry in map(json.loads, lines)]


def stopped_by_leaving(processes: Processes, browser: Browser, started: int = 1) -> None:
    """Let the browser leave and see its agent cancelled."""
    wait_until(lambda: len(journal(processes)) >= started, "the agent runs")
    browser.leave()
    wait_until(lambda: journal(processes)[-1][1] == "cancelled", "the agent is cancelled", STOPPED_S)


def test_before_the_first_token(processes: Processes) -> None:
    """The agent says nothing: no write would ever fail, only watching tells."""
    stack = processes.up()
    stopped_by_leaving(processes, Browser(stack.url, agent="silent", onDisconnect="cancel"))


def test_in_the_middle_of_the_tokens(processes: Processes) -> None:
    """The stream is flowing."""
    stack = processes.up()
    browser = Browser(stack.url, agent="slow", onDisconnect="cancel")
    browser.read_until(b'"content":" 3"')
    stopped_by_leaving(processes, browser)


def test_during_heartbeats(processes: Processes) -> None:
    """The stream is silent but for its heartbeats."""
    stack = processes.up(settings=QUICK_HEARTBEATS)
    browser = Browser(stack.url, agent="silent", onDisconnect="cancel")
    browser.read_until(b": heartbeat\n", times=2)
    stopped_by_leaving(processes, browser)


def test_the_model_stops_too(processes: Processes) -> None:
    """The embedded model's run ends, and the engine is free for the next question at once."""
    stack = processes.up(agents=(), settings=PATIENT)
    browser = Browser(stack.url, message="Tell a very long story about a lighthouse.", onDisconnect="cancel")
    browser.read_until(b"text_delta")
    run_id = browser.seen.split(b"run-id: ")[1].split(b"\r\n")[0].decode()
    browser.leave()

    def state() -> dict[str, Any]:
        result: dict[str, Any] = httpx.get(f"{stack.url}/api/runs/{run_id}", trust_env=False).json()
        return result

    wait_until(lambda: state()["state"] == "ended", "the model's run has ended", STOPPED_S)
    assert state()["terminal"] == {"event": "done", "reason": "cancelled"}
    answer = httpx.post(
        f"{stack.url}/api/chat",
        json={"message": "Say hi.", "sessionId": uuid4().hex},
        timeout=60,
        trust_env=False,
    )
    assert '"type":"done"' in answer.text


@pytest.mark.parametrize("policy", ["grace", "continue"])
def test_other_policies_let_the_run_go_on(processes: Processes, policy: str) -> None:
    """Leaving is not Stop: the run is still there for whoever comes back."""
    stack = processes.up()
    browser = Browser(stack.url, agent="slow", onDisconnect=policy)
    browser.read_until(b'"content":" 3"')
    browser.leave()
    run_id = journal(processes)[0][0]
    with httpx.stream(
        "GET", f"{stack.url}/api/runs/{run_id}/events", timeout=30, trust_env=False
    ) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if '"content":" 30"' in seen:
                break
    assert journal(processes) == [(run_id, "started")]


def test_grace_ends_when_nobody_comes_back(processes: Processes) -> None:
    """The run does not go on for ever without anybody."""
    stack = processes.up(settings={"TOKENWIRE_DISCONNECT_GRACE_S": "0.3"})
    browser = Browser(stack.url, agent="slow", onDisconnect="grace")
    browser.read_until(b'"content":" 3"')
    stopped_by_leaving(processes, browser)


def test_a_killed_edge_is_a_broken_link_not_a_leaving_browser(processes: Processes) -> None:
    """With `cancel` too the run goes on: its browser is about to resume at another edge."""
    core, _ = processes.core()
    url, edge = processes.edge(core)
    browser = Browser(url, agent="slow", onDisconnect="cancel")
    browser.read_until(b'"content":" 3"')
    edge.send(signal.SIGKILL)
    browser.leave()
    other, _ = processes.edge(core)
    run_id = journal(processes)[0][0]
    last = browser.seen.decode().rsplit("id: ", 1)[1].split("\n")[0]
    with httpx.stream(
        "GET", f"{other}/api/runs/{run_id}/events", params={"after": last}, timeout=30, trust_env=False
    ) as response:
        texts = response.iter_text()  # held: the response ends with it
        first = next(text for text in texts if "id: " in text)
        after = int(last.rsplit(".", 1)[1])
        assert f'"from":{after + 1}' in first or f".{after + 1}\n" in first
        # Before this follower leaves by itself: that does cancel the run.
        assert journal(processes) == [(run_id, "started")]
