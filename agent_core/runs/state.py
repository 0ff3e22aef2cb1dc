"""The state of one run: domain events in, payloads of numbered events out.

Pure: no loop, no clock, no I/O. Whoever feeds it passes the time in and writes what comes out to
the log, in order. The first event is RunStarted; the last, and only the last, is terminal.
"""

from __future__ import annotations

from typing import Final

from agent_core.agents.events import (
    Custom,
    Finish,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolResult,
    ToolStart,
    Usage,
)
from agent_core.agents.inputs import InputKind, Question
from agent_core.agents.split_characters import CharacterJoiner
from agent_core.log.encoding import MAX_PAYLOAD_BYTES, NANO, DeltaEncoder, encode_payload, new_event
from agent_core.log.records import Outcome
from agent_core.runs import values
from agent_core.runs.failures import Failure, RubbishError, RunTooLargeError, ToolLimitError
from agent_core.runs.limits import RunLimits
from tokenwire.v1 import event_pb2

MAX_FINAL_BYTES: Final = 256 * 1024
"""The longest answer that Done repeats, in bytes of UTF-8."""

MAX_PIECE_LENGTH: Final = 64 * 1024
"""The longest delta, in code points (of at most 4 bytes); longer ones become several."""

FINISH_REASONS: Final = {
    "stop": event_pb2.FINISH_REASON_STOP,
    "length": event_pb2.FINISH_REASON_LENGTH,
    "tool_limit": event_pb2.FINISH_REASON_TOOL_LIMIT,
    "cancelled": event_pb2.FINISH_REASON_CANCELLED,
}

INPUT_KINDS: Final[dict[InputKind, event_pb2.InputKind.ValueType]] = {
    "approval": event_pb2.INPUT_KIND_APPROVAL,
    "choice": event_pb2.INPUT_KIND_CHOICE,
    "text": event_pb2.INPUT_KIND_TEXT,
    "json": event_pb2.INPUT_KIND_JSON,
}

_EVENTS: Final = "one of TextDelta, ReasoningDelta, Progress, ToolStart, ToolResult, Custom, Finish"

_TEXT: Final = DeltaEncoder("text_delta")
_REASONING: Final = DeltaEncoder("reasoning_delta")


class RunState:
    """What a run has said so far.

    An event takes its number only after it was encoded: one that can't be encoded leaves no hole.

    Args:
        wall_offset_nano: Unix time minus the monotonic clock, in nanoseconds, read once per run:
            event times then never run backwards, whatever becomes of the wall clock.
        limits: How much the run may say.
    """

    def __init__(self, *, wall_offset_nano: int, limits: RunLimits) -> None:
        self.sequence = 0
        """The number of the last event; 0 before the first."""
        self.outcome: Outcome | None = None
        """How the run ended; None while it goes on."""
        self.usage: Usage | None = None
        """Tokens used, once the agent has said so."""
        self.answer: str | None = None
        """The whole text of a run that ended in Done; None where it was too long to keep."""
        self._wall_offset_nano = wall_offset_nano
        self._bytes_left = limits.max_run_bytes
        self._max_events = limits.max_run_events
        self._tool_calls = 0
        self._max_tool_calls = limits.max_run_tool_calls
        self._reason = "stop"
        self._text_joiner = CharacterJoiner()
        self._reasoning_joiner = CharacterJoiner()
        self._pieces: list[str] = []
        self._text_bytes = 0

    def start(self, started: event_pb2.RunStarted, nano: int) -> bytes:
        """Return the payload of the first event.

        Args:
            started: What it says.
            nano: Now, in nanoseconds of the monotonic clock.
        """
        if self.sequence:
            raise RuntimeError("the run has started already")
        event = new_event(self._wall_offset_nano + nano)
        event.run_started.CopyFrom(started)
        return self._numbered(self._encoded(event, nano))

    def feed(self, item: object, nano: int) -> list[bytes]:
        """Return the payloads of what an agent yielded: mostly one, none for what makes no event.

        If a delta ends in half a character, that goes into the next one of its kind.

        Args:
            item: What the agent yielded.
            nano: When it did, in nanoseconds of the monotonic clock.

        Raises:
            RubbishError: It is no event, or one that can't be encoded. Nothing took a number.
            RunTooLargeError: With it, the run would exceed its limits. Nothing of it is written.
            ToolLimitError: It is one tool call more than the limit. It is not written.
        """
        if not self.sequence or self.outcome is not None:
            self._require_running()
        try:
            if isinstance(item, str):
                return self._text(self._text_joiner.feed(str(item)), 1, nano)
            if isinstance(item, TextDelta):
                content, count = values.string(item.content), values.count(item.token_count)
                return self._text(self._text_joiner.feed(content), count, nano)
            if isinstance(item, ReasoningDelta):
                content, count = values.string(item.content), values.count(item.token_count)
                return self._deltas(_REASONING, self._reasoning_joiner.feed(content), count, nano)
            if isinstance(item, Finish):
                self._finish_with(item)
                return []
            if isinstance(item, ToolStart):
                self._count_tool_call()
            payload = self._encoded(self._structured(item, nano), nano)
            self._require_room(len(payload), 1)
            return [self._numbered(payload)]
        except UnicodeEncodeError as error:
            raise RubbishError(f"the text can't be encoded in UTF-8: {error}") from error

    def request_input(self, input_id: str, question: Question, nano: int) -> bytes:
        """Return the payload of a question.

        Args:
            input_id: Its id within the run.
            question: What is asked.
            nano: Now, in nanoseconds of the monotonic clock.

        Raises:
            RunTooLargeError: The run may say no more.
        """
        self._require_running()
        now = self._wall_offset_nano + nano
        event = new_event(now)
        asked = event.input_requested
        asked.input_id, asked.kind = input_id, INPUT_KINDS[question.kind]
        asked.prompt, asked.schema_json = question.prompt, question.schema_json
        expire = now + round(question.timeout_s * NANO)
        asked.expire_time.seconds, asked.expire_time.nanos = divmod(expire, NANO)
        payload = self._encoded(event, nano)
        self._require_room(len(payload), 1)
        return self._numbered(payload)

    def receive_input(self, input_id: str, outcome: event_pb2.InputOutcome.ValueType, nano: int) -> bytes:
        """Return the payload of how a question was closed. It is not limited, as the terminal event is not.

        Args:
            input_id: The question's.
            outcome: How it was closed.
            nano: Now, in nanoseconds of the monotonic clock.
        """
        self._require_running()
        event = new_event(self._wall_offset_nano + nano)
        event.input_received.input_id, event.input_received.outcome = input_id, outcome
        return self._numbered(self._encoded(event, nano))

    def flush(self, nano: int) -> list[bytes]:
        """Return the payloads of what still waits, at the agent's end: halves of characters without the rest.

        Args:
            nano: Now, in nanoseconds of the monotonic clock.

        Raises:
            RunTooLargeError: The run may say no more.
        """
        self._require_running()
        thought, text = self._reasoning_joiner.flush(), self._text_joiner.flush()
        return [*self._deltas(_REASONING, thought, 1, nano), *self._text(text, 1, nano)]

    def finish(self, nano: int) -> bytes:
        """Return the payload of the Done of an agent that has said all it had to say."""
        return self._done(self._reason, nano)

    def cancel(self, nano: int) -> bytes:
        """Return the payload of the Done of a cancelled run. The text so far stands."""
        return self._done("cancelled", nano)

    def meet_tool_limit(self, nano: int) -> bytes:
        """Return the payload of the Done of a run that wanted too many tool calls. The text so far stands."""
        return self._done("tool_limit", nano)

    def fail(self, failure: Failure, nano: int, *, trace_id: str = "") -> bytes:
        """Return the payload of the run's Error.

        Args:
            failure: What it says.
            nano: Now, in nanoseconds of the monotonic clock.
            trace_id: The trace that holds what really happened; empty for none.
        """
        self._require_running()
        event = new_event(self._wall_offset_nano + nano)
        event.error.code = failure.code
        event.error.message = failure.message
        event.error.retryable = failure.retryable
        event.error.details.update(failure.details)
        event.error.trace_id = trace_id
        return self._terminal(event, Outcome("error", failure.code), nano)

    def _text(self, content: str, token_count: int, nano: int) -> list[bytes]:
        """Return the payloads of a piece of the answer, and remember it for the end."""
        payloads = self._deltas(_TEXT, content, token_count, nano)
        size_bytes = self._text_bytes = self._text_bytes + (
            len(content) if content.isascii() else len(content.encode())
        )
        if size_bytes <= MAX_FINAL_BYTES:
            self._pieces.append(content)
        else:
            self._pieces.clear()
        return payloads

    def _deltas(self, encoder: DeltaEncoder, content: str, token_count: int, nano: int) -> list[bytes]:
        """Return the payloads of a delta: mostly one."""
        if not 0 < len(content) <= MAX_PIECE_LENGTH:
            return self._many_deltas(encoder, content, token_count, nano)
        payload = encoder.encode(content, token_count, self._wall_offset_nano + nano, nano)
        self._require_room(len(payload), 1)
        return [self._numbered(payload)]

    def _many_deltas(self, encoder: DeltaEncoder, content: str, token_count: int, nano: int) -> list[bytes]:
        """Return the payloads of a delta of any length. They take numbers together or not at all."""
        # A code point takes a byte or more: what is far too large is not even encoded.
        self._require_room(len(content), 0)
        unix_nano = self._wall_offset_nano + nano
        payloads = [
            encoder.encode(piece, count, unix_nano, nano) for piece, count in _pieces(content, token_count)
        ]
        self._require_room(sum(map(len, payloads)), len(payloads))
        return [self._numbered(payload) for payload in payloads]

    def _structured(self, item: object, nano: int) -> event_pb2.Event:
        """Return an event that is no delta."""
        event = new_event(self._wall_offset_nano + nano)
        match item:
            case Progress():
                if item.percent is not None:
                    event.progress.percent = values.percent(item.percent)
                event.progress.message = values.string(item.message)
                event.progress.step = values.string(item.step)
            case ToolStart():
                event.tool_start.call_id = values.string(item.call_id)
                event.tool_start.tool = values.string(item.tool)
                event.tool_start.args_json = values.encode_json(item.args)
            case ToolResult():
                event.tool_result.call_id = values.string(item.call_id)
                event.tool_result.tool = values.string(item.tool)
                event.tool_result.result_json = values.encode_json(item.result)
                event.tool_result.is_error = values.flag(item.is_error)
            case Custom():
                event.custom.name = values.string(item.name)
                event.custom.data_json = values.encode_json(item.data)
            case _:
                raise RubbishError(f"{values.described(item)} is not an event. Yield a str, or {_EVENTS}")
        return event

    def _count_tool_call(self) -> None:
        """Count one more tool call.

        Raises:
            ToolLimitError: There were as many as there may be.
        """
        if self._max_tool_calls and self._tool_calls >= self._max_tool_calls:
            raise ToolLimitError
        self._tool_calls += 1

    def _finish_with(self, finish: Finish) -> None:
        """Remember what Done is to say."""
        if finish.reason not in ("stop", "length", "tool_limit"):
            raise RubbishError(f"{finish.reason!r} is not a finish reason: stop, length or tool_limit")
        self._reason, self.usage = finish.reason, values.usage(finish.usage)

    def _done(self, reason: str, nano: int) -> bytes:
        """Return the payload of a Done."""
        self._require_running()
        event = new_event(self._wall_offset_nano + nano)
        omitted = self._text_bytes > MAX_FINAL_BYTES
        text = "".join(self._pieces)
        self.answer = None if omitted else text
        event.done.final_message = text
        event.done.final_message_omitted = omitted
        event.done.finish_reason = FINISH_REASONS[reason]
        if self.usage is not None:
            event.done.usage.SetInParent()
            if self.usage.input_tokens is not None:
                event.done.usage.input_tokens = self.usage.input_tokens
            if self.usage.output_tokens is not None:
                event.done.usage.output_tokens = self.usage.output_tokens
        return self._terminal(event, Outcome("done", reason), nano)

    def _terminal(self, event: event_pb2.Event, outcome: Outcome, nano: int) -> bytes:
        """Return the payload of the last event, and end the run."""
        payload = self._numbered(self._encoded(event, nano))
        self.outcome = outcome
        self._pieces.clear()
        return payload

    def _require_room(self, size_bytes: int, events: int) -> None:
        """Return if the run may write so much more.

        Raises:
            RunTooLargeError: It may not.
        """
        if size_bytes > self._bytes_left or self.sequence + events > self._max_events:
            raise RunTooLargeError

    def _numbered(self, payload: bytes) -> bytes:
        """Return a payload. It has taken the next number."""
        self.sequence += 1
        self._bytes_left -= len(payload)
        return payload

    def _encoded(self, event: event_pb2.Event, nano: int) -> bytes:
        """Return an event's payload.

        Raises:
            RubbishError: It is larger than a response may be.
        """
        payload = encode_payload(event, nano)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise RubbishError(f"an event of {len(payload)} bytes is too large")
        return payload

    def _require_running(self) -> None:
        """Raise when nothing may be said: a bug in the caller, never in the agent."""
        if not self.sequence:
            raise RuntimeError("the run has not started yet")
        if self.outcome is not None:
            raise RuntimeError("the run has ended")


def _pieces(content: str, token_count: int) -> list[tuple[str, int]]:
    """Return a delta cut into pieces of sound size, with their token counts. Each counts 1 at least."""
    cuts = range(0, len(content), MAX_PIECE_LENGTH)
    first = max(1, token_count - len(cuts) + 1)
    return [(content[cut : cut + MAX_PIECE_LENGTH], 1 if cut else first) for cut in cuts]
