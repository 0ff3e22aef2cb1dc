"""Why the core refuses a request: one exception tree, without gRPC.

Each refusal has a canonical code, a reason for programs, and a message fit for a user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tokenwire.reasons import Reason

_INPUT_CLOSED: Final = {
    "answered": "The question was answered already.",
    "declined": "The question was declined already.",
    "expired": "The question has expired.",
}


class Violation(NamedTuple):
    """One field of a request that can't be accepted."""

    field: str
    """The path of the field, such as "run.session_id"."""
    description: str
    """What is wrong with it."""


class RefusalError(Exception):
    """A request is refused.

    Args:
        code: A canonical gRPC code's name.
        reason: Why, in UPPER_SNAKE: the ErrorInfo's reason.
        message: Why, fit for a user.
        metadata: Further facts for programs.
        violations: The fields that are wrong.
        retry_after_s: When to try again; None when that does not help.
    """

    def __init__(  # noqa: PLR0913 # all that google.rpc.Status can say
        self,
        code: str,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


class KnownRefusalError(RefusalError):
    """A request is refused for a reason of the table: the code is that of its row.

    Args:
        reason: Why.
        message: Why, fit for a user.
        metadata: Further facts for programs.
        violations: The fields that are wrong.
        retry_after_s: When to try again; None when that does not help.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            reason.code,
            reason,
            message,
            metadata=metadata,
            violations=violations,
            retry_after_s=retry_after_s,
        )


class UnauthenticatedError(KnownRefusalError):
    """Authentication is required."""

    def __init__(self) -> None:
        message = "Authentication is required."
        super().__init__(Reason.PRINCIPAL_MISSING, message)


class BearerRefusedError(RefusalError):
    """What the call bears (`authorization`) proves nobody.

    Args:
        reason: Why, in UPPER_SNAKE: the same word as at the edge.
        message: The same, fit for a user.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__("UNAUTHENTICATED", reason, message)


class BearerNotAcceptedError(BearerRefusedError):
    """The call bears something, and this core accepts no bearers."""

    def __init__(self) -> None:
        message = (
            "This core accepts no API keys and no JWTs (TOKENWIRE_AUTH is not set there). Call it without "
            "`authorization`."
        )
        super().__init__(Reason.BEARER_NOT_ACCEPTED, message)


class IssuerUnavailableError(KnownRefusalError):
    """A JWT can't be checked: its issuer's keys can't be fetched at the moment."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(Reason.ISSUER_AWAY, message, retry_after_s=retry_after_s)


class InvalidRequestError(KnownRefusalError):
    """Fields of the request are wrong."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        fields = ", ".join(violation.field for violation in violations)
        message = f"Invalid request: {fields}."
        super().__init__(Reason.INVALID_REQUEST, message, violations=violations)


class ClockSkewError(KnownRefusalError):
    """The call proves who makes it, but not for now.

    Args:
        difference_s: How far the caller's clock is ahead of this one, in seconds; negative where behind.
    """

    def __init__(self, difference_s: int) -> None:
        message = "The signed principal is not valid now: the clocks of the caller and the core differ."
        metadata = {"caller_ahead_s": str(difference_s)}
        super().__init__(Reason.CLOCK_SKEW, message, metadata=metadata)


class UnreadableRequestError(KnownRefusalError):
    """What was sent is no request of the rpc.

    Args:
        expected: The full name of the message that it should be.
    """

    def __init__(self, expected: str) -> None:
        message = f"The request can't be decoded as {expected}."
        super().__init__(Reason.REQUEST_UNREADABLE, message, metadata={"expected": expected})


class TooManyStreamsError(KnownRefusalError):
    """As many health watches and reflection streams are open as there may be.

    Args:
        most: How many that is.
    """

    def __init__(self, most: int) -> None:
        message = "Too many health watches and reflection streams are open."
        metadata = {"most": str(most)}
        super().__init__(Reason.OPEN_STREAMS_LIMIT, message, metadata=metadata, retry_after_s=1.0)


class RequestTimeoutError(KnownRefusalError):
    """A call was opened, and its request did not come.

    Args:
        limit_s: How long it may take.
    """

    def __init__(self, limit_s: float) -> None:
        message = f"The request did not arrive within {limit_s:.0f} s."
        super().__init__(Reason.REQUEST_TIMEOUT, message)


class UnknownAgentError(KnownRefusalError):
    """The core has no agent of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        metadata = {"agent": name, "known": " ".join(known)}
        super().__init__(Reason.AGENT_UNKNOWN, "There is no such agent.", metadata=metadata)


class AgentUnavailableError(KnownRefusalError):
    """The agent exists, but can't be used: it could not be loaded, or did not start."""

    def __init__(self, name: str) -> None:
        message = "This agent is not available at the moment."
        super().__init__(Reason.AGENT_UNAVAILABLE, message, metadata={"agent": name})


class UnknownRunError(KnownRefusalError):
    """The core has no run of that id."""

    def __init__(self) -> None:
        super().__init__(Reason.RUN_UNKNOWN, "There is no such run.")


class UnknownInputError(KnownRefusalError):
    """The run has asked no question of that id."""

    def __init__(self) -> None:
        super().__init__(Reason.INPUT_UNKNOWN, "There is no such question.")


class InputClosedError(KnownRefusalError):
    """The question takes no answer any more.

    Args:
        outcome: answered, declined or expired; empty where its run has ended, or is being stopped.
    """

    def __init__(self, outcome: str) -> None:
        message = _INPUT_CLOSED.get(outcome, "The run takes no answers any more.")
        super().__init__(Reason.INPUT_CLOSED, message, metadata={"outcome": outcome} if outcome else None)
        self.outcome = outcome


class RunLostError(KnownRefusalError):
    """The run belonged to a core that took its log with it."""

    def __init__(self) -> None:
        super().__init__(Reason.RUN_LOG_LOST, "The run's events were lost.")


class RequestIdReusedError(KnownRefusalError):
    """Another request has used the same request id already."""

    def __init__(self, run_id: str) -> None:
        message = "Another request has used this request id."
        super().__init__(Reason.REQUEST_ID_REUSED, message, metadata={"run_id": run_id})


class SessionHasRunError(KnownRefusalError):
    """Another run of the session goes on."""

    def __init__(self, run_id: str) -> None:
        message = "Another answer of this session is still being written."
        super().__init__(Reason.SESSION_BUSY, message, metadata={"run_id": run_id}, retry_after_s=1.0)


class CoreDrainingError(KnownRefusalError):
    """The core is going down and starts no runs."""

    def __init__(self) -> None:
        message = "The service is restarting."
        super().__init__(Reason.CORE_DRAINING, message, retry_after_s=1.0)


class CoreFullError(KnownRefusalError):
    """The log has no room for another run."""

    def __init__(self) -> None:
        message = "The service is overloaded. Try again in a moment."
        super().__init__(Reason.LOG_FULL, message, retry_after_s=5.0)


class PrincipalFullError(KnownRefusalError):
    """The principal's live runs need all that the log may keep for her."""

    def __init__(self) -> None:
        message = "Your running answers use all the space you may use. Wait until one is complete."
        super().__init__(
            Reason.PRINCIPAL_LOG_FULL,
            message,
            metadata={"limit": "log_principal_bytes"},
            retry_after_s=5.0,
        )


class LimitReachedError(KnownRefusalError):
    """There are as many runs, starts or follows as there may be.

    Args:
        reason: Which limit it is, for programs.
        limit: The setting's name, in lower case.
        most: How much it allows.
        retry_after_s: When to try again.
    """

    def __init__(self, reason: Reason, limit: str, most: int, retry_after_s: float) -> None:
        message = "Too many requests. Try again in a moment."
        metadata = {"limit": limit, "most": str(most)}
        super().__init__(reason, message, metadata=metadata, retry_after_s=retry_after_s)


class CoreLogAwayError(KnownRefusalError):
    """The log can't be read or written at the moment."""

    def __init__(self) -> None:
        message = "The service is temporarily unavailable."
        super().__init__(Reason.LOG_AWAY, message, retry_after_s=1.0)


class LinkNotAllowedError(KnownRefusalError):
    """The call bears an API key or a JWT, and a link is for edges, which act for many."""

    def __init__(self) -> None:
        message = "Links are for edges: an API key or a JWT can't open one. Use StreamRun and FollowRun."
        super().__init__(Reason.LINK_NOT_ALLOWED, message)


class LinkHelloError(KnownRefusalError):
    """The first message of a link is something else than a hello."""

    def __init__(self) -> None:
        super().__init__(Reason.LINK_HELLO_MISSING, "The first message must be a hello.")


class LinkSilentError(KnownRefusalError):
    """Nothing came over a link for too long.

    Args:
        limit_s: How long the edge may be silent.
    """

    def __init__(self, limit_s: float) -> None:
        message = f"The edge was silent for {limit_s:.0f} s."
        super().__init__(Reason.LINK_SILENT, message)


class TooManyLinksError(KnownRefusalError):
    """As many links are open as there may be.

    Args:
        most: How many that is.
    """

    def __init__(self, most: int) -> None:
        message, metadata = "Too many links are open.", {"most": str(most)}
        super().__init__(Reason.LINKS_LIMIT, message, metadata=metadata, retry_after_s=1.0)


class TooManyOpeningError(KnownRefusalError):
    """As many starts and follows of one link are under way as there may be.

    Args:
        most: How many that is.
    """

    def __init__(self, most: int) -> None:
        message = "Too many requests. Try again in a moment."
        metadata = {"most": str(most)}
        super().__init__(Reason.LINK_REQUESTS_LIMIT, message, metadata=metadata, retry_after_s=1.0)


class FollowIdReusedError(KnownRefusalError):
    """Two follows of a link have the same id: neither can be served."""

    def __init__(self) -> None:
        message = "This follow id is used by another follow of the link."
        super().__init__(Reason.FOLLOW_ID_REUSED, message)


class DeadlineError(KnownRefusalError):
    """The deadline that the caller has set has passed."""

    def __init__(self) -> None:
        message = "The deadline of the call has passed."
        super().__init__(Reason.DEADLINE_PASSED, message)
