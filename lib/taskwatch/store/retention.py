"""What is too old leaves by whole days: detached from the table, written to a file where asked for, dropped.

Each step may be the last one before a crash: the next run finds what was detached and not dropped, and goes on. A file
has its name only when it is complete.
"""

import asyncio
import contextlib
import gzip
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from lib.database import Database
from lib.taskwatch.models import TABLE

log = structlog.get_logger()

# Seconds that detaching waits for whoever reads; the next run tries again.
PATIENCE = 10
LOCK = 7_310_229  # any number: two runs take turns


@dataclass(frozen=True)
class Dropped:
    """What left, and the files that have it. `records` are an estimate where a day had many and none was exported."""

    partitions: int
    records: int
    files: tuple[Path, ...] = ()


def partition_of(day: date) -> str:
    """The name of a UTC day's table."""
    return f"{TABLE}_{day:%Y%m%d}"


def file_of(directory: Path, name: str) -> Path:
    """Where the export of a partition is: one JSON document a line, gzipped."""
    return directory / f"{name}.ndjson.gz"


async def drop_expired(database: Database, days: int, export: Path | None) -> Dropped:
    """Drop the records of all UTC days that ended more than `days` days ago, and what is counted of them.

    With `export`, a directory, each day is written there first. Where a day is in use for too long, it and those after
    it stay until the next run. Nothing else waits meanwhile.
    """
    first_kept = (datetime.now(UTC) - timedelta(days=days)).date()
    partitions, records, files = 0, 0, []
    async with database.alone() as connection, _turn(connection) as is_ours:
        if not is_ours:
            return Dropped(0, 0)
        for name, is_attached, estimate in await _expired(connection, first_kept):
            if is_attached and not await _detached(connection, name):
                break  # PostgreSQL detaches one at a time
            if export is not None:
                records += await _exported(connection, name, file_of(export, name))
                files.append(file_of(export, name))
            else:
                records += estimate or await _counted(connection, name)
            await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            partitions += 1
        await _forget(connection, first_kept)
    return Dropped(partitions, records, tuple(files))


@contextlib.asynccontextmanager
async def _turn(connection: AsyncConnection) -> AsyncIterator[bool]:
    """Whether nobody else does it now."""
    taken = bool(await connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})")))
    try:
        if taken:
            await connection.execute(text(f"SET lock_timeout = '{PATIENCE}s'"))
        yield taken
    finally:
        if taken:
            await connection.execute(text("RESET lock_timeout"))
            await connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))


async def _expired(connection: AsyncConnection, first_kept: date) -> list[tuple[str, bool, int]]:
    """The days' tables before that day, oldest first: the name, whether it is still a part, and about how many rows.

    0 rows stands for few enough to count.
    """
    rows = await connection.execute(_TABLES, {"before": partition_of(first_kept)})
    return [(name, is_attached, int(estimate)) for name, is_attached, estimate in rows]


async def _detached(connection: AsyncConnection, name: str) -> bool:
    """Detach it beside those who read and write; False when one of them was there for too long."""
    pending = await connection.scalar(_HALF_DETACHED, {"name": name})
    how = "FINALIZE" if pending else "CONCURRENTLY"
    try:
        await connection.execute(text(f"ALTER TABLE {TABLE} DETACH PARTITION {name} {how}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        log.warning("task_records_in_use", partition=name)
        return False
    return True


LOCK_NOT_AVAILABLE = "55P03"


async def _counted(connection: AsyncConnection, name: str) -> int:
    return int(await connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0)


async def _exported(connection: AsyncConnection, name: str, file: Path) -> int:
    """Write the table's rows; the file gets its name when it is complete and on the disk. Return how many."""
    partial = file.with_name(file.name + ".partial")
    await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
    raw = cast("Any", (await connection.get_raw_connection()).driver_connection)
    with await asyncio.to_thread(gzip.open, partial, "wb", 6) as out:

        async def keep(lines: bytes) -> None:
            await asyncio.to_thread(out.write, lines)

        # As CSV with signs that JSON never has, a document is written as it is: COPY's text format doubles each \.
        query = f"SELECT row_to_json(r) FROM {name} r ORDER BY created_at, id"
        status = await raw.copy_from_query(query, output=keep, format="csv", quote="\x01", delimiter="\x02")
    await asyncio.to_thread(_settle, partial, file)
    return int(status.split()[-1])


def _settle(partial: Path, file: Path) -> None:
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def _forget(connection: AsyncConnection, first_kept: date) -> None:
    """What was counted of days that are gone, failures not seen since, and recorders long silent."""
    given = {"before": datetime.combine(first_kept, datetime.min.time(), UTC)}
    for table in ("task_minutes", "task_hours", "task_minute_bins", "task_hour_bins", "task_day_bins"):
        await connection.execute(text(f"DELETE FROM {table} WHERE at < :before"), given)
    await connection.execute(text("DELETE FROM task_failures WHERE last_seen < :before"), given)
    await connection.execute(text("DELETE FROM task_recorders WHERE seen_at < :before"), given)


# `before` sorts by name as days do. One that was detached by a run that died has no parent any more.
_TABLES = text(
    "SELECT c.relname, i.inhparent IS NOT NULL, CASE WHEN c.reltuples > 100000 THEN c.reltuples ELSE 0 END"
    " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
    f" WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('{TABLE}' AS regclass))"
    f" AND c.relkind = 'r' AND c.relname ~ '^{TABLE}_[0-9]{{8}}$' AND c.relname < :before ORDER BY c.relname"
)
_HALF_DETACHED = text(
    "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(:name)"
    f" AND inhparent = CAST('{TABLE}' AS regclass)"
)
