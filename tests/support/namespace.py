"""A network namespace with one cable to this machine, which can be cut: nobody is told, packets just vanish.

Tests that use it are marked `needs("netns")`.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_made = itertools.count()


@dataclass(frozen=True)
class Namespace:
    """One namespace."""

    name: str
    here: str
    """This machine's address on the cable: servers listen there."""

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run inside."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Let every packet vanish from now on, in both directions. No socket is closed, and none is told."""
        ip("-n", self.name, "link", "set", _inside(self.name), "down")


@contextmanager
def network_namespace() -> Iterator[Namespace]:
    """Make a namespace, and remove it with its cable in the end."""
    made = next(_made)
    number = os.getpid() + made  # The cable of the one before takes a moment to go.
    name = f"tw{os.getpid()}-{made}"
    # A /30 of the range for tests between networks, which nobody routes (RFC 2544).
    network = f"198.18.{number // 64 % 256}.{number % 64 * 4}"
    prefix, _, last = network.rpartition(".")
    here, there = (f"{prefix}.{int(last) + host}" for host in (1, 2))
    ip("netns", "add", name)
    try:
        ip("link", "add", _outside(name), "type", "veth", "peer", "name", _inside(name), "netns", name)
        ip("addr", "add", f"{here}/30", "dev", _outside(name))
        ip("link", "set", _outside(name), "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", _inside(name))
        ip("-n", name, "link", "set", _inside(name), "up")
        yield Namespace(name, here)
    finally:
        ip("netns", "del", name)


def _outside(name: str) -> str:
    return f"{name}o"


def _inside(name: str) -> str:
    return f"{name}i"


def ip(*words: str) -> None:
    """Run `ip`.

    Raises:
        AssertionError: It failed; with what it said.
    """
    done = subprocess.run(("ip", *words), check=False, capture_output=True, text=True)
    assert not done.returncode, f"ip {' '.join(words)}: {done.stderr}"
