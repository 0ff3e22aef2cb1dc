"""`--reload`: what a developer saves is what answers next."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.support.processes import READY_LINE, TOKENWIRE, Processes, free_port, wait_until
from tests.support.sse_reader import events_of

AGENT = "async def agent(request):\n    yield {word!r}\n"


def answer_of(url: str) -> str:
    """Return the answer, or how the run failed; nothing while there is no core."""
    body = {"message": "hi", "sessionId": uuid4().hex}
    answer = httpx.post(f"{url}/api/chat", json=body, timeout=30, trust_env=False)
    if answer.status_code != 200:
        return ""
    last: dict[str, Any] = events_of(answer.text)[-1]
    return str(last.get("finalMessage") or last.get("code"))


def test_a_saved_agent_answers_next(processes: Processes, tmp_path: Path) -> None:
    """Behind the same edge, which stays. What can not be parsed or imported is told, and can be mended."""
    module = tmp_path / "reloaded.py"
    module.write_text(AGENT.format(word="one"))
    ports = ("--port", "0", "--grpc-port", str(free_port()))
    command = (*TOKENWIRE, "up", *ports, "--reload", "--agent", "mine=reloaded:agent")
    up = processes.start("up", command, {"PYTHONPATH": str(tmp_path), "TOKENWIRE_DRAIN_S": "0.2"})
    up.wait_ready(lambda: READY_LINE.search(up.stdout) is not None)
    found = READY_LINE.search(up.stdout)
    assert found is not None
    url = found.group(1)
    assert answer_of(url) == "one"

    module.write_text("def (:\n")
    wait_until(lambda: "not reloaded" in up.stderr, "the syntax error is told")
    assert answer_of(url) == "one"

    module.write_text("import not_there_at_all\n" + AGENT.format(word="two"))
    wait_until(lambda: "there is no module 'not_there_at_all'" in up.stderr, "the failed import is told")
    module.write_text(AGENT.format(word="three"))
    wait_until(lambda: answer_of(url) == "three", "the mended agent answers")
    assert len(READY_LINE.findall(up.stdout)) == 1
