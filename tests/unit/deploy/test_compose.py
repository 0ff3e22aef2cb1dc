"""What docker-compose.yml gives to each service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from agent_core.agents.loading import TOOLS, parse_sources
from tokenwire.variables import CORE, EDGE, VARIABLES, Reader

ROOT = Path(__file__).parents[3]
SERVICES = {"core": CORE, "core-2": CORE, "edge": EDGE}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, dict[str, str]]]:
    """The services, as Compose reads them."""
    services: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    )["services"]
    return services


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gets_only_what_it_reads(
    services: dict[str, dict[str, dict[str, str]]], service: str
) -> None:
    """Secrets least of all."""
    reader: Reader = SERVICES[service]
    given = {name for name in services[service]["environment"] if name in VARIABLES}
    assert given
    assert not {name for name in given if reader not in VARIABLES[name].readers}


def test_the_agents_and_tools_of_the_image_are_installed_in_it(
    services: dict[str, dict[str, dict[str, str]]],
) -> None:
    """By itself and under Compose: `portfolio` comes with its package, and both offer the same."""
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    named = dict(
        re.findall(r'^ +(TOKENWIRE_AGENT|TOKENWIRE_MODEL_TOOLS)="([^"]*)"', dockerfile, re.MULTILINE)
    )
    assert (
        services["core"]["environment"]["TOKENWIRE_AGENT"]
        == f"${{TOKENWIRE_AGENT:-{named['TOKENWIRE_AGENT']}}}"
    )
    found = [*parse_sources(named["TOKENWIRE_AGENT"]), *parse_sources(named["TOKENWIRE_MODEL_TOOLS"], TOOLS)]
    packages = {source.package.partition(" ")[0] for source in found} - {""}
    assert packages == {"tokenwire-portfolio"}
    assert "        tokenwire tokenwire-portfolio \\\n" in dockerfile


def test_other_services_get_nothing_of_ours(services: dict[str, dict[str, dict[str, str]]]) -> None:
    """Neither a secret in their environment nor a file of them."""
    for name, service in services.items():
        if name not in SERVICES:
            assert not {*service.get("environment", {})} & {*VARIABLES}, name
        assert ("secrets" in service) == (name == "edge"), name
