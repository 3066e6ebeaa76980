"""The live feed's events, by their numbers: without holes, in the order in which they were committed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Executor
from lib.taskwatch.models import TaskEvent, TaskEventCounter

KEEP = 100_000
CHANNEL = "task_events"


@dataclass(frozen=True)
class Event:
    """One event. `event` is the document that people get, with `seq` in it."""

    seq: int
    at: datetime
    owner_id: UUID | None
    event: dict[str, Any]


async def since(executor: Executor, sees: UUID | None, seq: int, limit: int) -> list[Event]:
    """The events after number `seq`, oldest first. One that `sees` may not see leaves a hole in the numbers."""
    statement = select(TaskEvent.seq, TaskEvent.at, TaskEvent.owner_id, TaskEvent.event).where(TaskEvent.seq > seq)
    if sees is not None:
        statement = statement.where(TaskEvent.owner_id == sees)
    rows = await executor.execute(statement.order_by(TaskEvent.seq).limit(limit))
    return [Event(*row) for row in rows]


async def bounds(executor: Executor) -> tuple[int, int]:
    """The numbers of the oldest event that is kept and of the newest; oldest = newest + 1 when there is none."""
    oldest = select(TaskEvent.seq).order_by(TaskEvent.seq).limit(1).scalar_subquery()
    row = (await executor.execute(select(oldest, TaskEventCounter.newest))).one()
    return (row[1] + 1 if row[0] is None else row[0], row[1])


async def prune(session: AsyncSession) -> int:
    """Delete all but the newest KEEP events; return how many."""
    statement = text(
        "WITH gone AS (DELETE FROM task_events WHERE seq <= (SELECT newest FROM task_event_counter) - :keep"
        " RETURNING 1) SELECT count(*) FROM gone"
    )
    return int((await session.execute(statement, {"keep": KEEP})).scalar_one())
