"""The running `pressroom up` of a data directory: its lock, and the record by which other commands find it."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lib.settings import Settings
from lib.settings import settings as read_settings


class AlreadyRunningError(Exception):
    """Another `pressroom up` holds the data directory."""


@dataclass(frozen=True)
class ProcessMark:
    """A process for good: a number alone is soon another's. `started`: seconds since the epoch."""

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> "ProcessMark":
        """Raises psutil.NoSuchProcess."""
        return cls(name, pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if found.create_time() == self.started and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


@dataclass(frozen=True)
class Instance:
    """What runs, and the environment in which another command reaches it."""

    supervisor: ProcessMark
    children: tuple[ProcessMark, ...]
    ports: dict[str, int]
    environment: dict[str, str]


def _record(data_dir: Path) -> Path:
    return data_dir / "run.json"


def write(data_dir: Path, instance: Instance) -> None:
    """For the owner only: the database's URL may hold a password."""
    draft = data_dir / "run.json.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(asdict(instance), out, indent=2)
    draft.replace(_record(data_dir))


def read(data_dir: Path) -> Instance | None:
    """The record, whether or not its processes live; None when there is none that can be read."""
    try:
        found: Mapping[str, Any] = json.loads(_record(data_dir).read_text())
        return Instance(
            ProcessMark(**found["supervisor"]),
            tuple(ProcessMark(**each) for each in found["children"]),
            dict(found["ports"]),
            dict(found["environment"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove(data_dir: Path) -> None:
    _record(data_dir).unlink(missing_ok=True)


def running(data_dir: Path) -> Instance | None:
    """The instance that is up on this data directory."""
    found = read(data_dir)
    return found if found is not None and found.supervisor.process() is not None else None


def connect_environment(settings: Settings) -> None:
    """Let this process work on the running instance of the data directory; what the user set stays."""
    found = running(settings.data_dir)
    if found is None:
        return
    for name, value in found.environment.items():
        os.environ.setdefault(name, value)
    read_settings.cache_clear()


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory, which is made if need be. Raises AlreadyRunningError, naming the process."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = lock.read().strip()
            raise AlreadyRunningError(f"Pressroom runs already on {data_dir} (process {pid}); stop it first") from None
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def end_leftovers(data_dir: Path, patience: float = 3.0) -> list[str]:
    """End what a killed supervisor left behind, by SIGKILL where SIGTERM does not do; return the names."""
    found = read(data_dir)
    if found is None:
        return []
    living = [(mark.name, process) for mark in found.children if (process := mark.process()) is not None]
    processes = [process for _, process in living]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, processes = psutil.wait_procs(processes, timeout=patience)
    remove(data_dir)
    return [name for name, _ in living]
