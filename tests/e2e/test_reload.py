"""`--reload`: what a developer saves is what answers next."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from agent_core.reloading import AGAIN
from tests.support.processes import (
    READY_LINE,
    TOKENWIRE,
    Processes,
    core_is_serving,
    free_port,
    wait_until,
)
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


def test_a_core_that_can_not_start_again_tries_until_it_can(processes: Processes, tmp_path: Path) -> None:
    """What was saved while its store was away answers when that is back; the first start is tried once."""
    module, store, aside = tmp_path / "stored.py", tmp_path / "runs.db", tmp_path / "aside.db"
    module.write_text(AGENT.format(word="one"))
    port = str(free_port())
    command = (*TOKENWIRE, "core", "--grpc-port", port, "--reload", "--agent", "mine=stored:agent")
    command += ("--store", f"sqlite:{store}")
    settings = {"PYTHONPATH": str(tmp_path), "TOKENWIRE_DRAIN_S": "0.2"}
    core = processes.start("core", command, settings)
    core.wait_ready(lambda: core_is_serving(f"127.0.0.1:{port}"))
    store.rename(aside)
    store.mkdir()
    module.write_text(AGENT.format(word="two"))
    wait_until(lambda: core.stderr.count("the next try is in") >= 1, "it is told")
    assert core.is_running()
    assert f"TOKENWIRE_STORE=sqlite:{store}" in core.stderr
    store.rmdir()
    wait_until(lambda: core_is_serving(f"127.0.0.1:{port}"), "the core serves again")
    assert core.stop() == 0


def test_a_signal_between_two_tries_ends_the_core(processes: Processes, tmp_path: Path) -> None:
    """With the status of every core that was asked to end."""
    module, taken = tmp_path / "unlucky.py", socket.create_server(("127.0.0.1", 0))
    module.write_text(AGENT.format(word="one"))
    port = taken.getsockname()[1]
    command = (*TOKENWIRE, "core", "--grpc-port", str(port), "--reload", "--agent", "mine=unlucky:agent")
    with taken:
        first = processes.start("core", command, {"PYTHONPATH": str(tmp_path)})
        assert first.wait() == 1, "the first start is tried once"
        again = processes.start("again", command, {"PYTHONPATH": str(tmp_path), AGAIN: "1"})
        wait_until(lambda: again.stderr.count("the next try is in") >= 1, "it waits")
        again.send(signal.SIGTERM)
        assert again.wait() == 0
    assert AGAIN not in first.stderr + again.stderr
