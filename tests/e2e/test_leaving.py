"""A browser goes away, on real processes: with `cancel` the agent's task and the model stop.

How each way from core to edge (link, call) tells of it, `tests/integration/test_edge_leaving.py` tests.
"""

from __future__ import annotations

import json
import signal
import socket
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.support.processes import PATIENT, Processes, Stack, wait_until

pytestmark = pytest.mark.xdist_group("leaving")

SETTINGS = {**PATIENT, "TOKENWIRE_HEARTBEAT_S": "0.1"}


@pytest.fixture(scope="module")
def site(module_processes: Processes) -> Stack:
    """A core and an edge that these tests share."""
    return module_processes.up(settings=SETTINGS)


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

    @property
    def run_id(self) -> str:
        self.read_until(b"\r\n\r\n")
        return self.seen.split(b"run-id: ")[1].split(b"\r\n")[0].decode()

    def leave(self) -> None:
        self._socket.close()


def told_by(processes: Processes, run_id: str) -> list[str]:
    """Return what a run's agent wrote down."""
    if not processes.journal.exists():
        return []
    entries = map(json.loads, processes.journal.read_text().splitlines())
    return [entry["event"] for entry in entries if entry["run_id"] == run_id]


def stopped_by_leaving(processes: Processes, browser: Browser) -> None:
    """Let the browser leave and see its agent cancelled."""
    run_id = browser.run_id
    wait_until(lambda: told_by(processes, run_id) == ["started"], "the agent runs")
    browser.leave()
    wait_until(lambda: told_by(processes, run_id) == ["started", "cancelled"], "the agent is cancelled")


def test_before_the_first_token(module_processes: Processes, site: Stack) -> None:
    """The agent says nothing: no write would ever fail, only watching tells."""
    stopped_by_leaving(module_processes, Browser(site.url, agent="silent", onDisconnect="cancel"))


def test_in_the_middle_of_the_tokens(module_processes: Processes, site: Stack) -> None:
    """The stream is flowing."""
    browser = Browser(site.url, agent="slow", onDisconnect="cancel")
    browser.read_until(b'"content":" 3"')
    stopped_by_leaving(module_processes, browser)


def test_during_heartbeats(module_processes: Processes, site: Stack) -> None:
    """The stream is silent but for its heartbeats."""
    browser = Browser(site.url, agent="silent", onDisconnect="cancel")
    browser.read_until(b": heartbeat\n", times=2)
    stopped_by_leaving(module_processes, browser)


def test_the_model_stops_too(processes: Processes) -> None:
    """The embedded model's run ends, and the engine is free for the next question at once."""
    stack = processes.up(agents=(), settings=PATIENT)
    browser = Browser(stack.url, message="Tell a very long story about a lighthouse.", onDisconnect="cancel")
    browser.read_until(b"text_delta")
    run_id = browser.run_id
    browser.leave()

    def state() -> dict[str, Any]:
        result: dict[str, Any] = httpx.get(f"{stack.url}/api/runs/{run_id}", trust_env=False).json()
        return result

    wait_until(lambda: state()["state"] == "ended", "the model's run has ended")
    assert state()["terminal"] == {"event": "done", "reason": "cancelled"}
    answer = httpx.post(
        f"{stack.url}/api/chat",
        json={"message": "Say hi.", "sessionId": uuid4().hex},
        timeout=60,
        trust_env=False,
    )
    assert '"type":"done"' in answer.text


@pytest.mark.parametrize("policy", ["grace", "continue"])
def test_other_policies_let_the_run_go_on(module_processes: Processes, site: Stack, policy: str) -> None:
    """Leaving is not Stop: the run is still there for whoever comes back."""
    browser = Browser(site.url, agent="slow", onDisconnect=policy)
    browser.read_until(b'"content":" 3"')
    browser.leave()
    events = f"{site.url}/api/runs/{browser.run_id}/events"
    with httpx.stream("GET", events, timeout=30, trust_env=False) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if '"content":" 30"' in seen:
                break
    assert told_by(module_processes, browser.run_id) == ["started"]


def test_grace_ends_when_nobody_comes_back(processes: Processes) -> None:
    """The run does not go on for ever without anybody."""
    stack = processes.up(settings={**PATIENT, "TOKENWIRE_DISCONNECT_GRACE_S": "0.3"})
    browser = Browser(stack.url, agent="slow", onDisconnect="grace")
    browser.read_until(b'"content":" 3"')
    stopped_by_leaving(processes, browser)


def test_a_killed_edge_is_a_broken_link_not_a_leaving_browser(processes: Processes) -> None:
    """With `cancel` too the run goes on: its browser is about to resume at another edge."""
    core, _ = processes.core()
    url, edge = processes.edge(core, settings=PATIENT)
    browser = Browser(url, agent="slow", onDisconnect="cancel")
    browser.read_until(b'"content":" 3"')
    edge.send(signal.SIGKILL)
    browser.leave()
    other, _ = processes.edge(core)
    run_id = browser.run_id
    last = browser.seen.decode().rsplit("id: ", 1)[1].split("\n")[0]
    with httpx.stream(
        "GET", f"{other}/api/runs/{run_id}/events", params={"after": last}, timeout=30, trust_env=False
    ) as response:
        texts = response.iter_text()  # held: the response ends with it
        first = next(text for text in texts if "id: " in text)
        after = int(last.rsplit(".", 1)[1])
        assert f'"from":{after + 1}' in first or f".{after + 1}\n" in first
        # Before this follower leaves by itself: that does cancel the run.
        assert told_by(processes, run_id) == ["started"]
