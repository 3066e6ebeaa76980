"""Old days leave while others write and read, and a run that is killed in the middle is ended by the next one."""

import asyncio
import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lib.database import Database
from lib.taskwatch.store import history, retention, writing
from lib.taskwatch.store.history import Filter
from lib.taskwatch.store.writing import Beat
from lib.work import new_id
from tests.integration.task_records import a_record

DAY = 86_400
ME = Beat(new_id(), "here", 1)


def day(ago: int) -> date:
    return (datetime.now(UTC) - timedelta(days=ago)).date()


def names_in(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def lines_of(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines()


async def write(database: Database, *records: dict[str, Any]) -> None:
    async with database.alone() as connection:
        await writing.write(connection, records, ME)


async def days_with_records(database: Database) -> list[int]:
    async with database.session() as session:
        rows = await session.execute(text("SELECT DISTINCT (now()::date - created_at::date) FROM task_execution_logs"))
        return sorted(int(row[0]) for row in rows)


@pytest.fixture
async def old(database: Database) -> list[dict[str, Any]]:
    """Five records of each of three days that are too old, and some of a day that is not."""
    records = [
        a_record("failed" if number == 0 else "success", ago=(ago * DAY) + number, run_name=f"“\\n\t{number}”\n, \x02")
        for ago in (12, 11, 10)
        for number in range(5)
    ]
    await write(database, *records, a_record(ago=9 * DAY), a_record())
    return records


@pytest.mark.usefixtures("old")
async def test_days_that_are_too_old_leave(database: Database) -> None:
    dropped = await retention.drop_expired(database, 9, None)
    assert (dropped.partitions, dropped.records, dropped.files) == (3, 15, ())
    assert await days_with_records(database) == [0, 9]
    async with database.session() as session:
        counted = await session.execute(text("SELECT sum(success + failed) FROM task_hours"))
        assert counted.scalar_one() == 2
        assert (await session.execute(text("SELECT count(*) FROM task_failures"))).scalar_one() == 0
    assert (await retention.drop_expired(database, 9, None)).partitions == 0


async def test_an_export_has_every_record_whole(database: Database, old: list[dict[str, Any]], tmp_path: Path) -> None:
    place = tmp_path / "made" / "for it"
    dropped = await retention.drop_expired(database, 9, place)
    assert dropped.records == 15
    assert names_in(place) == sorted(file.name for file in dropped.files)
    found = [json.loads(line) for file in dropped.files for line in lines_of(file)]
    assert sorted(each["id"] for each in found) == sorted(str(each["id"]) for each in old)
    by_id = {each["id"]: each for each in found}
    for record in old:
        assert by_id[str(record["id"])]["run_name"] == record["run_name"]
        assert by_id[str(record["id"])]["parameters"] == record["parameters"]
        assert by_id[str(record["id"])].get("error_traceback") == record.get("error_traceback")


@pytest.mark.usefixtures("old")
async def test_what_a_killed_run_left_is_ended(database: Database, tmp_path: Path) -> None:
    detached, half = retention.partition_of(day(12)), retention.partition_of(day(11))
    async with database.alone() as connection:
        await connection.execute(text(f"ALTER TABLE task_execution_logs DETACH PARTITION {detached}"))
    # Killed while it waits for a reader, between the two halves of a detachment.
    async with database.session() as reader:
        await reader.execute(text("SELECT count(*) FROM task_execution_logs"))
        async with database.alone() as connection:
            await connection.execute(text("SET lock_timeout = '300ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                await connection.execute(text(f"ALTER TABLE task_execution_logs DETACH PARTITION {half} CONCURRENTLY"))
            await connection.execute(text("RESET lock_timeout"))
    (tmp_path / f"{detached}.ndjson.gz.partial").write_bytes(b"half of a file")
    dropped = await retention.drop_expired(database, 9, tmp_path)
    assert (dropped.partitions, dropped.records) == (3, 15)
    assert names_in(tmp_path) == sorted(file.name for file in dropped.files)
    assert len(lines_of(retention.file_of(tmp_path, detached))) == 5


@pytest.mark.usefixtures("old")
async def test_a_day_that_cannot_be_exported_stays(database: Database, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    await asyncio.to_thread(taken.write_text, "a file")
    with pytest.raises(OSError, match="taken"):
        await retention.drop_expired(database, 9, taken / "below")
    dropped = await retention.drop_expired(database, 9, tmp_path / "free")
    assert dropped.records == 15


@pytest.mark.usefixtures("old")
async def test_nobody_waits_for_it(database: Database) -> None:
    waits: list[float] = []
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def timed(work: Any) -> None:
        while not stop.is_set():
            began = loop.time()
            await work()
            waits.append(loop.time() - began)

    async def written() -> None:
        await write(database, a_record())

    async def read() -> None:
        async with database.session() as session:
            await history.page(session, None, Filter(), 50)

    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(timed(written)), asyncio.create_task(timed(read))]
        await asyncio.sleep(0.3)
        dropped = await retention.drop_expired(database, 9, None)
        stop.set()
        await asyncio.gather(*tasks)
    assert dropped.partitions == 3
    assert max(waits) < 5


@pytest.mark.usefixtures("old")
async def test_a_day_in_use_stays_for_the_next_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PATIENCE", 1)
    async with database.session() as reader:
        await reader.execute(text("SELECT count(*) FROM task_execution_logs"))
        assert (await retention.drop_expired(database, 10, None)).partitions == 0
        await write(database, a_record())  # nobody else waits for that reader
    assert (await retention.drop_expired(database, 9, None)).partitions == 3


@pytest.mark.usefixtures("old")
async def test_two_runs_take_turns(database: Database) -> None:
    found = await asyncio.gather(*(retention.drop_expired(database, 9, None) for _ in range(3)))
    assert sum(each.partitions for each in found) == 3
