import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from tokenwire.cli import commands, main

Become = tuple[str, list[str], dict[str, str]]


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> list[Become]:
    """What the command line would have become."""
    seen: list[Become] = []
    for name in ("CORE", "HOST", "PORT", "GRPC_HOST", "GRPC_PORT", "AGENT", "STORE"):
        monkeypatch.delenv(f"TOKENWIRE_{name}", raising=False)

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        seen.append((path, arguments, environment))

    monkeypatch.setattr(commands.os, "execve", execve)
    return seen


def run(*arguments: str, environment: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(main, arguments, env=environment)


def test_core_hands_its_options_on_as_environment(become: list[Become]) -> None:
    """The process reads its settings from the environment alone."""
    result = run("core", "--grpc-port", "1234", "--agent", "a=m:x", "--agent", "pace")
    assert result.exit_code == 0, result.output
    ((path, arguments, environment),) = become
    assert [path, *arguments] == [sys.executable, sys.executable, "-m", "agent_core"]
    assert environment["TOKENWIRE_AGENT"] == "a=m:x pace"
    assert environment["TOKENWIRE_GRPC_PORT"] == "1234"
    assert environment["TOKENWIRE_GRPC_HOST"] == "127.0.0.1"
    assert environment["TOKENWIRE_STORE"] == "memory"


def test_each_process_becomes_what_it_is_with_its_own_secrets_alone(become: list[Become]) -> None:
    """As with `up`."""
    secrets = {"TOKENWIRE_MODEL_KEY": "sk-model", "TOKENWIRE_API_KEYS": "ann sha256:0"}
    assert run("core", environment=secrets).exit_code == 0
    assert run("edge", environment=secrets).exit_code == 0
    (*_, core), (*_, edge) = become
    assert secrets.keys() & core.keys() == {"TOKENWIRE_MODEL_KEY"}
    assert secrets.keys() & edge.keys() == {"TOKENWIRE_API_KEYS"}


def test_without_an_agent_the_core_offers_its_own(become: list[Become]) -> None:
    """An empty variable would be a choice; none is none."""
    assert run("core").exit_code == 0
    assert "TOKENWIRE_AGENT" not in become[0][2]


def test_a_variable_stands_for_its_option(become: list[Become]) -> None:
    """Agents are separated by white space there."""
    environment = {"TOKENWIRE_AGENT": "a=m:x  b=m:y", "TOKENWIRE_CORE": "h:1"}
    assert run("core", environment=environment).exit_code == 0
    assert run("edge", environment=environment).exit_code == 0
    assert become[0][2]["TOKENWIRE_AGENT"] == "a=m:x b=m:y"
    assert become[1][2]["TOKENWIRE_CORE"] == "h:1"
    assert become[1][1][-1] == "edge"


@pytest.mark.parametrize(
    "arguments",
    [
        ("core", "--agent", "shop:agent"),
        ("core", "--agent", "a=module"),
        ("core", "--agent", "a=m: x"),
        ("core", "--grpc-port", "70000"),
        ("up", "--workers", "0"),
        ("ask", ""),
        ("ask",),
        ("ask", "x", "--via", "pigeon"),
        ("ask", "x", "--timeout", "0"),
        ("ask", "x", "--principal", " "),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(arguments: tuple[str, ...], become: list[Become]) -> None:
    """Scripts can tell a slip from a failure."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert not become


def test_the_command_line_imports_neither_process() -> None:
    """It starts them: what one of them drags in must not slow `ask` down, nor bind their versions."""
    code = (
        "import sys; from tokenwire.cli import main; import tokenwire.cli.up, tokenwire.cli.ask, "
        "tokenwire.cli.grpc_door, tokenwire.cli.sse_door; "
        "sys.exit(bool({'edge', 'agent_core', 'litestar'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_starts_light() -> None:
    """--help needs no gRPC."""
    code = "import sys; from tokenwire.cli import main; sys.exit(bool({'grpc', 'httpx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
