"""Becomes one of the supervisor's programs, and ends when the supervisor does, even by SIGKILL.

Run by its path, so that it costs a few milliseconds. Standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: str, *command: str) -> None:
    if sys.platform == "linux":
        # SIGKILL: whatever runs here is safe against it, and a graceful end could outlast the next start.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the call above
        sys.exit("the supervisor is gone")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    become(*sys.argv[1:])
