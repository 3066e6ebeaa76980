"""Forks workers and forks them again when they are killed: `python -m tests.chaos.nursery`.

Everything is imported once, here, so that a worker starts in milliseconds. No thread and no event loop lives in this
process, so that a fork is a whole worker. It reads commands and tells events, a JSON object a line: `{"keep": 3}` is
how many workers there shall be, `{"kill": 123}` ends one of ours. When its input ends it ends them all, and they die
with it too.
"""

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from tests.chaos import worker

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
READ_SIZE = 65536


class Nursery:
    def __init__(self, bell: int) -> None:
        self._bell = bell
        self._pids: set[int] = set()
        self._keep = 0

    def live(self) -> None:
        """Serve until the input ends."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._bell], [], [])
            if self._bell in ready:
                os.read(self._bell, READ_SIZE)
            self._bury()
            if 0 in ready:
                read = os.read(0, READ_SIZE)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            self._fill()

    def end(self) -> None:
        self._keep = 0
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)

    def _obey(self, command: dict[str, int]) -> None:
        self._keep = command.get("keep", self._keep)
        # One that is ours and not yet buried: its number cannot be anyone else's.
        if command.get("kill") in self._pids:
            os.kill(command["kill"], signal.SIGKILL)

    def _bury(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._pids.discard(pid)
            tell(died=pid, code=os.waitstatus_to_exitcode(status))

    def _fill(self) -> None:
        while len(self._pids) < self._keep:
            pid = os.fork()
            if not pid:
                _become_worker()
            self._pids.add(pid)
            tell(born=pid)


def tell(**event: Any) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


def _become_worker() -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what it says goes to the log, not among the events
    try:
        worker.run()
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second nursery
        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    bell, ringer = os.pipe()
    os.set_blocking(ringer, False)
    signal.set_wakeup_fd(ringer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    worker.warm_up()
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        sys.exit("a thread was started by an import: no fork would be a whole worker")
    tell(ready=os.getpid())
    nursery = Nursery(bell)
    try:
        nursery.live()
    finally:
        nursery.end()


if __name__ == "__main__":
    main()
