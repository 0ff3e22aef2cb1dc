"""The page `/metrics`: all numbers of the process, in the formats that Prometheus reads.

Source: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from tokenwire.telemetry.metrics.home import AnyInstrument, Home
from tokenwire.telemetry.metrics.series import NANO, Declaration, Exemplar, Histogram, HistogramPoint, Key

OPENMETRICS_TYPE: Final = "application/openmetrics-text"
OPENMETRICS_CONTENT_TYPE: Final = f"{OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8"
TEXT_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def metrics_page(home: Home, accept: str = "") -> tuple[bytes, str]:
    """Return the page, and its content type: OpenMetrics with exemplars where the reader asks for it.

    Args:
        home: Whose numbers.
        accept: The request's header.
    """
    openmetrics = accepts_openmetrics(accept)
    lines = list(_target_lines(home.resource, openmetrics=openmetrics))
    for instrument in home:
        lines += _family_lines(instrument, openmetrics=openmetrics)
    if openmetrics:
        lines.append("# EOF")
    content_type = OPENMETRICS_CONTENT_TYPE if openmetrics else TEXT_CONTENT_TYPE
    return ("\n".join(lines) + "\n").encode(), content_type


def accepts_openmetrics(accept: str) -> bool:
    """Return whether a reader asks for OpenMetrics, and not only in case that there is nothing else.

    Args:
        accept: The request's header.
    """
    return any(
        media.strip().lower() == OPENMETRICS_TYPE and "q=0" not in parameters.replace(" ", "").split(";")
        for media, _, parameters in (each.partition(";") for each in accept.split(","))
    )


def prometheus_name(declaration: Declaration) -> str:
    """Return what Prometheus calls an instrument: of a counter, without `_total`."""
    name = declaration.name.replace(".", "_")
    return f"{name}_seconds" if declaration.unit == "s" else name


def _target_lines(resource: Mapping[str, str], *, openmetrics: bool) -> Iterator[str]:
    """Yield what says of which process the page is."""
    if not resource:
        return
    name, kind = ("target", "info") if openmetrics else ("target_info", "gauge")
    yield f"# HELP {name} The process."
    yield f"# TYPE {name} {kind}"
    labels = {_label_name(key): value for key, value in sorted(resource.items())}
    yield f"target_info{_labels(labels.items())} 1"


def _family_lines(instrument: AnyInstrument, *, openmetrics: bool) -> Iterator[str]:
    """Yield the lines of one instrument; none while it has no series."""
    declaration = instrument.declaration
    points = instrument.points()
    if not points:
        return
    name = prometheus_name(declaration)
    family = f"{name}_total" if declaration.kind == "counter" and not openmetrics else name
    yield f"# HELP {family} {declaration.description.translate(_HELP_ESCAPES)}"
    yield f"# TYPE {family} {declaration.kind}"
    if openmetrics and declaration.unit == "s":
        yield f"# UNIT {family} seconds"
    for key, point in points.items():
        if isinstance(point, HistogramPoint):
            yield from _histogram_lines(name, instrument, key, point, exemplars=openmetrics)
            continue
        suffix = "_total" if declaration.kind == "counter" else ""
        shown = _exemplar(point.exemplar) if openmetrics else ""
        yield f"{name}{suffix}{_labels(_pairs(declaration, key))} {_number(point.value)}{shown}"


def _histogram_lines(
    name: str, instrument: AnyInstrument, key: Key, point: HistogramPoint, *, exemplars: bool
) -> Iterator[str]:
    """Yield the buckets of one series, each with those below it, then its count and its sum."""
    assert isinstance(instrument, Histogram)  # noqa: S101 # for the type checker
    pairs = _pairs(instrument.declaration, key)
    bounds = [repr(bound / NANO) for bound in instrument.declaration.bounds_nano]
    for index, (bound, count) in enumerate(zip([*bounds, "+Inf"], accumulate(point.counts), strict=True)):
        shown = _exemplar(point.exemplars.get(index)) if exemplars else ""
        yield f"{name}_bucket{_labels([*pairs, ('le', bound)])} {count}{shown}"
    yield f"{name}_count{_labels(pairs)} {sum(point.counts)}"
    yield f"{name}_sum{_labels(pairs)} {_number(point.total_nano / NANO)}"


def _pairs(declaration: Declaration, key: Key) -> list[tuple[str, str]]:
    # An empty value is no label, here as in OTLP.
    return [(_label_name(name), value) for name, value in zip(declaration.labels, key, strict=True) if value]


def _label_name(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return labels in braces; nothing for none."""
    text = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _exemplar(exemplar: Exemplar | None) -> str:
    """Return what follows a sample: where to look at one of the values in it."""
    if exemplar is None:
        return ""
    labels = {
        "trace_id": exemplar.trace_id,
        "span_id": exemplar.span_id,
        "sequence": str(exemplar.sequence),
    }
    # Prometheus wants a time, or takes the scrape's, and a new exemplar for each scrape with it.
    return f" # {_labels(labels.items())} {_number(exemplar.value)} {exemplar.unix_ns / NANO:.3f}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
