"""The programs of the system that some tests need.

Under CI (CI=true) a missing one is a failure. Elsewhere those tests are skipped, and the end of
the run says loudly which were left out. So it is everywhere where the kernel does not permit what a
test does: no installation helps there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "redis": ("redis-server", "valkey-server"),
    "node": ("node",),
    "go": ("go",),
    "java": ("java",),
    "curl": ("curl",),
    "nc": ("nc.openbsd",),  # others know no -N
    "frameworks": ("frameworks-python",),
    "nginx": ("nginx",),
    "namespaces": ("unshare",),
    "netns": ("ip",),
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "rotel": ("rotel-agent",),
}
"""What a need `needs_NAME` asks for: any one of these programs."""

SERVERS = ("/usr/sbin", "/sbin")
"""Where Debian puts servers: not on the search path of those who are not root."""

UNPACKED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokenwire/prometheus/usr/bin"
"""Where `scripts/ensure_system.sh` puts Prometheus: installed, it would serve port 9090 to all."""

PACKAGED = Path(sysconfig.get_path("purelib")) / "rotel"
"""Where the package `rotel` has its program, which it does not put on the search path."""

FRAMEWORKS = Path(__file__).resolve().parent.parent.parent / ".frameworks/bin"
"""Where `scripts/make_frameworks.sh` puts the environment that has LangGraph and its like."""

PROBES: Mapping[str, tuple[str, ...]] = {
    "namespaces": ("unshare", "--pid", "--fork", "--mount-proc", "true"),
    "netns": (
        "unshare",
        "--net",
        "--mount",
        "ip",
        "link",
        "add",
        "tw0",
        "type",
        "veth",
        "peer",
        "name",
        "tw1",
    ),
}
"""Needs that take a permission besides: a command that succeeds with it and leaves nothing behind."""


def find(need: str) -> str | None:
    """Return the path of a program that meets a need, or None.

    TOKENWIRE_TEST_CHROMIUM and its like name a program that is not on the search path.
    """
    named = os.environ.get(f"TOKENWIRE_TEST_{need.upper()}")
    if named:
        return named
    path = os.pathsep.join(
        (os.environ.get("PATH", os.defpath), *SERVERS, str(UNPACKED), str(PACKAGED), str(FRAMEWORKS))
    )
    return next((found for name in PROGRAMS[need] if (found := shutil.which(name, path=path))), None)


@cache
def is_permitted(need: str) -> bool:
    """Return whether this process may do what a need is about: not everywhere is root allowed everything."""
    probe = PROBES.get(need)
    return probe is None or not subprocess.run(probe, check=False, capture_output=True).returncode


def is_ci() -> bool:
    """Return whether nothing may be left out."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}
