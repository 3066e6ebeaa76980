"""What writes the records, and what of them is still to come or was lost."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select

from lib.database import Executor
from lib.taskwatch.models import TaskRecorder
from lib.taskwatch.store.writing import DEAD_AFTER

MOST = 100


@dataclass(frozen=True)
class Recorder:
    """One of a worker process. Records: `waiting` in its memory, `spilled` in its file, `dropped` for good.

    `is_alive`: it was heard of in the last minute. What a dead one spilled is taken over by another.
    """

    id: UUID
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    is_alive: bool
    dropped: int
    waiting: int
    spilled: int


async def recorders(executor: Executor, hours: int) -> list[Recorder]:
    """Those that were heard of in the last so many hours, the last one first."""
    row = TaskRecorder
    is_alive = row.seen_at > func.now() - timedelta(seconds=DEAD_AFTER)
    statement = (
        select(row.id, row.host, row.pid, row.started_at, row.seen_at, is_alive, row.dropped, row.waiting, row.spilled)
        .where(row.seen_at > func.now() - timedelta(hours=hours))
        .order_by(row.seen_at.desc(), row.id)
        .limit(MOST)
    )
    return [Recorder(*found) for found in await executor.execute(statement)]
