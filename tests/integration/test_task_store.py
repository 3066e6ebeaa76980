"""Records of tasks in the database: written forward only, counted where they end, told in order, found, and dropped."""

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from lib.database import Database
from lib.taskwatch import upkeep
from lib.taskwatch.models import EVERYBODY, NOBODY, STATUSES
from lib.taskwatch.store import feed, folding, metrics, retention, writing
from lib.taskwatch.store.writing import Beat
from lib.work import new_id
from tests.integration.task_records import a_record

ME = Beat(new_id(), "here", 1)
OWNERS = [UUID(int=number) for number in (1, 2, 3)]


async def write(database: Database, *records: Mapping[str, Any], beat: Beat = ME) -> int:
    async with database.alone() as connection:
        return await writing.write(
            connection, [{"recorder_id": beat.recorder_id} | dict(each) for each in records], beat
        )


async def rows(database: Database, statement: str, **given: Any) -> list[tuple[Any, ...]]:
    async with database.session() as session:
        return [tuple(row) for row in await session.execute(text(statement), given)]


async def value(database: Database, statement: str, **given: Any) -> Any:
    return (await rows(database, statement, **given))[0][0]


def moved(record: Mapping[str, Any], status: str, **more: Any) -> dict[str, Any]:
    """The same record in a later state."""
    later = a_record(status)
    fixed = ("id", "created_at", "task_name", "run_name", "kind", "parameters", "owner_id", "started_at")
    return later | {name: record[name] for name in fixed if name in record} | more


# Writing


async def test_a_record_moves_forward_only(database: Database) -> None:
    record = a_record("pending")
    assert await write(database, record) == 1
    assert await write(database, moved(record, "running", parameters=None, process_id=new_id())) == 1
    assert await write(database, moved(record, "success", completed_at=a_record()["completed_at"])) == 1
    for behind in ("pending", "running", "abandoned", "failed"):
        assert await write(database, moved(record, behind)) == 0
    [(status, parameters, process, error)] = await rows(
        database, "SELECT status, parameters, process_id, error_type FROM task_execution_logs"
    )
    assert status == "success"
    assert parameters == {"item": {"title": "Der Rotpanda"}}
    assert process is not None
    assert error is None


async def test_the_same_batch_twice_counts_once(database: Database) -> None:
    batch = [a_record("success"), a_record("failed"), a_record("running"), a_record("pending")]
    assert await write(database, *batch) == 4
    before = await _figures(database)
    await write(database, *batch)
    assert await _figures(database) == before
    assert before["counts"] == (1, 1, 0)


async def test_an_abandoned_record_that_comes_back_is_counted_where_it_ended(database: Database) -> None:
    record = a_record("running", fingerprint=None)
    await write(database, record)
    await write(database, moved(record, "abandoned", fingerprint="gone", error_message="The worker died"))
    assert (await _figures(database))["counts"] == (0, 0, 1)
    await write(database, moved(record, "success"))
    assert (await _figures(database))["counts"] == (1, 0, 0)
    assert await rows(database, "SELECT count FROM task_failures WHERE count > 0") == []
    assert await rows(database, "SELECT error_message, error_traceback, fingerprint FROM task_execution_logs") == [
        (None, None, None)
    ]
    kinds = [(event.event["type"], event.event["status"]) for event in await _events(database)]
    assert kinds == [("task_started", "running"), ("task_failed", "abandoned"), ("task_completed", "success")]


async def test_an_unknown_day_gets_its_partition(database: Database) -> None:
    past, future = a_record(ago=400 * 86_400), a_record(ago=-40 * 86_400)
    assert await write(database, past, future, a_record()) == 3
    async with database.session() as session:  # in a transaction of the caller, too
        assert await writing.write(session, [a_record(ago=500 * 86_400)], ME) == 1
    assert await value(database, "SELECT count(*) FROM task_execution_logs") == 4


async def test_what_cannot_be_written_is_said(database: Database) -> None:
    with pytest.raises(Exception, match="task_status"):
        await write(database, a_record() | {"status": "asleep"})
    assert await write(database) == 0


async def _figures(database: Database) -> dict[str, Any]:
    return {
        "counts": (
            await rows(
                database,
                "SELECT coalesce(sum(success), 0), coalesce(sum(failed), 0), coalesce(sum(abandoned), 0)"
                " FROM task_hours",
            )
        )[0],
        "minutes": await rows(database, "SELECT * FROM task_minutes ORDER BY 1, 2, 3"),
        "bins": await rows(database, "SELECT * FROM task_minute_bins ORDER BY 1, 2, 3, 4"),
        "failures": await rows(database, "SELECT fingerprint, count FROM task_failures ORDER BY 1"),
        "events": await value(database, "SELECT newest FROM task_event_counter"),
    }


# Giving up


async def test_what_a_dead_recorder_left_is_abandoned(database: Database) -> None:
    dead, alive = Beat(new_id(), "here", 2), Beat(new_id(), "here", 3)
    await write(database, a_record("running"), a_record("pending"), a_record("success"), beat=dead)
    await write(database, a_record("running"), a_record("pending"), beat=alive)
    await write(database, a_record("running", recorder_id=new_id()))  # of one that never told of itself
    await rows(database, "UPDATE task_execution_logs SET updated_at = now() - interval '2 minutes' RETURNING 1")
    await rows(
        database, "UPDATE task_recorders SET seen_at = now() - interval '61 s' WHERE id = :id RETURNING 1",
        id=dead.recorder_id,
    )  # fmt: skip
    async with database.session() as session:
        # A database that has just started has heard of nobody yet.
        assert await writing.abandon_dead(session, settled_after=10**9) == 0
        assert await writing.abandon_dead(session, settled_after=0) == 3
    found = Counter(status for (status,) in await rows(database, "SELECT status FROM task_execution_logs"))
    assert found == {"abandoned": 3, "success": 1, "running": 1, "pending": 1}
    assert await rows(
        database,
        "SELECT DISTINCT error_message, completed_at IS NULL FROM task_execution_logs WHERE status = 'abandoned'",
    ) == [("The worker died", False)]


async def test_a_fresh_record_of_an_unseen_recorder_is_left_alone(database: Database) -> None:
    await write(database, a_record("running", recorder_id=new_id()))
    async with database.session() as session:
        assert await writing.abandon_dead(session, settled_after=0) == 0


# Counting


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_counted_is_what_is_there(database: Database, seed: int) -> None:
    pick = random.Random(seed)
    live: list[dict[str, Any]] = []
    for _ in range(25):
        batch: dict[str, dict[str, Any]] = {}
        for _ in range(pick.randint(1, 12)):
            if live and pick.random() < 0.5:
                record = moved(pick.choice(live), pick.choice(STATUSES), fingerprint=pick.choice(["x", "y", None]))
            else:
                record = a_record(
                    pick.choice(STATUSES),
                    ago=pick.uniform(0, 9000),
                    took=pick.lognormvariate(5, 2),
                    task_name=pick.choice(["a", "b"]),
                    owner_id=pick.choice([*OWNERS, None]),
                )
                live.append(record)
            batch[str(record["id"])] = record
        await write(database, *batch.values())
    await _copied(database, pick)
    await _is_counted(database)


async def _copied(database: Database, pick: random.Random) -> None:
    """COPY moves the counts too, and so does an UPDATE of many."""
    columns = ("created_at", "id", "task_name", "kind", "status", "completed_at", "duration_ms", "owner_id")
    now = datetime.now(UTC)
    records = [
        (now, new_id(), "a", "item", pick.choice(["success", "failed"]), now, pick.uniform(1, 9), OWNERS[0])
        for _ in range(50)
    ]
    async with database.alone() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.copy_records_to_table("task_execution_logs", records=records, columns=columns)
    await rows(
        database,
        "UPDATE task_execution_logs SET status = 'failed', completed_at = now() WHERE status = 'running' RETURNING 1",
    )


async def _is_counted(database: Database) -> None:
    ended = "FROM task_execution_logs WHERE status IN ('success', 'failed', 'abandoned') GROUP BY 1, 2, 3"
    kinds = ", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in ("success", "failed", "abandoned"))
    for unit in ("minute", "hour"):
        start = f"date_trunc('{unit}', completed_at, 'UTC'), task_name, coalesce(owner_id, '{NOBODY}')"
        truth = await rows(database, f"SELECT {start}, {kinds} {ended} ORDER BY 1, 2, 3")
        counted = await rows(
            database,
            f"SELECT at, task_name, owner_id, success, failed, abandoned FROM task_{unit}s"
            " WHERE success + failed + abandoned > 0 ORDER BY 1, 2, 3",
        )
        assert counted == truth
        assert await value(database, f"SELECT sum(duration_ms) FROM task_{unit}s") == pytest.approx(
            await value(database, "SELECT sum(duration_ms) FROM task_execution_logs WHERE status = 'success'")
        )
    bins = await rows(
        database,
        f"SELECT date_trunc('minute', completed_at, 'UTC'), task_name, coalesce(owner_id, '{NOBODY}'),"
        " task_bin(duration_ms), count(*) FROM task_execution_logs WHERE status = 'success' GROUP BY 1, 2, 3, 4"
        " ORDER BY 1, 2, 3, 4",
    )
    assert await rows(database, "SELECT * FROM task_minute_bins ORDER BY 1, 2, 3, 4") == bins
    failed = await rows(
        database,
        f"SELECT fingerprint, task_name, coalesce(owner_id, '{NOBODY}'), count(*), max(completed_at)"
        " FROM task_execution_logs WHERE status IN ('failed', 'abandoned') AND fingerprint IS NOT NULL"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    kept = await rows(
        database,
        "SELECT fingerprint, task_name, owner_id, count, last_seen FROM task_failures WHERE count > 0 ORDER BY 1, 2, 3",
    )
    assert [row[:4] for row in kept] == [row[:4] for row in failed]


async def test_figures_of_a_window(database: Database) -> None:
    pick = random.Random(7)
    durations: dict[int, list[float]] = defaultdict(list)
    batch = []
    for _ in range(3000):
        ago, took = pick.uniform(0, 170 * 3600), pick.lognormvariate(6, 1.2)
        batch.append(a_record(ago=ago, took=took, owner_id=pick.choice(OWNERS)))
        for hours in (1, 24, 168):
            if ago < hours * 3600 - 60:
                durations[hours].append(took)
    await write(
        database, *batch, a_record("pending", ago=500), a_record("running"), a_record("failed", owner_id=OWNERS[0])
    )
    for folded in (False, True):
        if folded:
            while await _fold(database):
                pass
            assert await value(database, "SELECT count(*) FROM task_hour_bins WHERE owner_id = :id", id=EVERYBODY) > 0
        for hours in (24, 168):
            async with database.session() as session:
                [found] = await metrics.metrics(session, None, hours)
            exact = sorted(durations[hours])
            assert abs(found.success - len(exact)) <= 25  # those of the first minute
            assert (found.pending, found.running, found.failed) == (1, 1, 1)
            assert found.avg_duration_ms == pytest.approx(sum(exact) / len(exact), rel=0.05)
            assert found.success_rate == pytest.approx(100 * found.success / (found.success + 1))
            for share, seen in ((0.5, found.p50_ms), (0.95, found.p95_ms)):
                near = [
                    exact[max(0, min(len(exact) - 1, math.ceil(share * len(exact)) - 1 + shift))] for shift in (-12, 12)
                ]
                assert near[0] * 0.96 <= seen <= near[1] * 1.04  # type: ignore[operator]
            async with database.session() as session:
                lines = await metrics.sparklines(session, None, hours)
            assert len(lines["prepare_article"]) == 24
            assert abs(sum(good for good, _ in lines["prepare_article"]) - len(exact)) <= 60


async def test_percentiles_of_exactly_these_are_four_percent_off_at_most(database: Database) -> None:
    pick = random.Random(3)
    durations = sorted(pick.lognormvariate(5, 2) for _ in range(1001))
    await write(database, *(a_record(took=took, ago=300) for took in durations))
    async with database.session() as session:
        [found] = await metrics.metrics(session, None, 1)
    for share, seen in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
        assert seen == pytest.approx(durations[math.ceil(share * 1001) - 1], rel=0.04)


async def test_figures_are_the_owners_own(database: Database) -> None:
    await write(
        database, a_record(owner_id=OWNERS[0]), a_record(owner_id=OWNERS[1]), a_record("pending", owner_id=OWNERS[1])
    )
    await write(database, a_record(ago=7500, owner_id=OWNERS[1]), a_record())
    while await _fold(database):
        pass
    async with database.session() as session:
        assert [(each.total, each.p50_ms is None) for each in await metrics.metrics(session, OWNERS[0], 24)] == [
            (1, False)
        ]
        assert [each.total for each in await metrics.metrics(session, OWNERS[1], 24)] == [3]
        assert await metrics.metrics(session, OWNERS[2], 24) == []
        assert [each.total for each in await metrics.metrics(session, None, 24)] == [5]


async def _fold(database: Database) -> int:
    async with database.session() as session:
        return await folding.fold(session)


# The feed


async def _events(database: Database, sees: UUID | None = None, seq: int = 0) -> list[feed.Event]:
    async with database.session() as session:
        return await feed.since(session, sees, seq, 100_000)


async def test_a_record_that_is_over_at_once_tells_both_its_events(database: Database) -> None:
    first, second = a_record(ago=2, took=1050), a_record("failed", ago=1, took=100, owner_id=OWNERS[0])
    await write(database, first, second, a_record("pending"))
    told = await _events(database)
    assert [(event.seq, event.event["type"], event.event["data"]["id"]) for event in told] == [
        (1, "task_started", str(first["id"])),
        (2, "task_started", str(second["id"])),
        (3, "task_completed", str(first["id"])),
        (4, "task_failed", str(second["id"])),
    ]
    last = told[-1].event
    assert last["seq"] == 4
    assert last["timestamp"].endswith("Z")
    assert last["data"]["params"] == {"item": {"title": "Der Rotpanda"}}
    assert [event.seq for event in await _events(database, OWNERS[0])] == [2, 4]
    async with database.session() as session:
        assert await feed.bounds(session) == (1, 4)


async def test_numbers_have_no_holes_and_follow_commits(database: Database) -> None:
    seen: list[int] = []
    stop = asyncio.Event()

    async def follow() -> None:
        while not stop.is_set() or len(seen) < await value(database, "SELECT newest FROM task_event_counter"):
            seen.extend([event.seq for event in await _events(database, seq=seen[-1] if seen else 0)])
            await asyncio.sleep(0)

    async def many(number: int) -> None:
        pick = random.Random(number)
        for _ in range(15):
            batch = [a_record(pick.choice(["success", "running", "failed"])) for _ in range(pick.randint(1, 9))]
            if pick.random() < 0.3:
                with pytest.raises(RuntimeError):
                    await _undone(database, batch)
            else:
                await write(database, *batch)

    async with asyncio.timeout(90):
        follower = asyncio.create_task(follow())
        await asyncio.gather(*(many(number) for number in range(4)))
        stop.set()
        await follower
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 100


async def _undone(database: Database, batch: Iterable[Mapping[str, Any]]) -> None:
    async with database.session() as session:
        await writing.write(session, list(batch), ME)
        raise RuntimeError("never mind")


# Keeping order


async def test_the_tidy_up_makes_days_and_folds_minutes(database: Database) -> None:
    await write(database, a_record(ago=3 * 3600), a_record())
    today = datetime.now(UTC).date()
    async with database.alone() as connection:  # the day may be over in which the migrations made the first
        await writing.ensure_partitions(connection, today - timedelta(days=1), today + timedelta(days=upkeep.AHEAD))
    later = today + timedelta(days=5)
    async with database.session() as session:
        await session.execute(text(f"DROP TABLE {retention.partition_of(later)}"))
    done = await upkeep.tidy_up(database)
    assert done.partitions == 1
    assert done.bins == 1
    assert (await upkeep.tidy_up(database)).bins == 0


async def test_the_tidy_up_and_writers_never_lock_each_other_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "KEEP_MINUTES", 0)

    async def many(number: int) -> None:
        pick = random.Random(number)
        for _ in range(20):
            records = [a_record(ago=pick.uniform(0, 600), owner_id=pick.choice(OWNERS)) for _ in range(9)]
            await write(database, *records, a_record("running", recorder_id=new_id()))
            await rows(
                database,
                "UPDATE task_execution_logs SET updated_at = now() - interval '2 minutes'"
                " WHERE status = 'running' RETURNING 1",
            )

    async def tidy() -> None:
        for _ in range(20):
            await upkeep.tidy_up(database)

    async with asyncio.timeout(90):
        await asyncio.gather(*(many(number) for number in range(3)), tidy())
    successes = await value(database, "SELECT count(*) FROM task_execution_logs WHERE status = 'success'")
    for where in ("owner_id = :everybody", "owner_id <> :everybody"):
        folded = await value(
            database,
            "SELECT (SELECT coalesce(sum(count), 0) FROM task_minute_bins)"
            f" + (SELECT coalesce(sum(count), 0) FROM task_hour_bins WHERE {where})",
            everybody=EVERYBODY,
        )
        assert folded == successes == 540


async def test_old_events_are_deleted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEEP", 3)
    await write(database, *(a_record() for _ in range(5)))
    assert (await upkeep.tidy_up(database)).events == 7
    async with database.session() as session:
        assert await feed.bounds(session) == (8, 10)
