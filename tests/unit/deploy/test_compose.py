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


def test_the_image_compose_and_make_run_offer_the_same(
    services: dict[str, dict[str, dict[str, str]]],
) -> None:
    """`portfolio` beside what is built in: its package is in the image and in the checkout's environment."""
    agents, tools = "TOKENWIRE_AGENT", "TOKENWIRE_MODEL_TOOLS"
    image = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    named = dict(re.findall(rf'^ +({agents}|{tools})="([^"]*)"', image, re.MULTILINE))
    found = [*parse_sources(named[agents]), *parse_sources(named[tools], TOOLS)]
    assert {source.package.partition(" ")[0] for source in found} == {"", "tokenwire-portfolio"}
    assert "        tokenwire tokenwire-portfolio \\\n" in image
    assert services["core"]["environment"][agents] == f"${{{agents}:-{named[agents]}}}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert dict(re.findall(r"^run.*: export (TOKENWIRE_\w+) \?= (.*)$", makefile, re.MULTILINE)) == named


def test_other_services_get_nothing_of_ours(services: dict[str, dict[str, dict[str, str]]]) -> None:
    """Neither a secret in their environment nor a file of them."""
    for name, service in services.items():
        if name not in SERVICES:
            assert not {*service.get("environment", {})} & {*VARIABLES}, name
        assert ("secrets" in service) == (name == "edge"), name
