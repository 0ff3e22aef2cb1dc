"""What the Collector is told, as far as that can be checked without one: no test runs a Collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
KINDS = ("receivers", "processors", "exporters")
IMAGE_HAS = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "batch"},
    "exporters": {"debug", "file", "otlp"},
    "extensions": {"health_check"},
}
"""What of the contrib distribution is used. Source: https://github.com/open-telemetry/opentelemetry-collector-releases"""


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "collector" / name).read_text())
    return loaded


def merge(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return two configurations as the Collector merges them: maps are joined, lists replaced."""
    joined = dict(base)
    for key, value in other.items():
        both_are_maps = isinstance(value, dict) and isinstance(joined.get(key), dict)
        joined[key] = merge(joined[key], value) if both_are_maps else value
    return joined


CONFIGS = {"alone": load("config.yaml"), "observe": merge(load("config.yaml"), load("observe.yaml"))}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_declared_is_used_and_what_is_used_is_declared(config: dict[str, Any]) -> None:
    """A Collector does not start with a name in a pipeline that it does not know."""
    pipelines = config["service"]["pipelines"].values()
    for kind in KINDS:
        assert {name for pipeline in pipelines for name in pipeline[kind]} == {*config[kind]}, kind
    assert {*config["service"]["extensions"]} == {*config["extensions"]}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_only_known_components_are_named(config: dict[str, Any]) -> None:
    """`otlp/jaeger` is an exporter of the type `otlp`."""
    for kind, known in IMAGE_HAS.items():
        assert {name.partition("/")[0] for name in config[kind]} <= known, kind


def test_the_files_and_hosts_it_names_are_those_of_the_compose_file() -> None:
    """Spans go where the volume is, and to a service that the profile starts."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    exporters = CONFIGS["observe"]["exporters"]
    mounted = {volume.split(":")[1] for volume in services["collector"]["volumes"]}
    assert str(Path(exporters["file"]["path"]).parent) in mounted
    host, _, port = exporters["otlp/jaeger"]["endpoint"].partition(":")
    assert (services[host]["profiles"], port) == (["observe"], "4317")
