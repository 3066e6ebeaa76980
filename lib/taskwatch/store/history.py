"""The records themselves: searched, page by page, and one with everything about it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Uuid, bindparam, select, text

from lib.database import Executor
from lib.taskwatch.models import TABLE, TaskExecutionLog
from lib.taskwatch.store import finding
from lib.taskwatch.store.looking import Cursor, Filter

__all__ = ["CAP", "Cursor", "Filter", "Page", "TaskItem", "TaskRecord", "count", "page", "record"]

CAP = 10_000
MOST_CHILDREN = 500
SHOWN_OF_ERROR = 500  # characters, in a list
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class TaskItem:
    """A record in a list. `error_message` is cut to 500 characters."""

    created_at: datetime
    id: UUID
    task_name: str
    run_name: str | None
    kind: str
    status: str
    task_id: str | None
    parameters: dict[str, Any] | None
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    attempt: int | None
    process_id: UUID | None
    owner_id: UUID | None
    flow_run_id: UUID | None
    item_id: UUID | None
    parent_id: UUID | None


@dataclass(frozen=True)
class TaskRecord(TaskItem):
    """One record whole, with the units within it, oldest first."""

    error_traceback: str | None
    place: str | None
    cause: str | None
    recorder_id: UUID | None
    updated_at: datetime
    children: tuple[TaskItem, ...] = ()


@dataclass(frozen=True)
class Page:
    """Newest first. `next` is None behind the last record: then nothing has to be counted."""

    items: list[TaskItem]
    next: Cursor | None


async def page(
    executor: Executor, sees: UUID | None, filter_: Filter, limit: int, offset: int = 0, after: Cursor | None = None
) -> Page:
    """One page, newest first by (created_at, id): the records behind `after`, without the first `offset` of them.

    Two statements, with a text mostly two, and six at most.
    """
    keys = await finding.keys(executor, sees, filter_, limit + 1, offset, after)
    shown = keys[:limit]
    items = await _items(executor, shown)
    return Page(items, shown[-1] if len(keys) > limit else None)


async def count(executor: Executor, sees: UUID | None, filter_: Filter, cap: int = CAP) -> tuple[int, bool]:
    """How many records there are, and whether there are more than the `cap` that is returned then. One statement."""
    found = await finding.count(executor, sees, filter_, cap + 1)
    return min(found, cap), found > cap


async def record(executor: Executor, sees: UUID | None, id_: UUID) -> TaskRecord | None:
    """One record with its children, or None."""
    about = finding.time_of(id_)
    row = TaskExecutionLog
    names = [each.name for each in fields(TaskRecord) if each.name != "children"]
    statement = select(*(getattr(row, name) for name in names)).where(
        row.id == id_, row.created_at >= about - _A_DAY, row.created_at <= about + _A_DAY
    )
    if sees is not None:
        statement = statement.where(row.owner_id == sees)
    found = (await executor.execute(statement)).first()
    if found is None:
        return None
    whole = TaskRecord(*found)
    return replace(whole, children=await _children(executor, sees, whole))


async def _children(executor: Executor, sees: UUID | None, parent: TaskRecord) -> tuple[TaskItem, ...]:
    row = TaskExecutionLog
    # A child begins after its parent, but for a clock that was set in between.
    statement = select(*_COLUMNS).where(row.parent_id == parent.id, row.created_at >= parent.created_at - _A_DAY)
    if sees is not None:
        statement = statement.where(row.owner_id == sees)
    rows = await executor.execute(statement.order_by(row.created_at, row.id).limit(MOST_CHILDREN))
    return tuple(_item(each) for each in rows)


async def _items(executor: Executor, keys: Sequence[Cursor]) -> list[TaskItem]:
    """The records of these keys, in their order."""
    if not keys:
        return []
    times = [key.created_at for key in keys]
    given = {"times": times, "ids": [key.id for key in keys], "first": min(times), "last": max(times)}
    return [_item(row) for row in await executor.execute(_OF_KEYS, given)]


def _item(row: Sequence[Any]) -> TaskItem:
    item = TaskItem(*row)
    if item.error_message is None or len(item.error_message) <= SHOWN_OF_ERROR:
        return item
    return replace(item, error_message=item.error_message[:SHOWN_OF_ERROR] + "…")


_COLUMNS = [getattr(TaskExecutionLog, each.name) for each in fields(TaskItem)]
_OF_KEYS = (
    text(
        f"SELECT {', '.join(f'l.{each.name}' for each in fields(TaskItem))}"
        f" FROM unnest(:times, :ids) AS k (created_at, id)"
        f" JOIN {TABLE} l ON l.created_at = k.created_at AND l.id = k.id"
        " WHERE l.created_at >= :first AND l.created_at <= :last ORDER BY l.created_at DESC, l.id DESC"
    )
    .bindparams(
        bindparam("times", type_=ARRAY(DateTime(timezone=True))),
        bindparam("ids", type_=ARRAY(Uuid())),
        bindparam("first", type_=DateTime(timezone=True)),
        bindparam("last", type_=DateTime(timezone=True)),
    )
    .columns(*TaskExecutionLog.__table__.c[tuple(each.name for each in fields(TaskItem))])
)
