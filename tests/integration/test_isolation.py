"""What is ann's does not exist for bob: through every route and every rpc that names a run or a session.

A new route or rpc fails here until it says how it is tried. One module, since that is one table of them all.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from litestar.routes import HTTPRoute

from edge.app import create_app
from edge.http.drain import Drain
from edge.settings import EdgeSettings
from tests.support.certificates import Authority
from tests.support.core import events_of, refusal_of
from tests.support.core import running_core as running_core_alone
from tests.support.link_client import opened
from tests.support.owners import NAMES, PRINCIPAL_KEY, PRIVATE, Users, store_settings, unknown_beside, users
from tests.support.sse_reader import events_of as events_in
from tests.support.stack import Stack, running_stack
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.link_pb2 import LinkCaller, LinkCancel, LinkRequest
from tokenwire.v1.run_pb2 import RUN_STATE_RUNNING, RunSpec

pytestmark = pytest.mark.usefixtures("transport")

SESSION: Final = "s1"
"""The name that both give their session."""

BOUNDED_S: Final = 20.0

OPEN: Final = ("/health/", "/schema", "/assets/")
"""Beside the page itself, what is the same for everybody."""

JSON: Final = {"accept": "application/json"}

STORES: Final = [
    ("keys", "memory"),
    ("jwt", "sqlite"),
    pytest.param(("keys", "redis"), marks=pytest.mark.needs("redis")),
]


@dataclass
class Edge:
    """A core and an edge, and what ann has there: a run that goes on, in a session with a history."""

    stack: Stack
    users: Users
    run_id: str

    async def ask(self, who: dict[str, str], message: str, agent: str, **headers: str) -> str:
        """Ask in the session that both have; return the answer."""
        body = {"message": message, "sessionId": SESSION, "agent": agent}
        answer = await self.stack.client.post("/api/chat", json=body, headers=who | headers)
        assert answer.status_code == 200, answer.text
        text: str = events_in(answer.text)[-1]["finalMessage"]
        return text

    async def start_slow(self, who: dict[str, str], key: str) -> httpx.Response:
        """Ask, in that session, for what takes a while."""
        body = {"message": PRIVATE, "sessionId": SESSION, "agent": "slow", "onDisconnect": "continue"}
        headers = who | JSON | {"idempotency-key": key}
        return await self.stack.client.post("/api/chat", json=body, headers=headers)


@pytest.fixture(params=STORES, ids=str)
async def edge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Edge]:
    """Ann has said something, and has a run that goes on."""
    auth, store = request.param
    given = users(auth, tmp_path)
    async with running_stack(store_settings(store, tmp_path), **given.settings) as stack:
        edge = Edge(stack, given, "")
        assert await edge.ask(given.ann, PRIVATE, "echo") == f"{PRIVATE} "
        edge.run_id = (await edge.start_slow(given.ann, "key")).json()["runId"]
        yield edge


async def unseen(edge: Edge, method: str, path: str, json: object = None) -> None:
    """Return when bob is told of ann's run what he is told of one that there is not."""
    answers = []
    for run_id in (edge.run_id, unknown_beside(edge.run_id)):
        answer = await edge.stack.client.request(
            method, path.format(run_id=run_id), headers=edge.users.bob, json=json
        )
        said = re.sub(r'"traceId":"[^"]*"', "", answer.text.replace(run_id, "RUN"))
        answers.append((answer.status_code, said))
    assert answers[0][0] == 404
    assert answers[0] == answers[1]


async def inputs_are_unseen(edge: Edge) -> None:
    """Return when bob can answer ann's run no more than one that there is not."""
    path = "/api/runs/{run_id}/inputs/1"
    await unseen(edge, "POST", path, json={"value": True})
    await unseen(edge, "POST", path, json={"decline": True})


async def timing_is_unseen(edge: Edge) -> None:
    """Return when bob can report on ann's run no more than on one that there is not."""
    report = {"token": "x", "sentMs": 1, "parts": [{"first": 1, "receivedMs": [1]}]}
    for run_id in (edge.run_id, unknown_beside(edge.run_id)):
        path = f"/api/runs/{run_id}/timing"
        assert (await edge.stack.client.post(path, json=report, headers=edge.users.bob)).status_code == 404


async def chat_is_apart(edge: Edge) -> None:
    """Neither history, nor a busy session, nor a request's key, nor a resumed run is shared."""
    client, bob = edge.stack.client, edge.users.bob
    assert await edge.ask(bob, "hi", "recalls") == ""
    assert await edge.ask(bob, "hello", "echo") == "hello "
    assert await edge.ask(bob, "hi", "recalls") == "user: hello\nassistant: hello \n"
    mine = await edge.start_slow(bob, "key")
    assert mine.status_code == 202
    assert mine.json()["runId"] != edge.run_id
    assert (await edge.start_slow(edge.users.ann, "key")).json()["runId"] == edge.run_id
    body = {"message": "hi", "sessionId": SESSION, "agent": "echo"}
    resumed = await client.post("/api/chat", json=body, headers=bob | {"last-event-id": f"{edge.run_id}.1.1"})
    assert resumed.status_code == 404


async def session_is_empty(edge: Edge) -> None:
    """Bob's session of that name has only his runs, and ann's only hers."""
    path = f"/api/sessions/{SESSION}/runs"
    before = (await edge.stack.client.get(path, headers=edge.users.bob)).json()
    assert before == {"runs": [], "nextPageToken": ""}
    page = (await edge.stack.client.get(f"{path}?pageSize=1", headers=edge.users.ann)).json()
    assert [run["runId"] for run in page["runs"]] == [edge.run_id]
    params = {"pageToken": page["nextPageToken"]}
    assert (await edge.stack.client.get(path, headers=edge.users.bob, params=params)).json()["runs"] == []
    assert len((await edge.stack.client.get(path, headers=edge.users.ann, params=params)).json()["runs"]) == 1


async def transcript_is_empty(edge: Edge) -> None:
    """Bob's session of that name has only his turns; ann's has what she said, which goes on."""
    path = f"/api/sessions/{SESSION}/transcript"
    before = (await edge.stack.client.get(path, headers=edge.users.bob)).json()
    assert before == {"turns": [], "nextPageToken": ""}
    first = {"pageSize": "1", "order": "newest"}
    page = (await edge.stack.client.get(path, headers=edge.users.ann, params=first)).json()
    turn = page["turns"][0]
    assert (turn["runId"], turn["message"], turn["text"]) == (edge.run_id, PRIVATE, None)
    second = first | {"pageToken": page["nextPageToken"]}
    assert (await edge.stack.client.get(path, headers=edge.users.bob, params=second)).json()["turns"] == []
    page = (await edge.stack.client.get(path, headers=edge.users.ann, params=second)).json()
    assert [(turn["message"], turn["text"]) for turn in page["turns"]] == [(PRIVATE, f"{PRIVATE} ")]


async def ai_sdk_chat_is_apart(edge: Edge) -> None:
    """A chat id that both use is a chat of each, and the same question is a run of each."""
    message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": PRIVATE}]}
    asked = []
    for who, agent in ((edge.users.ann, "echo"), (edge.users.bob, "recalls"), (edge.users.bob, "echo")):
        body = {"id": f"chat-{agent}", "messages": [message]}
        params = {"agent": agent}
        asked.append(await edge.stack.client.post("/api/ai-sdk/chat", json=body, headers=who, params=params))
    assert [answer.status_code for answer in asked] == [200] * 3
    assert PRIVATE not in asked[1].text
    assert len({answer.headers["run-id"] for answer in asked}) == 3


async def ai_sdk_stream_is_unseen(edge: Edge) -> None:
    """Neither by the run's id, nor by the chat's, which means bob's own: he has stopped it."""
    for run_id in (edge.run_id, unknown_beside(edge.run_id)):
        told = await edge.stack.client.get(f"/api/ai-sdk/chat/{run_id}/stream", headers=edge.users.bob)
        assert told.status_code == 404
    told = await edge.stack.client.get(f"/api/ai-sdk/chat/{SESSION}/stream", headers=edge.users.bob)
    assert told.status_code == 200
    assert told.text.endswith("data: [DONE]\n\n")
    assert edge.run_id not in told.text


async def ai_sdk_stop_is_apart(edge: Edge) -> None:
    """Bob stops what is his: ann's run of that chat goes on."""
    for chat_id in (SESSION, edge.run_id):
        told = await edge.stack.client.post(f"/api/ai-sdk/chat/{chat_id}/stop", headers=edge.users.bob)
        assert told.status_code == 204
    state = await edge.stack.client.get(f"/api/runs/{edge.run_id}", headers=edge.users.ann)
    assert state.json()["state"] == "running"


async def ag_ui_is_apart(edge: Edge) -> None:
    """A thread and a run that both name alike are those of each."""
    message = {"id": "u1", "role": "user", "content": PRIVATE}
    body = {"threadId": "thread", "runId": "r1", "messages": [message]}
    asked = []
    for who, agent in ((edge.users.ann, "echo"), (edge.users.bob, "recalls")):
        path = f"/api/ag-ui?agent={agent}"
        asked.append(await edge.stack.client.post(path, json=body, headers=who))
    assert [answer.status_code for answer in asked] == [200] * 2
    assert PRIVATE not in asked[1].text
    assert asked[0].headers["run-id"] != asked[1].headers["run-id"]


async def completions_are_apart(edge: Edge) -> None:
    """The same question under the same key is a run of each; nothing is remembered for anyone."""
    body = {"model": "recalls", "messages": [{"role": "user", "content": PRIVATE}]}
    asked = [
        await edge.stack.client.post(
            "/v1/chat/completions", json=body, headers=who | {"idempotency-key": "k9"}
        )
        for who in (edge.users.ann, edge.users.bob)
    ]
    assert [answer.json()["choices"][0]["message"]["content"] for answer in asked] == ["", ""]
    assert asked[0].headers["run-id"] != asked[1].headers["run-id"]


async def models_are_the_same(edge: Edge) -> None:
    """All who may ask may ask every agent; nothing of anyone's runs is told."""
    asked = [
        await edge.stack.client.get("/v1/models", headers=who) for who in (edge.users.ann, edge.users.bob)
    ]
    assert asked[0].json() == asked[1].json()
    assert (await edge.stack.client.get("/v1/models")).status_code == 401


async def metrics_name_nobody(edge: Edge) -> None:
    """Return when the numbers, which all may read, name neither ann nor her run nor her session."""
    page = (await edge.stack.client.get("/metrics", headers=edge.users.bob)).text
    assert "tokenwire_event_loop_lag_seconds" in page
    assert not [name for name in ("ann", edge.run_id, f'"{SESSION}"') if name in page]


ROUTES: Final[dict[tuple[str, str], Callable[[Edge], Awaitable[None]]]] = {
    ("GET", "/api/sessions/{session_id}/runs"): session_is_empty,
    ("GET", "/api/sessions/{session_id}/transcript"): transcript_is_empty,
    ("GET", "/api/runs/{run_id}"): lambda edge: unseen(edge, "GET", "/api/runs/{run_id}"),
    ("GET", "/api/runs/{run_id}/events"): lambda edge: unseen(edge, "GET", "/api/runs/{run_id}/events"),
    ("POST", "/api/runs/{run_id}/cancel"): lambda edge: unseen(edge, "POST", "/api/runs/{run_id}/cancel"),
    ("POST", "/api/runs/{run_id}/inputs/{input_id}"): inputs_are_unseen,
    ("POST", "/api/runs/{run_id}/ticket"): lambda edge: unseen(edge, "POST", "/api/runs/{run_id}/ticket"),
    ("POST", "/api/runs/{run_id}/timing"): timing_is_unseen,
    ("POST", "/api/chat"): chat_is_apart,
    ("POST", "/api/ai-sdk/chat"): ai_sdk_chat_is_apart,
    ("POST", "/api/ai-sdk/chat/{chat_id}/stop"): ai_sdk_stop_is_apart,
    ("GET", "/api/ai-sdk/chat/{chat_id}/stream"): ai_sdk_stream_is_unseen,
    ("POST", "/api/ag-ui"): ag_ui_is_apart,
    ("GET", "/api/ag-ui/runs/{run_id}"): lambda edge: unseen(edge, "GET", "/api/ag-ui/runs/{run_id}"),
    ("POST", "/v1/chat/completions"): completions_are_apart,
    ("GET", "/v1/models"): models_are_the_same,
    ("GET", "/metrics"): metrics_name_nobody,
}
"""How bob tries to get at what is ann's, through each route."""


def test_every_route_that_could_name_a_run_is_tried() -> None:
    """A new one fails here until it has its line above."""
    app = create_app(EdgeSettings(), Drain())
    routes = {
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute) and not (route.path_format == "/" or route.path.startswith(OPEN))
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    assert routes == {*ROUTES}


async def test_what_is_anns_does_not_exist_for_bob_at_the_edge(edge: Edge) -> None:
    """He can't see, follow, stop, list or get a ticket for it; and ann's run goes on meanwhile."""
    for attack in ROUTES.values():
        await attack(edge)
    path = f"/api/runs/{edge.run_id}"
    assert (await edge.stack.client.get(path, headers=edge.users.ann)).json()["state"] == "running"
    ticket = (await edge.stack.client.post(f"{path}/ticket", headers=edge.users.ann)).json()["ticket"]
    assert (await edge.stack.client.get(path, params={"ticket": ticket})).status_code == 401
    assert (await edge.stack.client.post(f"{path}/cancel", headers=edge.users.ann)).status_code == 200
    assert (await edge.stack.client.get(f"{path}/events", headers=edge.users.ann)).status_code == 200
    told = await edge.ask(edge.users.ann, "and now?", "recalls")
    assert told.startswith(f"user: {PRIVATE}\nassistant: {PRIVATE} \n")


Metadata: TypeAlias = tuple[tuple[str, str], ...]


def signed(who: str) -> Metadata:
    """Return the metadata with which an edge calls for a user."""
    return ((METADATA_KEY, sign_principal(who, PRINCIPAL_KEY)),)


@dataclass
class Calls:
    """A core, and ann's run at it."""

    stub_of: Callable[[str], AgentServiceStub]
    """How each user reaches it."""
    run_id: str = ""
    proof: Callable[[str], Metadata] = signed
    """What each user proves who they are by, beside the connection."""

    async def start(self, who: str, agent: str, message: str = "hi", **spec: object) -> str:
        """Start a run in the session that both have."""
        run = RunSpec(agent=agent, message=message, session_id=SESSION, **spec)
        started: pb.StartRunResponse = await self.call(who, "StartRun", pb.StartRunRequest(run=run))
        return started.run.run_id

    async def answer(self, who: str, run_id: str) -> str:
        """Return what a run says, once it has ended."""
        call = self.call(who, "FollowRun", pb.FollowRunRequest(run_id=run_id))
        return events_of([response async for response in call])[-1].done.final_message

    def call(self, who: str, method: str, *request: Message) -> Any:
        """Call an rpc for a user."""
        rpc = getattr(self.stub_of(who), method)
        return rpc(*request, metadata=self.proof(who), timeout=BOUNDED_S)


async def refused_alike(calls: Calls, method: str, request: Callable[..., Any]) -> None:
    """Return when bob is told of ann's run what he is told of one that there is not."""
    refusals = []
    for run_id in (calls.run_id, unknown_beside(calls.run_id)):
        call = calls.call("bob", method, request(run_id=run_id))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if hasattr(call, "read") else call)
        refusal = refusal_of(caught.value)
        refusals.append((refusal.code, refusal.info.reason, refusal.message.replace(run_id, "RUN")))
    assert refusals[0][:2] == ("NOT_FOUND", "RUN_UNKNOWN")
    assert refusals[0] == refusals[1]


async def starts_are_apart(calls: Calls) -> None:
    """Neither history, nor a busy session, nor a request's id is shared."""
    assert await calls.answer("bob", await calls.start("bob", "recalls")) == ""
    assert await calls.start("bob", "slow", PRIVATE, request_id="r1") != calls.run_id
    assert await calls.start("ann", "slow", PRIVATE, request_id="r1") == calls.run_id


async def streams_are_apart(calls: Calls) -> None:
    """The same through the rpc that streams what it starts."""
    run = RunSpec(agent="recalls", message="hi", session_id=SESSION)
    call = calls.call("cleo", "StreamRun", pb.StreamRunRequest(run=run))
    assert events_of([response async for response in call])[-1].done.final_message == ""


async def list_is_empty(calls: Calls) -> None:
    """A session of the same name is another one."""
    request = pb.ListRunsRequest(session_id=SESSION)
    listed = await calls.call("dave", "ListRuns", request)
    assert listed == pb.ListRunsResponse()
    listed = await calls.call("ann", "ListRuns", request)
    assert listed.runs[0].run_id == calls.run_id


async def transcript_is_anothers(calls: Calls) -> None:
    """A session of the same name is another one, and only its owner is told what was said in a run."""
    request = pb.GetTranscriptRequest(session_id=SESSION)
    told = await calls.call("dave", "GetTranscript", request)
    assert told == pb.GetTranscriptResponse()
    told = await calls.call("ann", "GetTranscript", request)
    assert told.turns[-1].run.run_id == calls.run_id
    assert {turn.run.message for turn in told.turns} == {PRIVATE}


async def run_is_refused_with_its_message(calls: Calls) -> None:
    """Neither its state nor what was said is told."""

    def with_message(run_id: str) -> pb.GetRunRequest:
        return pb.GetRunRequest(run_id=run_id, include_message=True)

    await refused_alike(calls, "GetRun", pb.GetRunRequest)
    await refused_alike(calls, "GetRun", with_message)
    told = await calls.call("ann", "GetRun", with_message(calls.run_id))
    assert told.run.message == PRIVATE


async def names_nothing(calls: Calls) -> None:
    """The rpc's request has no fields, and its answer no run."""
    del calls
    assert not pb.GetCoreRequest.DESCRIPTOR.fields


async def links_are_apart(calls: Calls) -> None:
    """Each start, follow and cancel is its own caller's; a key or a token of a user opens no link."""
    proof = dict(calls.proof("bob"))
    if "authorization" in proof:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.call("bob", "Link").read()
        assert refusal_of(caught.value).info.reason == "LINK_NOT_ALLOWED"
        return
    bob = LinkCaller(principal_token=proof.get(METADATA_KEY, ""))
    async with opened(calls.call("bob", "Link")) as link:
        await link.hello()
        await link.send(LinkRequest(cancel=LinkCancel(run_id=calls.run_id, caller=bob)))
        await link.follow(1, calls.run_id, caller=bob)
        await link.follow(2, unknown_beside(calls.run_id), caller=bob)
        await link.start(3, "slow", PRIVATE, session_id=SESSION, request_id="r1", caller=bob)
        errors = [(await link.ended(follow_id)).end.error for follow_id in (1, 2)]
        await link.until(lambda: bool(link.batches(3)))
        assert link.run_id(3) != calls.run_id
    for error in errors:
        error.trace_id = ""
    assert (errors[0].code, errors[0].details["reason"]) == ("NOT_FOUND", "RUN_UNKNOWN")
    assert errors[0] == errors[1]


ANSWER: Final[dict[str, Any]] = {"input_id": "1", "value_json": "true"}

RPCS: Final[dict[str, Callable[[Calls], Awaitable[None]]]] = {
    "FollowRun": lambda calls: refused_alike(calls, "FollowRun", pb.FollowRunRequest),
    "GetRun": run_is_refused_with_its_message,
    "SendInput": lambda calls: refused_alike(calls, "SendInput", partial(pb.SendInputRequest, **ANSWER)),
    "CancelRun": lambda calls: refused_alike(calls, "CancelRun", pb.CancelRunRequest),
    "StartRun": starts_are_apart,
    "StreamRun": streams_are_apart,
    "ListRuns": list_is_empty,
    "GetTranscript": transcript_is_anothers,
    "GetCore": names_nothing,
    "Link": links_are_apart,
}
"""How others try to get at what is ann's, through each rpc."""


def test_every_rpc_is_tried() -> None:
    """A new one fails here until it has its line above."""
    assert {*RPCS} == {method.name for method in pb.DESCRIPTOR.services_by_name["AgentService"].methods}


@pytest.mark.parametrize(
    "store", ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis"))]
)
async def test_what_is_anns_does_not_exist_for_bob_at_the_core(store: str, tmp_path: Path) -> None:
    """By signed principals, as edges call. Her run goes on, and her history is hers."""
    async with running_core_alone(**store_settings(store, tmp_path)) as core:
        await all_rpcs_are_apart(Calls(lambda _who: core.stub))


async def all_rpcs_are_apart(calls: Calls) -> None:
    """Try each rpc on what is ann's."""
    assert await calls.answer("ann", await calls.start("ann", "echo", PRIVATE)) == f"{PRIVATE} "
    calls.run_id = await calls.start("ann", "slow", PRIVATE, request_id="r1")
    for attack in RPCS.values():
        await attack(calls)
    state = await calls.call("ann", "GetRun", pb.GetRunRequest(run_id=calls.run_id))
    assert state.run.state == RUN_STATE_RUNNING
    await calls.call("ann", "CancelRun", pb.CancelRunRequest(run_id=calls.run_id))
    assert (await calls.answer("ann", calls.run_id)).startswith("Slow")
    told = await calls.answer("ann", await calls.start("ann", "recalls"))
    assert told.startswith(f"user: {PRIVATE}\n")


@pytest.mark.parametrize("auth", ["keys", "jwt"])
async def test_bearers_keep_users_apart_at_the_core(auth: str, tmp_path: Path) -> None:
    """As signed principals do, with and without a principal key beside them."""
    given = users(auth, tmp_path)
    key = "" if auth == "keys" else PRINCIPAL_KEY
    async with running_core_alone(**given.settings | {"principal_key": key}) as core:
        await all_rpcs_are_apart(Calls(lambda _who: core.stub, proof=lambda who: (*given.of(who).items(),)))


async def test_certificates_keep_services_apart_at_the_core(tmp_path: Path) -> None:
    """By their common names, without anything in the metadata."""
    authority = Authority(tmp_path)
    shown = authority.issue("core")
    tls = {"grpc_tls_cert": shown.cert, "grpc_tls_key": shown.key, "grpc_tls_client_ca": authority.file}
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(running_core_alone(principal_key=PRINCIPAL_KEY, **tls))
        stubs = {}
        for name in NAMES:
            theirs = authority.issue(name)
            credentials = grpc.ssl_channel_credentials(
                authority.file.read_bytes(), theirs.key.read_bytes(), theirs.cert.read_bytes()
            )
            channel = grpc.aio.secure_channel(f"localhost:{core.server.port}", credentials)
            stubs[name] = AgentServiceStub(await stack.enter_async_context(channel))
        await all_rpcs_are_apart(Calls(stubs.__getitem__, proof=lambda _who: ()))


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis"))])
async def test_a_new_key_takes_nothing_from_anybody(store: str, tmp_path: Path) -> None:
    """Runs and histories belong to names: `tokenwire up` makes another key each time that it is started."""
    settings = store_settings(store, tmp_path)
    async with running_core_alone(**settings) as core:
        calls = Calls(lambda _who: core.stub)
        run_id = await calls.start("ann", "echo", PRIVATE, request_id="r1")
        assert await calls.answer("ann", run_id) == f"{PRIVATE} "
    async with running_core_alone(**settings | {"principal_key": "n" * 32}) as core:
        stub, request = core.stub, pb.GetRunRequest(run_id=run_id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetRun(request, metadata=signed("ann"))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        ann = ((METADATA_KEY, sign_principal("ann", "n" * 32)),)
        assert (await stub.GetRun(request, metadata=ann)).run.run_id == run_id
        start = pb.StartRunRequest(
            run=RunSpec(agent="echo", message=PRIVATE, session_id=SESSION, request_id="r1")
        )
        assert (await stub.StartRun(start, metadata=ann)).run.run_id == run_id
