"""The spans of a stream's tokens: made only where somebody will see them."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from tests.support.spans import own_tracing
from tokenwire.latency.series import DELTA, TokenSeries
from tokenwire.telemetry import stream_root, token_spans
from tokenwire.telemetry.token_spans import TokenSpans

TOKENS = 300
MS = 1_000_000


@pytest.mark.parametrize(
    ("sampler", "failed", "made"),
    [(ALWAYS_OFF, False, 0), (ALWAYS_OFF, True, 3), (ALWAYS_ON, False, 3)],
    ids=["good and unsampled", "failed and unsampled", "sampled"],
)
def test_nothing_is_made_of_the_rows_of_a_good_stream_that_is_not_sampled(
    monkeypatch: pytest.MonkeyPatch, sampler: object, failed: bool, made: int
) -> None:
    """They are nearly all streams where few are sampled."""
    names: list[str] = []
    make_child = token_spans.make_child

    def counted(parent: object, name: str, *arguments: object, **more: object) -> object:
        names.append(name)
        return make_child(parent, name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(token_spans, "make_child", counted)
    with own_tracing(sampler) as (tracer, _):  # type: ignore[arg-type]
        root = tracer.start_span("POST", context=stream_root(Context()))
        spans = TokenSpans(root, "compact", 0)
        series = TokenSeries(stall_nano=10**12, on_segment=spans.segment)
        for sequence in range(1, TOKENS + 1):
            series.add((sequence, DELTA, *[sequence * MS] * 4))
            series.take()
            series.written(sequence * MS)
        series.finish()
        spans.finish(series, None, failed=failed)
        root.end()
    assert names == ["tokens"] * made
