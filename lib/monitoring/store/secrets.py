"""Every stored secret, for the rotation of keys: read in batches, replaced only where it is still the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.monitoring.models import AIComment, MyMomentLogin, MyMomentSession, ProcessStage
from lib.monitoring.store.catalog import KIND, SECRETS

# Sessions that ended open nothing any more and are deleted in time.
ALL: tuple[tuple[type[Any], str], ...] = (*SECRETS, (MyMomentSession, "cookies_encrypted"))


@dataclass(frozen=True)
class Stored:
    """One encrypted secret. `owner` names the record for a person."""

    id: UUID
    owner: str
    token: bytes


async def batch(session: AsyncSession, kind: type[Any], column: str, after: UUID | None, size: int) -> list[Stored]:
    """The next ones of this column, in the order of their ids."""
    statement = select(kind.id, _owner(kind), getattr(kind, column)).order_by(kind.id).limit(size)
    if kind is MyMomentSession:
        statement = statement.join(MyMomentLogin, MyMomentLogin.id == MyMomentSession.mymoment_login_id)
        statement = statement.where(MyMomentSession.is_active)
    if after is not None:
        statement = statement.where(kind.id > after)
    words = KIND.get(kind, "session of login")
    return [Stored(id_, f"{words} “{name}”", token) for id_, name, token in await session.execute(statement)]


def _owner(kind: type[Any]) -> Any:
    return MyMomentLogin.name if kind is MyMomentSession else kind.name


async def replace(session: AsyncSession, kind: type[Any], column: str, fresh: Sequence[tuple[Stored, bytes]]) -> int:
    """Write the new tokens; one that was changed meanwhile stays. Return how many were written."""
    field = getattr(kind, column)
    written = 0
    for stored, token in fresh:
        statement = update(kind).where(kind.id == stored.id, field == stored.token).values({column: token})
        changed: Any = await session.execute(statement.execution_options(synchronize_session=False))
        written += changed.rowcount
    return written


async def runs_since_before(session: AsyncSession, moment: datetime) -> int:
    """Stages at work that began before the moment: they may still use the keys of then."""
    statement = select(func.count()).where(work.held(ProcessStage), ProcessStage.last_started_at < moment)
    return (await session.execute(statement)).scalar_one()


async def clock(session: AsyncSession) -> datetime:
    """The database's time, now."""
    moment: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return moment


async def wake(session: AsyncSession, error: str) -> None:
    """What waits because a secret did not open for a run with the keys of before need not wait any longer."""
    await session.execute(
        update(AIComment)
        .where(AIComment.error_message == error, AIComment.next_attempt_at > func.now())
        .values(next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(MyMomentLogin)
        .where(MyMomentLogin.error_message == error, MyMomentLogin.next_login_at > func.now())
        .values(next_login_at=None, failed_logins=0, error_message=None)
        .execution_options(synchronize_session=False)
    )
