"""What the core refuses, and how; request ids; the services around the service."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2 as reflection

from agent_core.agents import assistant
from agent_core.log.budget import LogBudget
from agent_core.log.memory.log import MemoryLog
from agent_core.server import CoreServer, CoreStartError
from agent_core.settings import Settings
from tests.support import agents
from tests.support.core import Core, events_of, refusal_of, rest_of, running_core, stream_request
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, RunSpec


async def outcome(call: Any) -> object:
    return await call if isinstance(call, grpc.aio.UnaryUnaryCall) else await rest_of(call)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await outcome(call)
    return raised.value


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({}, ["run.message"]),
        ({"message": "x" * 131_073}, ["run.message"]),
        ({"message": "ä" * 65_537}, ["run.message"]),
        ({"message": "m", "session_id": "no spaces"}, ["run.session_id"]),
        ({"message": "m", "session_id": "s" * 129}, ["run.session_id"]),
        ({"message": "m", "session_id": "s\n"}, ["run.session_id"]),
        ({"message": "m", "session_id": "."}, ["run.session_id"]),
        ({"message": "m", "session_id": ".."}, ["run.session_id"]),
        ({"message": "m", "user_id": "u" * 257}, ["run.user_id"]),
        ({"message": "m", "on_disconnect": 9}, ["run.on_disconnect"]),
        ({"message": "m", "timeout": {"seconds": 0}}, ["run.timeout"]),
        ({"message": "m", "timeout": {"seconds": -1}}, ["run.timeout"]),
        ({"message": "m", "timeout": {"nanos": 1_000_000_000}}, ["run.timeout"]),
        ({"message": "m", "request_id": "r" * 129}, ["run.request_id"]),
        ({"message": "m", "request_id": "a\nb"}, ["run.request_id"]),
        ({"message": "m", "request_id": "a\x7f"}, ["run.request_id"]),
        ({"message": "m", "attributes": {str(n): "" for n in range(33)}}, ["run.attributes"]),
        ({"message": "m", "attributes": {"k" * 65: "", "v": "v" * 1025}}, ["run.attributes"] * 2),
        ({"message": "", "user_id": "u" * 257}, ["run.message", "run.user_id"]),
    ],
)
async def test_a_wrong_request_names_every_wrong_field(spec: dict[str, object], fields: list[str]) -> None:
    """INVALID_ARGUMENT with BadRequest, before anything is started."""
    async with running_core() as core:
        for call in (
            core.stub.StreamRun(pb.StreamRunRequest(run=RunSpec(**spec))),
            core.stub.StartRun(pb.StartRunRequest(run=RunSpec(**spec))),
        ):
            refusal = refusal_of(await refused(call))
            assert (refusal.code, refusal.info.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
            assert [violation.field for violation in refusal.bad_request.field_violations] == fields


async def test_the_longest_of_everything_is_accepted() -> None:
    """The limits are the last values that work."""
    async with running_core() as core:
        events = await core.events(
            "says_nothing",
            "ä" * 65_536,
            session_id="Az09._~:@-" * 12 + "12345678",
            user_id="ü" * 256,
            request_id="r" * 128,
            attributes={f"{n:064}": "v" * 1024 for n in range(32)},
            timeout={"seconds": 315_576_000_000},
        )
    assert events[-1].HasField("done")


async def test_an_unknown_agent_is_not_found_and_the_known_ones_are_named() -> None:
    """The default first; `assistant` is there too."""
    async with running_core() as core:
        refusal = refusal_of(await refused(core.stub.StreamRun(stream_request("nobody"))))
    assert (refusal.code, refusal.info.reason) == ("NOT_FOUND", "AGENT_UNKNOWN")
    known = refusal.info.metadata["known"].split()
    assert known[0] == "scripted"
    assert {"assistant", "flood"} < set(known)
    assert "pace" not in known, "it is for tests: only who names it has it"
    assert refusal.info.metadata["agent"] == "nobody"


async def test_the_first_agent_given_is_the_default() -> None:
    """Requests that name none get it."""
    async with running_core(agent="echo=tests.support.agents:echo slow=tests.support.agents:slow") as core:
        events = await core.events("")
    assert events[0].run_started.agent == "echo"


async def test_a_run_that_is_not_there_is_not_found_or_lost() -> None:
    """An id of this core's: unknown. Of another incarnation: lost with its log. No id: wrong."""
    async with running_core() as core:
        tag = core.server.manager.incarnation
        other = "aaaa" if tag != "aaaa" else "bbbb"
        for run_id, code, reason in (
            (tag + "a" * 26, "NOT_FOUND", "RUN_UNKNOWN"),
            (other + "a" * 26, "DATA_LOSS", "RUN_LOG_LOST"),
            ("nonsense", "INVALID_ARGUMENT", "INVALID_REQUEST"),
            ("", "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ):
            for call in (
                core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id)),
                core.stub.GetRun(pb.GetRunRequest(run_id=run_id)),
                core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id)),
            ):
                refusal = refusal_of(await refused(call))
                assert (refusal.code, refusal.info.reason) == (code, reason)


async def test_a_sessions_runs_come_by_pages_newest_first() -> None:
    """To their owner; the token of one page asks for the next."""
    async with running_core() as core:
        ids = [await core.start("echo", session_id="s") for _ in range(3) if await idle(core, "s")]
        told: list[str] = []
        request = pb.ListRunsRequest(session_id="s", page_size=2)
        while not told or request.page_token:
            page = await core.stub.ListRuns(request)
            told += [run.run_id for run in page.runs]
            request.page_token = page.next_page_token
        assert told == ids[::-1]
        assert not (await core.stub.ListRuns(pb.ListRunsRequest(session_id="other"))).runs


async def idle(core: Core, session_id: str) -> bool:
    """Return once no run of a session goes on."""
    while any(
        run.state != RUN_STATE_ENDED
        for run in (await core.stub.ListRuns(pb.ListRunsRequest(session_id=session_id))).runs
    ):
        await asyncio.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListRunsRequest(), "session_id"),
        (pb.ListRunsRequest(session_id="no spaces"), "session_id"),
        (pb.ListRunsRequest(session_id=".."), "session_id"),
        (pb.ListRunsRequest(session_id="s", page_size=101), "page_size"),
        (pb.ListRunsRequest(session_id="s", page_token="x"), "page_token"),  # noqa: S106 # no password
        (pb.ListRunsRequest(session_id="s", page_token=f"{10**20 - 1}.{'a' * 30}"), "page_token"),
    ],
)
async def test_a_wrong_page_is_refused(request_: pb.ListRunsRequest, field: str) -> None:
    """With the field's name."""
    async with running_core() as core:
        refusal = refusal_of(await refused(core.stub.ListRuns(request_)))
        assert refusal.code == "INVALID_ARGUMENT"
        assert [violation.field for violation in refusal.bad_request.field_violations] == [field]


async def test_an_agent_reads_what_its_session_said_before() -> None:
    """The text so far of a cancelled run too; nothing of a failed one, or of another principal's."""
    async with running_core() as core:
        await core.events("echo", "one", session_id="s")
        run_id = await core.start("slow", "two", session_id="s")
        async with asyncio.timeout(10):
            while (await core.run(run_id)).last.sequence < 2:
                await asyncio.sleep(0.01)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        await core.events("raises_after", "three", session_id="s")
        events = await core.events("recalls", session_id="s")
        assert events[-1].done.final_message.startswith(
            "user: one\nassistant: one \nuser: two\nassistant: Slow"
        )
        assert "three" not in events[-1].done.final_message
        assert (await core.events("recalls"))[-1].done.final_message == ""


async def test_a_forgotten_run_is_not_found_even_to_who_reads_it() -> None:
    """The log's retention is the run's."""
    async with running_core() as core:
        run_id = await core.start("silent")
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        await call.read()
        await core.server.manager._log.delete(run_id)
        refusal = refusal_of(await refused(call))
        assert refusal.info.reason == "RUN_UNKNOWN"


async def test_a_full_log_starts_no_run() -> None:
    """RESOURCE_EXHAUSTED, and when to try again."""
    server = CoreServer(
        Settings(grpc_port=0, agent="echo=tests.support.agents:echo"),
        log=MemoryLog(LogBudget(total_bytes=0)),
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = AgentServiceStub(channel).StreamRun(stream_request("echo"))
        refusal = refusal_of(await refused(call))
    await server.stop()
    assert (refusal.code, refusal.info.reason) == ("RESOURCE_EXHAUSTED", "LOG_FULL")
    assert refusal.retry.retry_delay.seconds == 5


async def test_a_run_that_outgrows_its_log_says_what_is_missing() -> None:
    """One who comes too late begins at the first event that is left; the terminal one always is."""
    async with running_core(log_run_events=16) as core:
        run_id = await core.start("echo", "word " * 100)
        await core.follow(run_id)
        run = await core.run(run_id)
        assert run.last.sequence == 103
        assert 15 <= run.last.sequence - run.first.sequence + 1 <= 16
        responses = await core.follow(run_id, 2)
        assert (responses[0].control.resync.first, responses[0].control.resync.last) == (run.first, run.last)
        assert responses[0].control.resync.reason == "trimmed"
        events = events_of(responses)
        assert [event.sequence for event in events] == list(range(run.first.sequence, 104))
        assert events[-1].HasField("done")


@pytest.mark.parametrize("limit", [{"max_run_events": 20}, {"max_run_bytes": 1000}])
async def test_a_run_that_says_too_much_is_ended(limit: dict[str, int]) -> None:
    """In its one terminal event, and what it said until then stands."""
    async with running_core(**limit) as core:
        events = await core.events("flood")
        assert (events[-1].error.code, events[-1].error.details["reason"]) == (
            "RESOURCE_EXHAUSTED",
            "RUN_TOO_LARGE",
        )
        assert 10 < len(events) < 30


async def test_a_repeated_request_names_the_run_that_it_started() -> None:
    """Live or ended, through either rpc, one after the other or all at once."""
    async with running_core() as core:
        calls = [core.events("scripted", request_id="r1") for _ in range(5)]
        streams = await asyncio.gather(*calls)
        assert all(events == streams[0] for events in streams)
        run_id = streams[0][0].run_started.run_id
        assert await core.events("scripted", request_id="r1") == streams[0]
        assert await core.start("scripted", "List three fruits.", request_id="r1") == run_id
        assert await core.events("scripted", request_id="r2") != streams[0]


async def test_a_request_id_used_for_something_else_is_refused() -> None:
    """Another body under the same id is a mistake of the caller's."""
    async with running_core() as core:
        run_id = await core.start("echo", "one", request_id="r1")
        call = core.stub.StreamRun(stream_request("echo", "two", request_id="r1"))
        refusal = refusal_of(await refused(call))
    assert (refusal.code, refusal.info.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert refusal.info.metadata["run_id"] == run_id


async def test_a_bug_of_the_core_tells_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """INTERNAL; the text stays in the log."""
    async with running_core() as core:
        monkeypatch.setattr(core.server.manager, "info", lambda _: 1 // 0)
        refusal = refusal_of(await refused(core.stub.GetRun(pb.GetRunRequest(run_id="a" * 30))))
    assert (refusal.code, refusal.info.reason) == ("INTERNAL", "CORE_FAILED")
    assert "zero" not in refusal.message


async def test_health_is_told_per_service_and_in_all() -> None:
    """And not for services that there are not."""
    async with running_core() as core:
        health = health_pb2_grpc.HealthStub(core.channel)
        for service in ("", "tokenwire.v1.AgentService"):
            response = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_the_services_and_their_files(version: str) -> None:
    """Enough to call every rpc without the protos, under both names of the protocol."""
    async with running_core() as core:
        ask = core.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.ServerReflectionResponse.FromString,
        )
        own = f"grpc.reflection.{version}.ServerReflection"
        requests = [
            reflection.ServerReflectionRequest(list_services=""),
            reflection.ServerReflectionRequest(file_containing_symbol="tokenwire.v1.AgentService"),
            reflection.ServerReflectionRequest(file_containing_symbol=own),
            reflection.ServerReflectionRequest(file_containing_symbol="tokenwire.v1.AgentService.CancelRun"),
            reflection.ServerReflectionRequest(file_containing_symbol="tokenwire.v1.AgentService.Nope"),
            reflection.ServerReflectionRequest(file_containing_symbol="Nope"),
        ]
        listed, files, own_files, method, *unknown = [answer async for answer in ask(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    assert names == {
        "tokenwire.v1.AgentService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    described = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in files.file_descriptor_response.file_descriptor_proto
    ]
    (service,) = (service for file in described for service in file.service)
    assert "StreamRun" in {method.name for method in service.method}
    assert method.file_descriptor_response == files.file_descriptor_response
    assert [answer.error_response.error_code for answer in unknown] == [
        grpc.StatusCode.NOT_FOUND.value[0]
    ] * 2
    (own_file,) = own_files.file_descriptor_response.file_descriptor_proto
    described_own = descriptor_pb2.FileDescriptorProto.FromString(own_file)
    assert described_own.package == f"grpc.reflection.{version}"
    assert (
        described_own.service[0].method[0].input_type == f".grpc.reflection.{version}.ServerReflectionRequest"
    )


async def test_an_agent_is_entered_before_serving_and_left_after_the_last_run() -> None:
    """Its model is in RunStarted."""
    agents.resource.steps.clear()
    async with running_core(agent="resource=tests.support.agents:resource") as core:
        assert agents.resource.steps == ["entered"]
        events = await core.events("resource")
        assert events[0].run_started.model == "resource-1"
        assert events[-1].done.final_message == "entered"
    assert agents.resource.steps == ["entered", "asked", "left"]


@pytest.mark.parametrize("named", ["", "assistant "])
async def test_a_built_in_agent_that_cannot_be_used_is_unavailable(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named or not, the core serves the others; a later request tries again."""
    monkeypatch.setattr(assistant, "assistant", agents.broken)
    async with running_core(agent=f"{named}echo=tests.support.agents:echo") as core:
        for _ in range(2):
            refusal = refusal_of(await refused(core.stub.StreamRun(stream_request("assistant"))))
            assert (refusal.code, refusal.info.reason) == ("UNAVAILABLE", "AGENT_UNAVAILABLE")
        assert (await core.events("echo"))[-1].HasField("done")


async def test_two_cores_cannot_share_a_port() -> None:
    """Each would know half of the runs."""
    async with running_core() as core:
        second = CoreServer(Settings(grpc_port=core.server.port, agent="echo=tests.support.agents:echo"))
        with pytest.raises(CoreStartError, match="can't listen"):
            await second.start()
        await second.agents.aclose()


async def test_two_agents_run_side_by_side() -> None:
    """Twenty runs at once, each whole."""
    async with running_core() as core:
        streams = await asyncio.gather(*(core.events("scripted") for _ in range(20)))
        for events in streams:
            assert events_of([pb.StreamRunResponse(events=events)])[-1].done.final_message
