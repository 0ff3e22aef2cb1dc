"""Starts all of it: `python -m scripts.observe`, from the checkout's root."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.observe import question, report, services
from scripts.observe.install import ROOT, InstallError, Programs, install
from scripts.observe.ports import Ports, find_ports
from scripts.observe.say import say, short
from scripts.observe.supervisor import Supervisor

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 when asked to stop, 1 when something failed or a process died."""
    options = read_options(arguments)
    try:
        with only_one(options.folder) as data:
            programs = install(options.folder, without=options.without, prometheus=options.prometheus)
            return asyncio.run(observe(programs, options, data))
    except (InstallError, BusyError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped before anything was started")
        return INTERRUPTED


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="make observe",
        description="Run Tokenwire with Prometheus, rotel and Phoenix on loopback, and show a stall in each.",
        epilog="With make: make observe ARGS='--without phoenix'",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=["phoenix", "prometheus"],
        help="leave this out; may be repeated",
    )
    parser.add_argument(
        "--otlp-to",
        metavar="URL",
        help="send spans to this OTLP/HTTP endpoint instead of starting Phoenix",
    )
    parser.add_argument(
        "--prometheus",
        metavar="PROGRAM",
        help="use this one (default: the one on the search path, or Debian's)",
    )
    parser.add_argument(
        "--ports-from",
        metavar="PORT",
        type=int,
        help="take free ports from this one on (default: 8000, 9090, 6006, …, or the next free one)",
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        type=Path,
        default=ROOT / ".observe",
        help="where programs, data and logs go (default: .observe)",
    )
    options = parser.parse_args(arguments)
    options.folder = options.folder.absolute()
    if options.otlp_to:
        options.without.append("phoenix")
    return options


class BusyError(Exception):
    """Another one runs in the same folder."""


@contextmanager
def only_one(folder: Path) -> Iterator[Path]:
    """Yield the folder of a run's data, empty, which is nobody else's until this ends.

    Raises:
        BusyError: Another one is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"Another one is running with {short(folder)}: stop it, or choose a --folder."
            ) from None
        data = folder / "run"
        shutil.rmtree(data, ignore_errors=True)
        (data / "logs").mkdir(parents=True)
        yield data


async def observe(programs: Programs, options: argparse.Namespace, data: Path) -> int:
    """Start everything, ask the example, stay until asked to stop; return the exit status."""
    ports = find_ports(options.ports_from)
    supervisor = Supervisor(data / "logs")
    return await supervisor.run(_serve(supervisor, programs, ports, options.otlp_to, data))


async def _serve(
    supervisor: Supervisor, programs: Programs, ports: Ports, otlp_to: str | None, data: Path
) -> None:
    wanted = plan(programs, ports, otlp_to, data)
    say(f"starting {', '.join(service.name for service in wanted)}")
    for service in wanted:
        await supervisor.start(service)
    await asyncio.gather(*(supervisor.wait_ready(service) for service in wanted))
    supervisor.check_exposure()
    say("asking a question whose answer stalls")
    file = data / "spans.jsonl"
    example = await question.ask(services.url_of(ports.page), file)
    places = report.Places(
        page=services.url_of(ports.page),
        spans=file,
        logs=data / "logs",
        phoenix=services.url_of(ports.phoenix) if programs.phoenix_python else None,
        prometheus=services.url_of(ports.prometheus) if programs.prometheus else None,
    )
    await report.look(places, example)
    sys.stdout.write(report.text(places, example))
    sys.stdout.flush()


def plan(programs: Programs, ports: Ports, otlp_to: str | None, data: Path) -> list[services.Service]:
    """Return what is started, in this order, and ended in the reverse one.

    Whoever takes spans so outlives those who send them.
    """
    wanted = []
    if programs.phoenix_python:
        wanted.append(services.phoenix(programs.phoenix_python, ports.phoenix, data))
    if programs.prometheus:
        wanted.append(services.prometheus(programs.prometheus, ports, data))
    exporter = services.url_of(ports.phoenix) if programs.phoenix_python else otlp_to
    if exporter:
        wanted.append(services.rotel(programs.rotel, ports, exporter, data))
    return [*wanted, services.tokenwire(ports, data / "spans.jsonl", to_rotel=bool(exporter))]


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
