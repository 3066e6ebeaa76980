"""Task monitoring at a million and at ten million records: figures, history, writing, and dropping what is old."""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks import task_records
from benchmarks.task_records import owner_id, process_id
from lib import migrate, postgres
from lib.database import Database
from lib.taskwatch.store import history, metrics, retention, writing
from lib.taskwatch.store.history import Cursor, Filter
from lib.work import new_id

SIZES = (1_000_000, 10_000_000)
AT_MOST = 1500  # seconds of a size, loading included
ROUNDS = 20
WARM = 2
WINDOWS = (1, 2, 6, 24, 48, 168)
BATCH = 50
DEEP = 9_950


@dataclass(frozen=True)
class Timed:
    """One thing at one size: milliseconds over the rounds of all its cases, and p95 of the slowest case."""

    what: str
    cases: int
    p50: float
    p95: float
    slowest: float
    which: str


@dataclass(frozen=True)
class SizeFigure:
    """`load` in seconds; `drop` seconds for `dropped` records, while a writer waited `blocked` ms at most."""

    records: int
    load: float
    timed: Sequence[Timed]
    dropped: int
    drop: float
    blocked: float


@dataclass(frozen=True)
class Case:
    name: str
    sees: UUID | None
    filter: Filter
    offset: int = 0
    after: Cursor | None = None


def run() -> list[SizeFigure]:
    return [asyncio.run(_bounded(size)) for size in SIZES]


async def _bounded(size: int) -> SizeFigure:
    async with asyncio.timeout(AT_MOST):
        return await _run(size)


async def _run(size: int) -> SizeFigure:
    place = Path(tempfile.mkdtemp(prefix="pressroom-bench-"))
    await asyncio.to_thread(place.chmod, 0o755)
    try:
        cluster = await postgres.start(place / "cluster")
        try:
            await postgres.create_database(cluster, "tasks")
            async with Database(cluster.url("tasks"), pool_size=3) as database:
                await migrate.upgrade(database)
                return await measured(database, size)
        finally:
            await postgres.stop(cluster, timeout=30)
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def measured(database: Database, size: int) -> SizeFigure:
    """Load an empty database with so many records, and measure."""
    began = time.perf_counter()
    await task_records.load(database, size)
    load = time.perf_counter() - began
    timed = await everything(database)
    dropped, drop, blocked = await _drop(database, size)
    return SizeFigure(size, load, timed, dropped, drop, blocked)


async def everything(database: Database) -> list[Timed]:
    groups = _cases()
    found = [await _figures(database)]
    for what, cases in groups.items():
        found.append(await _timed(what, cases, lambda case: _page(database, case)))
    every = [case for cases in groups.values() for case in cases]
    found.append(await _timed("page and count, as the API answers", every, lambda case: _both(database, case)))
    filtered = [case for case in every if not case.offset and case.after is None]
    found.append(await _timed("count, up to 10,000", filtered, lambda case: _count(database, case)))
    found.append(await _written(database))
    return found


async def _figures(database: Database) -> Timed:
    cases = [Case(f"{hours} h", sees, Filter()) for hours in WINDOWS for sees in (None, owner_id(1))]

    async def one(case: Case) -> None:
        async with database.alone() as connection:
            await metrics.metrics(connection, case.sees, int(case.name.split()[0]))

    return await _timed("metrics", cases, one)


async def _page(database: Database, case: Case) -> None:
    async with database.alone() as connection:
        await history.page(connection, case.sees, case.filter, 50, case.offset, case.after)


async def _both(database: Database, case: Case) -> None:
    async with database.alone() as connection:
        await history.page_and_count(connection, case.sees, case.filter, 50, case.offset, case.after)


async def _count(database: Database, case: Case) -> None:
    async with database.alone() as connection:
        await history.count(connection, case.sees, case.filter)


async def _timed(what: str, cases: Sequence[Case], work: Callable[[Case], Awaitable[None]]) -> Timed:
    by_case: dict[str, list[float]] = {}
    for case in cases:
        times = by_case.setdefault(case.name, [])
        for turn in range(WARM + ROUNDS):
            began = time.perf_counter()
            await work(case)
            if turn >= WARM:
                times.append((time.perf_counter() - began) * 1000)
    every = [each for times in by_case.values() for each in times]
    slowest, which = max((_share(times, 0.95), name) for name, times in by_case.items())
    return Timed(what, len(cases), _share(every, 0.5), _share(every, 0.95), slowest, which)


def _share(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def _cases() -> dict[str, list[Case]]:
    """By kind: pages of the last seven days."""
    now = datetime.now(UTC)
    week: dict[str, Any] = {"start": now - timedelta(days=7), "end": now}
    short = {"start": now - timedelta(hours=60), "end": now - timedelta(hours=50)}
    process, own = process_id(7), owner_id(7 % task_records.OWNERS)
    one = {
        "nothing": {},
        "task": {"task_name": "prepare_article"},
        "seldom task": {"task_name": "upload_archive"},
        "success": {"status": "success"},
        "failed": {"status": "failed"},
        "process": {"process_id": process},
        "fingerprint": {"fingerprint": f"{3:016x}"},
        "ten hours": short,
    }
    several = {
        "task, failed": {"task_name": "read_back", "status": "failed"},
        "task, process": {"task_name": "call_model", "process_id": process},
        "process, failed": {"process_id": process, "status": "failed"},
        "task, process, failed": {"task_name": "fetch_index", "process_id": process, "status": "failed"},
        "task, ten hours": {"task_name": "fetch_index", **short},
    }
    nothing = {
        "a task that never fails": {"task_name": task_records.NEVER_FAILS, "status": "failed"},
        "running": {"status": "running"},
        "unknown process": {"process_id": process_id(999_999)},
        "unknown task": {"task_name": "no_such_task"},
    }
    text = {
        "word of all": {"text": "articles"},
        "word of one in 17": {"text": "panda"},
        "word of one": {"text": "wolken 1234"},
        "beginning of a number": {"text": "4321"},
        "word, failed": {"text": "katzen", "status": "failed"},
        "error": {"text": "BrokenPage katzen"},
        "word, task, process": {"text": "winter", "task_name": "read_back", "process_id": process},
        "word of none": {"text": "unheard"},
        "words never together": {"text": "panda kinder"},
        "word never in the task": {"text": "articles", "task_name": task_records.NEVER_FAILS, "status": "failed"},
    }
    kinds = {"one filter": one, "several filters": several, "filters that match nothing": nothing, "text": text}
    made = {f"history, {kind}": list(_of_both(asked, own, week)) for kind, asked in kinds.items()}
    made["history, deep page"] = [
        Case(f"{case.name}, offset {DEEP:,}", case.sees, case.filter, DEEP)
        for kind in ("one filter", "several filters")
        for case in made[f"history, {kind}"]
    ]
    behind = Cursor(now - timedelta(days=6), new_id())
    made["history, six days behind by cursor"] = [
        Case(f"{case.name}, cursor", case.sees, case.filter, 0, behind)
        for cases in list(made.values())[:4]
        for case in cases
    ]
    return made


def _of_both(asked: dict[str, dict[str, Any]], own: UUID, week: dict[str, Any]) -> Iterator[Case]:
    for name, given in asked.items():
        yield Case(name, None, Filter(**(week | given)))
        yield Case(f"{name}, own", own, Filter(**(week | given)))


async def _written(database: Database) -> Timed:
    pick = random.Random(1)
    beat = writing.Beat(new_id(), "bench", 1)
    case = Case(f"{BATCH} records", None, Filter())

    async def one(_: Case) -> None:
        async with database.alone() as connection:
            await writing.write(connection, [_a_record(pick) for _ in range(BATCH)], beat)

    return await _timed(f"write of {BATCH} that are over", [case] * 5, one)


def _a_record(pick: random.Random) -> dict[str, Any]:
    now = datetime.now(UTC)
    name, kind, _, middle = pick.choice(task_records.TASKS)
    milliseconds = middle * pick.lognormvariate(0, 0.5)
    process = pick.randrange(task_records.PROCESSES)
    number = pick.randrange(10**6)
    return {
        "id": new_id(),
        "created_at": now - timedelta(milliseconds=milliseconds),
        "started_at": now - timedelta(milliseconds=milliseconds),
        "completed_at": now,
        "duration_ms": milliseconds,
        "task_name": name,
        "run_name": f"{name} “Wolken {number}”",
        "kind": kind,
        "status": "success",
        "parameters": {"url": f"https://site.example/articles/{number}/", "title": f"Wolken {number}"},
        "process_id": process_id(process),
        "owner_id": owner_id(process % task_records.OWNERS),
        "item_id": new_id(),
        "parent_id": new_id(),
    }


async def _drop(database: Database, size: int) -> tuple[int, float, float]:
    """A million records of one or more days, or what there is but for today, while somebody writes."""
    a_day = size / task_records.DAYS
    days = max(1, min(task_records.DAYS - 1, round(1_000_000 / a_day)))
    stop = asyncio.Event()
    waits = [0.0]

    async def writing_on() -> None:
        beat, pick = writing.Beat(new_id(), "bench", 2), random.Random(2)
        while not stop.is_set():
            began = time.perf_counter()
            async with database.alone() as connection:
                await writing.write(connection, [_a_record(pick)], beat)
            waits.append((time.perf_counter() - began) * 1000)

    writer = asyncio.create_task(writing_on())
    began = time.perf_counter()
    dropped = await retention.drop_expired(database, task_records.DAYS - 1 - days, None)
    seconds = time.perf_counter() - began
    stop.set()
    await writer
    return dropped.records, seconds, max(waits)


def report(figures: Sequence[SizeFigure]) -> str:
    lines = ["", "## Task monitoring", ""]
    lines.append("Milliseconds, from Python. Slowest: p95 of the filter that is the slowest of its kind.")
    for figure in figures:
        lines += ["", f"{figure.records:,} records of eight days, loaded in {figure.load:.0f} s:", ""]
        lines += ["| | filters | p50 | p95 | slowest | which |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {each.what} | {each.cases} | {each.p50:.1f} | {each.p95:.1f} | {each.slowest:.1f} | {each.which} |"
            for each in figure.timed
        ]
        lines += ["", f"Retention: {figure.dropped:,} records dropped in {figure.drop:.2f} s; "]
        lines[-1] += f"a writer meanwhile waited {figure.blocked:.0f} ms at most."
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(report(run()))
