"""What `tokenwire up` makes of users who prove who they are: secrets, and who gets which."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT, TOKENWIRE, Processes, Stack, clean_environment, descendants
from tokenwire.cli.key import make_key

pytestmark = pytest.mark.xdist_group("secrets")

API_KEY, ENTRY = make_key("ann")
GIVEN = {
    "TOKENWIRE_AUTH": "keys",
    "TOKENWIRE_API_KEYS": ENTRY,
    "TOKENWIRE_API_KEY": API_KEY,
    "TOKENWIRE_TICKET_KEY": "t" * 40,
    "TOKENWIRE_MODEL_KEY": "sk-model",
}


def secrets_of(pid: int) -> dict[str, str]:
    """Return the variables of a process's environment that hold a secret of ours."""
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    variables = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    names = {*GIVEN, "TOKENWIRE_PRINCIPAL_KEY", "TOKENWIRE_STORE"} - {"TOKENWIRE_AUTH"}
    return {name: value for name, value in variables.items() if name in names}


def ask(stack: Stack, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `tokenwire ask` at a stack."""
    where = ("--core", stack.core, "--url", stack.url, "--agent", "echo")
    return subprocess.run(
        [*TOKENWIRE, "ask", "a b", *where, *options],
        env=clean_environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def stack(module_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A core on a file, and two edges that ask for API keys."""
    store = tmp_path_factory.mktemp("store") / "runs.db"
    return module_processes.up("--workers", "2", settings=GIVEN | {"TOKENWIRE_STORE": f"sqlite:{store}"})


def children(stack: Stack, module: str) -> list[int]:
    """Return the ids of the processes that run a module."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in descendants(stack.process.pid)}
    return [pid for pid, command in commands.items() if f"-m\0{module}\0" in command]


def test_each_process_gets_only_the_secrets_that_it_needs(stack: Stack) -> None:
    """One that is broken into gives away no more than its own."""
    (core,) = children(stack, "agent_core")
    assert secrets_of(core).keys() == {
        "TOKENWIRE_API_KEYS",
        "TOKENWIRE_MODEL_KEY",
        "TOKENWIRE_PRINCIPAL_KEY",
        "TOKENWIRE_STORE",
    }
    edges = children(stack, "edge.workers.worker")
    assert len(edges) == 2
    for edge in [*edges, *children(stack, "edge.workers")]:
        assert secrets_of(edge).keys() == {
            "TOKENWIRE_API_KEYS",
            "TOKENWIRE_PRINCIPAL_KEY",
            "TOKENWIRE_TICKET_KEY",
        }


def test_the_key_that_up_makes_is_the_same_for_all_and_is_shown_nowhere(stack: Stack) -> None:
    """Neither in what it prints or logs, nor on a command line, which every user of the machine sees."""
    processes = [*children(stack, "agent_core"), *children(stack, "edge")]
    (key,) = {secrets_of(pid)["TOKENWIRE_PRINCIPAL_KEY"] for pid in processes}
    assert len(key) >= 32
    seen = [stack.process.stdout, stack.process.stderr]
    seen += [Path(f"/proc/{pid}/cmdline").read_text() for pid in [stack.process.pid, *processes]]
    assert not any(key in text for text in seen)


def test_ask_is_told_how_to_prove_who_asks(stack: Stack) -> None:
    """The key that `up` made is not to be had; an API key opens the core and the edge, as is said."""
    refused = ask(stack)
    assert refused.returncode == 1
    assert "UNAUTHENTICATED" in refused.stderr
    assert "Set TOKENWIRE_API_KEY to your API key" in refused.stderr
    for door in ("grpc", "sse"):
        answered = ask(stack, "--via", door, TOKENWIRE_API_KEY=API_KEY)
        assert (answered.returncode, answered.stdout) == (0, "a b \n"), answered.stderr
    wrong = ask(stack, TOKENWIRE_API_KEY=f"{API_KEY}x")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "UNAUTHENTICATED: The API key is not valid." in wrong.stderr


def test_ask_over_sse_is_told_where_a_key_belongs(stack: Stack) -> None:
    """The edge speaks of a header, which is not what one types."""
    refused = ask(stack, "--via", "sse")
    assert refused.returncode == 1
    assert "TOKENWIRE_API_KEY" in refused.stderr


def test_with_a_key_that_was_given_ask_still_calls_the_core(processes: Processes) -> None:
    """It is the operator's: nothing is made."""
    key = {"TOKENWIRE_PRINCIPAL_KEY": "p" * 40}
    stack = processes.up(settings=GIVEN | key)
    (core,) = children(stack, "agent_core")
    assert secrets_of(core)["TOKENWIRE_PRINCIPAL_KEY"] == "p" * 40
    answered = ask(stack, **key)
    assert (answered.returncode, answered.stdout) == (0, "a b \n"), answered.stderr


def test_with_one_common_owner_the_core_checks_no_keys(processes: Processes) -> None:
    """It would refuse its edge, which proves nothing then. Who has a key asks the edge."""
    stack = processes.up(settings=GIVEN | {"TOKENWIRE_SHARED_OWNER": "true"})
    (core,) = children(stack, "agent_core")
    assert "TOKENWIRE_API_KEYS" not in secrets_of(core)
    answered = ask(stack, "--via", "sse", TOKENWIRE_API_KEY=API_KEY)
    assert (answered.returncode, answered.stdout) == (0, "a b \n"), answered.stderr
    refused = ask(stack, TOKENWIRE_API_KEY=API_KEY)
    assert refused.returncode == 1
    assert "This core accepts no API keys" in refused.stderr
