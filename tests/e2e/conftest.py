"""The clients in other languages, built once, and a core that they call over mTLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import system
from tests.support.certificates import Authority
from tests.support.client_package import build_package
from tests.support.direct_clients import (
    KEY,
    NODE_CLIENT,
    PLAIN_COMMANDS,
    Client,
    SecureCore,
    credentials,
    run_tool,
)
from tests.support.processes import TOKENWIRE, Processes, agent_arguments, free_port
from tokenwire.health import ask_core

LANGUAGES = [
    pytest.param("go", marks=pytest.mark.needs("go")),
    pytest.param("node", marks=pytest.mark.needs("node")),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one worker of a parallel run build the Go client, and one run the stack that many tests share."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if {"client_command", "go_client"} & used:
            item.add_marker(pytest.mark.xdist_group("direct clients"))
        elif {"stack", "shared_processes"} <= used and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go client, built once."""
    built = tmp_path_factory.mktemp("go-client") / "go-client"
    run_tool([system.find("go") or "go", "build", "-o", built, "."])
    return built


@pytest.fixture(scope="session")
def client_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the browser's own client, built once."""
    return build_package(tmp_path_factory.mktemp("client-package"))


@pytest.fixture(scope="session")
def secure_core(shared_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> SecureCore:
    """A core with mTLS and a principal key, in a process of its own."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server, shown = authority.issue("core"), authority.issue("billing")
    settings = {
        "TOKENWIRE_GRPC_TLS_CERT": str(server.cert),
        "TOKENWIRE_GRPC_TLS_KEY": str(server.key),
        "TOKENWIRE_GRPC_TLS_CLIENT_CA": str(authority.file),
        "TOKENWIRE_PRINCIPAL_KEY": KEY,
    }
    port = free_port()
    options = ["--grpc-port", str(port), *agent_arguments(), "--agent", "portfolio"]
    process = shared_processes.start("secure-core", [*TOKENWIRE, "core", *options], settings)
    address = f"127.0.0.1:{port}"
    process.wait_ready(lambda: not ask_core(address, 1.0, credentials(authority, shown)))
    return SecureCore(address, authority, shown)


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Each language in turn."""
    name: str = request.param
    return name


@pytest.fixture
def client_command(request: pytest.FixtureRequest, language: str) -> Sequence[str]:
    """The command that runs the client in that language."""
    if language in PLAIN_COMMANDS:
        return PLAIN_COMMANDS[language]
    if language == "go":
        return [str(request.getfixturevalue("go_client"))]
    assert (NODE_CLIENT / "node_modules").is_dir(), "run: npm ci --prefix examples/node-client"
    return [system.find("node") or "node", str(NODE_CLIENT / "main.js")]


@pytest.fixture
def client(language: str, client_command: Sequence[str], secure_core: SecureCore) -> Client:
    """Each of the clients in turn, at that core."""
    return Client(language, client_command, secure_core)
