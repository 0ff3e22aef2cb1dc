"""Tells in the log when an event loop stands still, who is on it, and for how long it stood.

One call that blocks (`time.sleep`, a socket without asyncio, a long computation) stops every stream of its
process, and looks from outside as if the process had died. A thread asks the loop to answer, and
warns while it does not.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Final, Self

from tokenwire.logs import bound_log_fields

WARN_S: Final = 1.0
"""How long a loop may stand still before it is told: well above any honest step, far below the 10 s after
which callers give up."""

LOOK_EVERY_S: Final = 0.25
"""How often the thread looks."""

WARN_AGAIN: Final = 4
"""While it stands, the next warning comes after so many times as long: 1, 4, 16, 64 s."""

MAX_FRAMES: Final = 20
"""How many frames of the stack are told, from the innermost one: what blocks is there."""

HELD_SHARE: Final = 0.02
"""A thread that is late because other code of its process ran finds that the process has used the CPU
meanwhile, at least for this share of the time: little of it on a machine that is busy with others. A process
that was stopped has used none."""

logger = logging.getLogger(__name__)


class LoopWatchdog:
    """Watches the running event loop while its block lasts, or from `start` to `stop`.

    Args:
        warn_s: How long the loop may stand still before it is told, in seconds.
        look_every_s: How often the thread looks, in seconds.
    """

    def __init__(self, *, warn_s: float = WARN_S, look_every_s: float = LOOK_EVERY_S) -> None:
        self._warn_s = warn_s
        self._look_every_s = look_every_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch the loop that this is called in."""
        loop = asyncio.get_running_loop()
        if sys.version_info < (3, 12) and loop.get_task_factory() is None:
            loop.set_task_factory(_ContextTask)
        watch = _Watch(loop, threading.get_ident(), self._warn_s)
        self._thread = threading.Thread(
            target=self._run, args=(watch,), name="event loop watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it: what comes after, such as closing what is open, may take its time."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, watch: _Watch) -> None:
        """Look until stopped. The first question waits for nothing that came before."""
        watch.ask()
        looked, used = time.monotonic(), time.process_time()
        while not self._stopped.wait(self._look_every_s):
            now, cpu = time.monotonic(), time.process_time()
            late_s = now - looked - self._look_every_s
            try:
                if late_s >= self._warn_s:
                    watch.was_late(late_s, held=cpu - used >= HELD_SHARE * late_s)
                else:
                    watch.look()
            except RuntimeError:
                return  # The loop is closed.
            looked, used = now, cpu
        watch.end()


class _Watch:
    """One question to the loop after the other, and what is told of those that it does not answer.

    Args:
        loop: The loop.
        thread: The id of its thread.
        warn_s: How long an answer may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int, warn_s: float) -> None:
        self._loop = loop
        self._thread = thread
        self._warn_s = warn_s
        self._asked = 0.0
        self._answered: float | None = None
        self._warn_after_s = warn_s
        self._fields: Mapping[str, str] | None = None
        """What the block is about, once it was told."""

    def ask(self) -> None:
        """Ask the loop for an answer.

        Raises:
            RuntimeError: It is closed.
        """
        self._asked, self._answered = time.monotonic(), None
        self._warn_after_s, self._fields = self._warn_s, None
        self._loop.call_soon_threadsafe(self._answer)

    def look(self) -> None:
        """Warn if the loop does not answer; once it has, say so, and ask again.

        Raises:
            RuntimeError: It is closed.
        """
        if self._answered is not None:
            self.end()
            self.ask()
            return
        stood_s = time.monotonic() - self._asked
        if stood_s >= self._warn_after_s:
            self._warn_after_s *= WARN_AGAIN
            fields = _fields_of(self._loop)
            self._fields = self._fields or fields
            text = "the event loop has been blocked for %.1f s, and with it everything in this process"
            _warn(text, stood_s, fields, _stack_of(self._thread))

    def end(self) -> None:
        """Say how long the loop stood, if that was told and is over."""
        if self._answered is not None and self._fields is not None:
            stood_s = self._answered - self._asked
            _warn("the event loop runs again: it was blocked for %.1f s", stood_s, self._fields)

    def was_late(self, late_s: float, *, held: bool) -> None:
        """Tell that the watching thread itself did not get to run.

        Args:
            late_s: For how long.
            held: Whether code of this process ran meanwhile, and did not let go of the interpreter. It is
                still on its way back then: the stack is its own.

        Raises:
            RuntimeError: The loop is closed.
        """
        if held:
            text = "the event loop was blocked for %.1f s: native code did not release the GIL"
            _warn(text, late_s, _fields_of(self._loop), _stack_of(self._thread))
        else:
            logger.warning("this process was stopped, or got no CPU, for %.1f s", late_s)
        self.ask()

    def _answer(self) -> None:
        self._answered = time.monotonic()


def _warn(text: str, seconds: float, fields: Mapping[str, str], stack: str = "") -> None:
    """Log what has happened to the loop, with whom it is about."""
    whose = ", ".join(f"{name} {fields[key]}" for key, name in _TOLD.items() if fields.get(key))
    message = f"{text}{f' ({whose})' if whose else ''}{stack and ':'}%s"
    extra = {name: value for name, value in fields.items() if name != _TASK}
    logger.warning(message, seconds, stack, extra=extra)


_TASK: Final = "task"
_TOLD: Final = {"run_id": "run", "agent": "agent", _TASK: "task"}
"""What a line says of a block, and how it calls it."""


def _fields_of(loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    """Return what the current step of a loop is about: log fields of its task, and the task's name."""
    task: asyncio.Task[Any] | None = asyncio.current_task(loop)
    if task is None:
        return {}
    get_context = getattr(task, "get_context", None)
    bound = bound_log_fields(get_context()) if get_context is not None else {}
    return {**bound, _TASK: task.get_name()}


def _stack_of(thread: int) -> str:
    """Return a line for each of a thread's innermost frames: where, and in which function, without values."""
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001 # the documented way
    lines: list[str] = []
    while frame is not None and len(lines) < MAX_FRAMES:
        code = frame.f_code
        lines.append(f"\n  {code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return "".join(lines)


class _ContextTask(asyncio.Task[Any]):
    """A task that tells its context, as each does from Python 3.12 on.

    With it the log names the run also where a tool blocks in a task of its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        # Without one a task would copy the current context itself.
        self._own_context = contextvars.copy_context() if context is None else context
        super().__init__(coro, loop=loop, name=name, context=self._own_context)

    def get_context(self) -> contextvars.Context:
        """Return the context that the task runs in."""
        return self._own_context
