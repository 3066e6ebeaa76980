"""CPU of processes and of those below them, also of those that have ended."""

import contextlib
from collections.abc import Mapping

import psutil

# What the command line of a component contains.
MARKS = {"postgres": "PostgreSQL", "playground": "site and model", "prefect server": "Prefect server"}


def seconds_of(pid: int) -> float:
    """User and system seconds of the process and all below it, so far."""
    process = psutil.Process(pid)
    return own(process) + sum(own(child) for child in process.children(recursive=True))


def by_component() -> Mapping[str, float]:
    """Seconds of what this process started, so far."""
    found = dict.fromkeys(MARKS.values(), 0.0)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(child.cmdline())
            what = next((name for mark, name in MARKS.items() if mark in command), None)
            if what is not None:
                found[what] += own(child)
    return found


def own(process: psutil.Process) -> float:
    """Its own, and that of its children that have ended: a backend's is not lost with its connection."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0
