"""An edge process that is asked to end, with streams of all kinds open."""

from __future__ import annotations

import re
import signal
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.processes import Processes
from tests.support.sse_reader import events_of, ids_of

pytestmark = pytest.mark.usefixtures("transport")

BODY = b'{"message":"hi","sessionId":"stuck","agent":"flood"}'
RECONNECT = re.compile(r'\n\nretry: (\d+)\nevent: reconnect\ndata: {"retryMs":\1}\n\n\Z')


def stuck_client(url: str) -> socket.socket:
    """Return a connection whose stream nobody reads, and that the server can't write to any more."""
    at = urlsplit(url)
    client = socket.create_connection((at.hostname or "", at.port or 0))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"POST /api/chat HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-type: application/json\r\n"
    client.sendall(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
    client.recv(1)
    return client


def test_an_edge_that_ends_sends_its_streams_elsewhere_in_time(processes: Processes) -> None:
    """Each ends at an event border, with `reconnect` and a time of its own, and goes on at another edge.

    A client that is stuck keeps nobody.
    """
    core, _ = processes.core(agents=("slow", "flood"), settings={"TOKENWIRE_LOG_RUN_BYTES": "100000"})
    settings = {"TOKENWIRE_DRAIN_S": "3"}
    url, edge = processes.edge(core, settings=settings)
    other, _ = processes.edge(core)
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        stuck_client(url),
        httpx.Client(timeout=60, trust_env=False) as idle,
    ):
        idle.get(f"{url}/health/live")  # a connection that is kept open, with nothing under way
        responses = [
            client.send(
                client.build_request(
                    "POST",
                    f"{url}/api/chat",
                    json={"message": "hi", "sessionId": f"s{number}", "agent": "slow"},
                ),
                stream=True,
            )
            for number in range(5)
        ]
        texts = [response.iter_text() for response in responses]
        seen = [next(text) for text in texts]
        edge.send(signal.SIGTERM)
        began = time.monotonic()
        bodies = [first + "".join(text) for first, text in zip(seen, texts, strict=True)]
        assert edge.wait() == 0
        assert time.monotonic() - began < 10
        retries = set()
        for body in bodies:
            end = RECONNECT.search(body)
            assert end is not None, body
            retries.add(end[1])
            assert not [event for event in events_of(body) if event["type"] in {"done", "error"}]
            run_id = ids_of(body)[-1].split(".")[0]
            state = client.get(f"{other}/api/runs/{run_id}").json()["state"]
            assert state == "running"
        assert len(retries) > 1, "or all come back at once"
        last = ids_of(bodies[0])[-1]
        path = f"/api/runs/{last.split('.')[0]}/events"
        with client.stream("GET", f"{other}{path}", headers={"last-event-id": last}) as resumed:
            rest, more = "", resumed.iter_text()
            while "data:" not in rest:
                rest += next(more)
        begins = events_of(rest)[0].get("from") or number_of(ids_of(rest)[0])
        assert begins == number_of(last) + 1


def number_of(event_id: str) -> int:
    """Return the sequence that an event's id holds."""
    return int(event_id.rsplit(".", 1)[1])
