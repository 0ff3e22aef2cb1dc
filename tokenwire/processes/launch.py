"""Starts a command that ends when its parent does. Run by its path, so that it imports nothing of ours.

    python -S launch.py PARENT_PID COMMAND [ARGUMENT…]

What a parent asks for between fork and exec (`preexec_fn`) runs in a copy of a process that may
have threads; here it runs in a process of its own, that then becomes the command.
"""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""

PARENT_GONE = 75
"""Exit status when the parent ended before the command began (EX_TEMPFAIL)."""


def die_with_parent(parent: int) -> bool:
    """Ask the kernel for SIGTERM when the parent ends; return False when it has ended already.

    The wish survives exec. Only Linux knows it: elsewhere a parent that is killed outright
    leaves its children behind.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


def main(arguments: list[str]) -> int:
    """Become the command. Returns only when that is not possible."""
    parent, command = int(arguments[0]), arguments[1:]
    if die_with_parent(parent):
        os.execvp(command[0], command)  # noqa: S606 - a fixed program with its arguments, no shell
    return PARENT_GONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
