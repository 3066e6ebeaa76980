"""What a record belongs to."""

from dataclasses import fields
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

from lib.database import Executor
from lib.taskwatch.models import TaskExecutionLog
from lib.taskwatch.store import finding
from lib.taskwatch.store.history import TaskItem

_A_DAY = timedelta(days=1)


async def one(executor: Executor, sees: UUID | None, id_: UUID) -> TaskItem | None:
    """One record as a list has it, without what is within it."""
    row, about = TaskExecutionLog, finding.time_of(id_)
    statement = select(*(getattr(row, each.name) for each in fields(TaskItem))).where(
        row.id == id_, row.created_at.between(about - _A_DAY, about + _A_DAY)
    )
    if sees is not None:
        statement = statement.where(row.owner_id == sees)
    found = (await executor.execute(statement)).first()
    return None if found is None else TaskItem(*found)
