"""What went wrong, grouped by cause: the failed, and what waits after an error. `cause` is made by the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, union_all, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.monitoring.models import AIComment, MonitoringProcess
from lib.monitoring.store.review import Decided, changed_by, retrying, sent_of
from lib.monitoring.store.scope import seen

State = Literal["failed", "waiting"]
SAMPLES = 5


@dataclass(frozen=True)
class Group:
    """Comments with one cause. `key` names the group; `status` is the one that they failed or wait in.

    `sent`: how many of them went out to the site once; a retry of these reads back first.
    """

    key: str
    state: State
    status: str
    cause: str
    number: int
    sent: int
    first_at: datetime | None
    last_at: datetime | None
    samples: tuple[UUID, ...]
    processes: tuple[str, ...]


def _key(state: State, status: Any) -> ColumnElement[str]:
    key: ColumnElement[str] = func.md5(func.concat_ws("|", state, status, AIComment.cause))
    return key


def _failed_from() -> ColumnElement[str]:
    return func.coalesce(AIComment.failed_from, "")


def _failed() -> ColumnElement[bool]:
    return AIComment.status == "failed"


def _waits() -> ColumnElement[bool]:
    return and_(AIComment.error_message.is_not(None), AIComment.status != "failed", AIComment.status != "posted")


async def groups(session: AsyncSession, sees: UUID | None, process_id: UUID | None, limit: int) -> list[Group]:
    """At most `limit` of the failed and of the waiting, the most frequent first."""
    both = union_all(
        _grouped("failed", _failed_from(), _failed(), AIComment.failed_at, sees, process_id, limit),
        _grouped("waiting", AIComment.status, _waits(), AIComment.next_attempt_at, sees, process_id, limit),
    )
    return [
        Group(key, state, status, cause or "", number, sent, first, last, tuple(samples), tuple(names))
        for key, state, status, cause, number, sent, first, last, samples, names in await session.execute(both)
    ]


def _grouped(
    state: State, status: Any, where: Any, moment: Any, sees: UUID | None, process_id: UUID | None, limit: int
) -> Select[Any]:
    number = func.count()
    newest = func.array_agg(aggregate_order_by(AIComment.id, AIComment.id.desc()))
    statement = (
        select(
            _key(state, status).label("key"),
            literal(state).label("state"),
            status.label("status"),
            AIComment.cause.label("cause"),
            number.label("number"),
            func.count(AIComment.post_sent_at).label("sent"),
            func.min(moment).label("first"),
            func.max(moment).label("last"),
            newest.label("samples"),
            func.array_agg(MonitoringProcess.name.distinct()).label("names"),
        )
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(where, *_of(sees, process_id))
        .group_by(status, AIComment.cause)
        .order_by(number.desc())
        .limit(limit)
    )
    grouped = statement.subquery()
    few = {"samples": grouped.c.samples[1:SAMPLES]}
    return select(*(few.get(column.name, column).label(column.name) for column in grouped.c))


def _of(sees: UUID | None, process_id: UUID | None) -> list[ColumnElement[bool]]:
    mine = [seen(MonitoringProcess.user_id, sees)]
    return mine if process_id is None else [*mine, MonitoringProcess.id == process_id]


def _members(
    state: State, key: str, sees: UUID | None, process_id: UUID | None, limit: int | None
) -> Select[tuple[UUID]]:
    """The oldest of the group first."""
    status, where = (_failed_from(), _failed()) if state == "failed" else (AIComment.status, _waits())
    return (
        select(AIComment.id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(where, _key(state, status) == key, *_of(sees, process_id))
        .order_by(AIComment.id)
        .limit(limit)
    )


async def retry(
    session: AsyncSession, sees: UUID | None, key: str, process_id: UUID | None, limit: int | None
) -> Decided:
    """Put the failed ones of a group back to where they failed; at most `limit`."""
    group = _members("failed", key, sees, process_id, limit)
    changed = await changed_by(session, retrying(sees).where(AIComment.id.in_(group)))
    return Decided(tuple(changed), (), sent_of(changed))


async def wake(
    session: AsyncSession, sees: UUID | None, key: str, process_id: UUID | None, limit: int | None
) -> Decided:
    """Let those of a group that wait after an error be tried at once; at most `limit`.

    Not one that was sent: it waits so that what is on its way can arrive before it is looked for.
    """
    group = _members("waiting", key, sees, process_id, limit).where(
        AIComment.post_sent_at.is_(None), AIComment.next_attempt_at > func.now()
    )
    statement = (
        update(AIComment)
        .where(AIComment.id.in_(group), _waits(), work.unheld(AIComment), AIComment.post_sent_at.is_(None))
        .values(next_attempt_at=None)
    )
    return Decided(tuple(await changed_by(session, statement)))
