"""Idempotency keys: a write that a program sends twice happens once, and is answered twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Tuple, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib.people.models import IdempotencyKey

KEPT = timedelta(hours=24)
MOST_FORGOTTEN = 1000  # at once


@dataclass(frozen=True)
class Answered:
    """What the first request of a key was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Used:
    """A key that was there already. `answered` is None while its first request is at work, or was cut off."""

    mark: str
    answered: Answered | None


async def claim(session: AsyncSession, user_id: UUID, key_hash: bytes, mark: str) -> Used | None:
    """Make the key this request's own: None. Else what is known of it. Keys whose time is over are forgotten."""
    await session.execute(delete(IdempotencyKey).where(_key().in_(_old())))
    statement = insert(IdempotencyKey).values(user_id=user_id, key_hash=key_hash, mark=mark)
    claimed = await session.execute(statement.on_conflict_do_nothing().returning(IdempotencyKey.mark))
    if claimed.one_or_none() is not None:
        return None
    found = (await session.scalars(select(IdempotencyKey).where(*_mine(user_id, key_hash)))).one_or_none()
    if found is None:  # let go of a moment ago: the caller asks again
        return Used(mark, None)
    return Used(found.mark, _answered(found))


def _key() -> Tuple:
    return tuple_(IdempotencyKey.user_id, IdempotencyKey.key_hash)


def _old() -> Select[tuple[UUID, bytes]]:
    """Those that no other request is about to forget."""
    old = select(IdempotencyKey.user_id, IdempotencyKey.key_hash).where(IdempotencyKey.created_at < func.now() - KEPT)
    return old.limit(MOST_FORGOTTEN).with_for_update(skip_locked=True)


def _mine(user_id: UUID, key_hash: bytes) -> tuple[ColumnElement[bool], ...]:
    return (IdempotencyKey.user_id == user_id, IdempotencyKey.key_hash == key_hash)


def _answered(row: IdempotencyKey) -> Answered | None:
    return None if row.status is None else Answered(row.status, row.headers, row.body or b"")


async def settle(session: AsyncSession, user_id: UUID, key_hash: bytes, answered: Answered) -> None:
    """Keep the answer for whoever asks again."""
    statement = update(IdempotencyKey).where(*_mine(user_id, key_hash))
    values = {"status": answered.status, "headers": dict(answered.headers), "body": answered.body}
    await session.execute(statement.values(values))


async def release(session: AsyncSession, user_id: UUID, key_hash: bytes) -> None:
    """Nothing was done: the key may be used anew."""
    await session.execute(delete(IdempotencyKey).where(*_mine(user_id, key_hash)))
