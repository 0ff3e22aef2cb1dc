"""Direct consumers, examples/go-client and examples/node-client, whose core dies: they follow on, exactly."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.paced import events_at, kill, order, pace_core, places_of, port_of, start_at
from tests.support.processes import Processes, Running, wait_until
from tests.support.proxy import proxy_to
from tests.support.redis_server import RedisServer

AGENTS = ("slow", "echo")
PATIENT = ("--json", "--patience", "60")
"""Long enough for a core to start on a slow machine."""


def printed(reader: Running) -> list[dict[str, Any]]:
    """Return the events that --json printed so far, without an unfinished line."""
    whole, _, _ = reader.stdout.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def place_of(line: dict[str, Any]) -> tuple[int, int]:
    """Return the epoch and the sequence of a line: Go prints messages, Node what browsers get."""
    if "sequence" in line:
        return line.get("epoch", 1), int(line["sequence"])
    _, epoch, sequence = line["id"].split(".")
    return int(epoch), int(sequence)


def last_of(reader: Running) -> int:
    """Return the sequence of the last event that --json printed so far; 0 before the first."""
    return max((place_of(line)[1] for line in printed(reader)), default=0)


def run_id_of(reader: Running) -> str:
    """Return the run that the first line names."""
    first = printed(reader)[0]
    started = first.get("run_started", first)
    return str(started.get("run_id") or started["runId"])


def on_redis(server: RedisServer) -> dict[str, str]:
    """Return the settings of a core on it."""
    return {"TOKENWIRE_STORE": server.url}


@pytest.mark.needs("redis")
def test_a_reader_whose_core_is_killed_reads_on_at_another(
    processes: Processes, redis_server: RedisServer, client_command: Sequence[str]
) -> None:
    """The run goes on at the other core: all of its events, each once, and its end. Exit 0."""
    one, dying = pace_core(processes, on_redis(redis_server))
    other, _ = pace_core(processes, on_redis(redis_server))
    run_id = start_at(other, order(tokens=60, rate=20))
    command = [*client_command, *PATIENT, "--core", f"{one},{other}", "--run", run_id]
    reader = processes.start("client", command)
    wait_until(lambda: len(printed(reader)) > 5, "a few events")
    kill(dying)
    assert reader.wait(60) == 0, reader.stderr
    whole = events_at(other, run_id)
    assert [place_of(line) for line in printed(reader)] == places_of(whole)
    assert len(whole) == 62
    assert "following the run again" in reader.stderr


@pytest.mark.needs("redis")
def test_a_run_that_dies_with_its_core_ends_in_the_error_that_another_wrote(
    processes: Processes, redis_server: RedisServer, client_command: Sequence[str]
) -> None:
    """What was said until then stands, each event once; exit 1."""
    one, dying = pace_core(processes, on_redis(redis_server))
    other, _ = pace_core(processes, on_redis(redis_server))
    message = order(tokens=4000, rate=20)
    command = [*client_command, *PATIENT, "--core", one, "--core", other, "--agent", "pace", message]
    reader = processes.start("client", command)
    wait_until(lambda: len(printed(reader)) > 5, "a few events")
    kill(dying)
    assert reader.wait(60) == 1, reader.stderr
    whole = events_at(other, run_id_of(reader))
    assert [place_of(line) for line in printed(reader)] == places_of(whole)
    assert (whole[-1].epoch, whole[-1].error.details["reason"]) == (2, "PRODUCER_LOST")


def test_a_core_that_comes_back_with_its_log_gives_the_rest(
    processes: Processes, tmp_path: Path, client_command: Sequence[str]
) -> None:
    """On SQLite: it closes the run that it lost, and the reader hears that end. Exit 1, each event once."""
    store = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, process = pace_core(processes, store)
    message = order(tokens=4000, rate=20)
    command = [*client_command, *PATIENT, "--core", address, "--agent", "pace", message]
    reader = processes.start("client", command)
    wait_until(lambda: len(printed(reader)) > 5, "a few events")
    kill(process)
    pace_core(processes, store, port_of(address))
    assert reader.wait(60) == 1, reader.stderr
    whole = events_at(address, run_id_of(reader))
    assert [place_of(line) for line in printed(reader)] == places_of(whole)
    assert whole[-1].error.details["reason"] == "PRODUCER_LOST"


def test_a_log_that_died_with_its_core_is_exit_1(processes: Processes, client_command: Sequence[str]) -> None:
    """A core that kept it in memory comes back without: DATA_LOSS stands. No event came twice."""
    address, process = processes.core(agents=AGENTS)
    reader = processes.start("client", [*client_command, *PATIENT, "--core", address, "--agent", "slow", "x"])
    wait_until(lambda: len(printed(reader)) > 3, "a few events")
    kill(process)
    processes.core(port_of(address), agents=AGENTS)
    assert (reader.wait(60), "[RUN_LOG_LOST]" in reader.stderr) == (1, True), reader.stderr
    places = [place_of(line) for line in printed(reader)]
    assert places == [(1, number + 1) for number in range(len(places))]


def test_without_a_core_it_gives_up_and_says_how_to_go_on(
    processes: Processes, tmp_path: Path, client_command: Sequence[str]
) -> None:
    """Exit 4, with the last event's id: given as told, it brings exactly the rest."""
    store = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, process = pace_core(processes, store)
    at_core = [*client_command, "--json", "--core", address]
    asked = order(tokens=4000, rate=20)
    reader = processes.start("client", [*at_core, "--patience", "1", "--agent", "pace", asked])
    wait_until(lambda: len(printed(reader)) > 5, "a few events")
    kill(process)
    assert reader.wait(60) == 4
    assert "UNAVAILABLE" in reader.stderr
    _, _, told = reader.stderr.strip().rpartition("go on with: ")
    pace_core(processes, store, port_of(address))
    rest = processes.start("client", [*at_core, *told.split()])
    assert rest.wait(60) == 1, rest.stderr
    places = [place_of(line) for line in [*printed(reader), *printed(rest)]]
    assert places == places_of(events_at(address, run_id_of(reader)))


def test_ctrl_c_stops_the_run_and_reads_it_to_its_end(
    processes: Processes, client_command: Sequence[str]
) -> None:
    """CancelRun, then what the run still says: done, cancelled. Exit 130."""
    address, _ = processes.core(agents=AGENTS)
    reader = processes.start("client", [*client_command, "--json", "--core", address, "--agent", "slow", "x"])
    wait_until(lambda: len(printed(reader)) > 3, "a few events")
    reader.send(signal.SIGINT)
    assert reader.wait() == 130, reader.stderr
    whole = events_at(address, run_id_of(reader))
    assert [place_of(line) for line in printed(reader)] == places_of(whole)
    assert whole[-1].done.final_message.startswith("Slow 0")


def test_a_link_that_breaks_again_and_again_costs_nothing(
    processes: Processes, client_command: Sequence[str]
) -> None:
    """The core is alive, the network is not: all events, each once, exit 0."""
    address, _ = pace_core(processes, {})
    with proxy_to(address) as relay:
        command = [*client_command, *PATIENT, "--core", relay.address, "--agent", "pace"]
        reader = processes.start("client", [*command, order(tokens=160, rate=20)])
        for _ in range(3):
            cut_at = last_of(reader)
            wait_until(lambda at=cut_at: last_of(reader) > at + 5, "some more events")  # type: ignore[misc]
            relay.cut()
        assert reader.wait(60) == 0, reader.stderr
    assert [place_of(line) for line in printed(reader)] == places_of(events_at(address, run_id_of(reader)))
    assert len(printed(reader)) == 162


def test_a_start_whose_answer_was_lost_starts_no_second_run(
    processes: Processes, client_command: Sequence[str]
) -> None:
    """It is sent again under the same id, and gets all events of the run that the first one started."""
    address, _ = processes.core(agents=AGENTS)
    with proxy_to(address) as relay:
        relay.swallow(b"echo")  # the agent's name, in the first event
        reader = processes.start(
            "client", [*client_command, *PATIENT, "--core", relay.address, "--agent", "echo", "a b c"]
        )
        assert reader.wait(60) == 0, reader.stderr
        assert relay.cuts == 1
    assert [place_of(line) for line in printed(reader)] == places_of(events_at(address, run_id_of(reader)))
    assert processes.journal.read_text().count('"started"') == 1
