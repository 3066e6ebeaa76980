"""What failed records worked on, so that it can be tried again."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from lib.taskwatch.models import TaskExecutionLog
from lib.taskwatch.store import finding, history
from lib.taskwatch.store.history import Filter

MOST = 10_000
FAILED = ("failed", "abandoned")
# Between the time in a record's id and its `created_at`.
APART = timedelta(days=1)


@dataclass(frozen=True)
class Target:
    """One thing that so many failed records worked on: an item, or a process's part of a task, or a task as a whole."""

    task_name: str
    process_id: UUID | None
    item_id: UUID | None
    records: int


async def targets(
    session: AsyncSession, sees: UUID | None, filter_: Filter, ids: Collection[UUID] | None
) -> tuple[list[Target], bool]:
    """Of the failed and abandoned ones among these records, or of the newest MOST that match the filter.

    Ends with whether there are more than MOST.
    """
    capped = False
    if ids is None:
        counted: Counter[tuple[str, UUID | None, UUID | None]] = Counter()
        for status in FAILED if filter_.status is None else {filter_.status} & set(FAILED):
            room = MOST - counted.total()
            page = await history.page(session, sees, replace(filter_, status=status), max(1, room))
            counted.update((each.task_name, each.process_id, each.item_id) for each in page.items[:room])
            capped = capped or page.next is not None or len(page.items) > room
    else:
        counted = await _chosen(session, sees, ids)
    return [Target(*key, number) for key, number in counted.items()], capped


async def _chosen(
    session: AsyncSession, sees: UUID | None, ids: Collection[UUID]
) -> Counter[tuple[str, UUID | None, UUID | None]]:
    if not ids:
        return Counter()
    moments = [finding.time_of(id_) for id_ in ids]
    row = TaskExecutionLog
    statement = select(row.task_name, row.process_id, row.item_id).where(
        row.id.in_(ids),
        row.created_at.between(min(moments) - APART, max(moments) + APART),
        row.status.in_(FAILED),
    )
    if sees is not None:
        statement = statement.where(row.owner_id == sees)
    return Counter((name, process, item) for name, process, item in await session.execute(statement))
