"""`tokenwire ask` whose core, edge or link dies, through both doors: nothing twice, nothing missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.paced import events_at, kill, order, pace_core, places_of, port_of
from tests.support.processes import TOKENWIRE, Processes, Running, free_port, wait_until
from tests.support.proxy import proxy_to
from tests.support.redis_server import RedisServer

PATIENT = ("--patience", "60", "--agent", "pace")
"""Long enough for a server to start on a slow machine."""
AGAIN = ": resuming"


def ask(processes: Processes, *arguments: str) -> Running:
    """Start `tokenwire ask`."""
    return processes.start("ask", [*TOKENWIRE, "ask", *PATIENT, *arguments])


def printed(asking: Running) -> list[dict[str, Any]]:
    """Return the events that --json printed so far, without an unfinished line."""
    whole, _, _ = asking.stdout.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def places_in(lines: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return the epoch and the sequence of each, of merged ones also of those that it was made of."""
    places = []
    for line in lines:
        _, epoch, sequence = line["id"].split(".")
        first = line.get("from", int(sequence))
        places += [(int(epoch), number) for number in range(first, int(sequence) + 1)]
    return places


def last_of(asking: Running) -> int:
    """Return the sequence of the last event that --json printed so far; 0 before the first."""
    return max((sequence for _, sequence in places_in(printed(asking))), default=0)


def tokens(number: int) -> str:
    """Return what `pace` says, as it is printed."""
    return "".join(f"{token:04d}" for token in range(1, number + 1)) + "\n"


def test_an_edge_that_dies_and_comes_back_costs_no_text(processes: Processes) -> None:
    """The stream is taken up at the last event: exit 0, and one line that says so."""
    core, _ = pace_core(processes, {})
    port = free_port()
    url, edge = processes.edge(core, port)
    asking = ask(processes, order(tokens=60, rate=20), "--via", "sse", "--url", url)
    wait_until(lambda: len(asking.stdout) >= 40, "ten tokens")
    kill(edge)
    processes.edge(core, port)
    assert asking.wait() == 0, asking.stderr
    assert asking.stdout == tokens(60)
    assert AGAIN in asking.stderr
    assert len(asking.stderr.splitlines()) == 1


@pytest.mark.parametrize("via", ["grpc", "sse"])
def test_a_link_that_breaks_again_and_again_costs_nothing(processes: Processes, via: str) -> None:
    """The server is alive, the network is not: all events, each once, exit 0."""
    core, _ = pace_core(processes, {})
    url, _ = processes.edge(core)
    with proxy_to(core if via == "grpc" else url.removeprefix("http://")) as relay:
        doors = ("--via", via, "--core", relay.address, "--url", f"http://{relay.address}")
        asking = ask(processes, order(tokens=160, rate=20), "--json", *doors)
        for _ in range(3):
            cut_at = last_of(asking)
            wait_until(lambda at=cut_at: last_of(asking) > at + 5, "some more events")  # type: ignore[misc]
            relay.cut()
        assert asking.wait(60) == 0, asking.stderr
    whole = events_at_core_of(core, asking)
    assert places_in(printed(asking)) == whole
    assert len(whole) == 162


def test_a_start_whose_answer_was_lost_starts_no_second_run(processes: Processes) -> None:
    """It is sent again under the same id, and gets the answer of the run that the first one started."""
    core, _ = processes.core(agents=["echo"])
    with proxy_to(core) as relay:
        relay.swallow(b"echo")  # the agent's name, in the first event
        asking = processes.start("ask", [*TOKENWIRE, "ask", "a b c", "--core", relay.address])
        assert asking.wait(60) == 0, asking.stderr
        assert relay.cuts == 1
    assert asking.stdout == "a b c \n"
    assert processes.journal.read_text().count('"started"') == 1


@pytest.mark.needs("redis")
def test_a_core_that_dies_is_asked_for_at_another(processes: Processes, redis_server: RedisServer) -> None:
    """Which closes its run: exit 1 with that end, each event once."""
    store = {"TOKENWIRE_STORE": redis_server.url}
    one, dying = pace_core(processes, store)
    other, _ = pace_core(processes, store)
    asking = ask(processes, order(tokens=4000, rate=20), "--json", "--core", f"{one},{other}")
    wait_until(lambda: len(printed(asking)) > 5, "a few events")
    kill(dying)
    assert asking.wait(60) == 1, asking.stderr
    assert places_in(printed(asking)) == events_at_core_of(other, asking)
    assert printed(asking)[-1]["details"]["reason"] == "PRODUCER_LOST"
    assert AGAIN in asking.stderr


@pytest.mark.parametrize("via", ["grpc", "sse"])
def test_a_core_that_comes_back_with_its_log_gives_the_rest(
    processes: Processes, tmp_path: Path, via: str
) -> None:
    """On SQLite, through either door: the end that it wrote when it was back. Exit 1."""
    store = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    core, process = pace_core(processes, store)
    url, _ = processes.edge(core)
    doors = ("--via", via, "--core", core, "--url", url)
    asking = ask(processes, order(tokens=4000, rate=20), "--json", *doors)
    wait_until(lambda: len(printed(asking)) > 5, "a few events")
    kill(process)
    pace_core(processes, store, port_of(core))
    assert asking.wait(60) == 1, asking.stderr
    assert places_in(printed(asking)) == events_at_core_of(core, asking)
    assert printed(asking)[-1]["details"]["reason"] == "PRODUCER_LOST"


@pytest.mark.parametrize("via", ["grpc", "sse"])
def test_a_log_that_died_with_its_core_is_exit_4(processes: Processes, via: str) -> None:
    """A core that kept it in memory comes back without: that is final, and said."""
    core, process = pace_core(processes, {})
    url, _ = processes.edge(core)
    doors = ("--via", via, "--core", core, "--url", url)
    asking = ask(processes, order(tokens=4000, rate=20), *doors)
    wait_until(lambda: len(asking.stdout) >= 40, "ten tokens")
    kill(process)
    pace_core(processes, {}, port_of(core))
    assert asking.wait(60) == 4, asking.stderr
    assert "DATA_LOSS" in asking.stderr
    assert "Traceback" not in asking.stderr


@pytest.mark.parametrize("via", ["grpc", "sse"])
def test_a_core_that_stays_away_is_exit_4(processes: Processes, via: str) -> None:
    """After the time that it is given, in three lines at most."""
    core, process = pace_core(processes, {})
    url, _ = processes.edge(core)
    doors = ("--via", via, "--core", core, "--url", url, "--patience", "1")
    asking = ask(processes, order(tokens=4000, rate=20), *doors)
    wait_until(lambda: len(asking.stdout) >= 40, "ten tokens")
    kill(process)
    assert asking.wait(60) == 4, asking.stderr
    assert "the run is " in asking.stderr
    assert len(asking.stderr.splitlines()) <= 3


def events_at_core_of(core: str, asking: Running) -> list[tuple[int, int]]:
    """Return the places of the asked run's events as a core has them."""
    run_id = printed(asking)[0]["runId"]
    return places_of(events_at(core, run_id))
