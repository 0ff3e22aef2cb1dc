"""The load generator sees what is wrong with a stream, and measures other processes as the system does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench.process_cpu import cpu_s
from bench.streams import loader
from bench.streams.loader import FAULTS, Load, MissingToolError, build_loader, run_loader

RUN = "a" * 30


def event(sequence: int, kind: str = "text_delta", more: str = "", *, id_first: bool = True) -> str:
    """Return a frame, as the edge writes it."""
    if kind == "text_delta" and not more:
        more = f',"content":"{sequence - 1:05d}"'
    data = f'{{"type":"{kind}","timestamp":{time.time() * 1000:.1f}{more}}}'
    lines = [f"id: {RUN}.1.{sequence}", f"data: {data}"]
    return "\n".join(lines if id_first else reversed(lines)) + "\n\n"


def merged(first: int, last: int) -> str:
    """Return one frame of several tokens."""
    content = "".join(f"{number - 1:05d}" for number in range(first, last + 1))
    return event(last, more=f',"content":"{content}","tokens":{last - first + 1},"from":{first}')


BURN = """
import threading, time
end = time.monotonic() + 20
def burn():
    while time.monotonic() < end: pass
for _ in range(2): threading.Thread(target=burn).start()
"""
"""A program of two busy threads."""

START, DONE = event(1, "run_started"), event(4, "done")
WHOLE = "retry: 7\n: open\n\n" + START + event(2) + ": heartbeat\n\n" + event(3, id_first=False) + DONE


class Server(ThreadingHTTPServer):
    """Answers each POST with the same body.

    Args:
        body: What streams say.
        status: Of each answer.
        cut_at: The bytes of each chunk; None for a body without chunks.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, body: str, status: int = 200, cut_at: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.body, self.status, self.cut_at = body.encode(), status, cut_at


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.status)
        body, size = self.server.body, self.server.cut_at
        self.send_header(*(("Transfer-Encoding", "chunked") if size else ("Connection", "close")))
        self.end_headers()
        if size:
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(body: str, **how: Any) -> Iterator[int]:
    with Server(body, **how) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def read(body: str, *, streams: int = 1, pids: Sequence[int] = (), **how: Any) -> dict[str, Any]:
    with serving(body, **how) as port:
        load = Load(port, '{"number": "@n"}', streams, {"until-end": None}, {"server": pids} if pids else {})
        return run_loader(build_loader(), load)


@pytest.mark.parametrize("cut_at", [None, 1, 2, 3, 7, 1000])
def test_a_whole_stream_has_no_fault_however_it_is_cut(cut_at: int | None) -> None:
    """Its frames may have the id first or last, and its chunks may end anywhere."""
    row = read(WHOLE, streams=3, cut_at=cut_at)
    assert {name: row[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert (row["tokens"], row["ended"], row["latency_ms"]["count"]) == (6, 3, 6)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (START + event(3) + DONE, "gaps"),
        (START + event(2) + event(2) + event(3) + DONE, "doubles"),
        (START + event(2, more=',"content":"00007"') + event(3) + DONE, "wrong"),
        (START + event(2) + event(3) + DONE + event(5), "wrong"),
        (START + merged(2, 3).replace("00001", "00009") + DONE, "wrong"),
        (START + event(2), "cut"),
        (START + event(2) + DONE.replace("done", "error").replace(".1.4", ".1.3"), "errors"),
    ],
    ids=["gap", "double", "text", "after the end", "text of a merged frame", "cut", "error"],
)
def test_a_stream_that_is_not_whole_is_seen(body: str, fault: str) -> None:
    """Each fault is counted by its own counter, and by no other one."""
    row = read(body)
    assert {name for name in FAULTS if row[name]} == {fault}


def test_a_frame_of_several_tokens_counts_for_all_of_them() -> None:
    """It has the sequences from `from` to its id."""
    row = read(START + merged(2, 3) + DONE)
    assert (row["tokens"], row["frames"], [row[name] for name in FAULTS]) == (2, 1, [0] * len(FAULTS))


def test_a_refusal_is_counted_and_told() -> None:
    """With what the server has answered."""
    row = read("no", status=503)
    assert row["refused"] == 1
    assert "503" in row["said"]


def test_the_cpu_time_of_a_process_is_that_of_the_system() -> None:
    """The kernel gives the sum of /proc in steps of 10 ms; it counts all threads."""
    with subprocess.Popen([sys.executable, "-c", BURN]) as process:
        try:
            before = cpu_s(process.pid)
            with serving(WHOLE) as port:
                load = Load(port, "{}", 1, {"visits": 50}, {"burner": [process.pid]})
                row = run_loader(build_loader(), load)
            after = cpu_s(process.pid)
        finally:
            process.kill()
    assert row["processes"]["burner"]["cpu_s"] == pytest.approx(after - before, abs=0.2)


def test_a_missing_compiler_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing can be measured then."""
    monkeypatch.setattr(loader, "BUILD", tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(MissingToolError, match="Install gcc or clang"):
        build_loader()
