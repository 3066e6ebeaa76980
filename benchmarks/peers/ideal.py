"""The ideal: bare asyncio with the same limits, that keeps nothing."""

import contextlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

from benchmarks.contenders import BEAT_SECONDS
from benchmarks.ground import Outside, wait_until
from benchmarks.peers.programs import alive, program


@dataclass(frozen=True)
class _Running:
    pid: int

    def workers(self) -> Sequence[int]:
        return [self.pid]

    def components(self) -> Mapping[str, Sequence[int]]:
        return {"worker": [self.pid]}


@dataclass(frozen=True)
class Ideal:
    """Nothing starts it again and it does nothing twice: faults are no business of it."""

    name: str = "Bare asyncio, nothing kept"

    def versions(self) -> Mapping[str, str]:
        return {"Python": platform.python_version(), "httpx": httpx.__version__}

    @contextlib.contextmanager
    def running(self, outside: Outside) -> Iterator[_Running]:
        # What waiting for their beat costs the others in the mean.
        command = [sys.executable, "-m", "benchmarks.peers.bare", str(BEAT_SECONDS / 2)]
        log = outside.place / "ideal.log"
        with program(command, {"PRESSROOM_DATABASE_URL": outside.database_url}, log) as process:
            wait_until(lambda: alive(process, log) and "ready" in log.read_text())
            yield _Running(process.pid)
