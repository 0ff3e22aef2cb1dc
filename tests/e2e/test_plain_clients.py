"""The clients that print text alone, in Python, Java and Rust (examples/): they follow on, exactly."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_core.agents.pace import pace_text
from tests.support.direct_clients import KEY, PLAIN_COMMANDS, SecureCore, run_plain
from tests.support.paced import cancel_at, events_at, kill, order, pace_core, port_of, start_at
from tests.support.processes import (
    Processes,
    Running,
    Stack,
    free_port,
    wait_until,
)
from tests.support.proxy import proxy_to
from tests.support.redis_server import RedisServer
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1.event_pb2 import Event

PATIENT = ("--patience", "60")
"""Long enough for a core to start on a slow machine."""


@pytest.fixture(params=PLAIN_COMMANDS)
def command(request: pytest.FixtureRequest) -> Sequence[str]:
    """The command that runs each of the clients in turn."""
    return PLAIN_COMMANDS[request.param]


def run_id_of(said: str) -> str:
    """Return the run that a client has named."""
    found = re.search(r"^run (\w{30})$", said, re.MULTILINE)
    assert found is not None, said
    return found[1]


def text_of(events: Sequence[Event]) -> str:
    """Return the answer that events hold."""
    return "".join(event.text_delta.content for event in events)


def has_printed(reader: Running, characters: int) -> None:
    """Wait until a client has printed so much of an answer."""
    wait_until(lambda: len(reader.stdout) > characters, f"{characters} characters of the answer")


@pytest.mark.needs("redis")
def test_a_reader_whose_core_is_killed_reads_on_at_another(
    processes: Processes, redis_server: RedisServer, command: Sequence[str]
) -> None:
    """The run goes on at the other core: all of its text, once, and its end. Exit 0."""
    store = {"TOKENWIRE_STORE": redis_server.url}
    one, dying = pace_core(processes, store)
    other, _ = pace_core(processes, store)
    run_id = start_at(other, order(tokens=4000, rate=20))
    reader = processes.start("client", [*command, *PATIENT, "--core", f"{one},{other}", "--run", run_id])
    has_printed(reader, 20)
    kill(dying)
    wait_until(lambda: "following the run again" in reader.stderr, "the loss of the core")
    has_printed(reader, len(reader.stdout) + 20)
    cancel_at(other, run_id)
    assert reader.wait(60) == 0, reader.stderr
    assert reader.stdout == text_of(events_at(other, run_id)) + "\n"


def test_a_core_that_comes_back_with_its_log_gives_the_rest(
    processes: Processes, tmp_path: Path, command: Sequence[str]
) -> None:
    """On SQLite: it closes the run that it lost, and the reader hears that end. Exit 1, no text twice."""
    store = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, process = pace_core(processes, store)
    message = order(tokens=4000, rate=20)
    reader = processes.start("client", [*command, *PATIENT, "--core", address, "--agent", "pace", message])
    has_printed(reader, 20)
    kill(process)
    pace_core(processes, store, port_of(address))
    assert reader.wait(60) == 1, reader.stderr
    assert reader.stdout == text_of(events_at(address, run_id_of(reader.stderr)))


def test_a_link_that_breaks_again_and_again_costs_nothing(
    processes: Processes, stack: Stack, command: Sequence[str]
) -> None:
    """The core is alive, the network is not: all text, once, exit 0."""
    with proxy_to(stack.core) as relay:
        ask = ["--core", relay.address, "--agent", "pace", order(tokens=160, rate=20)]
        reader = processes.start("client", [*command, *PATIENT, *ask])
        for _ in range(3):
            has_printed(reader, len(reader.stdout) + 20)
            relay.cut()
        assert reader.wait(60) == 0, reader.stderr
    assert reader.stdout == pace_text(160, 4) + "\n"
    assert reader.stderr.count("following the run again") == relay.cuts == 3


def test_a_start_whose_answer_was_lost_starts_no_second_run(
    processes: Processes, command: Sequence[str]
) -> None:
    """It is sent again under the same id, and gets all text of the run that the first one started."""
    address, _ = processes.core(agents=("echo",))
    with proxy_to(address) as relay:
        relay.swallow(b"echo")  # the agent's name, in the first event
        ask = ["--core", relay.address, "--agent", "echo", "a b c"]
        reader = processes.start("client", [*command, *PATIENT, *ask])
        assert reader.wait(60) == 0, reader.stderr
        assert relay.cuts == 1
    assert reader.stdout == "a b c \n"
    assert processes.journal.read_text().count('"started"') == 1


def test_without_a_core_it_gives_up_and_says_how_to_go_on(
    processes: Processes, tmp_path: Path, command: Sequence[str]
) -> None:
    """Exit 4, with the last event's id: given as told, it brings exactly the rest."""
    store = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, process = pace_core(processes, store)
    ask = ["--patience", "1", "--agent", "pace", order(tokens=4000, rate=20)]
    reader = processes.start("client", [*command, "--core", address, *ask])
    has_printed(reader, 20)
    kill(process)
    assert reader.wait(60) == 4, reader.stderr
    _, _, told = reader.stderr.strip().rpartition("go on with: ")
    pace_core(processes, store, port_of(address))
    rest = run_plain(command, "--core", address, *told.split())
    assert rest.returncode == 1, rest.stderr
    assert reader.stdout + rest.stdout == text_of(events_at(address, run_id_of(reader.stderr)))


def test_a_log_that_died_with_its_core_is_exit_1(processes: Processes, command: Sequence[str]) -> None:
    """A core that kept it in memory comes back without: DATA_LOSS stands."""
    address, process = pace_core(processes, {})
    ask = ["--core", address, "--agent", "pace", order(tokens=4000, rate=20)]
    reader = processes.start("client", [*command, *PATIENT, *ask])
    has_printed(reader, 20)
    kill(process)
    pace_core(processes, {}, port_of(address))
    assert (reader.wait(60), "[RUN_LOG_LOST]" in reader.stderr) == (1, True), reader.stderr
    assert pace_text(4000, 4).startswith(reader.stdout)


def test_ctrl_c_stops_the_run_and_reads_it_to_its_end(
    processes: Processes, stack: Stack, command: Sequence[str]
) -> None:
    """CancelRun, then what the run still says: done, cancelled. Exit 130."""
    reader = processes.start("client", [*command, "--core", stack.core, "--agent", "slow", "x"])
    has_printed(reader, 10)
    reader.send(signal.SIGINT)
    assert reader.wait() == 130, reader.stderr
    *_, last = events_at(stack.core, run_id_of(reader.stderr))
    assert reader.stdout == last.done.final_message + "\n"
    assert last.done.final_message.startswith("Slow 0")


def test_a_deadline_ends_the_call_and_the_run(stack: Stack, command: Sequence[str]) -> None:
    """Exit 1 with DEADLINE_EXCEEDED and no stack trace; the run has ended of the same cause."""
    result = run_plain(command, "--core", stack.core, "--agent", "slow", "--deadline", "5", "x")
    assert (result.returncode, "DEADLINE_EXCEEDED" in result.stderr) == (1, True), result.stderr
    assert "Traceback" not in result.stderr
    assert "    at " not in result.stderr
    *_, last = events_at(stack.core, run_id_of(result.stderr))
    assert last.error.code == "DEADLINE_EXCEEDED"


def test_it_prints_all_that_a_refusal_says(stack: Stack, command: Sequence[str]) -> None:
    """Code, message, ErrorInfo and BadRequest of google.rpc.Status; exit 1."""
    unknown = run_plain(command, "--core", stack.core, "--agent", "nobody", "x")
    assert unknown.returncode == 1
    assert "NOT_FOUND: There is no such agent. [AGENT_UNKNOWN]\n  agent: nobody\n" in unknown.stderr
    invalid = run_plain(command, "--core", stack.core, "--session", "no spaces", "x")
    assert invalid.returncode == 1
    assert "INVALID_ARGUMENT: " in invalid.stderr
    assert "  run.session_id: must be at most 128" in invalid.stderr


def test_wrong_usage_is_exit_2_and_no_core_is_exit_3(command: Sequence[str]) -> None:
    """In words: before anything is sent, and when nobody answers."""
    for wrong in ((), ("--colour", "red", "x"), ("--principal", "alice", "x"), ("--run", "x", "y")):
        result = run_plain(command, *wrong)
        assert (result.returncode, result.stdout) == (2, ""), wrong
    result = run_plain(command, "--core", f"127.0.0.1:{free_port()}", "--patience", "0.5", "x")
    assert (result.returncode, "UNAVAILABLE" in result.stderr) == (3, True), result.stderr


def test_it_gets_in_over_mtls_and_a_signed_principal_owns_its_runs(
    secure_core: SecureCore, command: Sequence[str]
) -> None:
    """Alice's run is hers: for the certificate's own name it is not there. Without a certificate: exit 3."""
    core = ["--core", secure_core.address, "--patience", "0.5"]
    alice = run_plain(
        command, *core, *secure_core.security, "--principal", "alice", "--agent", "echo", "a b", key=KEY
    )
    assert (alice.returncode, alice.stdout) == (0, "a b \n"), alice.stderr
    run_id = run_id_of(alice.stderr)
    assert text_of(secure_core.read(run_id, (METADATA_KEY, sign_principal("alice", KEY)))) == "a b "
    other = run_plain(command, *core, *secure_core.security, "--run", run_id)
    assert (other.returncode, "[RUN_UNKNOWN]" in other.stderr) == (1, True), other.stderr
    stranger = run_plain(command, *core, *secure_core.security[:2], "--agent", "echo", "x")
    assert (stranger.returncode, stranger.stdout) == (3, ""), stranger.stderr
