"""Objects of other agent libraries, as their users write them; the models behind them are scripted.

Imported only by the interpreter of the environment that has these libraries (`scripts/make_frameworks.sh`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypedDict

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunContextWrapper,
    function_tool,
    set_tracing_disabled,
)
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from openai import AsyncOpenAI

from agent_core.agents import AgentError, RunRequest


class ScriptedModel(GenericFakeChatModel):
    """A chat model that says what the test wants, by what it is asked: the last message says which script."""

    messages: Any = iter(())

    def bind_tools(self, *_: Any, **__: Any) -> ScriptedModel:  # type: ignore[override]
        return self

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = str(messages[-1].content)
        if messages[-1].type == "human" and asked.startswith("sum"):
            yield ChatGenerationChunk(message=AIMessageChunk("Let me add."))
            call = {"name": "add", "args": '{"a": 2, "b": 3}', "id": "call-1", "index": 0}
            used = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
            yield ChatGenerationChunk(
                message=AIMessageChunk("", tool_call_chunks=[call], usage_metadata=used)  # type: ignore[arg-type]
            )
            return
        if asked == "wait":
            yield ChatGenerationChunk(message=AIMessageChunk("Waiting"))
            try:
                await asyncio.sleep(60)
            finally:
                note("model stopped")
        for word in self._answer(messages):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        used = {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24}
        # "ends stop_reason=end_turn": how the provider's library says it; "twice" says it in two chunks.
        name, _, word = asked.removeprefix("ends ").removeprefix("twice ").partition("=")
        reason: dict[str, Any] = {name: word} if asked.startswith("ends ") else {"finish_reason": "stop"}
        if name == "incomplete":
            reason = {"incomplete_details": {"reason": word}}
        if asked.startswith("ends twice"):
            yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata=reason))
        yield ChatGenerationChunk(
            message=AIMessageChunk("", usage_metadata=used, response_metadata=reason)  # type: ignore[arg-type]
        )

    def _answer(self, messages: list[BaseMessage]) -> list[str]:
        if messages[-1].type == "tool":
            return ["It", " is ", str(messages[-1].content), "."]
        said = [f"{message.type}:{message.content}" for message in messages]
        return ["Heard ", *" | ".join(said).split(" ")]


def note(event: str) -> None:
    """Write down what no stream would show."""
    with Path(os.environ["TOKENWIRE_TEST_JOURNAL"]).open("a", encoding="utf-8") as journal:
        journal.write(f"{event}\n")


@tool
def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


@tool
def fails(a: int, b: int) -> int:
    """Fail."""
    del a, b
    raise OSError("a secret")


MODEL = ScriptedModel()


# LangGraph.


async def call_model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


def next_step(state: MessagesState) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


builder = StateGraph(MessagesState)
builder.add_node("model", call_model)
builder.add_node("tools", ToolNode([add]))
builder.add_edge(START, "model")
builder.add_conditional_edges("model", next_step)
builder.add_edge("tools", "model")
graph = builder.compile()
graph_with_memory = builder.compile(checkpointer=InMemorySaver())


async def reports(_: MessagesState) -> dict[str, Any]:
    get_stream_writer()({"step": 1})
    return {"messages": [AIMessage("No model was asked.")]}


reporting = StateGraph(MessagesState).add_node("reports", reports).add_edge(START, "reports")
reporting_graph = reporting.compile()


async def approves(_: MessagesState) -> dict[str, Any]:
    interrupt("May I?")
    return {}


approving = StateGraph(MessagesState).add_node("approves", approves).add_edge(START, "approves")
approving_graph = approving.compile(checkpointer=InMemorySaver())


async def loops(_: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("again ")]}


looping = (
    StateGraph(MessagesState).add_node("loops", loops).add_edge(START, "loops").add_edge("loops", "loops")
)
looping_graph = looping.compile().with_config(recursion_limit=3)


async def refuses(_: MessagesState) -> dict[str, Any]:
    raise AgentError("NOT_FOUND", "There is no such customer.")


refusing = StateGraph(MessagesState).add_node("refuses", refuses).add_edge(START, "refuses")
refusing_graph = refusing.compile()


class Topic(TypedDict):
    topic: Annotated[str, "what it is about"]


other_state = StateGraph(Topic).add_node("n", lambda state: state).add_edge(START, "n").compile()

# LangChain.

prompt = ChatPromptTemplate.from_messages(
    [("system", "Be brief."), MessagesPlaceholder("chat_history"), ("human", "{question}")]
)
chain = prompt | MODEL | StrOutputParser()
model = MODEL
shouting = MODEL | StrOutputParser() | RunnableLambda(lambda text: text.upper())
answering = {"question": RunnableLambda(str)} | RunnableLambda(
    lambda given: {"answer": given["question"] * 2}
)


async def uses_a_tool(question: str) -> str:
    with suppress(OSError):
        await fails.ainvoke({"a": 1, "b": 2})
    return f"{question}: {await add.ainvoke({'a': 2, 'b': 3})}"


using_tools = RunnableLambda(uses_a_tool)
wants_more = PromptTemplate.from_template("Tell {name} about {topic}") | MODEL

# OpenAI's Agents SDK.

set_tracing_disabled(True)


@function_tool
def multiply(context: RunContextWrapper[RunRequest], a: int, b: int) -> str:
    """Return the product, and who asks."""
    return f"{a * b} for {context.context.user_id}"


def client() -> AsyncOpenAI:
    url = os.environ.get("TOKENWIRE_TEST_ENDPOINT", "http://127.0.0.1:9/v1")
    return AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0)


def scripted() -> OpenAIChatCompletionsModel:
    return OpenAIChatCompletionsModel("scripted-1", client())


specialist = Agent("specialist", instructions="You multiply.", model=scripted(), tools=[multiply])
assistant = Agent(
    "assistant", instructions="You answer.", model=scripted(), tools=[multiply], handoffs=[specialist]
)
responder = Agent("responder", instructions="You answer.", model=OpenAIResponsesModel("scripted-1", client()))
