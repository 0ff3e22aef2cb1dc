"""The ways in which a model call fails, as users are told.

docs/agents.md has this table: a test compares them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from agent_core.agents.events import AgentError
from tokenwire.numbers import plain_number

log = logging.getLogger(__name__)

CONTEXT_OVERFLOW: Final = "CONTEXT_OVERFLOW"
"""The reason of a conversation that is longer than the model can read; the embedded model's word too."""


MAX_SAID: Final = 500
"""Characters of a provider's words that are logged."""


class Kind(NamedTuple):
    """One way in which a model call fails, as the user is told."""

    code: str
    """A canonical gRPC code's name."""
    reason: str
    """The detail `reason`, for programs."""
    message: str
    when: str
    """When it is told, for operators: the words of docs/agents.md, in Markdown."""
    retryable: bool = False


KEY_REFUSED: Final = Kind(
    "UNAUTHENTICATED",
    "MODEL_KEY_REFUSED",
    "The model's provider does not accept this service's API key. The operator must correct it.",
    "401: the endpoint does not accept *our* API key",
)
NOT_ALLOWED: Final = Kind(
    "PERMISSION_DENIED",
    "MODEL_NOT_ALLOWED",
    "The model's provider does not allow this service to use the model. The operator must correct that.",
    "403",
)
UNKNOWN_MODEL: Final = Kind(
    "NOT_FOUND",
    "MODEL_UNKNOWN",
    "The model's provider does not have the model.",
    "404: unknown model, or a wrong base URL",
)
TOO_LONG: Final = Kind(
    "INVALID_ARGUMENT",
    CONTEXT_OVERFLOW,
    "The conversation is longer than the model can read.",
    "the message alone exceeds the model's context",
)
REJECTED: Final = Kind(
    "INVALID_ARGUMENT",
    "MODEL_REQUEST_REFUSED",
    "The model's provider did not accept the request.",
    "400, 422 and other 4xx",
)
FILTERED: Final = Kind(
    "FAILED_PRECONDITION",
    "CONTENT_FILTERED",
    "The model's provider withheld the answer: its content filter.",
    "the provider withheld the answer, or the rest of it",
)
NOT_CHOSEN: Final = Kind(
    "FAILED_PRECONDITION",
    "MODEL_NOT_CHOSEN",
    "No model is chosen. The operator of the service must set TOKENWIRE_MODEL.",
    "`TOKENWIRE_MODEL` is unset and the endpoint does not list exactly one",
)
WRONG_URL: Final = Kind(
    "FAILED_PRECONDITION",
    "MODEL_URL_WRONG",
    "The URL of the model is wrong. The operator of the service must correct TOKENWIRE_MODEL_URL.",
    "3xx, or a web page: the base URL is wrong. Redirects are not followed; the log has their target",
)
BUSY: Final = Kind(
    "RESOURCE_EXHAUSTED",
    "MODEL_RATE_LIMIT",
    "The model's provider receives too many requests.",
    "429; `details.retry_after_s` if the provider sent it",
    retryable=True,
)
SPENT: Final = Kind(
    "RESOURCE_EXHAUSTED",
    "MODEL_QUOTA",
    "The quota of this service at the model's provider is used up. The operator must renew it.",
    "402, and 429 because of a spent budget",
)
TIMED_OUT: Final = Kind(
    "DEADLINE_EXCEEDED",
    "MODEL_TIMEOUT",
    "The model did not answer in time.",
    "408, or connecting took too long",
    retryable=True,
)
STALLED: Final = Kind(
    "DEADLINE_EXCEEDED",
    "MODEL_STALLED",
    "The model stopped answering.",
    "no chunk for `TOKENWIRE_MODEL_STALL_S`",
    retryable=True,
)
AWAY: Final = Kind(
    "UNAVAILABLE",
    "MODEL_UNAVAILABLE",
    "The model can't be reached.",
    "connection refused, or unknown host",
    retryable=True,
)
BROKEN: Final = Kind(
    "UNAVAILABLE",
    "MODEL_FAILED",
    "The model's provider failed.",
    "5xx, an error object without a status inside a 200, or a finish reason such as `error`",
    retryable=True,
)
CUT_OFF: Final = Kind(
    "UNAVAILABLE",
    "MODEL_CUT_OFF",
    "The model's answer broke off before it was complete.",
    "the answer broke off, was empty, ended without a finish reason and `[DONE]`, or with a finish reason "
    "that does not mean an end (`abort`) or is unknown. The text so far is kept, and never reported "
    "as a complete answer",
    retryable=True,
)
EMPTY: Final = Kind(
    "UNAVAILABLE",
    "MODEL_ANSWER_EMPTY",
    "The model ended its turn without an answer.",
    "the answer ended normally without text or tool calls, for example after reasoning. After tool calls "
    "this is not a failure but the end of the run",
    retryable=True,
)
MALFORMED: Final = Kind(
    "INTERNAL",
    "MODEL_ANSWER_MALFORMED",
    "The model's provider sent a response that can't be read.",
    "the response is not an answer, or not JSON",
)
MISBEHAVED: Final = Kind(
    "INTERNAL",
    "MODEL_MISBEHAVED",
    "The model keeps calling tools in a wrong way.",
    "the model keeps calling tools in a wrong way",
)


class ModelCallError(AgentError):
    """A model call failed.

    Args:
        kind: What happened.
        said: The provider's own words, for the log alone.
        retry_after_s: When the provider wants to be asked again; None when it did not say.
    """

    def __init__(self, kind: Kind, said: str = "", *, retry_after_s: float | None = None) -> None:
        details = {"reason": kind.reason}
        if retry_after_s is not None:
            details["retry_after_s"] = plain_number(retry_after_s)
        super().__init__(kind.code, kind.message, retryable=kind.retryable, details=details)
        self.reason = kind.reason
        self.retry_after_s = retry_after_s
        self.provider_said = said[:MAX_SAID]

    def log(self, hide: Callable[[str], str] = str) -> None:
        """Write the provider's words to the log.

        Args:
            hide: Takes out of them what must not be there.
        """
        said = hide(self.provider_said) or "-"
        log.warning("A model call failed: %s. The provider says: %s", self.reason, said)
