"""The records themselves: searched, page by page, and one with everything about it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from lib.database import Executor
from lib.taskwatch.models import TaskExecutionLog
from lib.taskwatch.store import finding
from lib.taskwatch.store.finding import Cut
from lib.taskwatch.store.looking import Cursor, Filter, Look

__all__ = ["CAP", "Cursor", "Filter", "Page", "TaskItem", "TaskRecord", "count", "page", "page_and_count", "record"]

CAP = 10_000
PATIENCE, LEAST_PATIENCE = 0.07, 0.02  # seconds
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
    """Newest first. `next` is None behind the last record."""

    items: list[TaskItem]
    next: Cursor | None


async def page(
    executor: Executor, sees: UUID | None, filter_: Filter, limit: int, offset: int = 0, after: Cursor | None = None
) -> Page:
    """One page, newest first by (created_at, id): the records behind `after`, without the first `offset` of them.

    One statement; with a text and without a start two.
    """
    look, cut = Look(sees, filter_, after), Cut(limit + 1, offset)
    found, _ = await finding.rows(executor, look, _COLUMNS_OF_ITEM, cut, limit + 1 + offset)
    return _page(found, limit)


async def page_and_count(
    executor: Executor,
    sees: UUID | None,
    filter_: Filter,
    limit: int,
    offset: int = 0,
    after: Cursor | None = None,
    cap: int = CAP,
) -> tuple[Page, int, bool]:
    """A page, and what `count` says; but a text is not counted for longer than PATIENCE allows the two together."""
    look = Look(sees, filter_)
    if look.words:
        return await _page_and_some_count(executor, sees, filter_, Cut(limit, offset, after), cap)
    found, total = await finding.rows(executor, look, _COLUMNS_OF_ITEM, Cut(limit + 1, offset, after), cap + 1)
    if total > cap and len(found) <= limit:  # it lies behind what was counted
        return await page(executor, sees, filter_, limit, offset, after), cap, True
    return _page(found, limit), min(total, cap), total > cap


async def _page_and_some_count(
    executor: Executor, sees: UUID | None, filter_: Filter, cut: Cut, cap: int
) -> tuple[Page, int, bool]:
    """Count only what is behind the page, where that begins with the newest."""
    began = time.perf_counter()
    found = await page(executor, sees, filter_, cut.limit, cut.offset, cut.after)
    known = 0 if cut.after is not None or not found.items else cut.offset + len(found.items)
    if found.next is None and (known or cut == Cut(cut.limit)):
        return found, min(known, cap), known > cap
    look, left = Look(sees, filter_, found.next if known else None), PATIENCE - (time.perf_counter() - began)
    counted, is_all = await finding.count(executor, look, max(1, cap + 1 - known), max(LEAST_PATIENCE, left))
    total = known + counted
    return found, min(max(total, len(found.items)), cap), total > cap or not is_all


async def count(executor: Executor, sees: UUID | None, filter_: Filter, cap: int = CAP) -> tuple[int, bool]:
    """How many records there are, and whether there are more than the `cap` that is returned then."""
    found, _ = await finding.count(executor, Look(sees, filter_), cap + 1)
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


def _page(found: Sequence[Sequence[Any]], limit: int) -> Page:
    """Of one more than are shown, where there are more."""
    items = [_item(row) for row in found[:limit]]
    return Page(items, Cursor(items[-1].created_at, items[-1].id) if len(found) > limit else None)


def _item(row: Sequence[Any]) -> TaskItem:
    item = TaskItem(*row)
    if item.error_message is None or len(item.error_message) <= SHOWN_OF_ERROR:
        return item
    return replace(item, error_message=item.error_message[:SHOWN_OF_ERROR] + "…")


_COLUMNS = [getattr(TaskExecutionLog, each.name) for each in fields(TaskItem)]
_COLUMNS_OF_ITEM = [TaskExecutionLog.__table__.c[each.name] for each in fields(TaskItem)]
