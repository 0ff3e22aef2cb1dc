"""Edges that outlive their cores, on real processes: a browser's stream goes on, or says why not."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from tests.support.processes import PATIENT, Processes, Running, wait_until
from tests.support.redis_server import RedisServer
from tests.support.sse_reader import events_of, ids_of
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub

pytestmark = pytest.mark.usefixtures("transport")

AGENTS = ("slow", "echo", "counts", "scripted")
WITHIN_S = 60


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=WITHIN_S, trust_env=False) as opened:
        yield opened


def chat(
    client: httpx.Client, url: str, agent: str = "slow", session: str = "s", key: str = ""
) -> httpx.Response:
    """Return the open response of a question."""
    message = "60 50" if agent == "counts" else "a b c"
    body = {"message": message, "sessionId": session, "agent": agent}
    headers = {"idempotency-key": key} if key else {}
    request = client.build_request("POST", f"{url}/api/chat", json=body, headers=headers)
    return client.send(request, stream=True)


def read_until(texts: Iterator[str], enough: Callable[[str], bool]) -> str:
    """Return what has come once it is enough."""
    seen = ""
    while not enough(seen):
        seen += next(texts)
    return seen


def has_words(count: int) -> Callable[[str], bool]:
    return lambda seen: seen.count('"type":"text_delta"') >= count


def sequences(body: str) -> list[int]:
    """Return the numbers of a stream's events, those inside merged frames too."""
    numbers: list[int] = []
    events = [event for event in events_of(body) if "type" in event]
    for event, event_id in zip(events, ids_of(body), strict=False):
        last = int(event_id.rsplit(".", 1)[1])
        numbers += range(event.get("from", last), last + 1)
    return numbers


def terminals(body: str) -> list[dict[str, object]]:
    return [event for event in events_of(body) if event.get("type") in {"done", "error"}]


@pytest.fixture
def shared(redis_server: RedisServer) -> dict[str, str]:
    """The settings of cores that share their runs."""
    return {"TOKENWIRE_STORE": redis_server.url}


@pytest.mark.needs("redis")
def test_a_stream_whose_core_is_killed_gets_its_end_from_another(
    client: httpx.Client, processes: Processes, shared: dict[str, str]
) -> None:
    """No gap, no duplicate, one terminal event of the log's own; and service goes on."""
    cores = [processes.core(agents=AGENTS, settings=shared) for _ in range(2)]
    url, _ = processes.edge(",".join(address for address, _ in cores), settings=PATIENT)
    response = chat(client, url)
    texts = response.iter_text()
    seen = read_until(texts, has_words(3))
    kill_owner(cores, response.headers["run-id"])
    body = seen + "".join(texts)
    assert sequences(body) == list(range(1, len(sequences(body)) + 1))
    (end,) = terminals(body)
    assert (end["code"], end["retryable"]) == ("UNAVAILABLE", True)
    assert end["details"] == {"reason": "PRODUCER_LOST"}
    assert ids_of(body)[-1].split(".")[1] == "2", "it is in the log, in the reaper's epoch"
    again = chat(client, url, "echo").read().decode()
    assert [event["type"] for event in terminals(again)] == ["done"]


def kill_owner(cores: list[tuple[str, Running]], run_id: str) -> None:
    """Kill the core that minted a run."""
    for address, process in cores:
        with grpc.insecure_channel(address) as channel:
            told = AgentServiceStub(channel).GetCore(pb.GetCoreRequest()).core
        if told.incarnation == run_id[:4]:
            process.send(signal.SIGKILL)
            process.wait()
            return
    raise AssertionError(f"no core has minted {run_id}")


@pytest.mark.needs("redis")
def test_a_stream_is_resumed_at_another_edge_when_its_edge_is_killed(
    client: httpx.Client, processes: Processes, shared: dict[str, str]
) -> None:
    """Any edge serves any run: what comes there is just what was lacking."""
    cores = [processes.core(agents=AGENTS, settings=shared)[0] for _ in range(2)]
    url, edge = processes.edge(",".join(cores))
    other, _ = processes.edge(",".join(reversed(cores)))
    response = chat(client, url, "counts")
    seen = read_until(response.iter_text(), has_words(3))
    edge.send(signal.SIGKILL)
    response.close()
    whole = seen[: seen.rindex("\n\n") + 2]
    last = ids_of(whole)[-1]
    run_id = last.split(".")[0]
    rest = client.get(f"{other}/api/runs/{run_id}/events", headers={"last-event-id": last}).text
    numbers = sequences(whole) + sequences(rest)
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event["type"] for event in terminals(whole + rest)] == ["done"]


@pytest.mark.needs("redis")
def test_a_question_repeated_under_its_key_is_answered_once_whichever_edge_and_core(
    client: httpx.Client, processes: Processes, shared: dict[str, str]
) -> None:
    """The run that it started is told again, from its start; another question under the key is refused."""
    cores = [processes.core(agents=AGENTS, settings=shared)[0] for _ in range(2)]
    urls = [processes.edge(core)[0] for core in cores]
    bodies = [chat(client, url, "echo", key="k").read().decode() for url in itertools.chain(urls, urls)]
    assert len({ids_of(body)[-1] for body in bodies}) == 1
    other = chat(client, urls[1], "scripted", key="k")
    assert (other.status_code, other.read() and other.json()["code"]) == (409, "ALREADY_EXISTS")
    runs = client.get(f"{urls[1]}/api/sessions/s/runs").json()["runs"]
    assert [run["runId"] for run in runs] == [ids_of(bodies[0])[-1].split(".")[0]]


@pytest.mark.needs("redis")
def test_a_core_that_goes_down_hands_its_streams_over(
    client: httpx.Client, processes: Processes, shared: dict[str, str]
) -> None:
    """A rolling restart: the browser's stream never ends, and its run comes to its own end."""
    shared = {**shared, "TOKENWIRE_DRAIN_S": "30"}
    cores = [processes.core(agents=AGENTS, settings=shared) for _ in range(2)]
    url, _ = processes.edge(",".join(address for address, _ in cores))
    responses = [chat(client, url, "counts", f"s{number}") for number in range(4)]
    texts = [response.iter_text() for response in responses]
    seen = [read_until(text, has_words(2)) for text in texts]
    cores[0][1].send(signal.SIGTERM)
    bodies = [begun + "".join(text) for begun, text in zip(seen, texts, strict=True)]
    assert cores[0][1].wait() == 0
    for body in bodies:
        assert sequences(body) == list(range(1, len(sequences(body)) + 1))
        assert [event["type"] for event in terminals(body)] == ["done"]
        assert "event: reconnect" not in body


def test_a_stream_survives_its_core_where_the_log_does(
    client: httpx.Client, processes: Processes, tmp_path: Path
) -> None:
    """The core on SQLite comes back: the edge asks it again by itself, and tells the run's end."""
    settings = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, core = processes.core(settings=settings)
    url, _ = processes.edge(address, settings=PATIENT)
    response = chat(client, url)
    texts = response.iter_text()
    seen = read_until(texts, has_words(3))
    core.send(signal.SIGKILL)
    core.wait()
    rest: list[str] = []
    reading = threading.Thread(target=lambda: rest.extend(texts))
    reading.start()
    processes.core(int(address.rsplit(":", 1)[1]), settings=settings)
    reading.join(WITHIN_S)
    body = seen + "".join(rest)
    assert sequences(body) == list(range(1, len(sequences(body)) + 1))
    assert [event["details"] for event in terminals(body)] == [{"reason": "PRODUCER_LOST"}]
    run_id = response.headers["run-id"]
    assert ids_of(body)[-1].startswith(f"{run_id}.2.")


def test_sessions_stay_together_on_cores_that_share_nothing(
    client: httpx.Client, processes: Processes
) -> None:
    """A session's history and live run are at one core; each run is found wherever it is."""
    cores = [processes.core(agents=("recalls", "echo", "slow"))[0] for _ in range(2)]
    url, edge = processes.edge(",".join(cores))
    # Ready with one of them: a session would be placed there, though its place is at the other.
    wait_until(lambda: all(f"core {core} answers" in edge.stderr for core in cores), "the edge knows both")
    for session in ("a", "b", "c", "d"):
        chat(client, url, "echo", session).read()
        recalled = chat(client, url, "recalls", session).read().decode()
        text = "".join(event.get("content", "") for event in events_of(recalled))
        assert text.startswith("user: a b c\n")
        runs = client.get(f"{url}/api/sessions/{session}/runs")
        for run in runs.json()["runs"]:
            found = client.get(f"{url}/api/runs/{run['runId']}/events")
            assert terminals(found.text)
        assert len(runs.json()["runs"]) == 2
