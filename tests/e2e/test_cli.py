"""The command line, on real processes."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import SCRIPTED_TEXT
from tests.support.processes import (
    ROOT,
    TOKENWIRE,
    Processes,
    Running,
    Stack,
    clean_environment,
    descendants,
    free_port,
    is_alive,
    wait_until,
)

DOORS = ("grpc", "sse")


def door(stack: Stack, via: str) -> list[str]:
    """Return the options of `ask` that lead to a stack."""
    return ["--via", via, "--core", stack.core, "--url", stack.url]


def ask(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `tokenwire ask` to its end."""
    return subprocess.run(
        [*TOKENWIRE, "ask", *arguments],
        env=clean_environment(),
        cwd=ROOT,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ends_of(journal: Path, agent: str) -> list[str]:
    """Return what an agent wrote down, in order."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [entry["event"] for entry in map(json.loads, lines) if entry["agent"] == agent]


@pytest.mark.parametrize("via", DOORS)
def test_ask_prints_the_answer_and_says_the_rest_elsewhere(stack: Stack, via: str) -> None:
    """The answer alone goes to stdout; progress and tools are plain lines when stderr is no terminal."""
    result = ask("List three fruits.", "--agent", "scripted", *door(stack, via))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{SCRIPTED_TEXT}\n"
    assert "[ 50%] Reading what was found" in result.stderr
    assert '→ search {"query": "List three fruits.", "limit": 3}' in result.stderr
    assert "✓ search" in result.stderr
    assert "✗ price no such market" in result.stderr


@pytest.mark.parametrize("via", DOORS)
def test_ask_reads_the_message_from_stdin(stack: Stack, via: str) -> None:
    """`-` is for messages that come from a file."""
    result = ask("-", "--agent", "echo", *door(stack, via), stdin="from a file\n")
    assert (result.returncode, result.stdout) == (0, "from a file \n")


def test_both_doors_print_the_same_events(stack: Stack) -> None:
    """--json of a run over gRPC and of one over SSE differ in ids, times and merged deltas alone."""

    def events(via: str) -> list[dict[str, Any]]:
        result = ask(
            "List three fruits.", "--agent", "scripted", "--session", "s", "--json", *door(stack, via)
        )
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def alike(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = {"id", "timestamp", "runId", "tokens", "from"}
        merged: list[dict[str, Any]] = []
        for event in ({name: event[name] for name in event.keys() - own} for event in events):
            if event["type"] == "text_delta" and merged and merged[-1]["type"] == "text_delta":
                merged[-1]["content"] += event["content"]
            else:
                merged.append(event)
        return merged

    over_grpc = events("grpc")
    assert [line["id"].rsplit(".")[-1] for line in over_grpc] == [str(n + 1) for n in range(len(over_grpc))]
    assert alike(over_grpc) == alike(events("sse"))


@pytest.mark.parametrize("via", DOORS)
def test_tokens_come_one_by_one(stack: Stack, processes: Processes, via: str) -> None:
    """Each is on the pipe when it was said, not when the answer is whole."""
    order = json.dumps({"tokens": 10, "rate": 20, "size": 4})
    asking = processes.start("ask", [*TOKENWIRE, "ask", order, "--agent", "pace", *door(stack, via)])
    seen = set()
    while asking.is_running():
        seen.add(asking.stdout)
        time.sleep(0.005)
    assert asking.wait() == 0
    assert asking.stdout == "".join(f"{number:04d}" for number in range(1, 11)) + "\n"
    # A busy machine looks seldom: it has to be more than nothing and then all.
    assert len(seen - {""}) >= 3


@pytest.mark.parametrize("via", DOORS)
@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("refuses", "RESOURCE_EXHAUSTED: Too many fruits."),
        ("raises_after", "INTERNAL"),
        ("nobody", "There is no such agent. (agent: nobody; known: "),
    ],
)
def test_a_run_that_fails_is_exit_1(stack: Stack, via: str, agent: str, words: str) -> None:
    """With its code and words on stderr, and no inner text or traceback."""
    result = ask("x", "--agent", agent, *door(stack, via))
    assert result.returncode == 1, result.stderr
    assert words in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("via", DOORS)
def test_a_server_that_is_not_there_is_exit_3(via: str) -> None:
    """In one clear sentence."""
    port = free_port()
    result = ask("x", "--via", via, "--core", f"127.0.0.1:{port}", "--url", f"http://127.0.0.1:{port}")
    assert result.returncode == 3
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Can't reach" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("via", DOORS)
def test_a_timeout_is_exit_1(stack: Stack, via: str) -> None:
    """What was said by then is printed."""
    result = ask("x", "--agent", "slow", "--timeout", "2", *door(stack, via))
    assert result.returncode == 1
    assert result.stdout.startswith("Slow 0 1")
    assert "DEADLINE_EXCEEDED" in result.stderr


@pytest.mark.parametrize("via", DOORS)
@pytest.mark.parametrize(("agent", "begins"), [("slow", "Slow 0"), ("silent", "")])
def test_ctrl_c_stops_the_run_at_the_core(
    stack: Stack,
    shared_processes: Processes,
    processes: Processes,
    via: str,
    agent: str,
    begins: str,
) -> None:
    """Also before the first token. What was printed stays, the exit status is 130."""
    before = len(ends_of(shared_processes.journal, agent))
    asking = processes.start("ask", [*TOKENWIRE, "ask", "x", "--agent", agent, *door(stack, via)])
    wait_until(lambda: len(ends_of(shared_processes.journal, agent)) > before, "the agent runs")
    wait_until(lambda: asking.stdout.startswith(begins), "the first words")
    time.sleep(0.1)
    asking.send(signal.SIGINT)
    assert asking.wait(10) == 130, asking.stderr
    assert ends_of(shared_processes.journal, agent)[before:] == ["started", "cancelled"]
    assert "Stopped." in asking.stderr


@pytest.mark.parametrize("via", DOORS)
def test_a_reader_that_leaves_stops_the_run(stack: Stack, shared_processes: Processes, via: str) -> None:
    """`tokenwire ask … | head -c 4`."""
    before = len(ends_of(shared_processes.journal, "slow"))
    with subprocess.Popen(
        [*TOKENWIRE, "ask", "x", "--agent", "slow", *door(stack, via)],
        env=clean_environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        assert asking.stdout.read(4) == b"Slow"
        asking.stdout.close()
        assert asking.wait(10) == 141
        assert b"Traceback" not in asking.stderr.read()
    wait_until(
        lambda: ends_of(shared_processes.journal, "slow")[before:] == ["started", "cancelled"], "the cancel"
    )


TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal on stdin this session's own, so that its Ctrl-C is a signal, and becomes the command."""


def run_in_terminal(command: Sequence[str], *, until: str = "", then: bytes = b"") -> tuple[int, str]:
    """Run a command in a terminal of its own; return its exit status and all that the screen got.

    Args:
        command: Program and arguments.
        until: What to wait for on the screen before typing.
        then: What to type.
    """
    master, slave = pty.openpty()
    said = b""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", TAKE_TERMINAL, *command],
        env=clean_environment({"TERM": "xterm", "COLUMNS": "100"}),
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        deadline = threading.Timer(90, process.kill)
        deadline.start()
        try:
            while chunk := read_terminal(master):
                said += chunk
                if then and until in said.decode(errors="replace"):
                    os.write(master, then)
                    then = b""
            return process.wait(), said.decode()
        finally:
            deadline.cancel()
            process.kill()
            os.close(master)


def read_terminal(master: int) -> bytes:
    """Return what was written to a terminal; nothing when all have closed it."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def test_a_terminal_gets_a_bar_and_the_answer(stack: Stack) -> None:
    """The bar is drawn with what is being done, and the answer stands below."""
    command = [*TOKENWIRE, "ask", "x", "--agent", "scripted", "--core", stack.core]
    status, screen = run_in_terminal(command)
    assert status == 0
    assert "Looking for fruit" in screen
    assert "50%" in screen
    assert "━" in screen
    assert SCRIPTED_TEXT in screen


def test_ctrl_c_in_a_terminal_ends_up_in_order() -> None:
    """The key reaches every process of the terminal's group: only `up` may hear it. It exits 0."""
    agents = ["--agent", "slow=tests.support.agents:slow"]
    command = [*TOKENWIRE, "up", "--port", "0", "--grpc-port", "0", *agents]
    status, screen = run_in_terminal(command, until="Tokenwire is ready: http://", then=b"\x03")
    assert status == 0, screen
    assert "KILLED" not in screen
    assert "Traceback" not in screen
    edge_ends = screen.index("stopping (press Ctrl-C again")
    assert screen.index("core stopping", edge_ends) > edge_ends


def family(process: Running) -> list[int]:
    """Return `up` and all it started: a core and an edge at least."""
    pids = [process.pid, *descendants(process.pid)]
    assert len(pids) >= 3
    return pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_up_ends_with_a_run_in_progress_and_leaves_nothing(
    processes: Processes, number: signal.Signals
) -> None:
    """Exit 0, every process gone, within seconds."""
    stack = processes.up("--workers", "2")
    # It does not look for the edge for long, once that has gone.
    words = ["ask", "x", "--agent", "slow", "--via", "sse", "--url", stack.url, "--patience", "1"]
    asking = processes.start("ask", [*TOKENWIRE, *words])
    wait_until(lambda: "Slow" in asking.stdout, "the first word")
    pids = family(stack.process)
    began = time.monotonic()
    stack.process.send(number)
    assert stack.process.wait() == 0, stack.process.stderr
    assert time.monotonic() - began < 15
    assert not [pid for pid in pids if is_alive(pid)]
    assert "KILLED" not in stack.process.stderr


def test_children_end_when_up_is_killed(processes: Processes) -> None:
    """Not even kill -9 leaves a core or an edge behind."""
    stack = processes.up()
    pids = family(stack.process)
    stack.process.send(signal.SIGKILL)
    stack.process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "all have ended", within_s=20)


@pytest.mark.parametrize(("module", "name"), [("agent_core", "core"), ("edge", "edge")])
def test_a_child_that_dies_ends_all(processes: Processes, module: str, name: str) -> None:
    """`up` says which one and how, ends the other, and exits 1: half a stack looks like a whole one."""
    stack = processes.up()
    pids = family(stack.process)
    (victim,) = [pid for pid in pids if f"-m\0{module}\0" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(victim, signal.SIGKILL)
    assert stack.process.wait() == 1
    assert f"The {name} (pid {victim}) was killed by SIGKILL. Stopping all processes." in stack.process.stderr
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_core_that_can_not_start_ends_up_at_once(processes: Processes) -> None:
    """The core has said why; `up` does not wait for it for ever."""
    command = [*TOKENWIRE, "up", "--port", "0", "--grpc-port", "0", "--agent", "a=no.such:module"]
    process = processes.start("up", command)
    assert process.wait() == 1
    assert "no.such" in process.stderr
    assert "The core (pid" in process.stderr
    assert "is ready" not in process.stdout


@pytest.mark.parametrize(
    ("option", "variable"), [("--port", "TOKENWIRE_PORT"), ("--grpc-port", "TOKENWIRE_GRPC_PORT")]
)
def test_a_port_in_use_is_said_before_anything_starts(stack: Stack, option: str, variable: str) -> None:
    """With the option that chooses another."""
    taken = (stack.url if option == "--port" else stack.core).rpartition(":")[2]
    ports = {"--port": "0", "--grpc-port": "0", option: taken}
    result = subprocess.run(
        [*TOKENWIRE, "up", *(word for pair in ports.items() for word in pair)],
        env=clean_environment({"COLUMNS": "200"}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert f"Port {taken} on 127.0.0.1 is in use" in result.stderr
    assert f"{option} ({variable})" in result.stderr


def test_the_command_is_installed() -> None:
    """`tokenwire` itself, as pyproject.toml declares it."""
    command = Path(sys.executable).with_name("tokenwire")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=30, check=False)
    assert result.stdout.startswith("tokenwire, version ")
