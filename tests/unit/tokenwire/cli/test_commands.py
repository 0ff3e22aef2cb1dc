import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from tokenwire.cli import commands, main
from tokenwire.cli.access import Access

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
    assert secrets.keys() & core.keys() == {"TOKENWIRE_MODEL_KEY", "TOKENWIRE_API_KEYS"}
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


def test_variables_are_read_in_small_letters_too(
    become: list[Become], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes would read them; what is handed on beside them must be the same."""
    monkeypatch.setattr(commands.os, "environ", {"tokenwire_grpc_port": "1234", "Tokenwire_Auth": "keys"})
    assert run("core").exit_code == 0
    ((_, _, environment),) = become
    assert environment["TOKENWIRE_GRPC_PORT"] == "1234"
    assert environment["TOKENWIRE_AUTH"] == "keys"
    assert not [name for name in environment if name != name.upper()]


def test_the_command_line_imports_neither_process() -> None:
    """It starts them: what one of them drags in must not slow `ask` down, nor bind their versions."""
    code = (
        "import sys; from tokenwire.cli import main; import tokenwire.cli.up, tokenwire.cli.ask, "
        "tokenwire.client.grpc_transport, tokenwire.client.sse_transport; "
        "sys.exit(bool({'edge', 'agent_core', 'litestar'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_starts_light() -> None:
    """--help needs no gRPC."""
    code = "import sys; from tokenwire.cli import main; sys.exit(bool({'grpc', 'httpx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("cores", ["core.example.com:50051", "127.0.0.1:1,10.0.0.7:50051"])
def test_an_api_key_is_sent_to_no_core_in_plaintext_over_a_network(cores: str) -> None:
    """It says so before anything is sent, without the key, and what to do."""
    refused = run("ask", "hi", "--core", cores, environment={"TOKENWIRE_API_KEY": "tw_secret"})
    assert refused.exit_code == 2
    assert f"the API key would be sent to {cores.rpartition(',')[2]} unencrypted" in plain(refused.output)
    assert "--tls-ca" in refused.output
    assert "tw_secret" not in refused.output


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (["--core", "localhost:1"], {}),
        (["--core", "[::1]:1,unix:/nowhere"], {}),
        (["--core", "core.invalid:1", "--tls-ca", __file__], {}),
        (["--core", "core.invalid:1"], {"TOKENWIRE_PRINCIPAL_KEY": "p" * 32}),
        (["--core", "core.invalid:1", "--via", "sse"], {}),
    ],
    ids=["loopback", "loopback of several kinds", "TLS", "not sent", "to the edge"],
)
def test_where_no_other_reads_it_the_key_is_sent(
    options: list[str], given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine, with TLS, or not at all where the principal key proves who asks."""
    asked = []

    def ask_and_show(_question: object, access: Access, **_: object) -> int:
        asked.append(access.api_key)
        return 0

    monkeypatch.setattr("tokenwire.cli.ask.ask_and_show", ask_and_show)
    answered = run("ask", "hi", *options, environment={"TOKENWIRE_API_KEY": "tw_secret", **given})
    assert (answered.exit_code, asked) == (0, ["tw_secret"]), answered.output


@pytest.mark.parametrize(
    ("url", "key", "warned"),
    [
        ("http://edge.example.com", "tw_secret", 1),
        ("HTTP://10.0.0.7:8000/", "tw_secret", 1),
        ("http://edge.example.com", "", 0),
        ("https://edge.example.com", "tw_secret", 0),
        ("http://127.0.0.1:8000", "tw_secret", 0),
        ("http://[::1]:8000", "tw_secret", 0),
        ("http://localhost", "tw_secret", 0),
    ],
)
def test_a_key_over_plain_http_to_another_machine_is_warned_of_once(
    url: str, key: str, warned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, without the key; the question is asked nevertheless."""
    monkeypatch.setattr("tokenwire.cli.ask.ask_and_show", lambda *_, **__: 0)
    answered = run("ask", "hi", "--via", "sse", "--url", url, environment={"TOKENWIRE_API_KEY": key})
    assert answered.exit_code == 0
    assert answered.stderr.count("the key is sent over plain HTTP") == warned
    assert answered.stdout == ""
    assert "tw_secret" not in answered.output


def plain(output: str) -> str:
    """Return what is written in a box, in one line."""
    return " ".join(output.replace("│", " ").split())
