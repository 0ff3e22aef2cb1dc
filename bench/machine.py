"""What a result has to say of the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = ("grpcio", "protobuf", "redis", "hiredis", "uvloop", "uvicorn", "litestar", "msgspec")


def machine() -> dict[str, object]:
    """Return the processor's model, how many there are, the kernel, and how busy it was."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average_1min_at_start": round(os.getloadavg()[0], 2),
    }


def cores() -> int:
    """Return how many processors this machine has."""
    return os.cpu_count() or 1


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python, SQLite and some packages."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in packages},
    }


def filesystem(folder: Path) -> str:
    """Return the type of the file system that a folder is on; empty where that can't be told."""
    try:
        mounts = [line.split(" ") for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    place = folder.resolve()
    holding = [mount for mount in mounts if place.is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else ""


def processor_ticks() -> tuple[int, int]:
    """Return the idle and all ticks of all processors since the boot; zeros where that can't be told."""
    try:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0, 0
    return fields[3] + fields[4], sum(fields)


def busy_since(before: tuple[int, int]) -> float:
    """Return the share of the machine's processors that was busy since `processor_ticks`."""
    idle, total = (now - then for now, then in zip(processor_ticks(), before, strict=True))
    return 1 - idle / total if total else 0.0


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
