"""A real Prometheus with the configuration that is shipped: only targets and times are others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support import system
from tests.support.processes import ROOT, Processes, free_port

SHIPPED = ROOT / "deploy" / "prometheus"
INTERVAL = "500ms"
WAIT_S = 30.0


class Prometheus:
    """One server, that scrapes twice a second.

    Args:
        processes: Ends it.
        folder: Where its data goes.
        targets: HOST:PORT of each job.
    """

    def __init__(self, processes: Processes, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        program = system.find("prometheus")
        assert program is not None
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(configuration(targets)))
        port = free_port()
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)
        process = processes.start(
            "prometheus",
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
        )
        process.wait_ready(self._is_ready)

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the value of each series of an expression now, by its own labels."""
        found = self._get("query", query=expression)["result"]
        return {labels_of(each["metric"]): float(each["value"][1]) for each in found}

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Return the exemplars of all series in an expression, of the last minutes."""
        now = time.time()
        found = self._get("query_exemplars", query=expression, start=now - 600, end=now + 60)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def targets(self) -> dict[str, str]:
        """Return the state of each target: `up`, or why it is not."""
        active = self._get("targets")["activeTargets"]
        return {
            target["labels"]["instance"]: target["health"] if not target["lastError"] else target["lastError"]
            for target in active
        }

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


def configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the shipped configuration for these targets.

    Raises:
        AssertionError: They are not of the jobs that are shipped.
    """
    shipped: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    shipped["global"] = {
        "scrape_interval": INTERVAL,
        "scrape_timeout": INTERVAL,
        "evaluation_interval": INTERVAL,
    }
    shipped["rule_files"] = [str(SHIPPED / name) for name in shipped["rule_files"]]
    assert {job["job_name"] for job in shipped["scrape_configs"]} == {*targets}
    shipped["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": list(of_job)}]} for name, of_job in targets.items()
    ]
    return shipped


def labels_of(metric: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return a series' own labels, and not those of where it was scraped."""
    return tuple(
        sorted((name, value) for name, value in metric.items() if name not in {"__name__", "job", "instance"})
    )
