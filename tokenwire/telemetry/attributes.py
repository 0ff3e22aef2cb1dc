"""The names of span attributes, each once.

The RPC conventions are a release candidate, the GenAI ones are in development: a name that changes
there changes here.

Source: https://opentelemetry.io/docs/specs/semconv/ (1.44)
Source: https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from typing import Final

ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
"""Renamed on the conventions' main branch: change it here when a release has the new name."""

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""Seconds, waiting in line and repeated attempts included."""
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

CANCELLED: Final = "tokenwire.cancelled"
"""True on a span whose work was cancelled. That is no error: its status stays unset."""
RUN_ID: Final = "tokenwire.run.id"
RUN_EVENTS: Final = "tokenwire.run.events"
RUN_STOP_CAUSE: Final = "tokenwire.run.stop_cause"
INPUT_ID: Final = "tokenwire.input.id"
INPUT_KIND: Final = "tokenwire.input.kind"
INPUT_OUTCOME: Final = "tokenwire.input.outcome"
"""How a question to a person was closed: answered, declined or expired."""
TRANSPORT: Final = "tokenwire.transport"
"""What carries a start or a follow from core to edge: `link` or `call`. On a core's spans only `link`."""
STREAM_OUTCOME: Final = "tokenwire.stream.outcome"
"""How an SSE response ended: completed, cancelled, error, client_disconnect, evicted or drained."""
STREAM_DIALECT: Final = "tokenwire.stream.dialect"
"""The protocol of an SSE response: native, ai_sdk, openai or ag_ui."""
STREAM_SENDS: Final = "tokenwire.stream.sends"
STREAM_BYTES: Final = "tokenwire.stream.bytes"
STREAM_UNKNOWN: Final = "tokenwire.stream.unknown_events"
"""Events of a newer core that this edge does not know and has left out. Absent for none."""

RECONNECT_ATTEMPTS: Final = "tokenwire.reconnect.attempts"
"""How often a broken stream was followed again, until that worked or was given up."""

TOKENS_FIRST: Final = "tokenwire.tokens.first"
"""The sequence of a segment's first row; row i is the event `first + i`."""
TOKENS_COUNT: Final = "tokenwire.tokens.count"
TOKENS_T0: Final = "tokenwire.tokens.t0_unix_ns"
"""The wall-clock time that the stages' first numbers count from: of the segment's first `model` stamp, or
`recv` stamp where it was replayed."""
TOKENS_REPLAYED: Final = "tokenwire.tokens.replayed"
TOKENS_STAGE: Final = "tokenwire.tokens.{stage}_us"
"""One for each stage: integers joined by commas, the first in microseconds from t0, each next the difference
to the one before."""

STALL_HOP: Final = "tokenwire.stall.hop"
STALL_SEQUENCE: Final = "tokenwire.stall.sequence"
STALL_MS: Final = "tokenwire.stall.ms"
STALL_BEHIND: Final = "tokenwire.stall.behind"
"""How many events were queued behind the one that stalled."""
STALL_OPEN: Final = "tokenwire.stall.open"
"""True on a stall that was not over when the stream ended."""
STALL_CAUSE: Final = "tokenwire.stall.cause"
"""`core_loop` or `edge_loop`: that process's event loop stood still for at least half of the gap."""

STREAM_TOKENS: Final = "tokenwire.stream.tokens"
STREAM_DROPPED: Final = "tokenwire.stream.dropped"
"""Events that no segment has a row of."""
STREAM_TTFT_MS: Final = "tokenwire.stream.ttft_ms"
STREAM_GAP_P50_MS: Final = "tokenwire.stream.gap_p50_ms"
STREAM_GAP_P99_MS: Final = "tokenwire.stream.gap_p99_ms"
STREAM_GAP_MAX_MS: Final = "tokenwire.stream.gap_max_ms"
STREAM_GAP_MAX_SEQUENCE: Final = "tokenwire.stream.gap_max_sequence"
STREAM_GAP_MAX_HOP: Final = "tokenwire.stream.gap_max_hop"
STREAM_STALLS: Final = "tokenwire.stream.stalls"
SAMPLED: Final = "tokenwire.sampled"
"""Why the trace of a stream that the sampler had not chosen was kept: `stall` or `error`."""

DISCARDED: Final = "tokenwire.discarded"
"""On a span that is not exported after all. Never seen outside of the process."""

CLOCK_OFFSET_US: Final = "tokenwire.clock.offset_us"
"""How much the edge's wall clock is ahead of the core's, as far as is known. It alters no stamp."""
CLOCK_ERROR_US: Final = "tokenwire.clock.error_us"
CLOCK_METHOD: Final = "tokenwire.clock.method"
"""`same_host`, `bounds` or `none`."""
