"""A client that does not read, on real processes: held to its budget, cut off at the deadline."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.processes import Processes, descendants, wait_until

pytestmark = pytest.mark.usefixtures("transport")

SETTINGS = {"TOKENWIRE_WRITE_DEADLINE_S": "2", "TOKENWIRE_CLIENT_BUDGET_BYTES": "65536"}
FLOOD = {"tokens": 2_000_000, "size": 200, "rate": 0}
"""400 MB: far more than any buffer on the way."""


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


def test_a_client_that_stops_reading_is_cut_off_while_others_stay_fast(processes: Processes) -> None:
    """Its memory at the edge is bounded, its connection ends at the deadline, and nobody else feels it."""
    stack = processes.up(settings=SETTINGS)
    edge = next(
        pid for pid in descendants(stack.process.pid) if b"edge" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    parts = urlsplit(stack.url)
    assert parts.hostname is not None
    assert parts.port is not None
    body = json.dumps(
        {"message": json.dumps(FLOOD), "sessionId": "s", "agent": "pace", "onDisconnect": "cancel"}
    )
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    stuck.settimeout(30)
    stuck.connect((parts.hostname, parts.port))
    stuck.sendall(
        f"POST /api/chat HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    assert stuck.recv(100), "the stream began"
    before = rss_bytes(edge)
    began = time.monotonic()

    others = 0
    # One client for all: a new one reads all certificates, which takes a busy machine half of the deadline.
    with httpx.Client(timeout=10, trust_env=False) as client:
        while "cut off" not in stack.process.stderr:
            assert time.monotonic() < began + 30, stack.process.stderr
            asked = {"message": "a b c", "sessionId": "other", "agent": "echo"}
            answer = client.post(f"{stack.url}/api/chat", json=asked)
            assert '"finalMessage":"a b c "' in answer.text
            others += 1
    assert others >= 3, "other clients were served while one was stuck"
    assert rss_bytes(edge) - before < 32 * 1024 * 1024

    def reset() -> bool:
        try:
            return stuck.recv(1 << 20) == b""
        except ConnectionError:
            return True

    wait_until(reset, "the connection is cut")
    stuck.close()
