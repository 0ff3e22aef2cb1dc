"""Refusals: what a caller learns of a failure, and what is logged. The same for calls and links."""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import trace

from agent_core.errors import CoreLogAwayError, KnownRefusalError, RefusalError, UnknownRunError
from agent_core.log.errors import LogAwayError, LogGoneError
from tokenwire.outage import Repeats
from tokenwire.rate import Rate
from tokenwire.reasons import Reason
from tokenwire.telemetry.trace_ids import new_trace_id, trace_id_of

LOGGED_PER_S: Final = 20
"""How many refusals a second are logged at level info, the others at debug: while the log is away, each edge
asks for each of its streams twice a second."""

logger = logging.getLogger(__name__)


class Refusals:
    """Turns what handlers raise into refusals, and logs them."""

    def __init__(self) -> None:
        self._away = Repeats()
        self._logged = Rate(LOGGED_PER_S)

    def refusal_of(self, error: Exception, method: str, span: trace.Span) -> RefusalError:
        """Return the refusal for an exception. An unexpected one is logged with its traceback.

        Args:
            error: What the handler has raised.
            method: The rpc's full name, such as "tokenwire.v1.AgentService/StreamRun".
            span: The span of the call.
        """
        match error:
            case RefusalError():
                return error
            case LogGoneError():
                return UnknownRunError()
            case LogAwayError():
                text = "%s: the run log can't be reached: %s"
                self._away.log(logger, logging.ERROR, text, method, error)
                return CoreLogAwayError()
            case _:
                span.record_exception(error)
                logger.error("%s failed", method, exc_info=error)
                return KnownRefusalError(Reason.CORE_FAILED, "Internal error in the agent core.")

    def log(self, refusal: RefusalError, method: str, span: trace.Span) -> str:
        """Log a refusal, and return the id that names it in the log: that of the trace, or a new one.

        Args:
            refusal: From `refusal_of`.
            method: The rpc's full name.
            span: The span of the call.
        """
        log_id = trace_id_of(span.get_span_context()) or new_trace_id()
        level = logging.INFO if self._logged.take() else logging.DEBUG
        # Its message is left out: it may quote what the caller has sent.
        text, fields = "%s refused: %s (trace %s)", {"trace_id": log_id}
        logger.log(level, text, method, refusal.reason, log_id, extra=fields)
        return log_id
