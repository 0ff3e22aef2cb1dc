"""The processes of `make observe`: what each is started with, and how it is known to be ready."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from scripts.observe.install import ROOT
from scripts.observe.ports import LOOPBACK, Ports

SHIPPED: Final = ROOT / "deploy" / "prometheus"
SCRAPE_EVERY: Final = "1s"
PROJECT: Final = "tokenwire"
"""The project of Phoenix that the spans go into."""
PROBE_TIMEOUT_S: Final = 2.0
BATCH_SPANS: Final = 256
"""What rotel sends on at once: a span of tokens has up to 12 kB, and Phoenix takes them one by one."""
STALLING: Final = "stalling"
TOKENWIRE: Final = (sys.executable, "-c", "from tokenwire.cli import main; main()")
"""The command line of this checkout, whatever is installed."""

PHOENIX_SETTINGS: Final = {
    "PHOENIX_HOST": LOOPBACK,
    "PHOENIX_TELEMETRY_ENABLED": "false",
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    "PHOENIX_AGENTS_DISABLE_BASH": "true",
    "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
    "PHOENIX_AGENTS_DISABLE_GITHUB": "true",
    "PHOENIX_ENABLE_MCP_SERVER": "false",
}
"""Spans are all that it is for: it asks no other machine, and runs nothing for whoever opens its page."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what is inherited."""


def url_of(port: int) -> str:
    """Return the address of a port on loopback."""
    return f"http://{LOOPBACK}:{port}"


def inherited() -> dict[str, str]:
    """Return the environment without what would change what is shown here; the model's settings stay."""
    strange = ("TOKENWIRE_", "OTEL_", "PHOENIX_", "ROTEL_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(strange) or name.startswith("TOKENWIRE_MODEL")
    }
    # Nothing on loopback is reached through a proxy.
    return {**kept, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}


def tokenwire(ports: Ports, file: Path, *, to_rotel: bool) -> Service:
    """Return the product: a core and an edge, with the agents that come with it and the one that stalls.

    Args:
        ports: Where they listen.
        file: Takes their spans.
        to_rotel: Whether rotel takes them, too.
    """
    options = ("--host", LOOPBACK, "--port", str(ports.page), "--grpc-port", str(ports.grpc))
    agents = ("assistant", "portfolio", "pace", f"{STALLING}=scripts.observe.example:{STALLING}")
    environment = {
        "TOKENWIRE_TRACE_FILE": str(file),
        "TOKENWIRE_METRICS_PORT": str(ports.core_metrics),
        "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={PROJECT}",
    }
    if to_rotel:
        # For traces alone: Prometheus scrapes the metrics, and Phoenix takes none.
        environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = url_of(ports.otlp_grpc)
    return Service(
        "tokenwire",
        (
            *TOKENWIRE,
            "up",
            *options,
            *(word for agent in agents for word in ("--agent", agent)),
        ),
        _answers(f"{url_of(ports.page)}/health/ready"),
        environment,
    )


def rotel(program: str, ports: Ports, exporter: str, folder: Path) -> Service:
    """Return the hop that takes spans from Tokenwire over gRPC and gives them on over HTTP.

    Args:
        program: Its path.
        ports: Where it listens.
        exporter: The OTLP/HTTP endpoint that is given the spans.
        folder: Where its files go.
    """
    return Service(
        "rotel",
        (
            program,
            "start",
            *("--otlp-grpc-endpoint", f"{LOOPBACK}:{ports.otlp_grpc}"),
            *("--otlp-http-endpoint", f"{LOOPBACK}:{ports.otlp_http}"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", exporter),
            *("--batch-max-size", str(BATCH_SPANS)),
            *("--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "logs" / "rotel.log")),
        ),
        _accepts(ports.otlp_grpc),
    )


def phoenix(python: str, port: int, folder: Path) -> Service:
    """Return the viewer of traces; its database goes into the folder."""
    launcher = Path(__file__).with_name("phoenix_on_loopback.py")
    environment = {
        **PHOENIX_SETTINGS,
        "PHOENIX_PORT": str(port),
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
    }
    return Service(
        "Phoenix", (python, str(launcher), "serve"), _answers(f"{url_of(port)}/healthz"), environment
    )


def prometheus(program: str, ports: Ports, folder: Path) -> Service:
    """Return Prometheus with the rules that are shipped; its configuration and data go into the folder."""
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(scraping(ports)))
    # Debian's takes its page from /usr/share, which is not where an unpacked one has it.
    assets = Path(program).resolve().parents[1] / "share" / "prometheus" / "web"
    return Service(
        "Prometheus",
        (
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={LOOPBACK}:{ports.prometheus}",
            "--enable-feature=exemplar-storage",
            *([f"--web.local-assets={assets}/"] if assets.is_dir() else []),
        ),
        _answers(f"{url_of(ports.prometheus)}/-/ready"),
    )


def scraping(ports: Ports) -> dict[str, Any]:
    """Return the configuration that is shipped, with these targets and short intervals."""
    config: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    config["global"] = dict.fromkeys(names, SCRAPE_EVERY)
    config["rule_files"] = [str(SHIPPED / name) for name in config["rule_files"]]
    targets = {"tokenwire-core": ports.core_metrics, "tokenwire-edge": ports.core_metrics + 1}
    config["scrape_configs"] = [
        {
            "job_name": job["job_name"],
            "static_configs": [{"targets": [f"{LOOPBACK}:{targets[job['job_name']]}"]}],
        }
        for job in config["scrape_configs"]
    ]
    return config


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Return what tells whether an address answers 200."""

    async def ask() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client:
            try:
                return (await client.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

    return ask


def _accepts(port: int) -> Callable[[], Awaitable[bool]]:
    """Return what tells whether a port takes connections."""

    async def connect() -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            return False
        writer.close()
        return True

    return connect
