"""Makes OTLP/JSON lines of streams whose stamps are known, by OTLP's own classes.

The processes' exporter is not involved: the spans are those that its contract names.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp_messages import line_of, request, span
from tokenwire.latency.segments import deltas

START_NS = 1_795_000_000_123_456_000
MS = 1_000_000
STAGES = ("model", "logged", "send", "recv", "write")
HOPS = ("model", "log", "send", "link", "write", "browser")
BASE_NS = {"log": 17_000, "send": 35_000, "link": 225_000, "write": 60_000, "browser": 900_000}
"""How long a token takes through each hop when all is well."""

SEGMENT_ROWS = 128
CORE, EDGE = "agent_core", "edge"


@dataclass(frozen=True)
class Plant:
    """A stall: the token enters the hop so much later."""

    sequence: int
    hop: str
    ms: float
    cause: str = ""
    is_open: bool = False
    behind: int = 0


@dataclass
class Made:
    """Spans by service, and the stamps that they hold."""

    trace_id: bytes
    root_id: bytes
    run_id: str
    spans: list[tuple[str, Span]] = field(default_factory=list)
    stamps: dict[str, list[int]] = field(default_factory=dict)
    first: int = 1

    @property
    def id(self) -> str:
        """The trace id as it is shown."""
        return self.trace_id.hex()

    def add(self, service: str, span: Span) -> Span:
        """Add a span of one process."""
        self.spans.append((service, span))
        return span


def stamps_of(
    count: int, plants: Iterable[Plant], start_ns: int = START_NS, every_ms: float = 20
) -> dict[str, list[int]]:
    """Return the stamps of a stream's rows: each hop is a queue: a stall holds what is behind it."""
    chance = random.Random(7)  # noqa: S311 - no secret
    held = {(plant.hop, plant.sequence): round(plant.ms * MS) for plant in plants}
    found: dict[str, list[int]] = {stage: [] for stage in (*STAGES, "browser")}
    time = start_ns + 1_500_000
    for i in range(count):
        # Row 1 is RunStarted; the model's first token takes its time.
        wait = 0 if i == 0 else 612_000_000 if i == 1 else round(every_ms * MS * chance.uniform(0.6, 1.4))
        time += wait + held.get(("model", i + 1), 0)
        stamp = time
        for stage, hop in zip(found, HOPS, strict=True):
            if stage != "model":
                stamp += round(BASE_NS[hop] * chance.uniform(0.7, 1.8)) + held.get((hop, i + 1), 0)
            stamp = max(stamp, found[stage][-1] if i else 0)
            found[stage].append(stamp)
    return found


def make_stream(
    count: int = 400,
    plants: Sequence[Plant] = (),
    *,
    name: str = "a",
    start_ns: int = START_NS,
    browser: bool = False,
    page_clock: Mapping[str, Any] | None = None,
    offset_ns: int = 0,
    clock: Mapping[str, Any] | None = None,
    outcome: str = "completed",
    with_root: bool = True,
    agent: str = "assistant",
) -> Made:
    """Return a chat through the edge, with all the spans of its run.

    Args:
        count: Rows; the first one is RunStarted.
        plants: Its stalls.
        name: What its ids are made from.
        start_ns: When the request arrived, by the core's clock.
        browser: Whether the page reported its stamps.
        page_clock: What its segments say of its clock.
        offset_ns: How far the edge's clock is ahead of the core's.
        clock: The attributes that tell so.
        outcome: How it ended.
        with_root: Whether the edge lived to write its root.
        agent: The agent's name.
    """
    ids = random.Random(name)  # noqa: S311 - no secret
    made = Made(
        ids.randbytes(16), ids.randbytes(8), "".join(ids.choices("abcdefghijkmnpqrstuvwxyz234567", k=30))
    )
    rpc, served, agent_id, chat, tool = (ids.randbytes(8) for _ in range(5))
    made.stamps = stamps_of(count, plants, start_ns)
    for stage in ("recv", "write", "browser"):
        made.stamps[stage] = [stamp + offset_ns for stamp in made.stamps[stage]]
    end = made.stamps["write"][-1] + MS
    core_end = end - offset_ns
    core_start = start_ns
    trace, start = made.trace_id, start_ns + offset_ns
    clocks = dict(
        clock
        or {
            "tokenwire.clock.offset_us": 0,
            "tokenwire.clock.error_us": 0,
            "tokenwire.clock.method": "same_host",
        }
    )
    model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "small-1"}
    made.add(
        CORE,
        span(
            trace,
            chat,
            "chat small-1",
            (core_start + 2 * MS, core_end - 2 * MS),
            model,
            agent_id,
            Span.SPAN_KIND_CLIENT,
        ),
    )
    made.add(
        CORE,
        span(
            trace,
            tool,
            "execute_tool lookup",
            (core_start + 3 * MS, core_start + 40 * MS),
            {"gen_ai.tool.name": "lookup"},
            agent_id,
        ),
    )
    made.add(
        CORE,
        span(
            trace,
            agent_id,
            f"invoke_agent {agent}",
            (core_start + MS, core_end - MS),
            {"gen_ai.agent.name": agent, "tokenwire.run.id": made.run_id},
            served,
        ),
    )
    method = {"rpc.method": "tokenwire.v1.AgentService/StreamRun"}
    made.add(
        CORE,
        span(
            trace,
            served,
            "tokenwire.v1.AgentService/StreamRun",
            (core_start + MS, core_end - MS),
            method,
            rpc,
            Span.SPAN_KIND_SERVER,
        ),
    )
    made.add(
        EDGE,
        span(
            trace,
            rpc,
            "tokenwire.v1.AgentService/StreamRun",
            (start + MS // 2, end - MS // 2),
            method,
            made.root_id,
            Span.SPAN_KIND_CLIENT,
        ),
    )
    owners = {"link": rpc, "write": made.root_id, "browser": made.root_id}
    for plant in plants:
        made.add(EDGE, stall_span(made, plant, owners.get(plant.hop, agent_id), ids))
    add_segments(made, made.root_id, clocks, ids)
    if with_root:
        made.add(
            EDGE,
            root_span(
                made, (start, end), plants, {**clocks, "tokenwire.stream.outcome": outcome}, "POST /api/chat"
            ),
        )
    if browser:
        rows = range(0, count, SEGMENT_ROWS)
        for begin in rows:
            part = made.stamps["browser"][begin : begin + SEGMENT_ROWS]
            attributes = {
                "tokenwire.tokens.first": begin + 1,
                "tokenwire.tokens.count": len(part),
                "tokenwire.tokens.t0_unix_ns": part[0],
                "tokenwire.tokens.browser_us": deltas(part, part[0]),
                **(page_clock or {}),
            }
            made.add(
                EDGE, span(trace, ids.randbytes(8), "tokens", (part[0], part[-1]), attributes, made.root_id)
            )
    return made


def make_follow(run: Made, after: int, replayed: int, *, name: str = "f", start_ns: int) -> Made:
    """Return a follow of a run: a trace of its own that links to the run's. Its first rows are replayed."""
    ids = random.Random(name)  # noqa: S311 - no secret
    made = Made(ids.randbytes(16), ids.randbytes(8), run.run_id, first=after + 1)
    made.stamps = {stage: list(stamps[after:]) for stage, stamps in run.stamps.items()}
    for i in range(replayed):
        made.stamps["recv"][i] = start_ns + 2 * MS + i * 20_000
        made.stamps["write"][i] = start_ns + 4 * MS  # in one write
    add_segments(made, made.root_id, {}, ids, replayed)
    end = made.stamps["write"][-1] + MS
    attributes = {"tokenwire.stream.outcome": "client_disconnect"}
    made.add(
        EDGE,
        root_span(
            made,
            (start_ns, end),
            [],
            attributes,
            "GET /api/runs/{runId}/events",
            [(run.trace_id, run.root_id)],
        ),
    )
    return made


def make_direct(count: int = 50, *, name: str = "d", start_ns: int = START_NS) -> Made:
    """Return a call by a service: the core owns the series, which ends at `send`."""
    ids = random.Random(name)  # noqa: S311 - no secret
    made = Made(
        ids.randbytes(16), ids.randbytes(8), "".join(ids.choices("abcdefghijkmnpqrstuvwxyz234567", k=30))
    )
    made.stamps = {
        stage: stamps for stage, stamps in stamps_of(count, [], start_ns).items() if stage in STAGES[:3]
    }
    add_segments(made, made.root_id, {}, ids, service=CORE)
    end = made.stamps["send"][-1] + MS
    attributes = {
        "rpc.response.status_code": "OK",
        "rpc.method": "tokenwire.v1.AgentService/StreamRun",
    }
    made.add(CORE, root_span(made, (start_ns, end), [], attributes, "tokenwire.v1.AgentService/StreamRun"))
    return made


def stall_span(made: Made, plant: Plant, parent: bytes, ids: random.Random) -> Span:
    """Return the span of a planted stall."""
    stage = (*STAGES, "browser")[HOPS.index(plant.hop)]
    row = min(plant.sequence - made.first, len(made.stamps[stage]) - 1)
    end = made.stamps[stage][row] + (round(plant.ms * MS) if plant.is_open else 0)
    attributes: dict[str, Any] = {
        "tokenwire.stall.hop": plant.hop,
        "tokenwire.stall.sequence": plant.sequence,
        "tokenwire.stall.ms": plant.ms,
        "tokenwire.stall.behind": plant.behind,
    }
    if plant.is_open:
        attributes["tokenwire.stall.open"] = True
    if plant.cause:
        attributes["tokenwire.stall.cause"] = plant.cause
    times = (end - round(plant.ms * MS), end)
    return span(made.trace_id, ids.randbytes(8), f"stall {plant.hop}", times, attributes, parent)


def add_segments(
    made: Made,
    parent: bytes,
    clocks: Mapping[str, Any],
    ids: random.Random,
    replayed: int = 0,
    service: str = EDGE,
) -> None:
    """Add the `tokens` spans: 128 rows in each, replayed ones apart."""
    stages = [stage for stage in STAGES if stage in made.stamps]
    count = len(made.stamps[stages[-1]])
    cuts = sorted({*range(0, replayed, SEGMENT_ROWS), *range(replayed, count, SEGMENT_ROWS), count})
    for begin, end in itertools.pairwise(cuts):
        is_replayed = begin < replayed
        held = ["recv", "write"] if is_replayed else stages
        t0 = made.stamps[held[0]][begin]
        attributes: dict[str, Any] = {
            "tokenwire.tokens.first": made.first + begin,
            "tokenwire.tokens.count": end - begin,
            "tokenwire.tokens.t0_unix_ns": t0,
            **{f"tokenwire.tokens.{stage}_us": deltas(made.stamps[stage][begin:end], t0) for stage in held},
            **clocks,
        }
        if is_replayed:
            attributes["tokenwire.tokens.replayed"] = True
        times = (t0, made.stamps[held[-1]][end - 1])
        made.add(service, span(made.trace_id, ids.randbytes(8), "tokens", times, attributes, parent))


def root_span(
    made: Made,
    times: tuple[int, int],
    plants: Sequence[Plant],
    attributes: Mapping[str, Any],
    name: str,
    links: Sequence[tuple[bytes, bytes]] = (),
) -> Span:
    """Return the stream's root, with its summary."""
    last = made.stamps[[stage for stage in STAGES if stage in made.stamps][-1]]
    gaps = [b - a for a, b in itertools.pairwise(last[1:])] or [0]
    longest = max(range(len(gaps)), key=gaps.__getitem__)
    ordered = sorted(gaps)
    worst = max(plants, key=lambda plant: plant.ms, default=Plant(made.first + longest + 2, "model", 0))
    summary = {
        "tokenwire.run.id": made.run_id,
        "tokenwire.stream.tokens": len(last) - 1,
        "tokenwire.stream.dropped": 0,
        "tokenwire.stream.ttft_ms": (last[1] - times[0]) / MS if len(last) > 1 else 0.0,
        "tokenwire.stream.gap_p50_ms": ordered[len(ordered) // 2] / MS,
        "tokenwire.stream.gap_p99_ms": ordered[len(ordered) * 99 // 100] / MS,
        "tokenwire.stream.gap_max_ms": ordered[-1] / MS,
        "tokenwire.stream.gap_max_sequence": made.first + longest + 2,
        "tokenwire.stream.gap_max_hop": worst.hop,
        "tokenwire.stream.stalls": len(plants),
        **attributes,
    }
    return span(made.trace_id, made.root_id, name, times, summary, kind=Span.SPAN_KIND_SERVER, links=links)


def lines_of(*streams: Made, spans_a_line: int = 7) -> list[str]:
    """Return the lines that the processes of some streams write: each its own, several spans in one."""
    found: list[str] = []
    for stream in streams:
        for service in (CORE, EDGE):
            own = [each for owner, each in stream.spans if owner == service]
            found += [
                line_of(request(service, own[begin : begin + spans_a_line]))
                for begin in range(0, len(own), spans_a_line)
            ]
    return found


def write_lines(path: Path, *streams: Made) -> Path:
    """Write a file of streams; return its path."""
    path.write_text("".join(lines_of(*streams)), encoding="utf-8")
    return path
