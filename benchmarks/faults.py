"""What is done to a contender at work: the five scenarios of the public chaos benchmarks of job queues.

They are those of hardbyte/postgresql-job-queue-benchmarking: chaos_postgres_restart, chaos_pg_backend_kill,
chaos_pool_exhaustion, chaos_crash_recovery and chaos_repeated_kills.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil

from benchmarks.contenders import Running
from lib import postgres

AWAY = 5.0
CUT_FOR, CUT_EVERY = 6.0, 0.5
HELD_FOR, GRAB_EVERY = 8.0, 0.1
KILLS, KILL_EVERY = 4, 5.0
LOOKED_AT_FOR = 1.0
STOPPED_WITHIN = 20.0
STARTED_WITHIN = 60.0
LOOK = 0.02
OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> $1"


class Server:
    """The PostgreSQL of a run, which goes away and comes back on the same data and at the same place."""

    def __init__(self, cluster: postgres.Cluster) -> None:
        self._directory: Path = cluster.directory
        self._socket_dir: Path = cluster.socket_dir
        self._again: postgres.Cluster | None = None

    async def stop(self) -> None:
        """As an operator restarts it: it waits for nobody, and ends in order."""
        process = psutil.Process(int((self._directory / "postmaster.pid").read_text().split()[0]))
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOPPED_WITHIN):
            while alive(process.pid):  # noqa: ASYNC110 - another process: there is no event to wait for
                await asyncio.sleep(LOOK)

    async def start(self) -> None:
        self._again = await postgres.start(self._directory, durable=True)

    async def end(self) -> None:
        """Stop it for good if it was started here; whoever started the first one finds nothing left to stop."""
        if self._again is not None:
            await postgres.stop(self._again)

    async def connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        where = {"host": str(self._socket_dir), "port": postgres.PORT, "user": postgres.USER}
        return await asyncpg.connect(**where, database="postgres", timeout=5)


@dataclass
class Scene:
    """What a fault acts on, and what it did: the workers that it killed, and how many sessions or workers it hit."""

    running: Running
    server: Server
    killed: set[int] = field(default_factory=set)
    strikes: int = 0


@dataclass(frozen=True)
class Fault:
    """`strike` returns when it is over."""

    name: str
    strike: Callable[[Scene], Awaitable[None]]


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


async def _restart(scene: Scene) -> None:
    await scene.server.stop()
    scene.strikes += 1
    await asyncio.sleep(AWAY)
    await scene.server.start()


async def _cut(scene: Scene) -> None:
    """End every session of every database, again and again."""
    until = time.monotonic() + CUT_FOR
    async with _connected(scene) as connection:
        me = await connection.fetchval("SELECT pg_backend_pid()")
        while time.monotonic() < until:
            scene.strikes += len(await connection.fetch(OTHERS, me))
            await asyncio.sleep(CUT_EVERY)


async def _exhaust(scene: Scene) -> None:
    """Hold every connection that there is, and every one that becomes free."""
    until = time.monotonic() + HELD_FOR
    async with contextlib.AsyncExitStack() as held:
        while time.monotonic() < until:
            try:
                await held.enter_async_context(_connected(scene))
                scene.strikes += 1
            except asyncpg.TooManyConnectionsError:
                await asyncio.sleep(GRAB_EVERY)


@contextlib.asynccontextmanager
async def _connected(scene: Scene) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await scene.server.connection()
    try:
        yield connection
    finally:
        await connection.close()


async def _kill_the_busiest(scene: Scene) -> None:
    """A contender may have one process that does everything, or fifty of which most wait."""
    living = _living(scene)
    used = {pid: _seconds_used(pid) for pid in living}
    await asyncio.sleep(LOOKED_AT_FOR)
    _kill(scene, [max(living, key=lambda pid: _seconds_used(pid) - used[pid])])


async def _kill_all_again_and_again(scene: Scene) -> None:
    """Whoever works then; where nobody was started again yet, as soon as somebody is."""
    for turn in range(KILLS):
        if turn:
            await asyncio.sleep(KILL_EVERY)
        async with asyncio.timeout(STARTED_WITHIN):
            while not (living := _living(scene)):  # noqa: ASYNC110 - other processes: there is no event to wait for
                await asyncio.sleep(LOOK)
        _kill(scene, living)


def _living(scene: Scene) -> list[int]:
    return [pid for pid in scene.running.workers() if alive(pid)]


def _kill(scene: Scene, pids: Sequence[int]) -> None:
    for pid in pids:
        scene.killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    scene.strikes += len(pids)


def _seconds_used(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


FAULTS = (
    Fault(f"PostgreSQL restarts, away for {AWAY:g} s", _restart),
    Fault(f"its backends are killed for {CUT_FOR:g} s", _cut),
    Fault(f"all its connections are taken for {HELD_FOR:g} s", _exhaust),
    Fault("the busiest worker is killed", _kill_the_busiest),
    Fault(f"all workers are killed {KILLS} times, {KILL_EVERY:g} s apart", _kill_all_again_and_again),
)
