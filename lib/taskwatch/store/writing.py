"""Records are written here: many in one statement, only forward, and the same ones twice change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Executor
from lib.taskwatch.models import TABLE, TaskExecutionLog

NO_PARTITION = "23514"  # SQLSTATE check_violation: also that of a status which there is not
DEAD_AFTER = 60  # seconds without a beat
# A database that has just come back has heard of nobody yet.
SETTLED_AFTER = 90
DEATH = "The worker died"


@dataclass(frozen=True)
class Beat:
    """Who writes, and how it fares: records given up, waiting in memory, and waiting in its spill file."""

    recorder_id: UUID
    host: str
    pid: int
    dropped: int = 0
    waiting: int = 0
    spilled: int = 0


async def write(executor: Executor, batch: Sequence[Mapping[str, Any]], beat: Beat) -> int:
    """Write the records and the beat in one statement; return how many records changed.

    A record has the columns' names, `id`, `created_at`, `task_name`, `kind` and `status` at least; times as ISO
    strings, ids as strings or UUIDs, each id at most once. A status moves only pending → running → abandoned →
    success or failed; what a later write does not name stays. A day without a partition gets one.
    Raises what the database raises.
    """
    given = asdict(beat) | {"batch": orjson.dumps([dict(record) for record in batch], default=str).decode()}
    try:
        return await _written(executor, given)
    except IntegrityError as error:
        days = _days(batch)
        if not days or getattr(error.orig, "sqlstate", None) != NO_PARTITION:
            raise
        made = [await ensure_partitions(executor, day, day) for day in sorted(days)]
        if not any(made):
            raise  # it was something else; or another writer made it: the next attempt finds it
        return await _written(executor, given)


async def _written(executor: Executor, given: Mapping[str, Any]) -> int:
    if not isinstance(executor, AsyncSession):
        return int((await executor.execute(statement(), given)).scalar_one())
    async with executor.begin_nested():
        return int((await executor.execute(statement(), given)).scalar_one())


async def ensure_partitions(executor: Executor, first_day: date, last_day: date) -> int:
    """Make the partitions of these UTC days that are not there; return how many. Holds up nobody."""
    statement = text("SELECT ensure_task_partitions(:first_day, :last_day)")
    return int((await executor.execute(statement, {"first_day": first_day, "last_day": last_day})).scalar_one())


async def abandon_dead(session: AsyncSession, settled_after: float = SETTLED_AFTER) -> int:
    """Give up what waits or runs with a recorder that is dead or unknown; return how many records that was.

    None within `settled_after` seconds of the database's own start: until then, nobody could tell that they live.
    """
    given = {"death": DEATH, "dead": DEAD_AFTER, "settled": settled_after}
    return int((await session.execute(_ABANDON, given)).scalar_one())


def _days(batch: Sequence[Mapping[str, Any]]) -> set[date]:
    """The UTC days of the records; none where a time cannot be read."""
    try:
        times = [datetime.fromisoformat(str(record["created_at"])) for record in batch]
    except (KeyError, ValueError):
        return set()
    return {(time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).date() for time in times}


# They say what the record is, and never change.
_FIXED = ("created_at", "id", "task_name", "kind")
# As the last write has them, empty ones too: the end of an abandoned record is not that of the one that came back.
_OF_THE_END = frozenset(
    (
        "status",
        "completed_at",
        "duration_ms",
        "error_type",
        "error_message",
        "error_traceback",
        "place",
        "cause",
        "fingerprint",
    )
)


@cache
def statement() -> TextClause:
    """The one statement, with every column."""
    columns = [column for column in TaskExecutionLog.__table__.columns if column.name != "updated_at"]
    names = ", ".join(column.name for column in columns)
    types = ", ".join(f"{column.name} {column.type.compile(postgresql.dialect())}" for column in columns)  # type: ignore[no-untyped-call]
    values = ", ".join(
        f"{column.name} = excluded.{column.name}"
        if column.name in _OF_THE_END
        else f"{column.name} = coalesce(excluded.{column.name}, l.{column.name})"
        for column in columns
        if column.name not in _FIXED
    )
    return text(
        "WITH beat AS ("
        " INSERT INTO task_recorders AS r (id, host, pid, dropped, waiting, spilled)"
        " VALUES (:recorder_id, :host, :pid, :dropped, :waiting, :spilled)"
        " ON CONFLICT (id) DO UPDATE SET seen_at = now(), dropped = excluded.dropped, waiting = excluded.waiting,"
        " spilled = excluded.spilled"
        "), written AS ("
        f" INSERT INTO {TABLE} AS l ({names})"
        f" SELECT {names} FROM jsonb_to_recordset(CAST(:batch AS jsonb)) AS given({types}) ORDER BY created_at, id"
        f" ON CONFLICT (created_at, id) DO UPDATE SET {values}, updated_at = now()"
        " WHERE task_rank(excluded.status) > task_rank(l.status)"
        " OR excluded.status = l.status AND l.status IN ('pending', 'running')"
        " RETURNING 1"
        ") SELECT count(*) FROM written"
    )


# A record without a recorder is nobody's: it has been written by hand, or by a version that is gone.
_ABANDON = text(
    f"WITH given_up AS ("
    f" UPDATE {TABLE} l SET status = 'abandoned', completed_at = now(), updated_at = now(),"
    " error_type = 'Abandoned', error_message = :death, cause = :death, place = '', fingerprint = 'abandoned',"
    " duration_ms = extract(epoch FROM now() - coalesce(l.started_at, l.created_at)) * 1000"
    " WHERE l.status IN ('pending', 'running')"
    " AND l.updated_at < now() - make_interval(secs => :dead)"
    " AND NOT EXISTS (SELECT FROM task_recorders r WHERE r.id = l.recorder_id"
    "   AND r.seen_at >= now() - make_interval(secs => :dead))"
    " AND pg_postmaster_start_time() < now() - make_interval(secs => :settled)"
    " RETURNING 1"
    ") SELECT count(*) FROM given_up"
)
