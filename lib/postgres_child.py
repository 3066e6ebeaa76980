"""Becomes a PostgreSQL program: drop to its account, die with the parent, exec.

Run by its path before the privileges are dropped, so that neither the interpreter nor this file has to be within the
reach of the account. Standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def drop_to(uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def die_with(parent: int) -> None:
    """Have the kernel send SIGINT, PostgreSQL's fast shutdown, when the parent is gone, even by SIGKILL.

    Only after the privileges are dropped, because a change of user clears it. SIGINT lets the server close its
    sessions and write its checkpoint; SIGKILL would leave its backends behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        sys.exit("the supervisor is gone")


def write_to(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def become(parent: str, uid: str, gid: str, directory: str, log: str, *command: str) -> None:
    drop_to(int(uid), int(gid))
    die_with(int(parent))
    os.umask(0o077)
    os.chdir(directory)
    if log:
        write_to(log)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    become(*sys.argv[1:])
