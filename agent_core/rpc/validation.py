"""What a request may say. Every rule is a comment in `proto/tokenwire/v1/run.proto`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent_core.errors import InvalidRequestError, Violation
from agent_core.log.encoding import NANO
from agent_core.log.records import RunRecord
from tokenwire.cursor import is_run_id
from tokenwire.runs import MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES
from tokenwire.v1.agent_service_pb2 import (
    TRANSCRIPT_ORDER_NEWEST_FIRST,
    GetTranscriptRequest,
    ListRunsRequest,
    SendInputRequest,
    TranscriptOrder,
)
from tokenwire.v1.run_pb2 import (
    HISTORY_ROLE_UNSPECIFIED,
    History,
    HistoryRole,
    OnDisconnect,
    RunSpec,
)

SESSION_ID: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~:@-]{0,128}")
"""It becomes a segment of paths, from which clients and proxies remove `.` and `..`.

Source: https://url.spec.whatwg.org/#double-dot-path-segment
"""
SESSION_ID_RULE: Final = "characters of [A-Za-z0-9._~:@-], and neither '.' nor '..'"
INPUT_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
MAX_USER_ID: Final = 256
REQUEST_ID: Final = re.compile(r"[^\x00-\x1f\x7f]{0,128}")
"""It becomes part of keys in stores, where control characters would only be a mistake."""
REQUEST_ID_RULE: Final = "must be at most 128 characters, without control characters"
MAX_ATTRIBUTES: Final = 32
MAX_ATTRIBUTE_KEY: Final = 64
MAX_ATTRIBUTE_VALUE: Final = 1024
MAX_PAGE_SIZE: Final = 100
DEFAULT_PAGE_SIZE: Final = 20
MAX_UNIX_NANO: Final = 2**63 - 1
"""The largest time that SQLite can be asked for."""
_PAGE_TOKEN: Final = re.compile(r"([0-9]{1,20})\.([0-9a-z]{30})")
MAX_TIMEOUT_S: Final = 315_576_000_000
"""The longest Duration: 10,000 years.

Source: https://protobuf.dev/reference/protobuf/google.protobuf/#duration
"""


MAX_REST_BYTES: Final = 288 * 1024
"""What a request holds besides its message: at most 128 KiB of history, and 140 kB of attributes, ids and
field tags in UTF-8."""


def max_request_bytes(max_message_bytes: int) -> int:
    """Return the size of the largest request that is read at all.

    A message of up to twice the limit is still read, so that its caller is told the limit.

    Args:
        max_message_bytes: The longest message, in bytes of UTF-8.
    """
    return 2 * max_message_bytes + MAX_REST_BYTES


def require_valid_spec(spec: RunSpec, *, max_message_bytes: int) -> None:
    """Return if a run may be started as asked.

    Args:
        spec: What is asked.
        max_message_bytes: The longest message, in bytes of UTF-8.

    Raises:
        InvalidRequestError: Tells every field that is wrong.
    """
    violations = (*_violations(spec, max_message_bytes), *_history_violations(spec.history))
    if violations:
        raise InvalidRequestError(violations)


def require_run_id(run_id: str) -> None:
    """Return if a text has the form of a run's id.

    Raises:
        InvalidRequestError: It has not.
    """
    if not is_run_id(run_id):
        raise InvalidRequestError([Violation("run_id", "must be 30 characters of [0-9a-z]")])


class Page(NamedTuple):
    """Which of a session's runs are asked for."""

    size: int
    place: tuple[int, str] | None
    """Where the page before ended: a run's create_unix_nano and its id; None for the first page."""
    newest_first: bool


def require_valid_page(request: ListRunsRequest | GetTranscriptRequest) -> Page:
    """Return which runs are asked for.

    Raises:
        InvalidRequestError: Tells every field that is wrong.
    """
    violations: list[Violation] = []
    if not request.session_id or not SESSION_ID.fullmatch(request.session_id):
        violations.append(Violation("session_id", f"must be 1 to 128 {SESSION_ID_RULE}"))
    if request.page_size > MAX_PAGE_SIZE:
        violations.append(Violation("page_size", f"must be at most {MAX_PAGE_SIZE}"))
    place = _PAGE_TOKEN.fullmatch(request.page_token)
    if place is not None and int(place[1]) > MAX_UNIX_NANO:
        place = None
    if request.page_token and place is None:
        violations.append(Violation("page_token", "is not the next_page_token of a page"))
    newest_first = True
    if isinstance(request, GetTranscriptRequest):
        if request.order not in TranscriptOrder.values():
            violations.append(Violation("order", "is not a value that this core knows"))
        newest_first = request.order == TRANSCRIPT_ORDER_NEWEST_FIRST
    if violations:
        raise InvalidRequestError(violations)
    after = (int(place[1]), place[2]) if place is not None else None
    return Page(request.page_size or DEFAULT_PAGE_SIZE, after, newest_first)


def require_valid_input(request: SendInputRequest) -> None:
    """Return if an answer names a question, and says one thing.

    Args:
        request: The answer. Whether the question accepts it, the run knows.

    Raises:
        InvalidRequestError: It does not, and why.
    """
    require_run_id(request.run_id)
    violations = []
    if not INPUT_ID.fullmatch(request.input_id):
        violations.append(Violation("input_id", "must be 1 to 128 characters of [A-Za-z0-9._~-]"))
    if request.WhichOneof("answer") is None:
        violations.append(Violation("answer", "must be value_json or decline"))
    if request.HasField("decline") and not request.decline:
        violations.append(Violation("decline", "must be true: send value_json to answer"))
    if not REQUEST_ID.fullmatch(request.request_id):
        violations.append(Violation("request_id", REQUEST_ID_RULE))
    if violations:
        raise InvalidRequestError(violations)


def page_token(last: RunRecord) -> str:
    """Return what asks for the page that follows on a run."""
    return f"{last.create_unix_nano}.{last.run_id}"


def _violations(spec: RunSpec, max_message_bytes: int) -> Iterator[Violation]:
    """Yield what is wrong with a spec."""
    length = len(spec.message.encode())
    if not 1 <= length <= max_message_bytes:
        yield Violation("run.message", f"must be 1 to {max_message_bytes} bytes of UTF-8, not {length}")
    if not SESSION_ID.fullmatch(spec.session_id):
        yield Violation("run.session_id", f"must be at most 128 {SESSION_ID_RULE}")
    if len(spec.user_id) > MAX_USER_ID:
        yield Violation("run.user_id", f"must be at most {MAX_USER_ID} characters")
    if spec.on_disconnect not in OnDisconnect.values():
        yield Violation("run.on_disconnect", "is not a value that this core knows")
    if spec.HasField("timeout") and not _is_positive_duration(spec.timeout.seconds, spec.timeout.nanos):
        yield Violation("run.timeout", "must be a duration of more than 0")
    if not REQUEST_ID.fullmatch(spec.request_id):
        yield Violation("run.request_id", REQUEST_ID_RULE)
    if len(spec.attributes) > MAX_ATTRIBUTES:
        yield Violation("run.attributes", f"must be at most {MAX_ATTRIBUTES} entries")
    if any(len(key) > MAX_ATTRIBUTE_KEY for key in spec.attributes):
        yield Violation("run.attributes", f"a key must be at most {MAX_ATTRIBUTE_KEY} characters")
    if any(len(value) > MAX_ATTRIBUTE_VALUE for value in spec.attributes.values()):
        yield Violation("run.attributes", f"a value must be at most {MAX_ATTRIBUTE_VALUE} characters")


def _history_violations(history: History) -> Iterator[Violation]:
    """Yield what is wrong with a conversation that a client tells."""
    messages = history.messages
    if len(messages) > MAX_HISTORY_MESSAGES:
        yield Violation("run.history", f"must be at most {MAX_HISTORY_MESSAGES} messages")
    if sum(len(message.content.encode()) for message in messages) > MAX_HISTORY_BYTES:
        yield Violation("run.history", f"must be at most {MAX_HISTORY_BYTES} bytes of UTF-8 in all")
    if any(not message.content for message in messages):
        yield Violation("run.history", "a message must not be empty")
    if any(not _is_role(message.role) for message in messages):
        yield Violation("run.history", "a message must have a role that this core knows")


def _is_role(role: HistoryRole.ValueType) -> bool:
    """Return whether an agent can be told of a role."""
    return role != HISTORY_ROLE_UNSPECIFIED and role in HistoryRole.values()


def _is_positive_duration(seconds: int, nanos: int) -> bool:
    """Return whether a Duration is sound and more than 0."""
    return 0 <= seconds <= MAX_TIMEOUT_S and 0 <= nanos < NANO and (seconds, nanos) > (0, 0)
