"""The ways in which a model call fails, as users are told."""

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
    retryable: bool = False


TIMED_OUT: Final = Kind(
    "DEADLINE_EXCEEDED", "MODEL_TIMEOUT", "The model did not answer in time.", retryable=True
)
STALLED: Final = Kind("DEADLINE_EXCEEDED", "MODEL_STALLED", "The model stopped answering.", retryable=True)
KEY_REFUSED: Final = Kind(
    "UNAUTHENTICATED",
    "MODEL_KEY_REFUSED",
    "The model's provider does not accept this service's key. Whoever runs the service has to correct it.",
)
NOT_ALLOWED: Final = Kind(
    "PERMISSION_DENIED",
    "MODEL_NOT_ALLOWED",
    "The model's provider does not let this service use the model. Whoever runs it has to correct that.",
)
UNKNOWN_MODEL: Final = Kind("NOT_FOUND", "MODEL_UNKNOWN", "The model's provider does not have the model.")
TOO_LONG: Final = Kind(
    "INVALID_ARGUMENT", CONTEXT_OVERFLOW, "The conversation is longer than the model can read."
)
REJECTED: Final = Kind(
    "INVALID_ARGUMENT", "MODEL_REQUEST_REFUSED", "The model's provider did not accept the request."
)
FILTERED: Final = Kind(
    "FAILED_PRECONDITION", "CONTENT_FILTERED", "The model's provider withheld the answer: its content filter."
)
BUSY: Final = Kind(
    "RESOURCE_EXHAUSTED", "MODEL_RATE_LIMIT", "The model's provider gets too many requests.", retryable=True
)
SPENT: Final = Kind(
    "RESOURCE_EXHAUSTED",
    "MODEL_QUOTA",
    "The model's provider has no quota left for this service. Whoever runs the service has to renew it.",
)
AWAY: Final = Kind("UNAVAILABLE", "MODEL_UNAVAILABLE", "The model can't be reached.", retryable=True)
BROKEN: Final = Kind("UNAVAILABLE", "MODEL_FAILED", "The model's provider failed.", retryable=True)
CUT_OFF: Final = Kind(
    "UNAVAILABLE", "MODEL_CUT_OFF", "The model's answer broke off before it was complete.", retryable=True
)
MALFORMED: Final = Kind(
    "INTERNAL", "MODEL_ANSWER_MALFORMED", "The model's provider sent what can't be understood."
)
MISBEHAVED: Final = Kind(
    "INTERNAL",
    "MODEL_MISBEHAVED",
    "The model did not answer in a way that can be used, not even when asked again.",
)
