"""Every query of the alerts. Each function takes an open session and does no other I/O."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, true, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.alerts.causes import MOMENTARY, WATCHED, Cause
from lib.alerts.models import Alert, AlertAttempt, StoppedEndpoint
from lib.errors import NotFound

# What could not be sent in so long says nothing any more; attempts run out before, unless nobody made any.
TOO_OLD = timedelta(days=2)


@dataclass(frozen=True)
class Recorded:
    """The alert of a cause, and whether it is a new one."""

    id: UUID
    is_new: bool


@dataclass(frozen=True)
class Delivery:
    """An alert that is ours to send: the `attempts`-th time, after `failures` recorded ones."""

    id: UUID
    token: UUID
    attempt_id: UUID
    attempts: int
    failures: int
    kind: str
    subject: str
    title: str
    details: dict[str, Any]
    created_at: datetime


# What is wrong, and what is over


async def record(
    session: AsyncSession, cause: Cause, *, deliver: bool, quiet: float, hold: float = 0, alert_id: UUID | None = None
) -> Recorded:
    """One alert a cause: a second report of it counts up.

    `deliver`: it is to be sent, after `hold` seconds. `quiet`: seconds after which a momentary cause is a new one.
    """
    if cause.kind in MOMENTARY:
        await session.execute(_over(_same(cause), Alert.last_seen_at < work.in_seconds(-quiet)))
    elif cause.episode and (earlier := await _earlier(session, cause)) is not None:
        return Recorded(earlier, is_new=False)
    new = alert_id or work.new_id()
    statement = insert(Alert).values(
        id=new,
        kind=cause.kind,
        subject=cause.subject,
        episode=cause.episode,
        title=cause.title,
        details=cause.details,
        status="pending" if deliver else "recorded",
        next_attempt_at=work.in_seconds(hold),
    )
    again = statement.on_conflict_do_update(
        index_elements=[Alert.kind, Alert.subject, Alert.episode],
        index_where=Alert.resolved_at.is_(None),
        set_={"seen_count": Alert.seen_count + 1, "last_seen_at": func.now()},
    )
    found = (await session.execute(again.returning(Alert.id))).scalar_one()
    return Recorded(found, is_new=found == new)


async def follow(session: AsyncSession, causes: Collection[Cause]) -> list[Cause]:
    """Of all watched causes that hold now: note that they do, close what is over, return those without an alert."""
    open_ones = and_(Alert.kind.in_(WATCHED), Alert.resolved_at.is_(None))
    keys = [cause.key for cause in causes]
    this = tuple_(Alert.kind, Alert.subject, Alert.episode)
    await session.execute(_over(open_ones, this.not_in(keys) if keys else true()))
    if not keys:
        return []
    held = and_(open_ones, this.in_(keys))
    await session.execute(update(Alert).where(held).values(last_seen_at=func.now()))
    known = select(Alert.kind, Alert.subject, Alert.episode).where(this.in_(keys))
    rows = await session.execute(known.where(or_(Alert.resolved_at.is_(None), Alert.episode != "")))
    have = {tuple(row) for row in rows}
    return [cause for cause in causes if cause.key not in have]


async def unreported(session: AsyncSession, seen: Collection[tuple[Cause, datetime]]) -> list[Cause]:
    """Of momentary causes and when each was last the case: those that no alert knows of."""
    this = (Alert.kind, Alert.subject, Alert.episode)
    statement = select(*this, func.max(Alert.last_seen_at)).group_by(*this)
    rows = await session.execute(statement.where(tuple_(*this).in_([cause.key for cause, _ in seen])))
    known = {tuple(key): at for *key, at in rows}
    return [cause for cause, at in seen if cause.key not in known or known[cause.key] < at]


async def close_quiet(session: AsyncSession, quiet: float) -> int:
    """Close momentary causes that were not seen for `quiet` seconds; return how many."""
    here = and_(Alert.kind.in_(MOMENTARY), Alert.resolved_at.is_(None), Alert.last_seen_at < work.in_seconds(-quiet))
    return _count(await session.execute(_over(here)))


def _same(cause: Cause) -> ColumnElement[bool]:
    alike = and_(Alert.kind == cause.kind, Alert.subject == cause.subject, Alert.episode == cause.episode)
    return and_(alike, Alert.resolved_at.is_(None))


async def _earlier(session: AsyncSession, cause: Cause) -> UUID | None:
    """The alert of the same episode, which a late report does not begin anew."""
    alike = and_(Alert.kind == cause.kind, Alert.subject == cause.subject, Alert.episode == cause.episode)
    statement = select(Alert.id).where(alike, Alert.resolved_at.is_not(None)).limit(1)
    return (await session.scalars(statement)).first()


def _over(*where: ColumnElement[bool]) -> Any:
    """Close them; what nobody was to be told yet is told nobody."""
    untold = and_(Alert.status == "pending", Alert.attempts == 0, Alert.next_attempt_at > func.now())
    status = case((untold, "recorded"), else_=Alert.status)
    return update(Alert).where(*where).values(resolved_at=func.now(), status=status)


# Sending


async def claim(session: AsyncSession, token: UUID, lease: float, limit: int) -> list[Delivery]:
    """Take alerts that are due, oldest first, and write down that an attempt begins."""
    due = select(Alert.id).where(Alert.status == "pending", work.due(Alert)).order_by(Alert.id).limit(limit)
    mine = list(await session.scalars(due.with_for_update(skip_locked=True)))
    if not mine:
        return []
    statement = update(Alert).where(Alert.id.in_(mine)).values(work.claiming(Alert)).returning(Alert)
    rows = await session.scalars(
        statement.execution_options(synchronize_session=False, populate_existing=True),
        work.claim_parameters(token, lease),
    )
    found = sorted((_delivery(row, token) for row in rows), key=lambda each: each.id)
    await session.execute(insert(AlertAttempt), [{"id": each.attempt_id, "alert_id": each.id} for each in found])
    return found


def _delivery(row: Alert, token: UUID) -> Delivery:
    return Delivery(
        id=row.id,
        token=token,
        attempt_id=work.new_id(),
        attempts=row.attempts,
        failures=row.retry_count,
        kind=row.kind,
        subject=row.subject,
        title=row.title,
        details=row.details,
        created_at=row.created_at,
    )


async def settle_delivered(session: AsyncSession, delivery: Delivery, http_status: int) -> None:
    values = {"status": "delivered", "delivered_at": func.now(), "error_message": None, "next_attempt_at": None}
    await _settle(session, delivery, http_status, None, values)


async def settle_again(
    session: AsyncSession, delivery: Delivery, error: str, http_status: int | None, delay: float
) -> None:
    values = {
        "error_message": error,
        "retry_count": Alert.retry_count + 1,
        "next_attempt_at": work.in_seconds(delay),
    }
    await _settle(session, delivery, http_status, error, values)


async def settle_dead(session: AsyncSession, delivery: Delivery, error: str, http_status: int | None) -> None:
    values = {"status": "dead", "error_message": error, "retry_count": Alert.retry_count + 1, "next_attempt_at": None}
    await _settle(session, delivery, http_status, error, values)


async def _settle(
    session: AsyncSession, delivery: Delivery, http_status: int | None, error: str | None, values: dict[str, Any]
) -> None:
    """The alert where it is still ours; the attempt in any case, since it happened."""
    await work.settle(session, Alert, delivery.token, Alert.id == delivery.id, **values)
    outcome = {"ended_at": func.now(), "http_status": http_status, "error_message": error}
    await session.execute(update(AlertAttempt).where(AlertAttempt.id == delivery.attempt_id).values(**outcome))


async def release(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Hand back at once what is still ours, unsettled."""
    for delivery in deliveries:
        await work.settle(session, Alert, delivery.token, Alert.id == delivery.id)


async def give_up_old(session: AsyncSession) -> int:
    """What waited too long is dead; return how many."""
    # A person may have sent for it anew, however old it is.
    waits_since = func.greatest(Alert.created_at, Alert.next_attempt_at)
    old = and_(Alert.status == "pending", waits_since < func.now() - TOO_OLD, work.unheld(Alert))
    reason = func.coalesce(Alert.error_message, "nobody sent it within two days")
    return _count(await session.execute(update(Alert).where(old).values(status="dead", error_message=reason)))


async def delete_old(session: AsyncSession, days: int) -> int:
    """Delete alerts that were over for so long, with their attempts; return how many."""
    old = Alert.resolved_at < func.now() - timedelta(days=days)
    return _count(await session.execute(delete(Alert).where(old, Alert.status != "pending")))


def _count(result: Any) -> int:
    return cast("CursorResult[Any]", result).rowcount


# Where nobody listens any more


async def stop_endpoint(session: AsyncSession, digest: str, reason: str) -> None:
    await session.execute(insert(StoppedEndpoint).values(digest=digest, reason=reason).on_conflict_do_nothing())


async def stopped(session: AsyncSession, digest: str) -> str | None:
    """Why nothing is sent there."""
    statement = select(StoppedEndpoint.reason).where(StoppedEndpoint.digest == digest)
    return (await session.execute(statement)).scalar_one_or_none()


async def resume_endpoint(session: AsyncSession, digest: str) -> bool:
    """Send there again; False if it was not stopped."""
    found = await session.get(StoppedEndpoint, digest)
    if found is None:
        return False
    await session.delete(found)
    return True


# For people


async def listed(
    session: AsyncSession, *, limit: int, before: UUID | None = None, only_open: bool = False
) -> Sequence[Alert]:
    """Newest first; `before` is the last id of the page before."""
    statement = select(Alert).order_by(Alert.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(Alert.id < before)
    if only_open:
        statement = statement.where(Alert.resolved_at.is_(None))
    return (await session.scalars(statement)).all()


async def read(session: AsyncSession, alert_id: UUID) -> tuple[Alert, Sequence[AlertAttempt]]:
    """With its attempts in order. Raises NotFound."""
    found = await session.get(Alert, alert_id)
    if found is None:
        raise NotFound(f"There is no alert {alert_id}")
    mine = select(AlertAttempt).where(AlertAttempt.alert_id == alert_id).order_by(AlertAttempt.id)
    return found, (await session.scalars(mine)).all()


async def send_again(session: AsyncSession, alert_id: UUID) -> bool:
    """Put a dead or merely recorded alert in the queue, with a clean record; False if it was neither."""
    here = and_(Alert.id == alert_id, Alert.status.in_(("dead", "recorded")))
    values = {
        "status": "pending",
        "attempts": 0,
        "retry_count": 0,
        "next_attempt_at": func.now(),
        "error_message": None,
    }
    return _count(await session.execute(update(Alert).where(here).values(**values))) > 0
