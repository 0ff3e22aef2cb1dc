"""A real Prometheus scrapes a core and an edge; the shipped alerts and dashboard find their numbers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Any

import httpx
import pytest
import yaml

from tests.support import system
from tests.support.metrics_sink import MetricsSink, grpc_sink, metrics_of, points_of
from tests.support.processes import PATIENT, ROOT, Processes, free_port, wait_until
from tests.support.prometheus import SHIPPED, Prometheus
from tokenwire.latency import HOPS
from tokenwire.telemetry.metrics import Exemplar, Home
from tokenwire.telemetry.metrics import instruments as declared
from tokenwire.telemetry.metrics.exposition import metrics_page, prometheus_name
from tokenwire.telemetry.metrics.home import home
from tokenwire.telemetry.metrics.server import MetricsServer, bind_metrics
from tokenwire.telemetry.settings import TelemetrySettings

pytestmark = [pytest.mark.needs("prometheus", "promtool"), pytest.mark.xdist_group("prometheus")]

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "tokenwire.json"
LAG = "tokenwire.event_loop.lag"
"""Counted all the time: at no two moments the same."""

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Watched:
    """A core and an edge that are scraped, and that export to a collector as well."""

    prometheus: Prometheus
    sink: MetricsSink
    url: str
    """The edge."""


@pytest.fixture(scope="module")
def watched(module_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Both processes have served something, and are idle now."""
    processes, tmp_path = module_processes, tmp_path_factory.mktemp("prometheus")
    ports = {"core": free_port(), "edge": free_port()}
    with grpc_sink() as (sink, endpoint):
        settings = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}",
            **PATIENT,
        }
        core, _ = processes.core(settings=settings | {"TOKENWIRE_METRICS_PORT": str(ports["core"])})
        url, _ = processes.edge(core, settings=settings | {"TOKENWIRE_METRICS_PORT": str(ports["edge"])})
        targets = {f"tokenwire-{name}": [f"127.0.0.1:{port}"] for name, port in ports.items()}
        prometheus = Prometheus(processes, tmp_path, targets)
        try:
            serve_something(url)
            yield Watched(prometheus, sink, url)
        finally:
            prometheus.close()


def serve_something(url: str) -> None:
    """Have a run read to its end and read again, and stop another one."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        body = {"message": "hi", "sessionId": "s1", "agent": "scripted"}
        whole = client.post("/api/chat", json=body)
        first = re.search(r"^id: (\S+)$", whole.text, re.MULTILINE)
        assert first is not None
        again = {"last-event-id": first.group(1)}
        assert client.get(f"/api/runs/{whole.headers['run-id']}/events", headers=again).status_code == 200
        body |= {"agent": "slow", "onDisconnect": "continue"}
        run_id = client.post("/api/chat", json=body, headers={"accept": "application/json"}).json()["runId"]
        assert client.post(f"/api/runs/{run_id}/cancel").status_code == 200


def told_by_otlp(sink: MetricsSink, process: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each sample of a process's last export under the name and the labels that Prometheus has."""
    names = {each.declaration.name: each.declaration for each in home()}
    told = {}
    for name, metric in metrics_of(sink.of_service(f"tokenwire-{process}")[-1]).items():
        base = prometheus_name(names[name])
        for labels, point in points_of(metric).items() if name != LAG else ():
            own = tuple(sorted((label.replace(".", "_"), value) for label, value in labels))
            if names[name].kind != "histogram":
                suffix = "_total" if names[name].kind == "counter" else ""
                told[f"{base}{suffix}", own] = point.as_int or point.as_double
                continue
            below = 0
            for bound, count in zip(
                [*map(repr, point.explicit_bounds), "+Inf"], point.bucket_counts, strict=True
            ):
                below += count
                told[f"{base}_bucket", tuple(sorted([*own, ("le", bound)]))] = below
            told[f"{base}_count", own], told[f"{base}_sum", own] = point.count, point.sum
    return told


def told_by_prometheus(
    prometheus: Prometheus, process: str
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each sample of a process that was scraped, but those that change all the time."""
    names = prometheus.query(
        f'count by (name) (label_replace({{job="tokenwire-{process}"}}, "name", "$1", "__name__", "(.*)"))'
    )
    wanted = [dict(labels)["name"] for labels in names]
    return {
        (name, labels): value
        for name in wanted
        if re.match("tokenwire_|gen_ai_", name) and "event_loop" not in name
        for labels, value in prometheus.query(f'{name}{{job="tokenwire-{process}"}}').items()
    }


def test_otlp_and_prometheus_agree(watched: Watched) -> None:
    """The same number for each series of both processes: there is one set of numbers, shown twice."""
    for process, at_least in (
        ("edge", "tokenwire_resumes_total"),
        ("core", "tokenwire_store_duration_seconds_count"),
    ):
        wait_until(
            lambda process=process: (  # type: ignore[misc] # bound at once
                told_by_otlp(watched.sink, process) == told_by_prometheus(watched.prometheus, process)
            ),
            f"the numbers of the {process} agree",
        )
        told = told_by_otlp(watched.sink, process)
        assert sum(value for (name, _), value in told.items() if name == at_least) > 0
        assert len(told) > 100
    wait_until(lambda: set(watched.prometheus.targets().values()) == {"up"}, "the last scrapes were whole")


def test_each_process_says_which_one_it_is(watched: Watched) -> None:
    """`target_info` has the resource that the traces have."""
    wait_until(lambda: len(watched.prometheus.query("target_info")) == 2, "both were scraped")
    found = [dict(labels) for labels in watched.prometheus.query("target_info")]
    assert {each["service_name"] for each in found} == {"tokenwire-edge", "tokenwire-core"}
    assert all(each["service_version"] and each["service_instance_id"] for each in found)


@pytest.fixture
async def in_trouble(metrics: Home, processes: Processes, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """Prometheus scrapes this process, which counts all that an alert is about."""
    metrics.begin("edge")
    metrics.begin("core")
    listener = bind_metrics(TelemetrySettings(metrics_port=0))
    assert listener is not None
    target = f"127.0.0.1:{listener.getsockname()[1]}"
    server = MetricsServer(listener)
    await server.start()
    targets = {"tokenwire-edge": [target], "tokenwire-core": [f"127.0.0.1:{free_port()}"]}
    prometheus = await asyncio.to_thread(Prometheus, processes, tmp_path, targets)
    counting = asyncio.create_task(count_trouble())
    yield prometheus
    counting.cancel()
    await server.stop()
    prometheus.close()


async def count_trouble() -> None:
    """Count, ten times a second, one of everything but tokens: streams are open, and none comes."""
    declared.STREAMS_ACTIVE.add(3)
    sequence = 100
    while True:
        sequence += 1
        declared.TELEMETRY_DROPPED.add(1, "queue_full")
        stall = Exemplar(TRACE_ID, SPAN_ID, sequence, 0.8, time.time_ns())
        for hop in HOPS:
            declared.STAGE_DURATION.observe_many_nano([50_000] * 20, (hop,))
            declared.STREAMS_STALLED.add(1, hop)
        declared.STALLS.add(1, "link", exemplar=stall)
        declared.TOKEN_GAP.observe_many_nano([50_000_000] * 20)
        declared.STREAM_TTFT.observe(5.0, exemplar=stall)
        for outcome in declared.STREAM_OUTCOMES:
            declared.STREAMS_CLOSED.add(1, outcome)
        declared.CANCEL_DURATION.observe(0.01, "cancelled")
        declared.RESUMES.add(1, declared.BY_EDGE)
        declared.RESYNCS.add(1)
        declared.LOOP_LAG.observe(0.2)
        declared.CLOCK_ERROR.observe(0.0001)
        declared.STORE_DURATION.observe(0.001, "redis", "append")
        model = ("chat", "openai", "model")
        declared.GEN_AI_DURATION.observe(1.0, *model, "")
        declared.GEN_AI_TIME_TO_FIRST_CHUNK.observe(0.2, *model)
        declared.GEN_AI_TIME_PER_OUTPUT_CHUNK.observe(0.02, *model)
        await asyncio.sleep(0.1)


def dashboard() -> list[dict[str, Any]]:
    """Return all panels with queries."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in panels if "targets" in panel]


def queries() -> list[tuple[str, str]]:
    """Return each query of the dashboard as Grafana would ask it, with its panel's title."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*"))
        for panel in dashboard()
        for target in panel["targets"]
    ]


def alerts() -> list[tuple[str, str]]:
    """Return each alert's name and expression, and those of what it is recorded for."""
    groups = yaml.safe_load((SHIPPED / "alerts.yml").read_text())["groups"]
    return [
        (rule.get("alert") or rule["record"], rule["expr"]) for group in groups for rule in group["rules"]
    ]


async def test_each_query_finds_its_numbers(in_trouble: Prometheus) -> None:
    """Of the dashboard and of the alerts: a metric that is renamed fails here."""
    missing = [*queries(), *alerts()]
    async with asyncio.timeout(60):
        while missing:
            await asyncio.sleep(0.2)
            missing = [
                (name, query)
                for name, query in missing
                if not await asyncio.to_thread(has_numbers, in_trouble, query)
            ]


def has_numbers(prometheus: Prometheus, query: str) -> bool:
    """Return whether a query finds any number that is one."""
    return any(value == value for value in prometheus.query(query).values())  # noqa: PLR0124 # NaN is none


async def test_a_stall_on_the_dashboard_leads_to_its_trace(in_trouble: Prometheus) -> None:
    """The panel's own query gives the dots: each with a trace id, and the token that was late."""
    (panel,) = [panel for panel in dashboard() if panel["title"] == "Stalls a minute, by hop"]
    (target,) = panel["targets"]
    assert target["exemplar"]
    query = dict(queries())[panel["title"]]
    async with asyncio.timeout(30):
        while len(found := await asyncio.to_thread(in_trouble.exemplars, query)) < 3:
            await asyncio.sleep(0.2)
    assert {each["labels"]["trace_id"] for each in found} == {TRACE_ID}
    assert {each["labels"]["span_id"] for each in found} == {SPAN_ID}
    assert len({each["labels"]["sequence"] for each in found}) == len(found)
    assert {float(each["value"]) for each in found} == {0.8}
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/tokenwire.yaml").read_text())[
        "datasources"
    ]
    (link,) = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    assert (link["name"], link["datasourceUid"]) == ("trace_id", sources[1]["uid"])


def test_the_page_passes_promtools_checks(metrics: Home) -> None:
    """Names, units and texts are as Prometheus' own linter wants them."""
    metrics.begin("edge")
    metrics.begin("core")
    program = system.find("promtool")
    assert program is not None
    checked = run(
        [program, "check", "metrics"], input=metrics_page(metrics)[0], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_alerts_fire_when_they_should() -> None:
    """Each has a case that fires and one that does not."""
    program = system.find("promtool")
    assert program is not None
    checked = run(
        [program, "test", "rules", str(SHIPPED / "alerts_test.yml")], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    cases = yaml.safe_load((SHIPPED / "alerts_test.yml").read_text())["tests"]
    fires: dict[bool, set[str]] = {True: set(), False: set()}
    for case in cases:
        for each in case["alert_rule_test"]:
            fires["exp_alerts" in each].add(each["alertname"])
    names = {name for name, _ in alerts() if name.startswith("Tokenwire")}
    assert fires[True] == fires[False] == names
