"""Clean chunks of an answer, whatever the endpoint made them of. No I/O.

A clean chunk is what OpenAI's API describes, and has nothing that the libraries above would stumble over:
only the fields that they read, each of the right type.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from agent_core.agents.endpoint.stream.errors import error_of, find_error
from agent_core.agents.endpoint.stream.thinking import ThoughtSplitter
from agent_core.agents.endpoint.stream.tool_calls import ToolCallAssembler
from agent_core.agents.endpoint.stream.usage import UsageReading
from agent_core.agents.model_failures import CUT_OFF, MALFORMED, ModelCallError
from agent_core.agents.split_characters import CharacterJoiner

Chunk: TypeAlias = dict[str, Any]

_REASONING: Final = ("reasoning", "reasoning_content")
"""The fields in which endpoints tell what a model thinks; some tell it in both."""

_OTHER_REASONING: Final = ("thinking", "reasoning_text")
"""Further ones, which Pydantic AI does not know."""

_NO_REASONS: Final = frozenset({"", "null", "none"})
"""Finish reasons that are none."""

_LATEST: Final = 2**32
"""Seconds since 1970 after which a time is none: some endpoints tell it in other units."""

_NEST: Final = 4
"""How deep thoughts may lie in the parts of a content."""


class ChunkNormalizer:
    """Makes clean chunks of what an endpoint streams.

    Each value gives at least one chunk, but for null: a chunk is a sign of life, even with nothing in it.

    Args:
        thinks_first: Whether answers begin with thoughts that no `<think>` opens.
    """

    def __init__(self, *, thinks_first: bool = False) -> None:
        self.finished = False
        """Whether the endpoint has told a finish reason, or the end."""
        self._begun = False
        self._said: list[str] = []
        self._base: Chunk = {"id": "", "created": 0, "model": "", "object": "chat.completion.chunk"}
        self._text = CharacterJoiner()
        self._reasoning = CharacterJoiner()
        self._reasoning_field = ""
        self._thoughts = ThoughtSplitter(inside=thinks_first)
        self._calls = ToolCallAssembler()
        self._usage = UsageReading()

    def feed(self, value: object) -> list[Chunk]:
        """Return the chunks of a JSON value.

        Raises:
            ModelCallError: It is no chunk of an answer, or withheld.
            APIError: It tells an error.
        """
        if value is None:
            return []
        if isinstance(value, list) and len(value) == 1:
            value = value[0]  # Google's errors stand in an array.
        if not isinstance(value, Mapping):
            raise _malformed(value)
        error = find_error(value)
        if error:
            raise error_of(error)
        self._begun = True
        self._identify(value)
        choice = _choice(value)
        self._read_usage(value, choice)
        return self._chunks(choice) if choice else [self._chunk(usage=True)]

    def done(self) -> list[Chunk]:
        """Return the chunks for `[DONE]`: an orderly end, also where no finish reason was told.

        Raises:
            ModelCallError: There was nothing before it.
        """
        if not self._begun:
            raise ModelCallError(CUT_OFF, "an empty answer")
        reason = None if self.finished else "tool_calls" if self._calls.called else "stop"
        self.finished = True
        return [*self._rest(), self._chunk(finish_reason=reason, usage=True)]

    def finish(self) -> list[Chunk]:
        """Return the chunks for the end of the body.

        Raises:
            ModelCallError: There was nothing in it.
        """
        if not self._begun:
            raise ModelCallError(CUT_OFF, "an empty answer")
        return [*self._rest(), self._chunk(usage=True)]

    def _identify(self, value: Mapping[str, Any]) -> None:
        """Keep what names the answer."""
        base = self._base
        for name in ("id", "model"):
            given = value.get(name)
            if given and given != base[name] and isinstance(given, str):
                base[name] = _sound(given)
        created = value.get("created")
        if type(created) is int and 0 < created < _LATEST:
            base["created"] = created

    def _read_usage(self, value: Mapping[str, Any], choice: Mapping[str, Any] | None) -> None:
        if (usage := value.get("usage")) is not None:
            self._usage.feed(usage)
        if choice is not None and (usage := choice.get("usage")) is not None:
            self._usage.feed(usage)  # Moonshot
        if isinstance(groq := value.get("x_groq"), Mapping):
            self._usage.feed(groq.get("usage"))

    def _chunks(self, choice: Mapping[str, Any]) -> list[Chunk]:
        """Return the chunks of a choice."""
        delta = self._delta(choice)
        chunks: list[Chunk] = []
        for name, text in _reasoning(delta):
            self._thoughts.reasoned()
            self._reasoning_field = name
            if text := self._reasoning.feed(text):
                chunks.append(self._chunk({name: text}))
        content = delta.get("content")
        if type(content) is str:
            chunks += [self._chunk({"content": piece}) for piece in self._pieces(content)]
        elif content is not None:
            chunks += [self._chunk({"content": piece}) for piece in self._parts(content)]
        if refusal := delta.get("refusal"):
            chunks.append(self._chunk({"refusal": _sound(str(refusal))}))
        if calls := delta.get("tool_calls") or delta.get("function_call"):
            new = self._calls.feed(calls)
            chunks += [self._chunk({"tool_calls": new})] if new else []
        if reason := _finish_reason(choice):
            self.finished = True
            chunks += self._rest()
            last = chunks.pop()["choices"][0]["delta"] if chunks else {}
            chunks.append(self._chunk(last, reason))
        return chunks or [self._chunk({})]

    def _delta(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a choice adds: its delta, or its message where the endpoint does not stream."""
        if isinstance(delta := choice.get("delta"), Mapping):
            return delta
        message = choice.get("message")
        if not isinstance(message, Mapping):
            return {"content": choice.get("text")}
        content, said = message.get("content"), "".join(self._said)
        if said and isinstance(content, str) and content.startswith(said):
            # The whole answer again, as some endpoints end it.
            return {"content": content.removeprefix(said), "tool_calls": message.get("tool_calls")}
        return message

    def _pieces(self, text: str) -> list[str]:
        self._said.append(text)
        return self._thoughts.feed(self._text.feed(text))

    def _parts(self, content: object) -> Iterator[str]:
        """Yield the pieces of a content that is a list of parts."""
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                yield from self._pieces(part)
            elif type(part) in (int, float):
                yield from self._pieces(str(part))  # A token of digits, which someone has taken for a number.
            elif isinstance(part, Mapping):
                kind = part.get("type")
                if kind in ("thinking", "reasoning"):  # maybe nothing that can be in a set
                    if thought := self._reasoning.feed(_text_in(part)):
                        yield from self._thoughts.feed_thought(thought)
                elif kind in (None, "text", "output_text") and isinstance(text := part.get("text"), str):
                    yield from self._pieces(text)

    def _rest(self) -> list[Chunk]:
        """Return what has waited for more of a text."""
        pieces = [*self._thoughts.feed(self._text.flush()), *self._thoughts.flush()]
        deltas: list[Chunk] = [{"content": piece} for piece in pieces]
        if held := self._reasoning.flush():
            deltas.append({self._reasoning_field or "reasoning_content": held})
        if calls := self._calls.flush():
            deltas.append({"tool_calls": calls})
        return [self._chunk(delta) for delta in deltas]

    def _chunk(
        self, delta: Chunk | None = None, finish_reason: str | None = None, *, usage: bool = False
    ) -> Chunk:
        """Return a chunk; one without a choice where there is neither a delta nor a finish reason."""
        chunk: Chunk = {**self._base, "choices": []}
        if delta is not None or finish_reason:
            choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
            chunk["choices"] = [choice]
        # In the middle of an answer a reading of the usage is worth nothing, and costs more than the delta.
        if (usage or finish_reason) and (read := self._usage.value()):
            chunk["usage"] = read
        return chunk


def _choice(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the only choice that was asked for; None where a chunk has none."""
    choices = value.get("choices")
    if not choices:
        return None
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, Mapping):
        raise _malformed(value)
    return choice


def _reasoning(delta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the thoughts of a delta, at most once, with the field's name."""
    for name in _REASONING:
        if text := _text_in(delta.get(name)):
            yield name, text
            return
    for name in _OTHER_REASONING:
        if text := _text_in(delta.get(name)):
            yield "reasoning_content", text
            return


def _text_in(value: object, nest: int = _NEST) -> str:
    """Return the text in a part, or in a list of them; empty for none."""
    if isinstance(value, str) or not value or not nest:
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return "".join(_text_in(each, nest - 1) for each in value)
    if isinstance(value, Mapping):
        names = ("text", "thinking", "reasoning", "summary", "content")
        return next(filter(None, (_text_in(value.get(name), nest - 1) for name in names)), "")
    return ""


def _finish_reason(choice: Mapping[str, Any]) -> str:
    """Return the finish reason in the provider's word; empty for none."""
    given = choice.get("finish_reason")
    if not given:
        return ""
    reason = _sound(str(given)).strip()
    return "" if reason.lower() in _NO_REASONS else reason


def _malformed(value: object) -> ModelCallError:
    return ModelCallError(MALFORMED, f"no chunk of an answer: {_sound(str(value))}")


def _sound(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
