"""What can go wrong with a run: one exception tree. Each message is fit for a user."""

from __future__ import annotations

from collections.abc import Mapping

from tokenwire import events

MISSING_CODE = "DATA_LOSS"
TIMEOUT_CODE = "DEADLINE_EXCEEDED"
UNAVAILABLE = "UNAVAILABLE"


class ClientError(Exception):
    """A request failed, or a run can't be read on.

    Args:
        code: A canonical gRPC code's name, such as `NOT_FOUND`; `HTTP 418` for an answer that has none.
        message: What is wrong, fit for a user.
        retryable: Whether the same may succeed later.
        details: Further facts for programs; `reason` is one of `tokenwire.reasons`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details: dict[str, str] = dict(details or {})
        self.run_id = ""
        """The run that it is about; empty where none is known."""
        self.after = ""
        """The id of the last event that was read: `Client.follow(run_id, after=after)` continues there."""

    @property
    def reason(self) -> str:
        """Why, in UPPER_SNAKE, for programs; empty where it is not known."""
        return self.details.get("reason", "")

    def __str__(self) -> str:
        """Return code, message and facts on one line."""
        facts = "; ".join(
            f"{name}: {value}" for name, value in sorted(self.details.items()) if name != "reason"
        )
        return ": ".join(filter(None, (self.code, self.message))) + (f" ({facts})" if facts else "")


class UnreachableError(ClientError):
    """No server can be reached at the address.

    Args:
        message: Which one.
    """

    def __init__(self, message: str) -> None:
        super().__init__(UNAVAILABLE, message, retryable=True)

    def __str__(self) -> str:
        """Return the message: no server has given the code."""
        return self.message


class ConnectionLostError(ClientError):
    """The connection broke, and could not be made again in time. The run may still be running.

    Args:
        message: What broke.
    """

    def __init__(self, message: str) -> None:
        super().__init__(UNAVAILABLE, message, retryable=True)

    def __str__(self) -> str:
        """Return the message: no server has given the code."""
        return self.message


class RefusedError(ClientError):
    """The server refused the request.

    Args:
        code: A canonical gRPC code's name, or `HTTP 418`.
        message: The server's words.
        details: Further facts, such as the known agents.
        retry_after_s: When to ask again, in seconds from now; None if that does not help.
        event: The event by which an edge said so, where it said it within a stream.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, str] | None = None,
        *,
        retry_after_s: float | None = None,
        event: events.Error | None = None,
    ) -> None:
        super().__init__(code, message, retryable=retry_after_s is not None, details=details)
        self.retry_after_s = retry_after_s
        self.event = event


class EventsMissingError(ClientError):
    """The log has dropped events that were not read yet: text is missing.

    Reading on continues with the first event that the log still has. To be told by an item instead of this
    exception, read `Run.items(controls=True)`.

    Args:
        resync: What the server said.
    """

    def __init__(self, resync: events.Resync) -> None:
        super().__init__(MISSING_CODE, f"Events before {resync.first} are no longer in the server's log.")
        self.resync = resync


class DeadlineExceededError(ClientError):
    """The run took longer than its `timeout_s`, and was cancelled.

    Args:
        timeout_s: That limit, in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(TIMEOUT_CODE, f"The run took longer than {timeout_s:g} s.")


class RunFailedError(ClientError):
    """The run ended in an `error` event. Only `Run.text` raises it: iteration yields the event.

    Args:
        event: The event.
    """

    def __init__(self, event: events.Error) -> None:
        super().__init__(event.code, event.message, retryable=event.retryable, details=event.details)
        self.event = event
