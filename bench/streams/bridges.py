"""What is compared: our edge, and other ways to bring a core's events to browsers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.streams.loader import BUILD, MissingToolError

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PEERS: Final = ROOT / "bench" / "peers"

PRODUCT: Final = "Tokenwire"
PRODUCT_CALLS: Final = "Tokenwire (calls)"
NAIVE: Final = "naive"
GO: Final = "Go by hand"
NODE: Final = "Node"
GATEWAY: Final = "grpc-gateway"
TWO_WORKERS: Final = "Tokenwire (2 workers)"
RAW: Final = "raw uvloop"

BUILD_WITHIN_S: Final = 600.0
CONTRACT_IN_GO: Final = "example.com/tokenwire/go-client/tokenwire/v1"


def _nothing_to_build() -> None:
    """Do nothing: it needs no more than Python."""


@dataclass(frozen=True)
class Bridge:
    """One way from a core to browsers."""

    name: str
    about: str
    """What it is, in a few words, for the table."""
    command: Callable[[int, str], Sequence[str]]
    """Returns the command line, from the port to listen on and the core's address."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, besides those of all."""
    build: Callable[[], None] = _nothing_to_build
    """Makes it runnable. Raises MissingToolError where this machine can't."""
    versions: Callable[[], dict[str, str]] = dict
    """Returns the versions of what it is made of."""
    has_core: bool = True
    request: Callable[[str], str] = str
    """Returns the body that it wants, from the one that our edge wants."""


def packages(*names: str) -> Callable[[], dict[str, str]]:
    """Return what returns the versions of Python packages."""
    return lambda: {name: version(name) for name in names}


def our_edge(port: int, core: str) -> list[str]:
    """Return the command of our own edge."""
    return [sys.executable, "-m", "edge"] if port and core else []


def _naive(port: int, core: str) -> list[str]:
    del core
    options = ["--port", str(port), "--no-access-log", "--log-level", "warning", "--backlog", "2048"]
    return [sys.executable, "-m", "uvicorn", "bench.peers.naive:app", *options]


def tool(name: str) -> str:
    """Return the path of a program.

    Raises:
        MissingToolError: It is not on the search path.
    """
    if (found := shutil.which(name)) is None:
        raise MissingToolError(f"{name} was not found")
    return found


def build_with(command: Sequence[str], folder: Path) -> None:
    """Run a build step.

    Raises:
        MissingToolError: It failed, with the end of what it has said.
    """
    try:
        subprocess.run(  # noqa: S603 # our own sources
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=BUILD_WITHIN_S
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()[-600:]
        raise MissingToolError(f"`{' '.join(command)}` failed: {said}") from None


def _said(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def build_go(package: str) -> None:
    """Compile one of the programs in bench/peers/go."""
    BUILD.mkdir(exist_ok=True)
    build_with([tool("go"), "build", "-o", str(BUILD / f"go-{package}"), f"./{package}"], PEERS / "go")


def _build_gateway() -> None:
    """Generate the handler from the contract, into a folder that is not in git, and compile it."""
    plugin, out = BUILD / "protoc-gen-grpc-gateway", Path("build", "gateway")
    package = "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway"
    build_with([tool("go"), "build", "-o", str(plugin), package], PEERS / "go")
    (PEERS / "go" / out).mkdir(parents=True, exist_ok=True)
    options = ["standalone=true", "grpc_api_configuration=gateway/gateway.yaml", f"module={CONTRACT_IN_GO}"]
    plugins = [{"local": str(plugin), "out": str(out), "opt": options}]
    template = json.dumps({"version": "v2", "plugins": plugins})
    buf = str(Path(sys.executable).parent / "buf")
    build_with([buf, "generate", str(ROOT / "proto"), "--template", template], PEERS / "go")
    build_go("gateway")


def _run_spec(body: str) -> str:
    """Return the request of the contract itself, in its JSON form."""
    question = json.loads(body)
    question.pop("onDisconnect", None)
    return json.dumps({"run": question})


def go_versions() -> dict[str, str]:
    """Return the versions of Go and of grpc-go."""
    modules = (PEERS / "go" / "go.mod").read_text().split()
    grpc = modules[modules.index("google.golang.org/grpc") + 1]
    return {"go": _said([tool("go"), "env", "GOVERSION"]), "grpc-go": grpc}


def _build_node() -> None:
    node = PEERS / "node"
    tool("node")
    installed = node / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (node / "package-lock.json").stat().st_mtime:
        build_with([tool("npm"), "ci", "--no-audit", "--no-fund"], node)


def _node_versions() -> dict[str, str]:
    return {"node": _said([tool("node"), "--version"])}


OURS: Final = packages("grpcio", "protobuf", "uvloop", "uvicorn", "litestar", "msgspec")

BRIDGES: Final = (
    Bridge(PRODUCT, "our edge over a link", our_edge, {"TOKENWIRE_LINK": "auto"}, versions=OURS),
    Bridge(PRODUCT_CALLS, "our edge, a call per stream", our_edge, {"TOKENWIRE_LINK": "off"}, versions=OURS),
    Bridge(
        NAIVE,
        "a grpc.aio call per stream, Litestar's ServerSentEvent",
        _naive,
        versions=packages("grpcio", "litestar"),
    ),
    Bridge(
        GO,
        "a grpc-go call per stream, net/http",
        lambda port, core: [str(BUILD / "go-edge"), f"127.0.0.1:{port}", core],
        build=lambda: build_go("edge"),
        versions=go_versions,
    ),
    Bridge(
        NODE,
        "a grpc-js call per stream, node:http",
        lambda port, core: [
            tool("node"),
            str(PEERS / "node" / "edge.js"),
            str(port),
            core,
            str(ROOT / "proto"),
        ],
        build=_build_node,
        versions=_node_versions,
    ),
    Bridge(
        RAW,
        "the same frames from one uvloop process, no core",
        lambda port, _: [sys.executable, "-m", "bench.peers.raw_uvloop", str(port)],
        versions=packages("uvloop"),
        has_core=False,
    ),
)
"""In the order of the tables. Each has a core process of its own, so that none pays for another one's log."""


FULL_BRIDGES: Final = (
    Bridge(
        GATEWAY,
        "grpc-gateway's handler, with a marshaler for events",
        lambda port, core: [str(BUILD / "go-gateway"), f"127.0.0.1:{port}", core],
        build=_build_gateway,
        versions=go_versions,
        request=_run_spec,
    ),
    Bridge(TWO_WORKERS, "our edge, two processes", our_edge, {"TOKENWIRE_WORKERS": "2"}, versions=OURS),
)
"""Those of `--full` besides."""


def buildable(bridges: Sequence[Bridge]) -> tuple[list[Bridge], dict[str, str]]:
    """Build all. Return those that can run here, and why each of the others can't."""
    usable, left_out = [], {}
    for bridge in bridges:
        try:
            bridge.build()
        except MissingToolError as error:
            left_out[bridge.name] = str(error)
        else:
            usable.append(bridge)
    return usable, left_out
