"""Spans from files of OTLP/JSON lines: one `ExportTraceServiceRequest` a line.

The processes write them (TOKENWIRE_TRACE_FILE), and so does the Collector's `file` exporter. Files are
read as a stream, one line at a time.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec

from tokenwire.traces.errors import UnreadableError
from tokenwire.traces.spans import AttributeValue, Span

Whole: TypeAlias = int | str
"""A 64-bit number, which JSON writes as text."""

FILE_NAME: Final = re.compile(r"[^.].*\.(json|jsonl|ndjson)([.-].*)?")
"""What of a folder is read: also what was rotated away, `spans.jsonl.1` or `spans.jsonl.2.gz`."""

KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES: Final = ("unset", "ok", "error")
TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
REQUEST_START: Final = b'{"resourceSpans"'


class _Link(msgspec.Struct, rename="camel"):
    trace_id: str = ""


class _Status(msgspec.Struct, frozen=True):
    code: Whole = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    name: str = ""
    parent_span_id: str = ""
    kind: Whole = 0
    start_time_unix_nano: Whole = 0
    end_time_unix_nano: Whole = 0
    # Attributes are most of a line, and looked at for a few spans only.
    attributes: msgspec.Raw = msgspec.Raw(b"[]")
    links: list[_Link] = []
    status: _Status = _Status()


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _KeyValue(msgspec.Struct):
    key: str
    value: dict[str, Any] = {}


class _Resource(msgspec.Struct, frozen=True):
    attributes: list[_KeyValue] = []


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource = _Resource()
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None
    # Other signals may share a Collector's file.
    resource_metrics: msgspec.Raw = msgspec.Raw()
    resource_logs: msgspec.Raw = msgspec.Raw()

    def is_telemetry(self) -> bool:
        """Return whether it has any signal's list."""
        others = (self.resource_metrics, self.resource_logs)
        return self.resource_spans is not None or any(bytes(raw) for raw in others)


_requests = msgspec.json.Decoder(_Request)
_attributes = msgspec.json.Decoder(list[_KeyValue])

Wanted: TypeAlias = Callable[[str, str, bytes], bool]
"""Says of a trace id, a span's name and its undecoded attributes whether the span is wanted."""


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and those of each folder, the ones that were written last at the end.

    Raises:
        UnreadableError: One is missing, or a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in path.iterdir() if FILE_NAME.fullmatch(each.name) and each.is_file()]
            if not inside:
                raise UnreadableError(
                    f"{path}: no file of OTLP/JSON lines (*.jsonl, *.json, *.ndjson) in this folder"
                )
            found += sorted(inside, key=lambda each: (each.stat().st_mtime_ns, each.name))
        elif path.exists():
            found.append(path)
        else:
            raise UnreadableError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def with_rotated(path: Path) -> list[Path]:
    """Return a file and the siblings that a rotation has made of it: `spans.jsonl.1`, `spans-2026….jsonl`."""
    if path.is_dir() or not path.parent.is_dir():
        return [path]
    rotated = re.compile(
        rf"{re.escape(path.name)}[.-].+|{re.escape(path.stem)}-\d.*{re.escape(path.suffix)}(\.gz)?"
    )
    siblings = [each for each in path.parent.iterdir() if rotated.fullmatch(each.name) and each.is_file()]
    siblings.sort(key=lambda each: (each.stat().st_mtime_ns, each.name))
    return [*siblings, path] if path.exists() or not siblings else siblings


def read_file(path: Path, wanted: Wanted, note: Callable[[str], None]) -> Iterator[Span]:
    """Yield the wanted spans of a file.

    Args:
        path: The file; one that ends in `.gz` is unpacked.
        wanted: Decides before a span is built.
        note: Is told of lines that were skipped, since a process was killed while it wrote them.

    Raises:
        UnreadableError: The file can't be read, or a line of it is no OTLP/JSON request.
    """
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield from _spans(_request(line, f"{path}:{number}", note), wanted, f"{path}:{number}")
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise UnreadableError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _opened(path: Path) -> gzip.GzipFile | BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _request(line: bytes, place: str, note: Callable[[str], None]) -> _Request:
    try:
        request = _requests.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # What a killed process leaves is cut short; what another one appended to it is whole.
        again = line.rfind(REQUEST_START)
        if again > 0:
            note(f"{place}: skipped what was cut short before the line's last request")
            return _request(line[again:], place, note)
        if not line.endswith(b"\n") or str(error) == "Input data was truncated":
            note(f"{place}: skipped, the line is cut short")
            return _Request()
        raise UnreadableError(f"{place}: not an OTLP/JSON request: {error}") from error
    if not request.is_telemetry() and line.strip() != b"{}":
        raise UnreadableError(f"{place}: not an OTLP/JSON request: it has no resourceSpans")
    return request


def _spans(request: _Request, wanted: Wanted, place: str) -> Iterator[Span]:
    for resource in request.resource_spans or ():
        service = next(
            (_value(each) for each in resource.resource.attributes if each.key == "service.name"), ""
        )
        for scope in resource.scope_spans:
            for span in scope.spans:
                if not TRACE_ID.fullmatch(span.trace_id):
                    raise UnreadableError(
                        f"{place}: traceId {span.trace_id[:40]!r} is not 32 hexadecimal digits"
                    )
                if wanted(span.trace_id.lower(), span.name, bytes(span.attributes)):
                    yield _span(span, str(service), place)


def _span(raw: _Span, service: str, place: str) -> Span:
    try:
        return Span(
            trace_id=raw.trace_id.lower(),
            span_id=raw.span_id.lower(),
            parent_id=raw.parent_span_id.lower(),
            name=raw.name,
            kind=_enum(raw.kind, KINDS),
            start_ns=int(raw.start_time_unix_nano),
            end_ns=int(raw.end_time_unix_nano),
            attributes={each.key: _value(each) for each in _attributes.decode(raw.attributes)},
            status=_enum(raw.status.code, STATUSES),
            service=service,
            links=tuple(link.trace_id.lower() for link in raw.links if link.trace_id),
        )
    except (ValueError, TypeError, AttributeError, msgspec.DecodeError) as error:
        raise UnreadableError(f"{place}: span {raw.span_id[:16]!r}: {error}") from error


def _enum(value: Whole, texts: tuple[str, ...]) -> str:
    """Return an enum's value: by its number, as OTLP/JSON has it, or by its name, as protobuf's JSON has."""
    if isinstance(value, int):
        return texts[value] if 0 <= value < len(texts) else texts[0]
    name = value.rpartition("_")[2].lower()
    return name if name in texts else texts[0]


def _value(pair: _KeyValue) -> AttributeValue:
    return _any_value(pair.value)


def _any_value(value: dict[str, Any]) -> AttributeValue:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return float(content)
        if kind == "arrayValue":
            return [_any_value(each) for each in content.get("values", ())]
        if kind == "kvlistValue":
            return {each["key"]: _any_value(each.get("value", {})) for each in content.get("values", ())}
        if kind in {"stringValue", "boolValue", "bytesValue"}:
            return content  # type: ignore[no-any-return] # JSON's own types
    return None
