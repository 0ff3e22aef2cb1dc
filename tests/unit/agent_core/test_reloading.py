"""Which files make a core begin anew, and when."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agent_core import reloading
from agent_core.agents.files import files_of, folders_of
from agent_core.agents.loading import BUILT_INS, AgentSource
from agent_core.reloading import ReloadWatch, stand_of
from tests.support.processes import ROOT

AGENT = "async def agent(request):\n    yield 'one'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a developer's folder: an agent, what it imports, what it does not, and a virtual environment."""
    installed = tmp_path / ".venv" / "lib" / "site-packages"
    (tmp_path / "reloaded_package").mkdir()
    installed.mkdir(parents=True)
    (tmp_path / "reloaded_agent.py").write_text("import reloaded_helper, reloaded_installed\n" + AGENT)
    (tmp_path / "reloaded_helper.py").write_text("WORD = 'one'\n")
    (tmp_path / "reloaded_other.py").write_text("")
    (tmp_path / "reloaded_package" / "__init__.py").write_text(AGENT)
    (installed / "reloaded_installed.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(reloading, "LOOK_S", 0.005)
    monkeypatch.setattr(reloading, "SETTLE_S", 0.005)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("reloaded_")]:
        del sys.modules[name]


def source(module: str) -> AgentSource:
    return AgentSource("mine", module, "agent")


def names(folders: frozenset[Path], *, loaded: bool) -> set[str]:
    return {path.name for path in files_of(folders, loaded=loaded)}


def test_an_agents_files_are_those_beside_it_that_it_imports(folder: Path) -> None:
    """No others, and none that are installed; before it is loaded, all that may be meant."""
    folders = folders_of([source("reloaded_agent"), *BUILT_INS])
    assert folders == {folder}
    everything = {"reloaded_agent.py", "reloaded_helper.py", "reloaded_other.py", "__init__.py"}
    assert names(folders, loaded=False) == everything
    importlib.import_module("reloaded_agent")
    assert names(folders, loaded=True) == {"reloaded_agent.py", "reloaded_helper.py"}


def test_a_packages_folder_is_its_own(folder: Path) -> None:
    """Of `shop.agents`, all of `shop`; a module that is not there has none."""
    assert folders_of([source("reloaded_package.deeper")]) == {folder / "reloaded_package"}
    assert folders_of([source("reloaded_nowhere"), source("sys"), *BUILT_INS]) == frozenset()


async def until_changed(watch: ReloadWatch, *, loaded: bool = True) -> asyncio.Task[None]:
    """Return the task that waits for a change, once it looks."""
    task = asyncio.create_task(watch.changed(loaded=loaded))
    await asyncio.sleep(0.05)
    assert not task.done()
    return task


async def ended(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(20):
        await task


async def test_a_change_of_an_imported_file_is_seen(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of any that was imported; of another one nothing is said."""
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    task = await until_changed(watch)
    (folder / "reloaded_other.py").write_text("changed")
    await asyncio.sleep(0.05)
    assert not task.done()
    (folder / "reloaded_helper.py").write_text("WORD = 'another'\n")
    await ended(task)
    assert "reloading: reloaded_helper.py" in caplog.text


async def test_a_change_while_the_agent_was_imported_is_seen(folder: Path) -> None:
    """Imports take seconds: what was saved meanwhile is not what runs."""
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    (folder / "reloaded_agent.py").write_text(AGENT + "# saved\n")
    await ended(asyncio.create_task(watch.changed(loaded=True)))


async def test_a_module_that_an_agent_writes_at_each_import_is_no_change(folder: Path) -> None:
    """As generators of code do: the core would be reloaded for ever."""
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    helper = folder / "reloaded_helper.py"
    helper.write_text(helper.read_text())
    os.utime(helper, (1, 1))
    task = await until_changed(watch)
    helper.write_text("WORD = 'another'\n")
    await ended(task)


async def test_a_syntax_error_keeps_the_core_until_it_is_mended(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with its line."""
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    task = await until_changed(watch)
    (folder / "reloaded_agent.py").write_text(AGENT + "def (:\n")
    async with asyncio.timeout(20):
        while "not reloaded" not in caplog.text:
            await asyncio.sleep(0.005)
    assert f"{folder / 'reloaded_agent.py'}, line 3: " in caplog.text
    assert not task.done()
    (folder / "reloaded_agent.py").write_text(AGENT + "# mended\n")
    await ended(task)


async def test_after_a_failed_import_a_new_file_may_be_what_was_missing(folder: Path) -> None:
    """So may any file beside the agent."""
    watch = ReloadWatch([source("reloaded_agent")])
    task = await until_changed(watch, loaded=False)
    (folder / "reloaded_new.py").write_text("")
    await ended(task)


@pytest.mark.parametrize("name", ["reloaded_agent.py", "reloaded_new.py"])
async def test_a_save_between_a_failed_import_and_the_first_look_is_seen(folder: Path, name: str) -> None:
    """A developer, or a program, mends the agent as soon as the failure is logged."""
    watch = ReloadWatch([source("reloaded_agent")])
    (folder / name).write_text(AGENT + "# mended\n")
    await ended(asyncio.create_task(watch.changed(loaded=False)))


async def test_the_second_of_two_quick_saves_is_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would take the bytecode of the first: same second, same size."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    helper = folder / "reloaded_helper.py"
    second = 1_700_000_000 * 10**9
    os.utime(helper, ns=(second, second))
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    task = await until_changed(watch)
    helper.write_text("WORD = 'two'\n")
    os.utime(helper, ns=(second, second + 10**8))
    await ended(task)
    del sys.modules["reloaded_helper"]
    assert importlib.import_module("reloaded_helper").WORD == "two"


def test_a_file_that_goes_away_has_changed(folder: Path) -> None:
    """One that is gone has no place in what stands there."""
    path = folder / "reloaded_helper.py"
    assert set(stand_of([path])) == {path}
    path.unlink()
    assert stand_of([path]) == {}


def test_nothing_to_look_at_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Built-in agents do not change."""
    ReloadWatch(BUILT_INS)
    assert "--reload has no effect: all agents are built in" in caplog.text


def test_what_is_installed_is_not_even_looked_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment has 30,000 files, and this is done twice a second."""
    looked: set[str] = set()
    scan = os.scandir

    def scandir(place: str) -> object:
        looked.add(Path(place).name)
        return scan(place)

    monkeypatch.setattr(os, "scandir", scandir)
    assert names(frozenset({folder}), loaded=False)
    assert "reloaded_package" in looked
    assert not {".venv", "site-packages"} & looked


def test_folders_may_go_away_while_they_are_looked_at(folder: Path) -> None:
    """As when another branch is checked out."""
    looking = files_of([folder], loaded=False)
    next(looking)
    shutil.rmtree(folder / "reloaded_package")
    assert "__init__.py" not in {path.name for path in looking}


def test_modules_may_be_anything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that imports when it is asked, and fails; or one whose file is no text."""

    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError(name)

    class Strange(ModuleType):
        __file__ = 7  # type: ignore[assignment]

    monkeypatch.setitem(sys.modules, "reloaded_lazy", Lazy("reloaded_lazy"))
    monkeypatch.setitem(sys.modules, "reloaded_strange", Strange("reloaded_strange"))
    importlib.import_module("reloaded_agent")
    assert names(frozenset({folder}), loaded=True) == {"reloaded_agent.py", "reloaded_helper.py"}


@pytest.mark.parametrize(
    "nested", ["x = " + "-" * 100_000 + "1", "x = " + "a." * 20_000 + "b"], ids=["minus", "dots"]
)
async def test_what_is_nested_too_deep_keeps_the_core(
    folder: Path, caplog: pytest.LogCaptureFixture, nested: str
) -> None:
    """The compiler says MemoryError or RecursionError of it, and no SyntaxError."""
    watch = ReloadWatch([source("reloaded_agent")])
    importlib.import_module("reloaded_agent")
    task = await until_changed(watch)
    (folder / "reloaded_agent.py").write_text(nested)
    async with asyncio.timeout(20):
        while "not reloaded" not in caplog.text:
            assert not task.done()
            await asyncio.sleep(0.005)
    (folder / "reloaded_agent.py").write_text(AGENT + "# mended\n")
    await ended(task)


AGAIN = """
import asyncio, os, signal, sys
from pathlib import Path
import uvloop
from agent_core.reloading import Restart

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    restart = Restart()
    print(Path.cwd().name, os.environ.get("WORD"), os.environ.get("TOKENWIRE_GRPC_PORT"))
    marker = Path(sys.argv[1])
    if marker.exists():
        return
    marker.touch()
    os.environ["WORD"] = "an agent's"
    os.chdir("/")
    when = sys.argv[2]
    if when == "before":
        os.kill(os.getpid(), signal.SIGTERM)
    await restart.begin_again(
        stop, lambda: os.kill(os.getpid(), signal.SIGTERM) if when == "meanwhile" else None, port=7
    )
    print("stopped")

uvloop.run(main())
"""


def run_again(folder: Path, when: str) -> str:
    """Return what the process has printed that was to begin again, and its successor."""
    command = [sys.executable, "-c", AGAIN, str(folder / "marker"), when]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_process_that_begins_again_is_as_it_was(tmp_path: Path) -> None:
    """In its folder and environment, whatever agents have made of them; its port is the one it had."""
    assert run_again(tmp_path, "never") == f"{tmp_path.name} None None\n{tmp_path.name} None 7\n"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_signal_is_heard_until_a_process_begins_again(tmp_path: Path, when: str) -> None:
    """Also while traces are exported, when the event loop stands still."""
    assert run_again(tmp_path, when) == f"{tmp_path.name} None None\nstopped\n"
