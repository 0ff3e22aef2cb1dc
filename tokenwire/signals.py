"""The signals that ask a process to end in good order."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return them: SIGTERM, SIGINT (Ctrl-C) and SIGHUP (its terminal was closed).

    Not SIGHUP where whoever started the process has it ignored, as nohup does.
    """
    asked = (signal.SIGTERM, signal.SIGINT)
    return asked if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (*asked, signal.SIGHUP)


def means_hurry(number: int) -> bool:
    """Return whether a second signal means that there is no more time.

    A closed terminal is told twice: by the kernel, and by the shell that ran in it.

    Args:
        number: The second signal.
    """
    return number != signal.SIGHUP
