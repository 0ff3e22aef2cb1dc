"""The core's port towards strangers: who calls is checked first, and nothing can be held without bound."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc.aio._server import Server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from agent_core.rpc import calls, listening
from tests.support.core import Core, refusal_of, rest_of, running_core
from tokenwire.principal import METADATA_KEY, sign_principal

KEY = "k" * 32
GARBAGE = b"\xff" * 100

FOR_EVERYBODY = {f"/grpc.health.v1.Health/{method}" for method in ("Check", "List", "Watch")}
"""What probes may call without credentials."""

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """Return with what a call ends that gives nothing."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await rest_of(call)
    return raised.value


def raw(core: Core, method: str, *requests: bytes, signed: bool = False) -> Any:
    """Return a call of any method with any bytes; it stays open for more requests when there are none."""
    metadata = [(METADATA_KEY, sign_principal("alice", KEY))] if signed else []
    if not requests:
        return core.channel.stream_stream(method)(metadata=metadata)
    return core.channel.stream_stream(method)(iter(requests), metadata=metadata)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Collect the methods that a server is given, by whatever way."""
    methods: set[str] = set()
    add = Server.add_generic_rpc_handlers

    def collect(server: Server, handlers: Any) -> None:
        for handler in handlers:
            methods.update(handler._method_handlers)
        add(server, handlers)

    def refuse(*_: object) -> None:
        raise AssertionError("a service is registered past the check of callers")

    monkeypatch.setattr(Server, "add_generic_rpc_handlers", collect)
    monkeypatch.setattr(Server, "add_registered_method_handlers", refuse)
    return methods


async def test_every_method_checks_its_caller_before_it_reads(
    registered: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No request is sent at all: a call without credentials is refused by its metadata alone."""
    async with running_core(principal_key=KEY) as core:
        assert len(registered) >= 13
        for method in registered - FOR_EVERYBODY:
            told = refusal_of(await refusal(raw(core, method)))
            assert (told.code, told.info.reason) == ("UNAUTHENTICATED", "PRINCIPAL_MISSING"), method
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_no_method_trips_over_what_it_cannot_decode(
    registered: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """INVALID_ARGUMENT in the core's own words, and no traceback."""
    async with running_core(principal_key=KEY) as core:
        assert len(registered) >= 13
        for method in registered:
            told = refusal_of(await refusal(raw(core, method, GARBAGE, signed=method not in FOR_EVERYBODY)))
            assert (told.code, told.info.reason) == ("INVALID_ARGUMENT", "REQUEST_UNREADABLE"), method
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_every_method_that_is_served_is_told_by_reflection(registered: set[str]) -> None:
    """And none besides: what tools see is what is checked above."""
    async with running_core() as core:
        with grpc.insecure_channel(f"127.0.0.1:{core.server.port}") as channel:
            told = await asyncio.to_thread(_methods, channel)
    assert told == registered


def _methods(channel: grpc.Channel) -> set[str]:
    """Return the methods of all services that reflection tells of."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    return {
        f"/{name}/{method.name}"
        for name in database.get_services()
        for method in pool.FindServiceByName(name).methods
    }


async def test_watches_and_reflections_that_are_held_open_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They need no run and no credentials: beyond the limit of a host they are refused, until one ends."""
    monkeypatch.setattr(calls, "MAX_HELD_PER_HOST", 3)
    async with running_core() as core:
        health = health_pb2_grpc.HealthStub(core.channel)

        def watch() -> Any:
            return health.Watch(health_pb2.HealthCheckRequest())

        reflecting = core.channel.stream_stream(REFLECTION)()
        await reflecting.write(b"")
        assert await reflecting.read()
        watches = [watch() for _ in range(2)]
        for held in watches:
            assert (await held.read()).status == health_pb2.HealthCheckResponse.SERVING
        told = refusal_of(await refusal(watch()))
        assert (told.code, told.info.reason) == ("RESOURCE_EXHAUSTED", "OPEN_STREAMS_LIMIT")
        told = refusal_of(await refusal(core.channel.stream_stream(REFLECTION)()))
        assert told.info.reason == "OPEN_STREAMS_LIMIT"
        # What a probe asks, and runs, are not held up by it.
        await health.Check(health_pb2.HealthCheckRequest())
        assert (await core.events("echo"))[-1].HasField("done")
        for held in (*watches, reflecting):
            held.cancel()
        async with asyncio.timeout(10):
            while True:
                again = watch()
                try:
                    await again.read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)
        again.cancel()


async def test_a_watch_is_told_each_change_of_a_service() -> None:
    """Unknown ones as well; when the core goes down all are told before their call ends."""
    async with running_core() as core:
        health = health_pb2_grpc.HealthStub(core.channel)
        known = health.Watch(health_pb2.HealthCheckRequest(service="tokenwire.v1.AgentService"))
        unknown = health.Watch(health_pb2.HealthCheckRequest(service="nope"))
        states = health_pb2.HealthCheckResponse
        assert (await known.read()).status == states.SERVING
        assert (await unknown.read()).status == states.SERVICE_UNKNOWN
        listed = await health.List(health_pb2.HealthListRequest())
        assert set(listed.statuses) == {"", "tokenwire.v1.AgentService"}
        stopping = asyncio.create_task(core.server.stop())
        assert (await known.read()).status == states.NOT_SERVING
        await stopping


async def test_a_request_that_does_not_come_ends_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was opened and says nothing is not held for as long as its caller likes."""
    monkeypatch.setattr(calls, "REQUEST_S", 0.1)
    async with running_core() as core:
        told = refusal_of(await refusal(raw(core, "/tokenwire.v1.AgentService/StartRun")))
    assert (told.code, told.info.reason) == ("DEADLINE_EXCEEDED", "REQUEST_TIMEOUT")


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_request_is_read_up_to_what_a_valid_one_may_have(
    compression: grpc.Compression, caplog: pytest.LogCaptureFixture
) -> None:
    """Zeros that gzip has made small count in full; and a refusal of gRPC's own leaves no traceback."""
    async with running_core(max_message_bytes=1000) as core:
        start = core.channel.unary_unary("/tokenwire.v1.AgentService/StartRun")
        for size, code in ((200_000, "INVALID_ARGUMENT"), (300_000, "RESOURCE_EXHAUSTED")):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await start(bytes(size), compression=compression)
            assert raised.value.code().name == code
        assert (await core.events("echo"))[-1].HasField("done")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What an HTTP/2 client says first: the preface, and SETTINGS without any.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-3.4
"""


def _settings(port: int) -> dict[int, int]:
    """Return the SETTINGS with which the core greets a connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as file:
        connection.sendall(PREFACE)
        header = file.read(9)
        assert header[3] == 4
        payload = file.read(int.from_bytes(header[:3], "big"))
    return dict(struct.iter_unpack(">HI", payload))


async def test_a_connection_has_room_for_all_streams_and_no_more() -> None:
    """An edge opens all its streams on one connection: what does not fit would wait without a word."""
    async with running_core(max_follows=50) as core:
        told = await asyncio.to_thread(_settings, core.server.port)
        assert told[3] == 50 + listening.UNARY_STREAMS
        assert told[6] == listening.MAX_METADATA_BYTES
    async with running_core(max_follows=0) as core:
        assert 3 not in await asyncio.to_thread(_settings, core.server.port)


@pytest.mark.parametrize(("limit", "said"), [("HANDSHAKE_S", b""), ("IDLE_CONNECTION_S", PREFACE)])
async def test_a_connection_that_does_nothing_is_closed(
    limit: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it says nothing at all, or greets and then makes no call."""
    monkeypatch.setattr(listening, limit, 1)
    async with running_core() as core:
        reader, writer = await asyncio.open_connection("127.0.0.1", core.server.port)
        writer.write(said)
        async with asyncio.timeout(20):
            while await reader.read(65_536):
                pass
        writer.close()


async def test_calls_that_are_gone_before_they_are_refused_leave_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A flood of calls that are reset at once: there is nobody to tell, and nothing to log."""
    async with running_core(principal_key=KEY) as core:
        for _ in range(100):
            gone = [raw(core, "/tokenwire.v1.AgentService/GetRun") for _ in range(5)]
            gone += [raw(core, "/grpc.health.v1.Health/Watch", b"") for _ in range(5)]
            await asyncio.sleep(0.002)
            for call in gone:
                call.cancel()
        told = refusal_of(await refusal(raw(core, "/tokenwire.v1.AgentService/GetRun")))
        assert told.code == "UNAUTHENTICATED"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
