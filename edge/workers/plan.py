"""What a supervisor has to know, and what it tells a worker: handed on as JSON on their command lines."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import msgspec

from tokenwire.logs import LogFormat


class Plan(msgspec.Struct, frozen=True):
    """What a supervisor starts. It holds no secret: others see command lines."""

    workers: int
    host: str
    port: int
    core: str
    """The cores' addresses, to be told."""
    shares_port: bool
    """Whether the port may be shared with other edges."""
    has_key: bool
    """Whether a key is set by which each worker takes the tickets of the others."""
    write_deadline_s: float
    drain_s: float
    metrics_host: str
    metrics_port: int
    """The first worker's; 0 for any free one for each."""
    log_level: str
    log_format: LogFormat


class Place(msgspec.Struct, frozen=True):
    """A worker's place among the others. The descriptors are inherited."""

    number: int
    """From 1."""
    workers: int
    listener: int
    """The descriptor of its listening socket."""
    ready: int
    """That of a pipe: a byte is written to it when the worker serves."""
    reports: int
    """That of a listening Unix socket for other workers."""
    folder: str
    """Where those of the others are: see `report_socket`."""
    supervisor: int
    """Its process id."""


def report_socket(folder: str, number: int) -> str:
    """Return the path of the Unix socket at which a worker takes what others got for it."""
    return f"{folder}/{number}.sock"


def become_supervisor(plan: Plan) -> NoReturn:
    """Replace this process by a supervisor: a fresh interpreter, which needs a fifth of the memory."""
    command = [sys.executable, "-m", "edge.workers", msgspec.json.encode(plan).decode()]
    os.execv(sys.executable, command)  # noqa: S606 # this very interpreter, no shell
