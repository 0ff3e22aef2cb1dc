"""The example app of Next.js, built once and served, and what its server asks an edge."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support import system
from tests.support.processes import ROOT, Processes, free_port

APP = ROOT / "examples" / "nextjs"
BUILD_S = 300.0
QUIET = {"NEXT_TELEMETRY_DISABLED": "1"}


def next_command(*words: str) -> list[str]:
    """Return a command of Next's, for the example."""
    program = APP / "node_modules" / "next" / "dist" / "bin" / "next"
    assert program.is_file(), "run: make examples/nextjs/node_modules/.installed"
    return [system.find("node") or "node", str(program), words[0], str(APP), *words[1:]]


def build_once(folder: Path) -> None:
    """Build the app unless another worker of this run of the tests has: two builds at once Next refuses.

    Args:
        folder: One that all workers share, and no other run.
    """
    with (folder / "nextjs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "nextjs.built"
        if not done.exists():
            build_app()
            done.touch()


def build_app() -> None:
    """Build the app for production, some 25 s.

    Raises:
        AssertionError: With what Next said.
    """
    built = subprocess.run(
        next_command("build"),
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        cwd=APP,
        env={**os.environ, **QUIET},
    )
    assert not built.returncode, built.stdout + built.stderr


def serve_app(processes: Processes, edge: str, users: str, **settings: str) -> str:
    """Serve the app that was built; return its URL.

    Args:
        processes: Ends it.
        edge: The URL of the server that it asks.
        users: CHAT_USERS.
        settings: More variables.
    """
    port = free_port()
    command = next_command("start", "--hostname", "127.0.0.1", "--port", str(port))
    environment = {**QUIET, "TOKENWIRE_URL": edge, "CHAT_USERS": users, **settings}
    process = processes.start("next", command, environment)
    process.wait_ready(lambda: _answers(port))
    return f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/sign-in")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class RecordingServer:
    """Stands for an edge: remembers each request, and answers all alike."""

    url: str
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    """Method and target, headers by their lower-case names, body."""


@contextmanager
def recording_server(status: int, headers: Mapping[str, str]) -> Iterator[RecordingServer]:
    """Run a server that refuses everything with a status and headers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self._read_chunks())

        def _read_chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            named = {name.lower(): value for name, value in self.headers.items()}
            recorded.requests.append((f"{self.command} {self.path}", named, body))
            answer = json.dumps({"code": "UNAVAILABLE"}).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the library's name for it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorded = RecordingServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
