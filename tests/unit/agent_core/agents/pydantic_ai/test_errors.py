"""What failed model calls are to users."""

from __future__ import annotations

import json

import httpx
import httpx2
import openai
import pytest
from pydantic_ai import exceptions as ai

from agent_core.agents import AgentError
from agent_core.agents import model_failures as kinds
from agent_core.agents.model_failures import MAX_SAID, Kind, ModelCallError
from agent_core.agents.pydantic_ai.errors import model_call_error
from agent_core.runs.failures import CODES, failure_of
from tests.support.processes import ROOT

DOCS = ROOT / "docs" / "agents.md"
KINDS = [kind for kind in vars(kinds).values() if isinstance(kind, Kind)]


def http(status: int, category: type[Exception] | None = None, **more: object) -> Exception:
    return ai.ModelHTTPError.for_category(category, status_code=status, model_name="m", **more)  # type: ignore[arg-type]


def redirected(to: str) -> Exception:
    """Return a redirection as the OpenAI library has it, and Pydantic AI around it."""
    request = httpx2.Request("POST", "http://h/v1")
    error = ai.ModelAPIError("m", "Error code: 307")
    error.__cause__ = openai.APIStatusError(
        "Error code: 307", response=httpx2.Response(307, headers={"location": to}, request=request), body=None
    )
    return error


def malformed() -> Exception:
    error = ai.ModelAPIError("m", "Failed to decode response as JSON")
    error.__cause__ = json.JSONDecodeError("no", "{", 0)
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (http(401, ai.ModelAuthenticationError), "MODEL_KEY_REFUSED"),
        (http(403, ai.ModelAuthenticationError), "MODEL_NOT_ALLOWED"),
        (http(408), "MODEL_TIMEOUT"),
        (http(409), "MODEL_REQUEST_REFUSED"),
        (http(599), "MODEL_FAILED"),
        (http(400, ai.ModelContextWindowExceededError), "CONTEXT_OVERFLOW"),
        (http(400, provider_error_type="exceed_context_size_error"), "CONTEXT_OVERFLOW"),
        (http(429, ai.ModelRateLimitError), "MODEL_RATE_LIMIT"),
        (http(429, ai.ModelQuotaExceededError), "MODEL_QUOTA"),
        (http(503, ai.ModelOverloadedError), "MODEL_FAILED"),
        (ai.ModelAuthenticationError("m", "no"), "MODEL_KEY_REFUSED"),
        (ai.ModelTimeoutError("m", "no", phase="connect"), "MODEL_TIMEOUT"),
        (ai.ModelRequestTimeout("m", 3.0), "MODEL_TIMEOUT"),
        (ai.ModelConnectionError("m", "no", phase="connect"), "MODEL_UNAVAILABLE"),
        (ai.ModelConnectionError("m", "no"), "MODEL_UNAVAILABLE"),
        (ai.ModelConnectionError("m", "no", phase="read"), "MODEL_CUT_OFF"),
        (ai.ModelAPIError("m", "Streamed response ended without a finish_reason"), "MODEL_CUT_OFF"),
        (ai.ModelAPIError("m", "no", body={"message": "no"}), "MODEL_FAILED"),
        (malformed(), "MODEL_ANSWER_MALFORMED"),
        (redirected("https://h/"), "MODEL_URL_WRONG"),
        (ai.ContentFilterError("no"), "CONTENT_FILTERED"),
        (ai.UnexpectedModelBehavior("no"), "MODEL_MISBEHAVED"),
        (httpx2.ReadTimeout("no"), "MODEL_TIMEOUT"),
        (httpx2.ConnectError("no"), "MODEL_UNAVAILABLE"),
        (httpx2.ReadError("no"), "MODEL_CUT_OFF"),
        (httpx.RemoteProtocolError("no"), "MODEL_CUT_OFF"),
    ],
)
def test_each_failure_has_its_reason(error: Exception, reason: str) -> None:
    """Whatever a library raises for it."""
    known = model_call_error(error)
    assert known is not None
    assert known.reason == known.details["reason"] == reason


@pytest.mark.parametrize(
    "error", [KeyError("x"), ai.UserError("x"), TimeoutError(), AgentError("NOT_FOUND", "x")]
)
def test_what_is_no_failed_call_is_none(error: Exception) -> None:
    """A bug stays a bug: it is not told as the provider's fault."""
    assert model_call_error(error) is None


def test_the_provider_speaks_to_the_log_alone() -> None:
    """Its words are kept, on one line and bounded, and stand nowhere that a user looks."""
    error = http(400, ai.ModelRequestRejectedError, body="secret\nwords " * 100)
    known = model_call_error(error)
    assert known is not None
    assert "secret" not in f"{known!r} {known} {known.details}"
    assert "secret words" in known.provider_said
    assert len(known.provider_said) <= MAX_SAID
    assert model_call_error(known) is known


@pytest.mark.parametrize(
    ("to", "where"),
    [
        ("https://models.example:8443/v1/?key=sk-1", "https://models.example/v1/:"),
        ("/v1/", "the same scheme://the same host/v1/:"),
        ("", "the same scheme://the same host:"),
        ("http://[", "nowhere that can be read:"),
    ],
)
def test_the_log_has_where_a_redirection_leads_to(to: str, where: str) -> None:
    """The host and the path, that a wrong base URL is the likely cause, and nothing that may be a key."""
    known = model_call_error(redirected(to))
    assert known is not None
    assert known.provider_said == f"HTTP 307, a redirection to {where} is the base URL wrong?"


@pytest.mark.parametrize("seconds", ["12", "0", "728810000"])
def test_when_to_ask_again_is_told(seconds: str) -> None:
    """As the provider said it, in seconds: a plain decimal, also where it is years away."""
    known = model_call_error(http(429, ai.ModelRateLimitError, headers={"Retry-After": seconds}))
    assert known is not None
    assert (known.retry_after_s, known.details["retry_after_s"]) == (float(seconds), seconds)


def test_the_documentation_has_this_table() -> None:
    """Each kind is a row of docs/agents.md, in the code's order and words; no row is of anything else."""
    section = DOCS.read_text().partition("### How a model call fails")[2].partition("\n#")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    assert rows == [
        f"| `{kind.code}` | `{kind.reason}` | {kind.when} |{' yes' if kind.retryable else ''} |"
        for kind in KINDS
    ]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.reason for kind in KINDS])
def test_every_kind_can_be_told(kind: Kind) -> None:
    """With a canonical code, a sentence, and a reason of its own: the core passes it on as it is."""
    assert kind.code in CODES
    assert kind.message.endswith(".")
    assert [each.reason for each in KINDS].count(kind.reason) == 1
    failure = failure_of(ModelCallError(kind, "said"))
    assert (failure.code, failure.message, failure.retryable) == (kind.code, kind.message, kind.retryable)
