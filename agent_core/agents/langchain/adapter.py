"""A runnable of LangChain's as an agent of this core."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from agent_core.agents.events import AgentEvent, Finish, RunRequest
from agent_core.agents.foreign import Telling
from agent_core.agents.langchain.inputs import ask_of
from agent_core.agents.langchain.messages import ModelTally, is_message, reasoning_of, text_of, tool_result

ANSWERS: Final = ("answer", "output", "text", "result", "response")
"""What chains that give a mapping call their answer, the likeliest first."""


class LangChainAgent:
    """An agent that is a runnable.

    Args:
        runnable: Theirs.

    Raises:
        NotAdaptableError: It wants to be asked what a request does not hold.
    """

    def __init__(self, runnable: Any) -> None:
        self._runnable = runnable
        self._ask = ask_of(runnable)
        self.model = model_of(runnable)
        """The name of the model, where the runnable is one or names it."""

    def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Return the events of a run."""
        return self.run(request)

    async def run(self, request: RunRequest) -> AsyncGenerator[AgentEvent]:
        """Yield the events of a run, each as soon as it is there.

        Raises:
            ModelCallError: Its last answer was cut off or withheld.
        """
        translation = Translation()
        asked = self._ask(request)
        config = config_of(request)
        async with aclosing(self._runnable.astream_events(asked, config, version="v2")) as events:
            async for event in events:
                for ours in translation.feed(event):
                    yield ours
        yield Finish(translation.tally.finish(), translation.tally.usage)


class Translation:
    """LangChain's events as those of an agent. No I/O, no waiting.

    The answer is what the whole runnable gives, not what each model in it says.
    """

    def __init__(self) -> None:
        self.tally = ModelTally()
        self._telling = Telling()
        self._root = ""
        self._ended: set[str] = set()

    def feed(self, event: Mapping[str, Any]) -> Iterator[AgentEvent]:
        """Yield what an event of theirs means: mostly one, often none."""
        name, data, run_id = event["event"], event["data"], str(event["run_id"])
        self._root = self._root or run_id  # the first that begins
        self._end(name, data, run_id)
        if name == "on_chat_model_stream":
            yield from self._telling.reasoning(reasoning_of(data["chunk"]))
        elif name == "on_chat_model_end":
            self.tally.count(data["output"])
        elif name == "on_tool_start":
            yield from self._telling.tool_start(run_id, event["name"], data.get("input"))
        elif name == "on_tool_end":
            yield from tool_result(self._telling, run_id, event["name"], data.get("output"))
        elif name == "on_tool_error":
            said = "The tool failed."  # its own words stay in the log, as everywhere
            yield from self._telling.tool_result(run_id, event["name"], said, is_error=True)
        if run_id == self._root:
            yield from self._answer(name, data)

    def _end(self, name: str, data: Mapping[str, Any], run_id: str) -> None:
        """Take in how a model's answer ended.

        By its chunks, if they say so: the whole answer has their texts joined, and `stopstop` of a provider
        that says it twice.
        """
        if name in {"on_chat_model_stream", "on_llm_stream"} and self.tally.end(data["chunk"]):
            self._ended.add(run_id)
        elif name == "on_chat_model_end" and run_id not in self._ended:
            self.tally.end(data["output"])

    def _answer(self, name: str, data: Mapping[str, Any]) -> Iterator[AgentEvent]:
        """Yield a piece of the answer; all of it at the end, where it did not come in pieces."""
        if name.endswith("_stream"):
            yield from self._telling.text(answer_in(data.get("chunk")))
        elif name.endswith("_end") and not self._telling.has_text:
            yield from self._telling.text(answer_in(data.get("output")))


def adapt(found: object) -> object:
    """Return what an operator's module holds, a runnable adapted.

    Raises:
        NotAdaptableError: It is one, and can't be an agent as it is.
    """
    runnables: Any = importlib.import_module("langchain_core.runnables")
    return LangChainAgent(found) if isinstance(found, runnables.Runnable) else found


def config_of(request: RunRequest) -> dict[str, Any]:
    """Return what callbacks and nodes may know of a run."""
    ids = {"run_id": request.run_id, "session_id": request.session_id, "user_id": request.user_id}
    # The thread is the run's: the core keeps the session's turns, and knows whose they are.
    return {"configurable": {"thread_id": request.run_id, "request": request}, "metadata": ids}


def model_of(runnable: Any) -> str:
    """Return the name of a runnable's model; of a chain, that of its parts. Empty where none is named."""
    for part in (runnable, *getattr(runnable, "steps", ())):
        bound = getattr(part, "bound", part)
        for name in ("model_name", "model"):
            if isinstance(said := getattr(bound, name, None), str):
                return said
    return ""


def answer_in(given: object) -> str:
    """Return the text in what a runnable gives: a text, a message, or a mapping that holds one of them."""
    if isinstance(given, str):
        return given
    if is_message(given):
        return text_of(given)
    if isinstance(given, Mapping):
        found = (given[name] for name in ANSWERS if name in given)
        return next((text for value in found if (text := answer_in(value))), "")
    generations = getattr(given, "generations", None)  # of a model for texts alone
    return str(generations[0][0].text) if generations else getattr(given, "text", "") if given else ""
