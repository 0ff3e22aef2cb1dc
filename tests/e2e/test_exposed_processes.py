"""Processes whose terminal is closed, and processes that run out of file descriptors."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx

from tests.support.processes import (
    ROOT,
    TOKENWIRE,
    Processes,
    agent_arguments,
    clean_environment,
    descendants,
    edge_is_ready,
    free_port,
    is_alive,
    wait_until,
)

CHAT = {"message": "hi", "agent": "slow"}
FEW = 64
"""File descriptors of an edge, of which it needs about 20 for itself."""


def through(shell: str, *command: str) -> list[str]:
    """Return a command that is started by a line of shell."""
    return ["sh", "-c", f'{shell}; exec "$@"', "sh", *command]


def start_edge(processes: Processes, core: str, shell: str) -> tuple[str, int]:
    """Run an edge through a line of shell; return its URL and its number among the processes."""
    port = free_port()
    command = through(shell, *TOKENWIRE, "edge", "--core", core, "--port", str(port))
    process = processes.start("edge", command)
    url = f"http://127.0.0.1:{port}"
    process.wait_ready(lambda: edge_is_ready(url))
    return url, len(processes.running) - 1


def test_an_edge_drains_when_its_terminal_is_closed_unless_nohup_started_it(processes: Processes) -> None:
    """Its streams are told to go on elsewhere; told twice, as terminals do, it still drains."""
    core, _ = processes.core(agents=("slow",))
    url, number = start_edge(processes, core, "true")
    kept_url, kept = start_edge(processes, core, "trap '' HUP")
    edge, nohup = processes.running[number], processes.running[kept]
    with httpx.Client(timeout=60, trust_env=False) as client:
        nohup.send(signal.SIGHUP)
        with client.stream("POST", f"{url}/api/chat", json=CHAT | {"sessionId": "a"}) as response:
            texts = response.iter_text()
            body = next(texts)
            edge.send(signal.SIGHUP)
            edge.send(signal.SIGHUP)
            body += "".join(texts)
        assert "event: reconnect" in body
        assert edge.wait() == 0
        assert client.get(f"{kept_url}/health/ready").status_code == 200
    assert nohup.is_running()


def test_up_ends_all_in_order_when_its_terminal_is_closed() -> None:
    """Nothing is left, and its status says that it was no accident."""
    command = [*TOKENWIRE, "up", "--port", "0", "--grpc-port", "0", *agent_arguments(("slow",))]
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execvpe(command[0], command, clean_environment())  # noqa: S606 # our own program
    seen = ""
    try:
        while not (ready := re.search(r"Tokenwire is ready: (\S+)\r\n", seen)):
            seen += os.read(terminal, 4096).decode()
        children = descendants(pid)
        assert len(children) >= 2
        with (
            httpx.Client(timeout=60, trust_env=False) as client,
            client.stream("POST", f"{ready[1]}/api/chat", json=CHAT | {"sessionId": "a"}) as response,
        ):
            texts = response.iter_text()
            body = next(texts)
            os.close(terminal)
            body += "".join(texts)
        assert "event: reconnect" in body
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, seen
        wait_until(lambda: not any(map(is_alive, children)), "the children have ended")
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_an_edge_short_of_descriptors_says_so_and_serves_on(processes: Processes) -> None:
    """At its start, for its setting; and when none is left. Silent connections alone don't bring it there."""
    core, _ = processes.core(agents=("slow",))
    url, number = start_edge(processes, core, f"ulimit -n {FEW}")
    edge = processes.running[number]
    assert re.search(rf"may open {FEW} files, but TOKENWIRE_MAX_STREAMS=10000 may need", edge.stderr)
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with ExitStack() as opened, httpx.Client(timeout=10, trust_env=False) as client:
        for _ in range(3 * FEW):
            opened.enter_context(socket.create_connection(address))
        assert client.get(f"{url}/health/live").status_code == 200
        assert "out of file descriptors" not in edge.stderr
        body = b'{"message":"hi","sessionId":"s%d","agent":"slow"}'
        for stream in range(FEW):
            connection = opened.enter_context(socket.create_connection(address))
            text = body % stream
            head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
        wait_until(lambda: "out of file descriptors" in edge.stderr, "the edge says that it has no more")
    wait_until(lambda: edge_is_ready(url), "it serves again")
    assert edge.stderr.count("out of file descriptors") == 1
