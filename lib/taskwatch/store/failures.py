"""Failures grouped by fingerprint: the same error, at the same place, with the same words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from lib.database import Executor
from lib.taskwatch.models import TaskFailure
from lib.taskwatch.store import finding
from lib.taskwatch.store.looking import Filter, Look

# Of those that match where no count is kept: by process, item, status or text.
LOOKED_AT = 5_000
FAILED = ("failed", "abandoned")


@dataclass(frozen=True)
class FailureGroup:
    """One fingerprint. `message` is without what varies. `first_seen` and `last_seen` are when it ended so.

    `count`: how often, since the first time that is still remembered; with a process, item, status or text, among the
    newest 5,000 failures that match.
    """

    fingerprint: str
    task_names: tuple[str, ...]
    error_type: str | None
    place: str | None
    message: str | None
    first_seen: datetime
    last_seen: datetime
    count: int
    last_record_id: UUID
    last_record_at: datetime


async def groups(executor: Executor, sees: UUID | None, filter_: Filter, limit: int) -> list[FailureGroup]:
    """The groups that match, the one seen last first. Of a time: those that were seen within it, whole."""
    if filter_.process_id is None and filter_.item_id is None and filter_.status is None and not filter_.text:
        return await _counted(executor, sees, filter_, limit)
    return await _of_records(executor, sees, filter_, limit)


async def _counted(executor: Executor, sees: UUID | None, filter_: Filter, limit: int) -> list[FailureGroup]:
    row = TaskFailure

    def newest(column: Any) -> Any:
        return func.array_agg(aggregate_order_by(column, row.last_seen.desc()))[1]

    statement = select(
        row.fingerprint,
        func.array_agg(row.task_name.distinct()),
        *(newest(column) for column in (row.error_type, row.place, row.message)),
        func.min(row.first_seen),
        func.max(row.last_seen),
        func.sum(row.count),
        *(newest(column) for column in (row.last_record_id, row.last_record_at)),
    ).where(row.count > 0)
    if sees is not None:
        statement = statement.where(row.owner_id == sees)
    for condition in _within(filter_):
        statement = statement.where(condition)
    statement = statement.group_by(row.fingerprint).order_by(func.max(row.last_seen).desc(), row.fingerprint)
    return [_group(found) for found in await executor.execute(statement.limit(limit))]


def _within(filter_: Filter) -> list[Any]:
    row = TaskFailure
    conditions = []
    if filter_.task_name is not None:
        conditions.append(row.task_name == filter_.task_name)
    if filter_.fingerprint is not None:
        conditions.append(row.fingerprint == filter_.fingerprint)
    if filter_.start is not None:
        conditions.append(row.last_seen >= filter_.start)
    if filter_.end is not None:
        conditions.append(row.first_seen < filter_.end)
    return conditions


async def _of_records(executor: Executor, sees: UUID | None, filter_: Filter, limit: int) -> list[FailureGroup]:
    if filter_.status is not None and filter_.status not in FAILED:
        return []
    look = Look(sees, filter_, statuses=FAILED)
    return [_group(found) for found in await finding.grouped(executor, look, _GROUPED, LOOKED_AT, groups=limit)]


def _group(row: Sequence[Any]) -> FailureGroup:
    fingerprint, names, kind, place, message, first, last, count, *newest = row
    return FailureGroup(fingerprint, tuple(sorted(names)), kind, place, message, first, last, int(count), *newest)


def _newest(expression: str) -> str:
    return f"(array_agg({expression} ORDER BY l.completed_at DESC))[1]"


_GROUPED = (
    "SELECT l.fingerprint, array_agg(DISTINCT l.task_name), "
    + ", ".join(map(_newest, ("l.error_type", "l.place", "coalesce(l.cause, cause_of(l.error_message))")))
    + ", min(coalesce(l.completed_at, l.created_at)), max(coalesce(l.completed_at, l.created_at)), count(*), "
    + ", ".join(map(_newest, ("l.id", "l.created_at")))
    + " FROM {records} WHERE l.fingerprint IS NOT NULL GROUP BY l.fingerprint ORDER BY 7 DESC, 1 LIMIT :groups"
)
