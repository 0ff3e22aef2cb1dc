"""`python -m agent_core` as an operator runs it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.support.core import stream_request
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = " ".join(f"{name}=tests.support.agents:{name}" for name in ("scripted", "slow", "blocks"))


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    given = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOKENWIRE_", "OTEL_"))
    }
    core = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent_core",
        cwd=ROOT,
        env=given | {"TOKENWIRE_GRPC_PORT": "0", "TOKENWIRE_AGENT": SCRIPTED, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield core
    finally:
        if core.returncode is None:
            core.kill()
            await core.wait()


async def ready(core: asyncio.subprocess.Process) -> str:
    assert core.stderr is not None
    async with asyncio.timeout(30):
        async for line in core.stderr:
            if found := re.search(rb"core ready on ([^\s\"]+)", line):
                return found[1].decode()
    raise AssertionError("the core did not get ready")


async def output(core: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(30):
        _, stderr = await core.communicate()
    return stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_an_idle_core_with_0(number: signal.Signals) -> None:
    """After it has served."""
    async with process() as core:
        async with grpc.aio.insecure_channel(await ready(core)) as channel:
            stub = AgentServiceStub(channel)
            events = [
                event async for response in stub.StreamRun(stream_request("")) for event in response.events
            ]
            assert events[-1].done.final_message
        core.send_signal(number)
        text = await output(core)
        assert core.returncode == 0, text
        assert "core stopped" in text
        assert "Traceback" not in text


async def test_sigterm_gives_runs_their_time_and_then_their_end(tmp_path: Path) -> None:
    """The client reads the terminal event, and the agent was cancelled."""
    path = tmp_path / "journal"
    async with process(TOKENWIRE_DRAIN_S="0.3", TOKENWIRE_TEST_JOURNAL=str(path)) as core:
        async with grpc.aio.insecure_channel(await ready(core)) as channel:
            call = AgentServiceStub(channel).StreamRun(stream_request("slow"))
            await call.read()
            core.terminate()
            last = None
            while (response := await call.read()) is not grpc.aio.EOF:
                last = response
            assert last is not None
            assert last.events[-1].error.details["reason"] == "CORE_SHUTDOWN"
        text = await output(core)
        assert core.returncode == 0, text
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["started", "cancelled"]


async def test_an_agent_that_does_not_stop_does_not_keep_the_process() -> None:
    """Exit status 0 all the same."""
    environment = {"TOKENWIRE_DRAIN_S": "0", "TOKENWIRE_STOP_GRACE_S": "0.1"}
    agent = "stuck=tests.support.agents:stuck"
    async with (
        process(TOKENWIRE_AGENT=agent, **environment) as core,
        grpc.aio.insecure_channel(await ready(core)) as channel,
    ):
        call = AgentServiceStub(channel).StreamRun(stream_request("stuck"))
        await call.read()
        core.terminate()
        text = await output(core)
        assert core.returncode == 0, text
        call.cancel()


@pytest.mark.parametrize(
    ("environment", "status", "said"),
    [
        ({"TOKENWIRE_STORE": "redis://127.0.0.1:1/0"}, 1, "Redis can't be used: "),
        ({"TOKENWIRE_AGENT": "a=no.such.module:x"}, 1, "there is no module 'no'"),
        ({"TOKENWIRE_AGENT": "a=tests.support.agents:nope"}, 1, "has no 'nope'"),
        ({"TOKENWIRE_AGENT": "a=tests.support.agents:JOURNAL"}, 1, "can't be called"),
        ({"TOKENWIRE_AGENT": "a=tests.support.agents:broken"}, 1, "did not start: OSError: no such model"),
        (
            {"TOKENWIRE_LOG_LEVEL": "inof"},
            2,
            "agent_core: TOKENWIRE_LOG_LEVEL: Input should be 'debug', 'info'",
        ),
        (
            {"TOKENWIRE_MODEL_URL": "nonsense"},
            2,
            "agent_core: TOKENWIRE_MODEL_URL: this must be a URL such as",
        ),
        ({"TOKENWIRE_GRPC_HOST": "192.0.2.1"}, 2, "agent_core: refusing to listen on 192.0.2.1"),
        (
            {
                "TOKENWIRE_GRPC_HOST": "192.0.2.1",
                "TOKENWIRE_PRINCIPAL_KEY": "k" * 32,
                "GRPC_VERBOSITY": "NONE",
            },
            1,
            "can't listen on 192.0.2.1:0: Cannot assign requested address",
        ),
        (
            {"TOKENWIRE_GRPC_TLS_CERT": "/no", "TOKENWIRE_GRPC_TLS_KEY": "/no"},
            2,
            "TOKENWIRE_GRPC_TLS_CERT=/no: No such file or directory",
        ),
        (
            {f"TOKENWIRE_GRPC_TLS_{name}": "x" for name in ("CERT", "KEY", "CLIENT_CA")},
            2,
            "TOKENWIRE_GRPC_TLS_CLIENT_CA needs TOKENWIRE_PRINCIPAL_KEY",
        ),
        (
            {"TOKENWIRE_PRINCIPAL_KEY": "k" * 32, "TOKENWIRE_SHARED_OWNER": "1"},
            2,
            "TOKENWIRE_SHARED_OWNER=true contradicts TOKENWIRE_PRINCIPAL_KEY",
        ),
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, 2, "OTEL_TRACES_EXPORTER"),
        (
            {"TOKENWIRE_AUTH": "keys"},
            2,
            "there are no API keys in TOKENWIRE_API_KEYS or TOKENWIRE_API_KEYS_FILE",
        ),
    ],
)
async def test_what_can_not_work_is_said_in_a_line(
    environment: dict[str, str], status: int, said: str
) -> None:
    """Non-zero, and no traceback."""
    async with process(**environment) as core:
        text = await output(core)
        assert core.returncode == status, text
        assert said in text
        assert "Traceback" not in text
        assert len(text.splitlines()) == 1, text


async def test_a_signal_while_agents_get_ready_ends_the_core() -> None:
    """Loading a model takes minutes; Ctrl-C does not."""
    async with process(TOKENWIRE_AGENT="late=tests.support.agents:late") as core:
        assert core.stderr is not None
        await asyncio.wait_for(core.stderr.readline(), 30)
        core.send_signal(signal.SIGINT)
        text = await output(core)
        assert core.returncode == 0, text
        assert "Traceback" not in text


async def test_an_agent_that_blocks_the_event_loop_is_named() -> None:
    """While it does: its run, its name and the line; and afterwards for how long. Healthy runs are not."""
    async with process(TOKENWIRE_LOG_FORMAT="json") as core:
        async with grpc.aio.insecure_channel(await ready(core)) as channel:
            stub = AgentServiceStub(channel)
            for agent, message in (("scripted", "x"), ("blocks", "2.5")):
                call = stub.StreamRun(stream_request(agent, message))
                events = [event async for response in call for event in response.events]
                assert events[-1].HasField("done")
            run_id = events[0].run_started.run_id
        core.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in (await output(core)).splitlines()]
    told = [line for line in lines if line["logger"] == "tokenwire.loop_watchdog"]
    stood, turns = told[0], told[-1]
    assert "has been blocked for 1." in stood["message"]
    assert re.search(r"tests/support/agents\.py:\d+ blocks", stood["message"])
    assert re.search(r"runs again: it was blocked for [23]\.", turns["message"])
    for line in told:
        assert (line["level"], line["run_id"], line["agent"]) == ("warning", run_id, "blocks")
