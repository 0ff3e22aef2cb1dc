"""The browser's own client, its connection reset anywhere in a response, on real processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from agent_core.agents.pace import pace_text
from tests.support.agents import RICH_TEXT
from tests.support.processes import PATIENT, ROOT, Processes, clean_environment, wait_until
from tests.support.proxy import proxy_to
from tests.support.sse_reader import read_all
from tokenwire.client import Client

pytestmark = [pytest.mark.needs("node"), pytest.mark.timeout(300)]

SCRIPT = Path(__file__).with_name("cut_client.mjs")

AT_ONCE = 24

STRIDE = int(os.environ.get("TOKENWIRE_TEST_CUT_STRIDE", "5"))
"""Set it to 1 to reset at every single byte: some minutes. tests/integration/test_every_byte.py leaves none
out, at the level of the bytes that a reader is given."""

LAST_CHUNK = b"\r\n0\r\n\r\n"
"""What follows the body of a chunked response."""

SETTINGS = {
    # Two digits whatever the jitter: the same response has the same length each time.
    "TOKENWIRE_RETRY_MS": "20",
    **PATIENT,
}


class Report(NamedTuple):
    """What the client saw."""

    stories: list[list[dict[str, Any]]]
    trials: list[dict[str, Any]]

    def failed_cuts(self) -> dict[int, str]:
        """Return the cuts after which it gave up, and as what."""
        return {trial["cut"]: trial["failure"] for trial in self.trials if trial["failure"]}

    def told(self) -> list[list[dict[str, Any]]]:
        """Return what it saw of the run where it did not give up: different stories only."""
        told = {trial["story"] for trial in self.trials if not trial["failure"]}
        return [self.stories[index] for index in told]


async def read_through(node: str, url: str, **order: Any) -> Report:
    """Have the client read through the proxy, once for each cut."""
    assert (ROOT / "web" / "node_modules").is_dir(), "run: npm ci --prefix web"
    words = json.dumps({"url": url, "atOnce": AT_ONCE, **order})
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
    return Report(**json.loads(out))


def text_of(story: list[dict[str, Any]]) -> str:
    return "".join(event["content"] for event in story if event["type"] == "text_delta")


def cuts_of(size: int, body: bytes, stride: int) -> list[int]:
    """Return where to cut: all around each frame's end, and every so many bytes elsewhere.

    Args:
        size: Of the response with its head and framing.
        body: Its body.
        stride: 1 for every byte.
    """
    head = size - len(body) - len(LAST_CHUNK)
    ends = [head + match.end() for match in re.finditer(rb"\n\n", body)]
    near = {end + shift for end in ends for shift in range(-3, 4)}
    return sorted({*range(0, size, stride), *(cut for cut in near if 0 <= cut < size)})


@pytest.mark.parametrize("merge", ["false", "true"])
async def test_a_reset_in_a_recorded_run_loses_and_doubles_nothing(
    processes: Processes, node: str, merge: str
) -> None:
    """Head, framing, inside a character, between frames: the client joins the same run each time."""
    core, _ = processes.core(agents=("rich",))
    url, _ = processes.edge(core, settings={**SETTINGS, "TOKENWIRE_MERGE": merge})
    with proxy_to(url, cuts_by_header=True) as proxy:
        async with Client(url) as client:
            run = await client.start("hi", agent="rich", on_disconnect="continue")
            await run.text()
        async with httpx.AsyncClient(trust_env=False) as http:
            body = (await http.get(f"{proxy.url}/api/runs/{run.id}/events")).content
        # The client knows the end by the last chunk, the proxy by what follows that: the connection's end.
        await asyncio.to_thread(wait_until, lambda: proxy.passed, "the proxy has passed all of it")
        (size,) = proxy.passed
        whole = [json.loads(message.data) for message in read_all(body)]
        cuts = cuts_of(size, body, STRIDE)
        request = {"message": "hi", "agent": "rich"}
        uncut = await read_through(node, proxy.url, runId=run.id, request=request, cuts=[None])
        report = await read_through(node, proxy.url, runId=run.id, request=request, cuts=cuts)

    assert proxy.cuts == len(cuts) == len(report.trials)
    (story,) = uncut.stories
    assert text_of(story) == "".join(RICH_TEXT)
    assert report.told() == [story], "after no cut did it see anything else"
    assert report.failed_cuts() == {}
    # The cuts really fell between all of the frames.
    seen = {trial["before"] for trial in report.trials}
    assert seen == set(range(len(whole) + 1))


async def test_a_reset_while_the_run_goes_on_loses_and_doubles_nothing(
    processes: Processes, node: str
) -> None:
    """The client's own POST is cut while the agent speaks; it follows the run to its end."""
    core, _ = processes.core(agents=(), settings={"TOKENWIRE_AGENT": "pace"})
    url, _ = processes.edge(core, settings=SETTINGS)
    message = json.dumps({"tokens": 40, "rate": 200})
    # From 0: a question whose answer's head was cut is sent again with its key, and starts no second run.
    cuts = random.Random(1).sample(range(6_000), 150)  # noqa: S311 - lots, no secret
    with proxy_to(url, cuts_by_header=True) as proxy:
        report = await read_through(node, proxy.url, request={"message": message, "agent": "pace"}, cuts=cuts)
    assert proxy.cuts > 50
    assert report.failed_cuts() == {}
    assert {text_of(story) for story in report.told()} == {pace_text(40, 5)}
    kinds = ["run_started", "text_delta", "done"]
    assert all([event["type"] for event in story] == kinds for story in report.told())
