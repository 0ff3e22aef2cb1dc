"""The clients of examples/, in all languages, and a core with mTLS."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from edge.sse.frames import write_event
from tests.support.certificates import Authority, Certificate
from tests.support.processes import ROOT, clean_environment
from tokenwire.translate import translate
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event

GO_CLIENT = ROOT / "examples" / "go-client"
NODE_CLIENT = ROOT / "examples" / "node-client"
PYTHON_CLIENT = ROOT / "examples" / "python-client"
KEY = "a key that the core and its callers share"
PLAIN_COMMANDS: Mapping[str, Sequence[str]] = {
    "python": [sys.executable, str(PYTHON_CLIENT / "main.py")],
    **{
        name: shlex.split(os.environ[variable])
        for name in ("python", "java", "rust")
        if os.environ.get(variable := f"TOKENWIRE_TEST_{name.upper()}_CLIENT")
    },
}
"""The commands that run the clients which print text alone.

Python's is always there. `make clients` builds those in Java and Rust and names them in the variables
TOKENWIRE_TEST_JAVA_CLIENT and TOKENWIRE_TEST_RUST_CLIENT. TOKENWIRE_TEST_PYTHON_CLIENT names another.
"""

BUILD_S = 400
"""How long a first build may take: it fetches the modules."""


def run_tool(command: Sequence[str | Path]) -> str:
    """Return what a tool says of the Go client; it must succeed."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "BUF": str(Path(sys.executable).parent / "buf"),
    }
    result = subprocess.run(
        command, cwd=GO_CLIENT, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@dataclass
class SecureCore:
    """A core that lets in only whom its authority vouches for, and believes principals signed with KEY."""

    address: str
    authority: Authority
    shown: Certificate
    """The certificate of `billing`, which gets in."""

    @property
    def security(self) -> list[str]:
        """The clients' options for getting in."""
        return security(self.authority.file, self.shown)

    def channel(self) -> grpc.Channel:
        """Return a channel that gets in as billing."""
        return grpc.secure_channel(self.address, credentials(self.authority, self.shown))

    def read(self, run_id: str, *metadata: tuple[str, str]) -> list[Event]:
        """Return a run's events."""
        with self.channel() as channel:
            follow = AgentServiceStub(channel).FollowRun
            responses = follow(pb.FollowRunRequest(run_id=run_id), metadata=metadata, timeout=30)
            return [event for response in responses for event in response.events]


def security(authority: Path, shown: Certificate) -> list[str]:
    """Return the clients' options for TLS."""
    return ["--tls-ca", str(authority), "--tls-cert", str(shown.cert), "--tls-key", str(shown.key)]


def credentials(authority: Authority, shown: Certificate) -> grpc.ChannelCredentials:
    """Return the same for channels of our own."""
    return grpc.ssl_channel_credentials(
        authority.file.read_bytes(), shown.key.read_bytes(), shown.cert.read_bytes()
    )


@dataclass
class Client:
    """A client in some language."""

    language: str
    command: Sequence[str]
    core: SecureCore

    def run(self, *arguments: str, secure: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it to its end at the core; with `secure` its options for getting in are given."""
        options = self.core.security if secure else []
        return subprocess.run(
            [*self.command, "--core", self.core.address, *options, *arguments],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def run_plain(
    command: Sequence[str], *arguments: str, key: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a client to its end; `key` is its principal key."""
    return subprocess.run(
        [*command, *arguments],
        env=clean_environment({"TOKENWIRE_PRINCIPAL_KEY": key} if key else None),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what --json printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def expected(language: str, run_id: str, events: Sequence[Event]) -> list[Any]:
    """Return events as a client's --json must tell them: Go as messages, Node as browsers get them."""
    return list(events) if language == "go" else [browser_event(run_id, event) for event in events]


def told(language: str, result: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return the events that --json told, to be compared with what is expected."""
    lines = lines_of(result)
    return [json_format.ParseDict(line, Event()) for line in lines] if language == "go" else lines


def browser_event(run_id: str, event: Event) -> dict[str, Any]:
    """Return an event as the edge tells it."""
    frame = bytearray()
    event_id = f"{run_id}.{event.epoch}.{event.sequence}"
    translated = translate(event)
    assert translated is not None
    write_event(frame, event_id.encode(), translated)
    data, _ = frame.decode().strip().split("\n")
    told_event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return told_event | {"id": event_id}


def run_id_of(line: dict[str, Any]) -> str:
    """Return the run that a first line of --json names."""
    started = line.get("run_started", line)
    run_id: str = started.get("run_id") or started["runId"]
    return run_id
