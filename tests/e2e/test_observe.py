"""`make observe`, with a real Prometheus and a real rotel; a sink of spans takes the place of Phoenix."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.observe.listening import family, open_to_others
from tests.support import system
from tests.support.otlp_http_sink import otlp_http_sink
from tests.support.processes import (
    ROOT,
    TOKENWIRE,
    Processes,
    Running,
    clean_environment,
    free_port,
    is_alive,
    wait_until,
)

pytestmark = [
    pytest.mark.needs("prometheus", "rotel"),
    pytest.mark.timeout(300),  # six processes start: on a busy machine that takes a minute
    pytest.mark.skipif(sys.platform != "linux", reason="where a process listens is told by Linux"),
]

READY = "Ctrl-C stops all of it."
WITHIN_S = 180.0
MODEL = {"TOKENWIRE_MODEL_URL": "http://127.0.0.1:9/v1", "TOKENWIRE_MODEL": "none"}
"""Nobody asks it: the embedded one need not be loaded."""


@dataclass(frozen=True)
class Observed:
    """A `make observe` that is ready."""

    process: Running
    folder: Path
    pids: list[int]
    """All processes, its own first."""
    spans: list[Any]
    """What rotel has given on."""

    def row(self, name: str) -> str:
        """Return what is printed beside a name."""
        found = re.search(rf"^  {name} +(.+?)(?:  \(\w+\))?$", self.process.stdout, re.MULTILINE)
        assert found is not None, self.process.stdout
        return found[1]


def options(folder: Path, *more: str) -> list[str]:
    """Return the command that runs it from a port of this worker on."""
    prometheus = system.find("prometheus")
    assert prometheus is not None
    given = ("--folder", str(folder), "--ports-from", str(free_port(8)), "--prometheus", prometheus)
    return [sys.executable, "-m", "scripts.observe", *given, *more]


@pytest.fixture
def observed(processes: Processes, tmp_path: Path) -> Iterator[Observed]:
    with otlp_http_sink() as (spans, url):
        process = processes.start("observe", options(tmp_path / "o", "--otlp-to", url), MODEL)
        wait_until(
            lambda: READY in process.stdout or not process.is_running(), "it prints the addresses", WITHIN_S
        )
        assert process.is_running(), process.stderr
        yield Observed(process, tmp_path / "o", family(process.pid), spans)
        process.stop()


def trace(trace_id: str, file: Path) -> dict[str, Any]:
    """Return what `tokenwire trace --json` shows."""
    command = [*TOKENWIRE, "trace", trace_id, str(file), "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_the_stall_is_shown_by_all_that_runs_and_ctrl_c_ends_it(observed: Observed) -> None:
    """The exemplar names the stalled trace, and rotel gives it on; nothing is open to others or left."""
    for name in ("page", "metrics", "in Prometheus", "its exemplar"):
        assert httpx.get(observed.row(name), follow_redirects=True).status_code == 200, name

    def health_of_targets() -> set[tuple[str, str]]:
        targets = httpx.get(f"{observed.row('metrics')}/api/v1/targets").json()["data"]["activeTargets"]
        return {(each["labels"]["job"], each["health"]) for each in targets}

    # The stall is at the edge: Prometheus may have scraped that, and not yet the core.
    both_up = {("tokenwire-core", "up"), ("tokenwire-edge", "up")}
    wait_until(lambda: health_of_targets() == both_up, "both targets are up")
    rules = httpx.get(f"{observed.row('metrics')}/api/v1/rules").json()["data"]["groups"]
    assert "TokenwireStreamsStall" in {rule["name"] for group in rules for rule in group["rules"]}

    (series,) = httpx.get(observed.row("its exemplar")).json()["data"]
    assert series["seriesLabels"]["hop"] == "model"
    (exemplar,) = series["exemplars"]
    trace_id = exemplar["labels"]["trace_id"]
    assert trace_id.startswith(observed.row("in the terminal").split()[2])
    (stream,) = trace(trace_id, observed.folder / "run" / "spans.jsonl")["streams"]
    (stall,) = stream["stalls"]
    assert (stall["hop"], str(stall["sequence"])) == ("model", exemplar["labels"]["sequence"])
    assert float(exemplar["value"]) == pytest.approx(stall["ms"] / 1_000, abs=1e-3)

    def has_passed_rotel() -> bool:
        return any(s.trace_id.hex() == trace_id and s.name == "stall model" for s in tuple(observed.spans))

    wait_until(has_passed_rotel, "rotel gives the stall on")

    assert len(observed.pids) >= 6  # itself, Prometheus, rotel, `tokenwire up`, its core and its edge
    assert open_to_others(observed.process.pid) == []
    observed.process.send(signal.SIGINT)
    assert observed.process.wait() == 0, observed.process.stderr
    wait_until(lambda: not any(map(is_alive, observed.pids)), "all processes have ended")
