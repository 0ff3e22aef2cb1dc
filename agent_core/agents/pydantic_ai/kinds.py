"""The ways in which a model call fails, as users are told.

docs/agents.md has this table: a test compares them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONTEXT_OVERFLOW: Final = "CONTEXT_OVERFLOW"
"""The reason of a conversation that is longer than the model can read; the embedded model's word too."""


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
    "The model's provider does not accept this service's key. Whoever runs the service has to correct it.",
    "401: the endpoint does not accept *our* key",
)
NOT_ALLOWED: Final = Kind(
    "PERMISSION_DENIED",
    "MODEL_NOT_ALLOWED",
    "The model's provider does not let this service use the model. Whoever runs it has to correct that.",
    "403",
)
UNKNOWN_MODEL: Final = Kind(
    "NOT_FOUND",
    "MODEL_UNKNOWN",
    "The model's provider does not have the model.",
    "404: no such model, or a wrong base URL",
)
TOO_LONG: Final = Kind(
    "INVALID_ARGUMENT",
    CONTEXT_OVERFLOW,
    "The conversation is longer than the model can read.",
    "the message alone is longer than the model can read",
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
    "The model is not chosen. Whoever runs the service has to name one with TOKENWIRE_MODEL.",
    "`TOKENWIRE_MODEL` is unset and the endpoint does not list just one",
)
WRONG_URL: Final = Kind(
    "FAILED_PRECONDITION",
    "MODEL_URL_WRONG",
    "What answers at the model's URL is no model. Whoever runs the service has to correct the URL.",
    "3xx, or a web page with 200: a wrong base URL. The log says where to; redirections are not followed",
)
BUSY: Final = Kind(
    "RESOURCE_EXHAUSTED",
    "MODEL_RATE_LIMIT",
    "The model's provider gets too many requests.",
    "429; `details.retry_after_s` where the provider said",
    retryable=True,
)
SPENT: Final = Kind(
    "RESOURCE_EXHAUSTED",
    "MODEL_QUOTA",
    "The model's provider has no quota left for this service. Whoever runs the service has to renew it.",
    "402, and 429 for want of money",
)
TIMED_OUT: Final = Kind(
    "DEADLINE_EXCEEDED",
    "MODEL_TIMEOUT",
    "The model did not answer in time.",
    "408, connecting took too long",
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
    "UNAVAILABLE", "MODEL_UNAVAILABLE", "The model can't be reached.", "nobody listens there", retryable=True
)
BROKEN: Final = Kind(
    "UNAVAILABLE",
    "MODEL_FAILED",
    "The model's provider failed.",
    "5xx, an error inside a 200 that says no status, or a finish reason such as `error`",
    retryable=True,
)
CUT_OFF: Final = Kind(
    "UNAVAILABLE",
    "MODEL_CUT_OFF",
    "The model's answer broke off before it was complete.",
    "the answer broke off, nothing came, it ended without a finish reason and without `[DONE]`, or with one "
    "that is no end: `abort`, or an unknown one. What came stands, and is never taken for a whole answer",
    retryable=True,
)
EMPTY: Final = Kind(
    "UNAVAILABLE",
    "MODEL_ANSWER_EMPTY",
    "The model ended without an answer.",
    "the answer ended in order with no text and no tool call, maybe after reasoning. After tool calls that "
    "is no failure, but the run's end",
    retryable=True,
)
MALFORMED: Final = Kind(
    "INTERNAL",
    "MODEL_ANSWER_MALFORMED",
    "The model's provider sent what can't be understood.",
    "what came is no chunk of an answer",
)
MISBEHAVED: Final = Kind(
    "INTERNAL",
    "MODEL_MISBEHAVED",
    "The model did not answer in a way that can be used, not even when asked again.",
    "the model calls tools in a wrong way again and again",
)
