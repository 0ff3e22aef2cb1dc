"""The engine where it can't run; what it does with the real model is in tests/integration."""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
from pathlib import Path

import pytest

from agent_core.agents import AgentError
from agent_core.agents.embedded import Engine, ModelSettings, ModelUnavailableError
from agent_core.agents.embedded.generation import Generation


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    weights = tmp_path / "bad.gguf"
    weights.write_bytes(b"GGUF and nothing sensible")
    return Engine(weights, ModelSettings())


async def test_a_missing_runtime_names_the_extra(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runtime the error says what to install, and no folder is left."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelUnavailableError, match=r"tokenwire\[embedded\]"):
        await engine.load()
    assert not list(Path(tempfile.gettempdir()).glob("tw-*"))  # noqa: ASYNC240  (a test may block)


async def test_weights_that_the_runtime_refuses(engine: Engine) -> None:
    """A file that is no model is an error, not a crash."""
    with pytest.raises(ModelUnavailableError, match="can't be loaded"):
        await engine.load()


async def test_an_old_processor_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runtime would die of an illegal instruction, it is not even loaded."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: "flags : sse2 avx")
    with pytest.raises(ModelUnavailableError, match="AVX2"):
        await engine.load()


async def test_other_processors_are_not_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX2 is the business of x86 alone."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelUnavailableError, match="runtime is missing"):
        await engine.load()


async def test_an_engine_that_is_not_loaded_refuses(engine: Engine) -> None:
    """A chat without a loaded model ends with UNAVAILABLE, and holds no place; closing does no harm."""
    for _ in range(5):
        with pytest.raises(AgentError) as caught:
            await anext(engine.chat([], max_tokens=1))
        assert caught.value.code == "UNAVAILABLE"
    assert (engine.active, engine.waiting) == (0, 0)
    await engine.close()


async def test_no_thread_is_no_lost_place(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no thread left, the run fails and its place is free again."""

    class Server:
        def handle_chat_completions(self, *_: object) -> None:
            raise AssertionError

    def refuse(_: Generation) -> None:
        raise RuntimeError("can't start new thread")

    engine._server = Server()
    monkeypatch.setattr(Generation, "start", refuse)
    for _ in range(5):
        with pytest.raises(RuntimeError, match="new thread"):
            await asyncio.wait_for(anext(engine.chat([], max_tokens=1)), 1)
    assert engine.active == 0
