"""`--reload`: the core begins anew when a file of its agents has changed. For development.

The process replaces itself (`exec`): whoever watches it, and its port, stay the same. Before, it goes down in
order: runs get TOKENWIRE_DRAIN_S to end, and then end with UNAVAILABLE (CORE_SHUTDOWN), which is retryable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final, TypeAlias

from agent_core.agents.files import files_of, folders_of
from agent_core.agents.loading import AgentSource
from tokenwire.signals import stop_signals

LOOK_S: Final = 0.5
"""How often the files are looked at."""

SETTLE_S: Final = 0.2
"""How long nothing must have changed: an editor saves in steps, a checkout writes many files."""

TURN_S: Final = 0.02
"""How long the event loop may take to tell of a signal that it has taken."""

AGAIN_S: Final = 2.0
"""How long after a restart that failed the next try begins."""

AGAIN: Final = "AGENT_CORE_BEGAN_AGAIN"
"""Told from process to process, and to nobody else: the core has served before."""

Stand: TypeAlias = Mapping[Path, tuple[int, int]]
"""When each file was changed, in nanoseconds, and its size."""

logger = logging.getLogger(__name__)


class ReloadWatch:
    """Looks at the files of the operator's agents.

    Args:
        sources: Where the agents come from. They are not loaded yet.
    """

    def __init__(self, sources: Iterable[AgentSource]) -> None:
        self._folders = folders_of(sources)
        files = tuple(files_of(self._folders, loaded=False))
        self._first = stand_of(files)
        self._first_contents = {path: _content_of(path) for path in files}
        if not self._folders:
            logger.warning("--reload has no effect: all agents are built in, so there are no files to watch")

    async def changed(self, *, loaded: bool) -> None:
        """Return when a file has changed, and all that have changed can be parsed.

        One that can't is logged, and the core goes on as it is.

        Args:
            loaded: Whether the agents are loaded: then only what they have imported matters.
        """
        now = await self._stand(loaded=loaded)
        before = await asyncio.to_thread(self._before_import, now, loaded=loaded)
        while True:
            await asyncio.sleep(LOOK_S)
            now = await self._stand(loaded=loaded)
            changed = _changes(before, now, loaded=loaded)
            while changed:
                await asyncio.sleep(SETTLE_S)
                settled = await self._stand(loaded=loaded)
                if settled == now:
                    break
                changed |= _changes(now, settled, loaded=loaded)
                now = settled
            before = now  # with what was imported meanwhile
            if changed and not _can_not_be_parsed(changed):
                logger.warning("reloading: %s", ", ".join(sorted(path.name for path in changed)))
                await asyncio.to_thread(_forget_compiled, changed)
                return

    def _before_import(self, now: Stand, *, loaded: bool) -> Stand:
        """Return how files stood before the import, loaded or failed: what was saved since has changed.

        Not a file that holds what it held: an agent that writes one of its own modules whenever it is
        imported would be reloaded for ever.
        """
        first, contents = self._first, self._first_contents
        same = {path for path in first.keys() & now.keys() if _content_of(path) == contents[path]}
        before = {**first, **{path: now[path] for path in same}}
        if not loaded:
            return before  # a file that is new since then may be what was missing
        return {path: before.get(path, stand) for path, stand in now.items()}

    async def _stand(self, *, loaded: bool) -> Stand:
        return await asyncio.to_thread(lambda: stand_of(files_of(self._folders, loaded=loaded)))


def _content_of(path: Path) -> int:
    """Return what tells a file's content from another; 0 for one that can't be read."""
    try:
        return hash(path.read_bytes())
    except OSError:
        return 0


def _forget_compiled(paths: Iterable[Path]) -> None:
    """Remove what Python has cached of these files.

    It takes bytecode for current whose source has the same size and was changed in the same second: of two
    quick saves, the first would answer. Source: https://docs.python.org/3/reference/import.html#pyc-invalidation
    """
    if sys.implementation.cache_tag is None:
        return
    for path in paths:
        with suppress(OSError):  # nothing is cached, or another user's
            Path(cache_from_source(path)).unlink()


def stand_of(files: Iterable[Path]) -> Stand:
    """Return how files stand now; one that is not there has no place in it."""
    stand = {}
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            continue
        stand[path] = (stat.st_mtime_ns, stat.st_size)
    return stand


class Restart:
    """How this process began: to be made before agents are imported, which may change all of it."""

    def __init__(self) -> None:
        self.has_served = os.environ.pop(AGAIN, "") != ""
        """Whether this core has served before it began again."""
        self._environment = dict(os.environ)
        self._folder = Path.cwd()

    async def begin_again(self, stop: asyncio.Event, clean_up: Callable[[], None], *, port: int) -> None:
        """Become a new process of the same command, in the same environment, folder and port.

        Returns only where a signal has asked for the end meanwhile.

        Args:
            stop: Set by the event loop at such a signal; from now on without the loop, which stands still.
            clean_up: Called before.
            port: The core's port, where it has one: it may have been any free one.
        """
        for number in stop_signals():
            signal.signal(number, lambda *_: stop.set())
        await asyncio.sleep(TURN_S)
        clean_up()
        for stream in (sys.stdout, sys.stderr):  # what agents have printed: exec drops it
            with suppress(OSError):  # nobody reads it
                stream.flush()
        # A signal from here on ends this process, as it would end one that has just begun.
        for number in stop_signals():
            signal.signal(number, signal.SIG_DFL)
        if not stop.is_set():
            self._become(port)

    def try_again(self) -> None:
        """Become a new process after a while. Returns only where a signal has asked for the end meanwhile."""
        signals = stop_signals()
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        if signal.sigtimedwait(signals, AGAIN_S) is None:
            # One that came just now ends the new process: it is delivered when it is no longer held back.
            for number in signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            self._become()

    def _become(self, port: int = 0) -> None:
        environment = {**self._environment, AGAIN: "1"}
        if port:
            environment["TOKENWIRE_GRPC_PORT"] = str(port)
        os.chdir(self._folder)
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, environment)  # noqa: S606 # this very interpreter


def _changes(before: Stand, now: Stand, *, loaded: bool) -> set[Path]:
    """Return the files that have changed or gone; new ones too where one may be what was missing."""
    return {path for path in (before if loaded else {**before, **now}) if now.get(path) != before.get(path)}


def _can_not_be_parsed(paths: Iterable[Path]) -> bool:
    """Return whether one of these files can't be parsed; log which."""
    wrong = [said for path in sorted(paths) if (said := _syntax_error(path))]
    if wrong:
        logger.error("not reloaded, the core stays as it is: %s", "; ".join(wrong))
    return bool(wrong)


def _syntax_error(path: Path) -> str:
    """Return what Python says of a file that it can't parse; nothing where it can, or where it is gone."""
    if path.suffix != ".py":
        return ""
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError:
        return ""
    except (SyntaxError, ValueError) as error:  # a zero byte is a ValueError
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{path}{line}: {said}"
    except (RecursionError, MemoryError) as error:  # what the compiler says of what is nested too deep
        return f"{path}: {type(error).__name__}: {error}"
    return ""
