"""What recording costs: 1,000 tasks at once, with the recorder and without, in turns; and PostgreSQL away meanwhile.

A task is what an item of the pipeline is, called as with PRESSROOM_ITEM_TASK_RUNS=false: a snapshot with an article's
text as its argument, and then nothing but waiting. A thousand of them run all the time, each followed by the next, so
that what one costs is not hidden in another's waiting. CPU is that of the whole process, the writer's thread included.
"""

import asyncio
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from lib import migrate, postgres, units, vault
from lib.database import Database
from lib.garbage import spare_the_collector
from lib.monitoring.items import Claimed, CommentToGenerate
from lib.settings import settings as read_settings
from lib.work import new_id

AT_ONCE = 1_000
IN_A_ROW = 3
SHORTEST, LONGEST = 1.0, 3.0
ROUNDS = 5
AWAY_SECONDS = 30.0
GOAL_CPU_MS, GOAL_WALL_PERCENT = 0.2, 1.0
DATABASE = "recording"
# Statements whose first event is older than the last one of the statement before.
DISORDER = """SELECT count(*) FROM (
    SELECT first, lag(last) OVER (ORDER BY seq) AS before FROM (
        SELECT min(seq) AS seq, min(at) AS first, max(at) AS last FROM task_events
        WHERE seq > :newest GROUP BY xmin::text
    ) statements
) pairs WHERE first < before - interval '50 milliseconds'"""


@dataclass(frozen=True)
class RecordingFigure:
    """Of a task: CPU in milliseconds with and without, how much longer it took in percent; and of the outage."""

    on: float
    off: float
    wall_percent: float
    away_records: int
    away_expected: int
    away_in_order: bool
    away_latest_ms: float

    @property
    def cpu(self) -> float:
        return self.on - self.off


@dataclass(frozen=True)
class _Round:
    cpu: float
    wall: float
    latest: float


def run() -> list[RecordingFigure]:
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory where there is one
    place = Path(tempfile.mkdtemp(prefix="pressroom-bench-", dir=memory if memory.is_dir() else None))
    place.chmod(0o755)
    try:
        return [asyncio.run(_measured(place))]
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _measured(place: Path) -> RecordingFigure:
    cluster = await postgres.start(place / "cluster", durable=True)
    try:
        await postgres.create_database(cluster, DATABASE)
        url = cluster.url(DATABASE)
        async with Database(url, pool_size=1) as database:
            await migrate.upgrade(database)
        os.environ.update(
            {
                "PRESSROOM_DATABASE_URL": url,
                "PRESSROOM_DATA_DIR": str(place),
                "PRESSROOM_ENCRYPTION_KEYS": vault.new_key(),
                "PRESSROOM_TASK_RECORDING": "true",
            }
        )
        read_settings.cache_clear()
        off, on = await _in_turns()
        cluster, *away = await _without_database(cluster, url)
    finally:
        await postgres.stop(cluster)
    wall = statistics.median((one.wall / other.wall - 1) * 100 for one, other in zip(on, off, strict=True))
    return RecordingFigure(_cpu(on), _cpu(off), wall, *away)


def _cpu(rounds: list[_Round]) -> float:
    return statistics.median(one.cpu for one in rounds)


async def _in_turns() -> tuple[list[_Round], list[_Round]]:
    from lib.taskwatch import recorder  # noqa: PLC0415 - what it loads is no task's

    rounds: dict[bool, list[_Round]] = {False: [], True: []}
    await _round(recorder.start, 0)  # both are warm
    spare_the_collector()
    for number in range(ROUNDS):
        for recorded in (True, False) if number % 2 else (False, True):
            rounds[recorded].append(await _round(recorder.start if recorded else None, number))
    return rounds[False], rounds[True]


async def _round(start: Callable[[], units.Observer | None] | None, seed: int) -> _Round:
    from lib.taskwatch import recorder  # noqa: PLC0415

    await asyncio.to_thread(recorder.stop)
    units.observe_with(start)
    units.observer()
    await asyncio.sleep(0.5)  # its connection is made
    began = time.process_time()
    times = await _thousand(seed, IN_A_ROW)
    await _all_written()
    cpu = (time.process_time() - began) * 1000 / len(times)
    late = [took - asked for asked, took in times]
    return _Round(cpu, sum(took for _, took in times) / len(times), max(late))


async def _thousand(seed: int, in_a_row: int) -> list[tuple[float, float]]:
    """Seconds that each task was asked to wait, and that it took."""
    from tasks.units import task  # noqa: PLC0415 - Prefect reads the environment first

    @task(task_run_name="measure “{item.title}”")
    async def measure(item: CommentToGenerate, seconds: float) -> None:  # noqa: ARG001 - is recorded
        await asyncio.sleep(seconds)

    times: list[tuple[float, float]] = []
    chance = random.Random(seed)

    async def line(waits: list[float]) -> None:
        for seconds in waits:
            item = _item()
            began = time.perf_counter()
            await measure.fn(item, seconds)
            times.append((seconds, time.perf_counter() - began))

    lines = [[chance.uniform(SHORTEST, LONGEST) for _ in range(in_a_row)] for _ in range(AT_ONCE)]
    await asyncio.gather(*(line(waits) for waits in lines))
    return times


async def _all_written() -> None:
    from lib.taskwatch import recorder  # noqa: PLC0415

    while (have := recorder.current()) is not None and have.writer.waiting:  # noqa: ASYNC110 - by another thread
        await asyncio.sleep(0.05)


def _item() -> CommentToGenerate:
    claim = Claimed(new_id(), new_id(), new_id(), 1, 0)
    words = "Red pandas live in the mountains. " * 150
    return CommentToGenerate(
        claim,
        new_id(),
        new_id(),
        new_id(),
        "Red Pandas",
        "Ella",
        "Berichten",
        "https://site/article/1/",
        None,
        words,
        words,
    )


async def _without_database(cluster: postgres.Cluster, url: str) -> tuple[postgres.Cluster, int, int, bool, float]:
    """The server as it is again, records found and expected, whether they came in order, the latest task in ms."""
    from lib.taskwatch import recorder  # noqa: PLC0415

    await asyncio.to_thread(recorder.stop)
    async with Database(url, pool_size=1) as database, database.session() as session:
        before = await session.scalar(text("SELECT count(*) FROM task_execution_logs"))
        newest = await session.scalar(text("SELECT newest FROM task_event_counter"))
    units.observe_with(recorder.start)
    load = asyncio.create_task(_thousand(0, round((AWAY_SECONDS + 8) * 2 / (SHORTEST + LONGEST))))
    await asyncio.sleep(3)
    await postgres.stop(cluster)
    await asyncio.sleep(AWAY_SECONDS)
    cluster = await postgres.start(cluster.directory, durable=True)
    times = await load
    await _all_written()
    await asyncio.to_thread(recorder.stop)
    async with Database(url, pool_size=1) as database, database.session() as session:
        ended = "SELECT count(*) FROM task_execution_logs WHERE status = 'success'"
        found = int(await session.scalar(text(ended)) or 0) - int(before or 0)
        disorder = await session.scalar(text(DISORDER), {"newest": newest})
    return cluster, found, len(times), not disorder, max(took - asked for asked, took in times) * 1000


def report(figures: list[RecordingFigure]) -> str:
    lines = [
        "",
        f"## Recording {AT_ONCE:,} tasks at once",
        "",
        f"Goals: under {GOAL_CPU_MS} ms of CPU a task, under {GOAL_WALL_PERCENT:g} % of its wall time.",
        "",
        "| | |",
        "|---|---|",
    ]
    for each in figures:
        lines += [
            f"| CPU a task with recording, ms | {each.on:.3f} |",
            f"| CPU a task without, ms | {each.off:.3f} |",
            f"| what recording costs, ms | {each.cpu:.3f} |",
            f"| wall time added, % | {each.wall_percent:.2f} |",
            f"| records, PostgreSQL away for {AWAY_SECONDS:g} s | {each.away_records:,} of {each.away_expected:,} |",
            f"| in order | {'yes' if each.away_in_order else 'no'} |",
            f"| the latest task was late by, ms | {each.away_latest_ms:.0f} |",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(report(run()))
