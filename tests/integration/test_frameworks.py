"""Agents of other libraries, as they are, in a core that has these: the real ones, with scripted models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio

from tests.support import system
from tests.support.core import events_of, stream_request
from tests.support.processes import (
    ROOT,
    Processes,
    Running,
    clean_environment,
    core_is_serving,
    free_port,
)
from tests.support.scripted_endpoint import Endpoint, calls, responds, running_endpoint, says, stalls
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import (
    FINISH_REASON_CANCELLED,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_LIMIT,
    Event,
)

pytestmark = [
    pytest.mark.needs("frameworks"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("frameworks"),
]

AGENTS = "tests.support.framework_agents"
NAMES = (
    *("graph", "graph_with_memory", "reporting_graph", "approving_graph", "looping_graph", "refusing_graph"),
    *("chain", "model", "shouting", "answering", "using_tools", "assistant", "responder"),
)
LOAD = """
import sys
from agent_core.agents.loading import AgentLoadError, AgentSource, load_agent
for place in sys.argv[1:]:
    try:
        print(type(load_agent(AgentSource("mine", *place.split(":")))).__name__, end="\\0")
    except AgentLoadError as error:
        print(error, end="\\0")
"""
"""Says what each object is loaded as, or why it is refused."""


@dataclass
class Core:
    """A core with agents of all libraries."""

    stub: Any
    endpoint: Endpoint
    processes: Processes
    process: Running

    def log(self) -> str:
        """Return what the core has logged."""
        return self.process.stdout + self.process.stderr

    async def ask(self, agent: str, message: str, session: str = "") -> list[Event]:
        """Return the events of a run."""
        call = self.stub.StreamRun(stream_request(agent, message, session_id=session, user_id="ann"))
        return events_of([response async for response in call])

    async def stopped(self, agent: str, message: str, at: str) -> Event:
        """Return the end of a run that is stopped when it has said something."""
        call = self.stub.StreamRun(stream_request(agent, message))
        events: list[Event] = []
        async for response in call:
            events += response.events
            if any(event.text_delta.content == at for event in response.events):
                await self.stub.CancelRun(pb.CancelRunRequest(run_id=events[0].run_started.run_id))
        return events[-1]


def start(processes: Processes, names: tuple[str, ...], endpoint: str) -> tuple[str, Running]:
    """Start a core under the interpreter that has the libraries; return its address, before it is ready."""
    address = f"127.0.0.1:{(port := free_port())}"
    agents = [word for name in names for word in ("--agent", f"{name}={AGENTS}:{name}")]
    main = "from tokenwire.cli import main; main()"
    command = [system.find("frameworks") or "", "-c", main, "core", "--grpc-port", str(port), *agents]
    return address, processes.start("core", command, {"TOKENWIRE_TEST_ENDPOINT": endpoint})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def core(module_processes: Processes) -> AsyncIterator[Core]:
    """One for all: it takes seconds to import all of them."""
    async with running_endpoint() as endpoint:
        address, process = start(module_processes, NAMES, endpoint.url)
        process.wait_ready(lambda: core_is_serving(address))
        async with grpc.aio.insecure_channel(address) as channel:
            yield Core(AgentServiceStub(channel), endpoint, module_processes, process)


def pieces(events: list[Event]) -> list[str]:
    """Return the texts of a run, piece by piece."""
    return [event.text_delta.content for event in events if event.HasField("text_delta")]


def tools(events: list[Event]) -> list[tuple[str, str, bool]]:
    """Return the tool calls of a run: name, arguments or result, whether it is an error; ids must fit."""
    starts = {event.tool_start.call_id: event.tool_start for event in events if event.HasField("tool_start")}
    told = []
    for event in events:
        if event.HasField("tool_start"):
            told.append((event.tool_start.tool, event.tool_start.args_json, False))
        elif event.HasField("tool_result"):
            result = event.tool_result
            assert starts[result.call_id].tool == result.tool
            told.append((result.tool, result.result_json, result.is_error))
    return told


async def test_a_graph_streams_its_models_text_and_tools(core: Core) -> None:
    """Token by token; the call is told before its result; tokens are counted over both model calls."""
    events = await core.ask("graph", "sum 2 and 3")
    assert pieces(events) == ["Let me add.", "\n\nIt", " is ", "5", "."]
    assert tools(events) == [("add", '{"a":2,"b":3}', False), ("add", '"5"', False)]
    done = events[-1].done
    assert (done.finish_reason, done.usage.input_tokens, done.usage.output_tokens) == (
        FINISH_REASON_STOP,
        27,
        7,
    )


@pytest.mark.parametrize("agent", ["graph", "graph_with_memory", "chain", "model"])
async def test_a_sessions_turns_are_messages(core: Core, agent: str) -> None:
    """Each once, also where a graph has a memory of its own, and of no other session."""
    session = uuid4().hex
    await core.ask(agent, "first", session)
    await core.ask(agent, "elsewhere", uuid4().hex)
    answer = (await core.ask(agent, "second", session))[-1].done.final_message
    assert answer.count("human:first") == 2, "what was asked, and its echo in the first answer"
    assert answer.endswith("human:second")
    assert answer.count("human:second") == 1
    assert "elsewhere" not in answer


@pytest.mark.parametrize("agent", ["graph", "chain", "model"])
async def test_stop_stops_the_model(core: Core, agent: str) -> None:
    """The run is over at once, and the model's own code was cancelled."""
    before = core.processes.journal.read_text() if core.processes.journal.exists() else ""
    end = await core.stopped(agent, "wait", "Waiting")
    assert (end.done.finish_reason, end.done.final_message) == (FINISH_REASON_CANCELLED, "Waiting")
    async with asyncio.timeout(20):
        while "model stopped" not in core.processes.journal.read_text()[len(before) :]:
            await asyncio.sleep(0.01)


ENDS = [
    ("finish_reason=length", "length"),
    ("stopReason=max_tokens", "length"),
    ("incomplete=max_output_tokens", "length"),
    ("stop_reason=end_turn", "stop"),
    ("done_reason=stop", "stop"),
    ("twice finish_reason=stop", "stop"),
    ("finish_reason=content_filter", "CONTENT_FILTERED"),
    ("twice finish_reason=SAFETY", "CONTENT_FILTERED"),
    ("stop_reason=refusal", "CONTENT_FILTERED"),
    ("finish_reason=error", "MODEL_FAILED"),
    ("finish_reason=abort", "MODEL_CUT_OFF"),
    ("finish_reason=brand_new_word", "MODEL_CUT_OFF"),
]
"""What providers say at the end of an answer, as their libraries have it, and how the run ends for it."""


def end_of(events: list[Event]) -> str:
    """Return how a run ended: its finish reason, or the reason of its error."""
    last = events[-1]
    if last.HasField("error"):
        return last.error.details["reason"]
    return {FINISH_REASON_LENGTH: "length", FINISH_REASON_STOP: "stop"}[last.done.finish_reason]


@pytest.mark.parametrize("agent", ["graph", "model", "chain"])
async def test_an_answer_ends_as_its_provider_says(core: Core, agent: str) -> None:
    """One that was filtered, cut off, or ended in an unknown word is no whole answer; its text is kept."""
    ended = {said: await core.ask(agent, f"ends {said}") for said, _ in ENDS}
    assert {said: end_of(events) for said, events in ended.items()} == dict(ENDS)
    assert {"".join(pieces(events)).startswith("Heard ") for events in ended.values()} == {True}


CHAT_ENDS = [("stop", "stop"), ("length", "length"), ("content_filter", "CONTENT_FILTERED")]
CHAT_ENDS += [("SAFETY", "CONTENT_FILTERED"), ("abort", "MODEL_CUT_OFF"), ("error", "MODEL_FAILED")]


@pytest.mark.parametrize("text", ["So far", ""])
async def test_an_answer_of_the_sdk_ends_as_its_provider_says(core: Core, text: str) -> None:
    """Chat Completions, whose finish reason the SDK leaves out; words that it makes up are not told."""
    for word, expected in CHAT_ENDS[0 if text else 1 :]:
        core.endpoint.script.append(says(*[text] * bool(text), reason=word))
        events = await core.ask("assistant", "hi")
        assert (word, end_of(events), "".join(pieces(events))) == (word, expected, text)
    assert "The provider says: finish reason 'abort'" in core.log()


async def test_a_response_of_the_sdk_ends_as_its_provider_says(core: Core) -> None:
    """The SDK raises for an incomplete one: too long is `length`, and its text stays."""
    for ending, more, expected in [
        ("completed", {}, "stop"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "CONTENT_FILTERED"),
        ("incomplete", {}, "MODEL_CUT_OFF"),
        ("failed", {"error": {"code": "server_error", "message": "a secret"}}, "MODEL_FAILED"),
    ]:
        core.endpoint.script.append(responds("So far", ending, **more))
        events = await core.ask("responder", "hi")
        assert (ending, more, end_of(events), pieces(events)) == (ending, more, expected, ["So far"])
        assert "secret" not in str(events)
    assert "The provider says: finish reason 'a secret'" in core.log()


async def test_what_a_node_says_by_itself_is_told(core: Core) -> None:
    """Its data and a message that no model wrote; a question to the user; more steps than it may take."""
    events = await core.ask("reporting_graph", "hi")
    assert [event.custom.data_json for event in events if event.HasField("custom")] == ['{"step":1}']
    assert events[-1].done.final_message == "No model was asked."
    asked = await core.ask("approving_graph", "hi")
    assert [(event.custom.name, event.custom.data_json) for event in asked[1:-1]] == [
        ("interrupt", '"May I?"')
    ]
    assert (await core.ask("looping_graph", "hi"))[-1].done.finish_reason == FINISH_REASON_TOOL_LIMIT


@pytest.mark.parametrize(
    ("agent", "text"),
    [("shouting", "HEARD HUMAN:HI"), ("answering", "hihi"), ("using_tools", "hi: 5")],
)
async def test_a_runnables_answer_is_what_the_whole_of_it_gives(core: Core, agent: str, text: str) -> None:
    """Not what a model in it says; tools in it are told, and what a tool raised is not."""
    events = await core.ask(agent, "hi")
    assert events[-1].done.final_message == text
    if agent == "using_tools":
        assert [name for name, _, _ in tools(events)] == ["fails", "fails", "add", "add"]
        assert tools(events)[1] == ("fails", '"The tool failed."', True)
        assert tools(events)[3] == ("add", "5", False)
        assert "secret" not in str(events)


async def test_an_agent_error_in_a_node_is_told_as_it_is(core: Core) -> None:
    """With its code and its words."""
    error = (await core.ask("refusing_graph", "hi"))[-1].error
    assert (error.code, error.message) == ("NOT_FOUND", "There is no such customer.")


async def test_an_agent_of_openais_sdk_streams_text_and_tools(core: Core) -> None:
    """Its tools get the request as their context; the session's turns are its input; tokens are counted."""
    core.endpoint.script += [
        calls(("multiply", '{"a": 6, "b": 7}'), text="One moment."),
        says("It is", " 42."),
        says("Again.", tokens=None),
    ]
    session = uuid4().hex
    events = await core.ask("assistant", "6 times 7?", session)
    assert events[0].run_started.model == "scripted-1"
    assert pieces(events) == ["One moment.", "\n\nIt is", " 42."]
    assert tools(events) == [
        ("multiply", '{"a":6,"b":7}', False),
        ("multiply", '"42 for ann"', False),
    ]
    assert (events[-1].done.usage.input_tokens, events[-1].done.usage.output_tokens) == (14, 6)
    again = await core.ask("assistant", "Sure?", session)
    assert not again[-1].done.HasField("usage"), "what no provider has told is not 0"
    said = [(message["role"], message["content"]) for message in core.endpoint.messages()]
    assert said == [
        ("system", "You answer."),
        ("user", "6 times 7?"),
        ("assistant", "One moment.\n\nIt is 42."),
        ("user", "Sure?"),
    ]


async def test_a_handoff_is_told(core: Core) -> None:
    """Who answers from now on."""
    core.endpoint.script += [calls(("transfer_to_specialist", "{}")), says("I multiply.")]
    events = await core.ask("assistant", "hi")
    assert '{"from":"assistant","to":"specialist"}' in [event.custom.data_json for event in events]
    assert events[-1].done.final_message == "I multiply."


async def test_stop_closes_the_sdks_model_call(core: Core) -> None:
    """The endpoint sees its client leave."""
    core.endpoint.gone.clear()
    core.endpoint.script.append(stalls("So"))
    end = await core.stopped("assistant", "hi", "So")
    assert (end.done.finish_reason, end.done.final_message) == (FINISH_REASON_CANCELLED, "So")
    async with asyncio.timeout(20):
        await core.endpoint.gone.wait()


async def loaded(*places: str, path: str = "") -> list[str]:
    """Return of each `module:attribute` what it was loaded as, or why it was refused."""
    loading = await asyncio.create_subprocess_exec(
        *(system.find("frameworks") or "", "-c", LOAD, *places),
        cwd=ROOT,
        env=clean_environment({"PYTHONPATH": path, "OPENAI_API_KEY": "sk-none"}),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await loading.communicate())[0].decode().split("\0")[:-1]


async def test_what_can_not_be_adapted_is_refused_with_the_lines_that_do(tmp_path: Path) -> None:
    """A graph with another state or not compiled, a prompt that wants more; what the page shows is taken."""
    page = (ROOT / "docs/agents.md").read_text()
    for name, code in re.findall(r"```python\n# (my_\w+\.py)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(code)
    stub = f"from {AGENTS} import ScriptedModel\nChatOpenAI = lambda **_: ScriptedModel()\n"
    (tmp_path / "langchain_openai.py").write_text(stub)
    refused = [f"{AGENTS}:{name}" for name in ("other_state", "builder", "wants_more")]
    shown = ["my_graph:graph", "my_chain:chain", "my_sdk:helper"]
    other_state, builder, wants_more, *taken = await loaded(*refused, *shown, path=str(tmp_path))
    assert "its state has no `messages`" in other_state
    assert "async for chunk, _ in graph.astream(" in other_state
    assert "the graph is not compiled: name what its compile() returns" in builder
    assert "it wants name, topic, which a request does not hold" in wants_more
    assert 'async for text in chain.astream({"question": request.message}):' in wants_more
    assert taken == ["LangGraphAgent", "LangChainAgent", "OpenAIAgent"]
