"""The tracebacks of a page of records, which a list without them is not slowed by."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, tuple_

from lib.database import Executor
from lib.taskwatch.models import TaskExecutionLog
from lib.taskwatch.store.history import TaskItem

_FAILED = ("failed", "abandoned")


async def tracebacks_of(executor: Executor, items: Sequence[TaskItem]) -> dict[UUID, str]:
    """By id, of those that have one. The caller has seen to it that these may be read."""
    keys = [(item.created_at, item.id) for item in items if item.status in _FAILED]
    if not keys:
        return {}
    row = TaskExecutionLog
    statement = select(row.id, row.error_traceback).where(
        tuple_(row.created_at, row.id).in_(keys), row.error_traceback.is_not(None)
    )
    return {id_: str(words) for id_, words in await executor.execute(statement)}
