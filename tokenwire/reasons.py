"""Why a request is refused, or a run has failed: one table, for cores, edges and clients. Pure.

A reason travels as `ErrorInfo.reason` of a refused gRPC call, and as `details.reason` of a problem document
and of an `error` event. The tables of docs/grpc.md and docs/wire-protocol.md are made of this one, by
`python -m scripts.gen_reasons`.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Self


class Source(enum.Enum):
    """Who says it, and where."""

    CALL = "call"
    """A core, of a call that it refuses."""
    RUN = "run"
    """A core, in the `error` event of a run."""
    EDGE = "edge"
    """An edge, of a request that it refuses, or in an `error` event of its own."""


class Retry(enum.Enum):
    """Whether the same request may succeed later."""

    NEVER = "never"
    """Not unless something changes: the request, the credentials, the settings."""
    LATER = "later"
    """After the time that comes with it (RetryInfo, Retry-After), or at another server."""
    MAYBE = "maybe"
    """Perhaps: nobody knows when."""


class _Row(NamedTuple):
    """A row of the table, as `Reason` is made of it."""

    name: str
    code: str
    advice: str
    facts: tuple[str, ...]
    retry: Retry
    source: Source


def _call(name: str, code: str, advice: str, *facts: str, retry: Retry = Retry.NEVER) -> _Row:
    return _Row(name, code, advice, facts, retry, Source.CALL)


def _run(name: str, code: str, advice: str, *facts: str, retry: Retry = Retry.NEVER) -> _Row:
    return _Row(name, code, advice, facts, retry, Source.RUN)


def _edge(name: str, code: str, advice: str, *facts: str, retry: Retry = Retry.NEVER) -> _Row:
    return _Row(name, code, advice, facts, retry, Source.EDGE)


_LIMITS: Final = "wait; [the limits](operations.md#limits-at-the-core)"


class Reason(enum.StrEnum):
    """A reason, in UPPER_SNAKE, with what is to be known of it."""

    code: str
    """The canonical gRPC code's name."""
    advice: str
    """What to do, in Markdown."""
    facts: tuple[str, ...]
    """What comes with it: names in ErrorInfo's metadata, or other details."""
    retry: Retry
    """Whether the same request may succeed later."""
    source: Source
    """Who says it, and where."""

    def __new__(  # noqa: PLR0913, PLR0917 # one parameter for each column
        cls, name: str, code: str, advice: str, facts: tuple[str, ...], retry: Retry, source: Source
    ) -> Self:
        """Return a row of the table."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.code, member.advice, member.facts = code, advice, facts
        member.retry, member.source = retry, source
        return member

    INVALID_REQUEST = _call("INVALID_REQUEST", "INVALID_ARGUMENT", "correct the fields", "BadRequest")
    REQUEST_UNREADABLE = _call(
        "REQUEST_UNREADABLE", "INVALID_ARGUMENT", "send the message type of the rpc", "expected"
    )
    REQUEST_TIMEOUT = _call(
        "REQUEST_TIMEOUT",
        "DEADLINE_EXCEEDED",
        "send the request within 10 s of opening the call",
        retry=Retry.MAYBE,
    )
    PRINCIPAL_MISSING = _call(
        "PRINCIPAL_MISSING", "UNAUTHENTICATED", "[authenticate](#who-calls); forged principals get it too"
    )
    CREDENTIALS_MISSING = _call("CREDENTIALS_MISSING", "UNAUTHENTICATED", "`authorization` is not `Bearer …`")
    KEY_INVALID = _call("KEY_INVALID", "UNAUTHENTICATED", "the core does not know the API key")
    TOKEN_EXPIRED = _call("TOKEN_EXPIRED", "UNAUTHENTICATED", "get a new JWT")
    TOKEN_INVALID = _call(
        "TOKEN_INVALID", "UNAUTHENTICATED", "the core's log says what is wrong with the JWT"
    )
    BEARER_NOT_ACCEPTED = _call(
        "BEARER_NOT_ACCEPTED",
        "UNAUTHENTICATED",
        "the core accepts no API keys and no JWTs: send no `authorization`, or "
        "[set them up](operations.md#at-the-core)",
    )
    CLOCK_SKEW = _call(
        "CLOCK_SKEW",
        "UNAUTHENTICATED",
        "the principal is signed with the right key and has expired, or is not valid yet: set the clocks, "
        "sign a new one for each call",
        "caller_ahead_s",
    )
    AGENT_UNKNOWN = _call("AGENT_UNKNOWN", "NOT_FOUND", "use one of the known agents", "agent", "known")
    SERVICE_UNKNOWN = _call(
        "SERVICE_UNKNOWN", "NOT_FOUND", 'of `Health/Check`: use `""` or `tokenwire.v1.AgentService`'
    )
    RUN_UNKNOWN = _call("RUN_UNKNOWN", "NOT_FOUND", "the run never existed, has expired, or is not yours")
    REQUEST_ID_REUSED = _call("REQUEST_ID_REUSED", "ALREADY_EXISTS", "use a new request id", "run_id")
    SESSION_BUSY = _call(
        "SESSION_BUSY",
        "ABORTED",
        "a session has one running run at a time: follow that one, stop it, or wait",
        "run_id",
        retry=Retry.LATER,
    )
    INPUT_UNKNOWN = _call(
        "INPUT_UNKNOWN", "NOT_FOUND", "use the `input_id` of an `input_requested` of this run"
    )
    INPUT_CLOSED = _call(
        "INPUT_CLOSED",
        "FAILED_PRECONDITION",
        "the question is answered, declined or expired (`outcome`), or its run has ended: send nothing more",
        "outcome",
    )
    RUN_LOG_LOST = _call("RUN_LOG_LOST", "DATA_LOSS", "the log was lost with its core: start again")
    LOG_FULL = _call("LOG_FULL", "RESOURCE_EXHAUSTED", "wait", retry=Retry.LATER)
    PRINCIPAL_LOG_FULL = _call(
        "PRINCIPAL_LOG_FULL",
        "RESOURCE_EXHAUSTED",
        "wait until one of your runs ends; other principals are not affected",
        "limit",
        retry=Retry.LATER,
    )
    PRINCIPAL_RUNS_LIMIT = _call(
        "PRINCIPAL_RUNS_LIMIT", "RESOURCE_EXHAUSTED", _LIMITS, "limit", "most", retry=Retry.LATER
    )
    RUNS_LIMIT = _call("RUNS_LIMIT", "RESOURCE_EXHAUSTED", _LIMITS, "limit", "most", retry=Retry.LATER)
    START_RATE_LIMIT = _call(
        "START_RATE_LIMIT", "RESOURCE_EXHAUSTED", _LIMITS, "limit", "most", retry=Retry.LATER
    )
    PRINCIPAL_FOLLOWS_LIMIT = _call(
        "PRINCIPAL_FOLLOWS_LIMIT", "RESOURCE_EXHAUSTED", _LIMITS, "limit", "most", retry=Retry.LATER
    )
    FOLLOWS_LIMIT = _call("FOLLOWS_LIMIT", "RESOURCE_EXHAUSTED", _LIMITS, "limit", "most", retry=Retry.LATER)
    OPEN_STREAMS_LIMIT = _call(
        "OPEN_STREAMS_LIMIT",
        "RESOURCE_EXHAUSTED",
        "end health watches or reflection streams",
        "most",
        retry=Retry.LATER,
    )
    CORE_DRAINING = _call("CORE_DRAINING", "UNAVAILABLE", "wait, or use another core", retry=Retry.LATER)
    LOG_AWAY = _call("LOG_AWAY", "UNAVAILABLE", "wait: the run log can't be reached", retry=Retry.LATER)
    ISSUER_AWAY = _call(
        "ISSUER_AWAY",
        "UNAVAILABLE",
        "wait: the issuer's keys can't be fetched, so JWTs can't be checked. Keep yours",
        retry=Retry.LATER,
    )
    AGENT_UNAVAILABLE = _call(
        "AGENT_UNAVAILABLE", "UNAVAILABLE", "try later, or use another agent", "agent", retry=Retry.MAYBE
    )
    LINK_HELLO_MISSING = _call(
        "LINK_HELLO_MISSING", "INVALID_ARGUMENT", "begin a [link](#links) with `hello`"
    )
    FOLLOW_ID_REUSED = _call(
        "FOLLOW_ID_REUSED", "INVALID_ARGUMENT", "of a follow on a link: give each follow an id of its own"
    )
    LINK_NOT_ALLOWED = _call(
        "LINK_NOT_ALLOWED", "PERMISSION_DENIED", "API keys and JWTs open no links: use `StreamRun`"
    )
    DEADLINE_PASSED = _call(
        "DEADLINE_PASSED", "DEADLINE_EXCEEDED", "of a follow on a link: the deadline of its caller has passed"
    )
    LINKS_LIMIT = _call(
        "LINKS_LIMIT", "RESOURCE_EXHAUSTED", "an edge process needs one link", "most", retry=Retry.LATER
    )
    LINK_REQUESTS_LIMIT = _call(
        "LINK_REQUESTS_LIMIT",
        "RESOURCE_EXHAUSTED",
        "of a follow on a link: too many are being opened at once",
        "most",
        retry=Retry.LATER,
    )
    LINK_SILENT = _call(
        "LINK_SILENT",
        "UNAVAILABLE",
        "of a link: send a heartbeat each second; open a new link",
        retry=Retry.MAYBE,
    )
    CORE_FAILED = _call("CORE_FAILED", "INTERNAL", "report it")

    AGENT_FAILED = _run("AGENT_FAILED", "INTERNAL", "the agent failed; the core's log has the traceback")
    AGENT_BUSY = _run(
        "AGENT_BUSY",
        "RESOURCE_EXHAUSTED",
        "[too many threads](agents.md#what-an-agent-may-do) of stopped runs still work",
        retry=Retry.MAYBE,
    )
    RUN_TIMEOUT = _run(
        "RUN_TIMEOUT", "DEADLINE_EXCEEDED", "the run exceeded its time limit", retry=Retry.MAYBE
    )
    INPUT_EXPIRED = _run(
        "INPUT_EXPIRED",
        "DEADLINE_EXCEEDED",
        "no answer to [a question](agents.md#ask-a-person) came in time: start again, and answer",
        retry=Retry.MAYBE,
    )
    CORE_SHUTDOWN = _run(
        "CORE_SHUTDOWN",
        "UNAVAILABLE",
        "the core was shut down before the run's end: start again",
        retry=Retry.MAYBE,
    )
    RUN_TOO_LARGE = _run("RUN_TOO_LARGE", "RESOURCE_EXHAUSTED", "the answer exceeds the limit of its size")
    PRODUCER_LOST = _run(
        "PRODUCER_LOST",
        "UNAVAILABLE",
        "the core died; it or another core closed the run: start again",
        retry=Retry.MAYBE,
    )

    EDGE_LIMIT = _edge(
        "EDGE_LIMIT", "RESOURCE_EXHAUSTED", "wait; a limit of the edge", "limit", retry=Retry.LATER
    )
    ORIGIN_NOT_ALLOWED = _edge(
        "ORIGIN_NOT_ALLOWED",
        "PERMISSION_DENIED",
        "allow the page's origin: [pages of other sites](operations.md#pages-of-other-sites)",
    )
    HOST_NOT_ALLOWED = _edge(
        "HOST_NOT_ALLOWED",
        "PERMISSION_DENIED",
        "allow the host name: [pages of other sites](operations.md#pages-of-other-sites)",
    )
    TICKET_EXPIRED = _edge("TICKET_EXPIRED", "UNAUTHENTICATED", "request a new ticket")
    TICKET_INVALID = _edge(
        "TICKET_INVALID", "UNAUTHENTICATED", "request a new ticket; it is damaged, or another run's"
    )
    CORE_NOT_ANSWERING = _edge(
        "CORE_NOT_ANSWERING",
        "UNAVAILABLE",
        "the core hangs and may still begin the run: repeat the request with the same `Idempotency-Key`",
        retry=Retry.MAYBE,
    )
    CORE_LOST = _edge(
        "CORE_LOST",
        "UNAVAILABLE",
        "the core is gone, and with it the run, whose log it kept in memory: start again",
        retry=Retry.MAYBE,
    )
    STREAM_ENDED_EARLY = _edge(
        "STREAM_ENDED_EARLY",
        "UNAVAILABLE",
        "the core ended the stream before the run: follow the run again",
        retry=Retry.MAYBE,
    )
    SEQUENCE_GAP = _edge(
        "SEQUENCE_GAP",
        "DATA_LOSS",
        "events are missing in what the core sent: follow the run again",
        "after",
        "got",
        retry=Retry.MAYBE,
    )


PASSES_AT_AN_EDGE: Final = frozenset({Reason.RUN_UNKNOWN, Reason.SEQUENCE_GAP, Reason.CORE_FAILED})
"""For which an edge follows a run again for a while, though the codes are final: a store that was wiped gets
its live runs back from the core that writes them."""
