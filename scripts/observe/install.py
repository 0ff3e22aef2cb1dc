"""What is not installed yet: Phoenix from its lock, Prometheus from Debian's package, into one folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.observe.say import say, short

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements" / "observe.txt"
FETCH_PROMETHEUS: Final = ROOT / "scripts" / "fetch_prometheus.sh"
PHOENIX_MB: Final = 630
"""On disk; version 20.26.1 with Python 3.11 on Linux."""
PROMETHEUS_MB: Final = 105
"""On disk; version 2.42 with its page."""


class InstallError(Exception):
    """Something can't be installed. Its text is fit for the terminal."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What there is to start; None for what is left out."""

    rotel: str
    phoenix_python: str | None
    """The Python that Phoenix is installed for."""
    prometheus: str | None


def install(folder: Path, *, without: Collection[str], prometheus: str | None) -> Programs:
    """Return the programs, having installed those that are missing.

    Args:
        folder: Where that goes.
        without: What is not wanted: `phoenix`, `prometheus`.
        prometheus: The Prometheus to use; by default the one on the search path, or else Debian's.

    Raises:
        InstallError: Phoenix could not be installed, or rotel is missing.
    """
    unpacked = folder / "prometheus"
    on_path = prometheus or shutil.which("prometheus")
    wants_phoenix = "phoenix" not in without and not _is_current(folder / "venv")
    wants_prometheus = "prometheus" not in without and not on_path and not _binary(unpacked).exists()
    _announce(folder, phoenix=wants_phoenix, prometheus=wants_prometheus)
    if wants_phoenix:
        _install_phoenix(folder / "venv")
    if wants_prometheus:
        _unpack_prometheus(unpacked)
    found = on_path or (str(_binary(unpacked)) if _binary(unpacked).exists() else None)
    return Programs(
        rotel=_rotel(),
        phoenix_python=None if "phoenix" in without else str(folder / "venv" / "bin" / "python"),
        prometheus=None if "prometheus" in without else found,
    )


def _announce(folder: Path, *, phoenix: bool, prometheus: bool) -> None:
    """Say what will be downloaded, how much that is and where it goes, before it is."""
    parts = [
        *([f"Phoenix (Python packages, {PHOENIX_MB} MB)"] if phoenix else []),
        *([f"Prometheus (Debian's package, {PROMETHEUS_MB} MB)"] if prometheus else []),
    ]
    if parts:
        total = PHOENIX_MB * phoenix + PROMETHEUS_MB * prometheus
        say(f"installing {' and '.join(parts)}: about {total} MB in {short(folder)}, once")
        say("`make distclean` removes it; ARGS='--without phoenix' goes without the larger part")


def _install_phoenix(venv: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(venv / "bin" / "python")
    try:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], check=True)
        subprocess.run(
            [uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(LOCK)], check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        text = f"Phoenix could not be installed: {error}. Without it: make observe ARGS='--without phoenix'"
        raise InstallError(text) from error
    _stamp(venv).write_text(_lock_digest())


def _unpack_prometheus(folder: Path) -> None:
    """Unpack Debian's package; where that is not possible, say so loudly and go on."""
    done = subprocess.run([str(FETCH_PROMETHEUS), str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        say(f"LEFT OUT: Prometheus is not on the search path, and can't be unpacked: {done.stderr.strip()}")
        say("install it, or name one: make observe ARGS='--prometheus PROGRAM'")


def _rotel() -> str:
    """Return the program of the package `rotel`, which does not put it on the search path."""
    program = shutil.which("rotel-agent", path=str(Path(sysconfig.get_path("purelib")) / "rotel"))
    if program is None:
        raise InstallError("The package `rotel` is not installed: run `make venv`.")
    return program


def _binary(unpacked: Path) -> Path:
    return unpacked / "usr" / "bin" / "prometheus"


def _is_current(venv: Path) -> bool:
    return _stamp(venv).exists() and _stamp(venv).read_text() == _lock_digest()


def _stamp(venv: Path) -> Path:
    return venv / ".installed"


def _lock_digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()
