"""The browser's own client under Node, against a real core and a real edge."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from agent_core.agents.pace import pace_text
from tests.support.processes import ROOT, Processes, Stack, clean_environment, wait_until
from tests.support.proxy import proxy_to

pytestmark = [pytest.mark.needs("node"), pytest.mark.timeout(180)]

SCRIPT = ROOT / "tests" / "e2e" / "browser_client.mjs"

PACE = json.dumps({"tokens": 40, "rate": 40})
"""Forty tokens within a second."""

TEXT = pace_text(40, 5)

DONE = {"kind": "done", "finishReason": "stop"}

KEY = "key-of-alice"


async def play(node: str, scene: str, url: str, agent: str = "pace", **order: Any) -> dict[str, Any]:
    """Return what a scene of browser_client.mjs saw; its process must have ended by itself."""
    assert (ROOT / "web" / "node_modules").is_dir(), "run: npm ci --prefix web"
    words = json.dumps({"scene": scene, "url": url, "agent": agent, "message": PACE, **order})
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), words, cwd=ROOT, env=clean_environment(), stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    seen: dict[str, Any] = json.loads(out)
    return seen


async def test_a_cut_post_is_repeated_with_its_key_and_starts_one_run(stack: Stack, node: str) -> None:
    """The first answer is cut within its head: the second request is answered with the run of the first."""
    with proxy_to(stack.url, cuts_by_header=True) as proxy:
        seen = await play(node, "cutPost", proxy.url)
    assert proxy.cuts == 1
    assert seen["text"] == TEXT
    assert seen["outcome"].items() >= DONE.items()
    assert seen["runs"] == 1
    posts = [request for request in seen["requests"] if request["method"] == "POST"]
    assert len(posts) == 2
    assert len({request["key"] for request in posts}) == 1


async def test_a_busy_session_is_followed(stack: Stack, node: str) -> None:
    """The second of two messages is answered 409; its client shows the run that the first one started."""
    seen = await play(node, "busy", stack.url)
    assert seen == {"texts": [TEXT, TEXT], "joined": True, "runs": 1}


async def test_abort_is_stop_and_frees_the_stream_first(processes: Processes, node: str) -> None:
    """The agent's task is cancelled, and the client has read the run's own end behind its text."""
    slow = processes.up(agents=("slow",))
    seen = await play(node, "stop", slow.url, agent="slow")
    assert (seen["status"], seen["connection"]) == ("stopped", "closed")
    assert seen["outcome"].items() >= {"kind": "done", "finishReason": "cancelled"}.items()
    assert seen["text"].startswith(seen["before"])
    assert [request["path"].rsplit("/", 1)[1] for request in seen["requests"]] == ["chat", "cancel", "events"]

    def ends() -> list[str]:
        lines = processes.journal.read_text().splitlines()
        return [entry["event"] for entry in map(json.loads, lines) if entry["agent"] == "slow"]

    await asyncio.to_thread(wait_until, lambda: ends() == ["started", "cancelled"], "the agent was cancelled")


async def test_leaving_stops_nothing(stack: Stack, node: str) -> None:
    """A loop that is left early leaves the run running; followed from there, the text is whole."""
    seen = await play(node, "leave", stack.url)
    assert seen == {"text": TEXT, "state": "running", "cancels": 0}


async def test_a_stale_token_is_replaced_by_a_fresh_one(processes: Processes, node: str) -> None:
    """The first 401 asks the headers' function once more, and the run starts with what it returns then."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {
        "TOKENWIRE_AUTH": "keys",
        "TOKENWIRE_API_KEYS": f"alice sha256:{digest}",
    }
    locked = processes.up(settings=settings)
    seen = await play(node, "freshToken", locked.url, key=KEY)
    assert seen == {"status": "done", "asked": [False, True], "text": TEXT}


async def test_a_session_is_whole_after_a_reload(stack: Stack, node: str) -> None:
    """The turn that was over comes from the transcript, the live one goes on, and no run is started."""
    seen = await play(node, "reload", stack.url)
    assert seen == {
        "turns": [
            {"message": PACE, "text": TEXT, "status": "done"},
            {"message": PACE, "text": TEXT, "status": "done"},
        ],
        "runs": 2,
    }
