"""The image that is derived from the core's: examples/custom-agent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenwire.variables import CORE, VARIABLES

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "custom-agent"
DOCKERFILE = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
BASE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")


def services(path: Path) -> dict[str, dict[str, Any]]:
    """Return the services of a Compose file."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    return found


def test_it_runs_as_the_user_of_the_core_again() -> None:
    """Packages are installed as root; what is started must not be."""
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["0:0", "10001:10001"]
    assert "\nUSER 10001:10001\n" in BASE


@pytest.mark.parametrize("service", ["core", "core-2"])
def test_compose_builds_it_in_the_place_of_each_core(service: str) -> None:
    """Compose merges both files: the target of the first must be a stage of the derived Dockerfile."""
    base = services(ROOT / "docker-compose.yml")[service]
    own = services(EXAMPLE / "compose.yaml")[service]
    assert f"AS {base['build']['target']}\n" in DOCKERFILE
    assert own["build"] == {"context": "examples/custom-agent", "dockerfile": "Dockerfile"}
    assert own["image"] != base["image"]
    assert f"CORE_IMAGE={base['image']}\n" in DOCKERFILE
    assert CORE in VARIABLES["TOKENWIRE_AGENT"].readers


def test_every_agent_that_is_named_is_in_the_image() -> None:
    """In the image by itself and under Compose: the module is copied, and has the attribute."""
    under_compose = services(EXAMPLE / "compose.yaml")["core"]["environment"]["TOKENWIRE_AGENT"]
    named = re.findall(r"(\w+)=(\w+):(\w+)", f"{DOCKERFILE} {under_compose}")
    assert len(named) == 4
    for _, module, attribute in named:
        assert f"COPY {module}.py /agents/" in DOCKERFILE
        source = (EXAMPLE / f"{module}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(async def )?{attribute}\b", source, re.MULTILINE), attribute
