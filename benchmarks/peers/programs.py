"""A peer's programs: started with a log, and gone in the end with all that they started."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from deployments import child

ENDS_WITHIN = 10.0


@contextlib.contextmanager
def program(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Nothing of a contender is kept, so it is not asked to end. `command` begins with a path."""
    bound = [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *command]  # to the life of this process
    with log.open("wb") as out:
        process = subprocess.Popen(
            bound, env=os.environ | dict(environment), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It first, so that it starts nothing again; then what it had, in whatever session that is."""
    family = family_of(process.pid)[1:]
    process.kill()
    process.wait(ENDS_WITHIN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(family, ENDS_WITHIN)


def family_of(pid: int) -> list[psutil.Process]:
    """A process and its descendants; nothing when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def alive(process: subprocess.Popen[bytes], log: Path) -> bool:
    """True. Raise RuntimeError with the end of its log when it has ended."""
    if process.poll() is None:
        return True
    raise RuntimeError(f"{log.stem} ended with status {process.returncode}:\n{log.read_text(errors='replace')[-1500:]}")
