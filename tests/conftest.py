"""Fixtures of all tests: real processes, and programs of the system that may be missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

import httpx._transports.default as httpx_transports
import hypothesis
import pytest

import edge.server
from edge.upstream import member as edge_member
from tests.support import system
from tests.support.processes import SETTINGS_OF_ALL, Processes, Stack
from tests.support.redis_server import RedisServer, stop_shared_redis
from tokenwire.telemetry.metrics import Home, home

# Each client of httpx loads all CA certificates: 13 ms of CPU, and the tests make thousands of clients.
httpx_transports.create_ssl_context = cache(httpx_transports.create_ssl_context)

# An edge in this process would look twice at all objects, also pytest's: 130 ms of CPU each time where all
# tests are collected. Edges that are processes of their own do so.
edge.server.GarbageCollection = nullcontext

# An example has no deadline of 200 ms: a busy machine takes longer. In CI it has none already.
hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")

LINK_SETTING = {"link": "auto", "call": "off"}
LINK_OPENED = "has opened a link"
LINK_REFUSED = ("refuses the link", "has no link")
"""What processes log."""
LEFT_OUT = pytest.StashKey[dict[str, int]]()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often runs were asked for by edges of this process: by `link`, and by `call`."""
    opened: Counter[str] = Counter()
    for carries, source in (("link", "LinkFollow"), ("call", "CallSource")):
        counted = _counted(opened, carries, getattr(edge_member, source))
        monkeypatch.setattr(edge_member, source, counted)
    return opened


@pytest.fixture(params=["link", "call"])
def transport(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, sources: Counter[str]
) -> Iterator[str]:
    """What carries runs from cores to edges: a test that uses this runs over links, and again over calls.

    Edges of this process and edges that are started as processes are set up for it. A test fails where
    something else has carried its runs.
    """
    name = str(request.param)
    value = LINK_SETTING[name]
    monkeypatch.setenv("TOKENWIRE_LINK", value)
    monkeypatch.setitem(SETTINGS_OF_ALL, "TOKENWIRE_LINK", value)
    yield name
    assert set(sources) <= {name}, f"what carried the runs of this process's edges: {dict(sources)}"
    if isinstance(started := getattr(request.node, "funcargs", {}).get("processes"), Processes):
        _require_links(started, name == "link")


def _require_links(started: Processes, expected: bool) -> None:
    """Fail unless cores say that processes have opened links to them, or that none has."""
    said = "".join(text for _, text in started.logs())
    if any(name.endswith(("-edge.err", "-up.err")) for name, _ in started.logs()):
        assert (LINK_OPENED in said) is expected
    assert not [line for line in said.splitlines() if any(words in line for words in LINK_REFUSED)]


def _counted(opened: Counter[str], carries: str, source: Callable[..., Any]) -> Callable[..., Any]:
    """Return what opens a source of runs as before, and counts it."""

    def count_and_open(*arguments: Any, **options: Any) -> Any:
        opened[carries] += 1
        return source(*arguments, **options)

    return count_and_open


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Starts processes, and ends them all when the test has ended."""
    started = Processes(tmp_path_factory.mktemp("processes"))
    try:
        yield started
    finally:
        started.stop_all()


@pytest.fixture(scope="session")
def shared_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Processes that many tests use."""
    started = Processes(tmp_path_factory.mktemp("shared-processes"))
    try:
        yield started
    finally:
        started.stop_all()


@pytest.fixture(scope="module")
def module_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Processes that the tests of one module use, and that end with it: idle ones take CPU time, too."""
    started = Processes(tmp_path_factory.mktemp("module-processes"))
    try:
        yield started
    finally:
        started.stop_all()


@pytest.fixture(scope="session")
def stack(shared_processes: Processes) -> Stack:
    """One `tokenwire up` with the scripted agents, for all tests that leave it as they found it."""
    return shared_processes.up()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test, which may disturb it. Such tests are marked `needs("redis")`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def metrics() -> Iterator[Home]:
    """The metrics of this process, which count from zero."""
    home().clear()
    yield home()
    home().clear()


@pytest.fixture
def chromium() -> str:
    """The path of the system's Chromium. Tests that use it are marked `needs("chromium")`."""
    return system.find("chromium") or ""


@pytest.fixture
def node() -> str:
    """The path of Node. Tests that use it are marked `needs("node")`."""
    return system.find("node") or ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    stop_shared_redis()
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over what a worker of pytest-xdist has left out: only this process writes the summary."""
    left_out = node.config.stash[LEFT_OUT]  # type: ignore[attr-defined]
    for reason, count in getattr(node, "workeroutput", {}).get("left_out", {}).items():
        left_out[reason] = left_out.get(reason, 0) + count


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): what of the system the test can't do without")
    config.stash[LEFT_OUT] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            if system.find(need) is None:
                reason = f"no {' or '.join(system.PROGRAMS[need])} on this machine"
                if system.is_ci():
                    pytest.fail(f"{reason}, and CI leaves nothing out", pytrace=False)
            elif not system.is_permitted(need):
                reason = f"not permitted on this machine: {' '.join(system.PROBES[need])}"
            else:
                continue
            left_out = item.config.stash[LEFT_OUT]
            left_out[reason] = left_out.get(reason, 0) + 1
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes said beside a failure."""
    report = yield
    if report.failed:
        funcargs = getattr(item, "funcargs", {})
        for name in ("processes", "module_processes", "shared_processes"):
            if isinstance(started := funcargs.get(name), Processes):
                report.sections.extend(started.logs())
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for reason, count in config.stash[LEFT_OUT].items():
        terminalreporter.write_line(f"LEFT OUT: {count} tests: {reason}", red=True, bold=True)
