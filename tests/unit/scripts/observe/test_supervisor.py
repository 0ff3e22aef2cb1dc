"""The processes of `make observe`, as one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from scripts.observe.services import Service
from scripts.observe.supervisor import Supervisor
from tests.support.processes import is_alive

LISTEN = """
import os, signal, socket, sys
listener = socket.create_server((sys.argv[1], 0))
print("listening", os.getpid(), flush=True)
signal.pause()
"""


def listener(address: str, log: Path, name: str = "Listener") -> Service:
    """Return a process that listens on an address, and is ready when it has said so in its log."""

    async def is_ready() -> bool:
        return "listening" in await asyncio.to_thread(log.read_text)

    return Service(name, (sys.executable, "-c", LISTEN, address), is_ready)


@pytest.mark.skipif(sys.platform != "linux", reason="where a process listens is told by Linux")
async def test_a_process_that_others_can_reach_ends_all_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Phoenix listens on all addresses when its start is another one than the launcher knows."""
    supervisor = Supervisor(tmp_path)
    service = listener("0.0.0.0", tmp_path / "listener.log")

    async def serve() -> None:
        await supervisor.start(service)
        await supervisor.wait_ready(service)
        supervisor.check_exposure()

    assert await supervisor.run(serve()) == 1
    assert "can be reached from other machines: it listens on 0.0.0.0 port" in capsys.readouterr().err


async def test_a_process_that_dies_while_it_starts_is_told_with_its_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never gets ready: that it died ends the wait."""
    supervisor = Supervisor(tmp_path)

    async def is_ready() -> bool:
        return False

    command = (sys.executable, "-c", "import sys; print('no disk left'); sys.exit(3)")
    service = Service("Phoenix", command, is_ready)

    async def serve() -> None:
        await supervisor.start(service)
        await supervisor.wait_ready(service)

    assert await supervisor.run(serve()) == 1
    said = capsys.readouterr().err
    assert "ended with exit status 3. Its last lines, from" in said
    assert "no disk left" in said


async def test_the_death_of_one_process_ends_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named with its pid and how it died; the status is 1, though all had been ready."""
    supervisor = Supervisor(tmp_path)
    pids: list[int] = []

    async def serve() -> None:
        for name in ("Prometheus", "rotel"):
            log = tmp_path / f"{name.lower()}.log"
            service = listener("127.0.0.1", log, name)
            await supervisor.start(service)
            await supervisor.wait_ready(service)
            pids.append(int((await asyncio.to_thread(log.read_text)).split()[1]))
        supervisor.check_exposure()
        os.kill(pids[1], signal.SIGKILL)

    assert await supervisor.run(serve()) == 1
    assert f"rotel (pid {pids[1]}) was killed by SIGKILL." in capsys.readouterr().err
    assert not any(map(is_alive, pids))
