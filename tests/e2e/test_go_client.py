"""Direct consumers in other languages over mTLS: examples/go-client and examples/node-client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from edge.wire.frames import write_event
from edge.wire.translate import translate
from tests.support import system
from tests.support.certificates import Authority, Certificate
from tests.support.processes import (
    ROOT,
    TOKENWIRE,
    Processes,
    agent_arguments,
    clean_environment,
    free_port,
    wait_until,
)
from tokenwire.health import ask_core
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event

GO_CLIENT = ROOT / "examples" / "go-client"
NODE_CLIENT = ROOT / "examples" / "node-client"
PORTFOLIO = "portfolio=agent_core.agents.portfolio:portfolio"
KEY = "a key that the core and its callers share"
BUILD_S = 400
"""How long a first build may take: it fetches the modules."""

LANGUAGES = [
    pytest.param("go", marks=pytest.mark.needs("go")),
    pytest.param("node", marks=pytest.mark.needs("node")),
]


def run_tool(command: Sequence[str | Path]) -> str:
    """Return what a tool says of the Go client; it must succeed."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "PYTHON": sys.executable,
    }
    result = subprocess.run(
        command, cwd=GO_CLIENT, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go client, built once."""
    built = tmp_path_factory.mktemp("go-client") / "go-client"
    run_tool([system.find("go") or "go", "build", "-o", built, "."])
    return built


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
    return grpc.ssl_channel_credentials(
        authority.file.read_bytes(), shown.key.read_bytes(), shown.cert.read_bytes()
    )


@pytest.fixture(scope="module")
def core(shared_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> SecureCore:
    """A core with mTLS and a principal key, in a process of its own."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server, shown = authority.issue("core"), authority.issue("billing")
    settings = {
        "TOKENWIRE_GRPC_TLS_CERT": str(server.cert),
        "TOKENWIRE_GRPC_TLS_KEY": str(server.key),
        "TOKENWIRE_GRPC_TLS_CLIENT_CA": str(authority.file),
        "TOKENWIRE_PRINCIPAL_KEY": KEY,
    }
    port = free_port()
    options = ["--grpc-port", str(port), *agent_arguments(), "--agent", PORTFOLIO]
    process = shared_processes.start("secure-core", [*TOKENWIRE, "core", *options], settings)
    address = f"127.0.0.1:{port}"
    process.wait_ready(lambda: not ask_core(address, 1.0, credentials(authority, shown)))
    return SecureCore(address, authority, shown)


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


@pytest.fixture(params=LANGUAGES)
def client(request: pytest.FixtureRequest, core: SecureCore) -> Client:
    """Each of the clients in turn."""
    if request.param == "go":
        return Client("go", [str(request.getfixturevalue("go_client"))], core)
    assert (NODE_CLIENT / "node_modules").is_dir(), "run: npm ci --prefix examples/node-client"
    return Client("node", [system.find("node") or "node", str(NODE_CLIENT / "main.js")], core)


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
    write_event(frame, event_id, translated)
    _, data = frame.decode().strip().split("\n")
    told_event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return told_event | {"id": event_id}


def run_id_of(line: dict[str, Any]) -> str:
    """Return the run that a first line of --json names."""
    started = line.get("run_started", line)
    run_id: str = started.get("run_id") or started["runId"]
    return run_id


@pytest.mark.parametrize(
    "message", ["Calculate NAV for all portfolios", "Generate quarterly performance report"]
)
def test_a_portfolio_run_reads_the_same_everywhere(client: Client, message: str) -> None:
    """Live in another language, replayed in Python: equal in every field of every event, in order."""
    result = client.run("--agent", "portfolio", "--json", message)
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = {event.WhichOneof("payload") for event in events}
    assert kinds >= {"run_started", "progress", "tool_start", "tool_result", "text_delta", "done"}


def test_every_kind_of_event_reads_the_same_everywhere(client: Client) -> None:
    """... also reasoning, custom events, failed tools and numbers beyond 2^53."""
    result = client.run("--agent", "scripted", "--json", "List three fruits.")
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)


def test_it_goes_on_after_a_cursor_with_exactly_the_rest(client: Client) -> None:
    """By an event's id: no gap, no duplicate."""
    run_id = run_id_of(lines_of(client.run("--agent", "portfolio", "--json", "List portfolios"))[0])
    events = client.core.read(run_id)
    for after in (1, len(events) // 2, len(events) - 1):
        rest = client.run("--json", "--follow", run_id, "--after", f"{run_id}.1.{after}")
        assert rest.returncode == 0, rest.stderr
        assert told(client.language, rest) == expected(client.language, run_id, events[after:])


def test_it_prints_the_answer_and_the_rest_aside(client: Client) -> None:
    """The report on stdout; progress and the queries' SQL on stderr."""
    result = client.run("--agent", "portfolio", "Generate quarterly performance report")
    assert "summary" in result.stdout.lower()
    assert "conclusion" in result.stdout.lower()
    assert "[100%]" in result.stderr
    assert "-> query_database" in result.stderr
    assert "SELECT" in result.stderr


def test_it_cancels_a_run_and_reads_it_to_its_end(client: Client) -> None:
    """CancelRun ends the stream in done/cancelled, with the text so far."""
    result = client.run("--agent", "slow", "--cancel-after", "3", "--json", "x")
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)
    last = json_format.MessageToDict(events[-1])["done"]
    assert last["finishReason"] == "FINISH_REASON_CANCELLED"
    assert last["finalMessage"].startswith("Slow 0 1")


def test_a_deadline_ends_the_call_and_the_run(client: Client) -> None:
    """Exit 1 with DEADLINE_EXCEEDED and no stack trace; the run has ended of the same cause."""
    result = client.run("--agent", "slow", "--deadline", "0.6", "--json", "x")
    assert result.returncode == 1
    assert "DEADLINE_EXCEEDED" in result.stderr + result.stdout
    assert "    at " not in result.stderr
    last = client.core.read(run_id_of(lines_of(result)[0]))[-1]
    assert last.error.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--agent", "nobody", "x"),
            ("NOT_FOUND: There is no such agent. [AGENT_UNKNOWN]", "  agent: nobody", "  known: "),
        ),
        (("",), ("INVALID_ARGUMENT: ", "[INVALID_REQUEST]", "  run.message: must be 1 to 131072 bytes")),
        (("--session", "no spaces", "x"), ("INVALID_ARGUMENT: ", "  run.session_id: must be at most 128")),
        (("--follow", "x"), ("INVALID_ARGUMENT: ", "  run_id: must be 30 characters of [0-9a-z]")),
        (("--follow", "a" * 30, "--after", "7"), ("DATA_LOSS: The run's events were lost. [RUN_LOG_LOST]",)),
    ],
    ids=["unknown agent", "empty message", "bad session", "bad run id", "another core's run"],
)
def test_it_prints_all_that_a_refusal_says(
    client: Client, arguments: Sequence[str], says: Sequence[str]
) -> None:
    """Code, message, ErrorInfo and BadRequest of google.rpc.Status; exit 1."""
    result = client.run(*arguments)
    assert result.returncode == 1, result.stderr
    for text in says:
        assert text in result.stderr


def test_plaintext_and_foreign_certificates_do_not_get_in(client: Client, tmp_path: Path) -> None:
    """Neither side speaks with a stranger: exit 3, in words."""
    core, foreign = client.core, Authority(tmp_path, "foreign authority")
    ours = core.security
    refused = {
        "plaintext": [],
        "no certificate": ours[:2],
        "a foreign certificate": security(core.authority.file, foreign.issue("billing")),
        "a foreign core": security(foreign.file, core.shown),
    }
    for what, options in refused.items():
        result = client.run(*options, "--agent", "echo", "x", secure=False)
        assert (result.returncode, result.stdout) == (3, ""), f"{what}: {result.stderr}"
        assert "UNAVAILABLE" in result.stderr, what
        assert "    at " not in result.stderr, what
    assert client.run(*ours, "--agent", "echo", "x", secure=False).returncode == 0


def test_a_signed_principal_owns_its_runs(client: Client, tmp_path: Path) -> None:
    """Alice's run is hers: the certificate's own name and Bob get NOT_FOUND, a wrong key UNAUTHENTICATED."""
    key, wrong = tmp_path / "principal.key", tmp_path / "wrong.key"
    key.write_text(f"{KEY}\n")
    wrong.write_text("x" * 40)
    as_alice = ("--principal", "alice", "--principal-key", str(key))
    result = client.run(*as_alice, "--agent", "echo", "--json", "a b c")
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    signed = (METADATA_KEY, sign_principal("alice", KEY))
    assert told(client.language, result) == expected(
        client.language, run_id, client.core.read(run_id, signed)
    )
    follow = ("--json", "--follow", run_id)
    assert client.run(*as_alice, *follow).stdout.count("\n") == result.stdout.count("\n")
    for other in ((), ("--principal", "bob", "--principal-key", str(key))):
        refused = client.run(*other, *follow)
        assert (refused.returncode, "[RUN_UNKNOWN]" in refused.stderr) == (1, True), refused.stderr
    forged = client.run("--principal", "alice", "--principal-key", str(wrong), *follow)
    assert (forged.returncode, "UNAUTHENTICATED" in forged.stderr) == (1, True), forged.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--cancel-after", "x", "y"), ("--after", "a.b", "--follow", "x"), ("--principal", "a", "x")],
    ids=["no message", "no number", "no cursor", "no key"],
)
def test_wrong_usage_is_exit_2(client: Client, arguments: Sequence[str]) -> None:
    """Before anything is sent, in words."""
    result = client.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "    at " not in result.stderr


@pytest.mark.needs("go")
def test_go_asks_again_when_its_core_dies(processes: Processes, go_client: Path) -> None:
    """Once a core is back it hears that the log was lost with the first one: exit 1, and no event twice."""
    address, process = processes.core()
    reader = processes.start(
        "go-client", [str(go_client), "--core", address, "--agent", "slow", "--json", "x"]
    )
    wait_until(lambda: reader.stdout.count("text_delta") >= 3, "three deltas")
    process.send(signal.SIGKILL)
    process.wait()
    processes.core(int(address.rpartition(":")[2]))
    assert (reader.wait(), "[RUN_LOG_LOST]" in reader.stderr) == (1, True), reader.stderr
    sequences = [int(json.loads(line)["sequence"]) for line in reader.stdout.splitlines()]
    assert sequences == list(range(1, len(sequences) + 1))


@pytest.mark.needs("go")
def test_go_gives_up_after_a_while_and_says_how_to_go_on(processes: Processes, go_client: Path) -> None:
    """No core for ten seconds: exit 4, with the last event's id."""
    address, process = processes.core()
    reader = processes.start(
        "go-client", [str(go_client), "--core", address, "--agent", "slow", "--json", "x"]
    )
    wait_until(lambda: reader.stdout.count("text_delta") >= 3, "three deltas")
    process.send(signal.SIGKILL)
    lost = time.monotonic()
    assert reader.wait() == 4
    assert 9 < time.monotonic() - lost < 20
    assert "UNAVAILABLE" in reader.stderr
    last = json.loads(reader.stdout.splitlines()[-1])
    assert f".1.{last['sequence']}" in reader.stderr


@pytest.fixture
def reflected(core: SecureCore) -> Iterator[tuple[grpc.Channel, DescriptorPool]]:
    """A channel, and what reflection tells over it: none of our generated code."""
    with core.channel() as channel:
        yield channel, DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def test_a_tool_that_has_only_reflection_can_call(
    reflected: tuple[grpc.Channel, DescriptorPool],
) -> None:
    """It finds the service, makes messages of its descriptors, and reads a run to its end, over mTLS."""
    channel, pool = reflected
    service = pool.FindServiceByName("tokenwire.v1.AgentService")
    method = service.methods_by_name["StreamRun"]
    make_request = message_factory.GetMessageClass(method.input_type)
    make_response = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_stream(
        f"/{service.full_name}/{method.name}",
        request_serializer=make_request.SerializeToString,
        response_deserializer=make_response.FromString,
    )
    request = json_format.ParseDict({"run": {"message": "a b", "agent": "echo"}}, make_request())
    responses = [json_format.MessageToDict(response) for response in call(request, timeout=20)]
    assert responses[-1]["events"][-1]["done"]["finalMessage"] == "a b "


@pytest.mark.needs("go")
@pytest.mark.timeout(BUILD_S)
def test_the_go_client_is_in_form_and_its_own_tests_pass() -> None:
    """Nothing for gofmt to change, nothing for go vet to say; a scripted core breaks its streams in vain."""
    go = Path(system.find("go") or "go")
    assert run_tool([go.resolve().parent / "gofmt", "-l", "."]) == ""
    run_tool([go, "vet", "./..."])
    run_tool([go, "test", "./..."])


@pytest.mark.needs("go")
@pytest.mark.timeout(BUILD_S)
def test_the_generated_go_code_is_current() -> None:
    """It is what the contract in proto/ gives today."""
    run_tool([GO_CLIENT / "generate.sh", "--check"])
