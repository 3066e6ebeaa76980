"""The two kinds of children: a program with a log of its own, and PostgreSQL."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployments import child
from lib import postgres

LOG_LIMIT = 10_000_000
POLL = 0.1


class StartError(Exception):
    """A component did not come up; the message says which and shows the end of its log."""


@dataclass(frozen=True)
class Program:
    """What is run, and how it is known to be ready. Times are in seconds."""

    name: str
    arguments: tuple[str, ...]
    """For our Python."""
    environment: Mapping[str, str]
    directory: Path
    ready: Callable[[], Awaitable[bool]]
    rank: int
    ready_within: float = 60.0
    grace: float = 1.5
    """Between SIGTERM and SIGKILL."""
    ready_file: Path | None = None
    """By which it says that it is ready; one of an earlier run says nothing, and is removed before each start."""


class ProgramChild:
    """A program in a session of its own, so that Ctrl-C in the terminal is for the supervisor alone."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def rank(self) -> int:
        return self._program.rank

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        self._process = await self._spawn()
        try:
            async with asyncio.timeout(self._program.ready_within):
                while not await self._program.ready():
                    if self._process.returncode is not None:
                        raise StartError(f"{self.name} ended at once ({self._process.returncode}):\n{self._tail()}")
                    await asyncio.sleep(POLL)
        except TimeoutError:
            await self.stop()
            message = f"{self.name} was not ready within {self._program.ready_within:.0f} s:\n{self._tail()}"
            raise StartError(message) from None

    async def _spawn(self) -> asyncio.subprocess.Process:
        _rotate(self._log)
        if self._program.ready_file is not None:
            self._program.ready_file.unlink(missing_ok=True)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", child.__file__, str(os.getpid())),
                *(sys.executable, *self._program.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._program.environment),
                cwd=self._program.directory,
                start_new_session=True,
            )
        finally:
            os.close(log)

    async def ended(self) -> int:
        return 0 if self._process is None else await self._process.wait()

    async def stop(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), self._program.grace)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def _tail(self, size: int = 1500) -> str:
        with suppress(OSError):
            return self._log.read_bytes()[-size:].decode(errors="replace").strip()
        return ""


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))


class PostgresChild:
    """Our own PostgreSQL; after a restart it is at the same place."""

    name = "postgres"
    rank = 0

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cluster: postgres.Cluster | None = None

    @property
    def cluster(self) -> postgres.Cluster:
        """Only after the start."""
        if self._cluster is None:
            raise RuntimeError("PostgreSQL is not started")
        return self._cluster

    @property
    def pid(self) -> int | None:
        return None if self._cluster is None else self._cluster.process.pid

    async def start(self) -> None:
        try:
            self._cluster = await postgres.start(self._directory)
        except postgres.StartError as error:
            raise StartError(f"PostgreSQL: {error}") from error

    async def ended(self) -> int:
        return await self.cluster.process.wait()

    async def stop(self) -> None:
        if self._cluster is not None:
            await postgres.stop(self._cluster, timeout=2.0)

    def kill(self) -> None:
        if self._cluster is not None:
            with suppress(ProcessLookupError):
                # At once, but with its backends, which SIGKILL would leave behind for a moment.
                self._cluster.process.send_signal(signal.SIGQUIT)
