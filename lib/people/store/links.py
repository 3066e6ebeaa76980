"""One-time links: made with a token, used once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast as typed
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib.people.models import OneTimeLink, Purpose, users
from lib.people.store.accounts import ensure_user

OPERATOR = "operator"


@dataclass(frozen=True)
class Link:
    """Of whom, and what for."""

    user_id: UUID
    name: str
    purpose: Purpose
    expires_at: datetime


async def make(session: AsyncSession, user_id: UUID, purpose: Purpose, token_hash: bytes, hours: float) -> datetime:
    """In place of the user's earlier ones; return when it expires."""
    await drop_unused(session, user_id)
    statement = (
        insert(OneTimeLink)
        .values(token_hash=token_hash, user_id=user_id, purpose=purpose, expires_at=func.now() + timedelta(hours=hours))
        .returning(OneTimeLink.expires_at)
    )
    return (await session.execute(statement)).scalar_one()


async def drop_unused(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(delete(OneTimeLink).where(OneTimeLink.user_id == user_id, OneTimeLink.used_at.is_(None)))


async def drop_setup(session: AsyncSession) -> None:
    unused = (OneTimeLink.purpose == "setup", OneTimeLink.used_at.is_(None))
    await session.execute(delete(OneTimeLink).where(*unused))


async def valid(session: AsyncSession, token_hash: bytes) -> Link | None:
    statement = (
        select(OneTimeLink.user_id, users.c.name, OneTimeLink.purpose, OneTimeLink.expires_at)
        .join(users, users.c.id == OneTimeLink.user_id)
        .where(OneTimeLink.token_hash == token_hash, *_unused(), users.c.is_active)
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else Link(row.user_id, row.name, typed("Purpose", row.purpose), row.expires_at)


async def use(session: AsyncSession, token_hash: bytes) -> bool:
    """Whether it was ours to use: of two at the same time the second waits for the first, and then finds it used."""
    statement = (
        update(OneTimeLink)
        .where(OneTimeLink.token_hash == token_hash, *_unused())
        .values(used_at=func.now())
        .returning(OneTimeLink.user_id)
    )
    return (await session.execute(statement)).one_or_none() is not None


def _unused() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return OneTimeLink.used_at.is_(None), OneTimeLink.expires_at > func.now()


async def ensure_operator(session: AsyncSession) -> UUID:
    """The user of the command line: who set up the console first, under whatever name; until then “operator”."""
    statement = select(OneTimeLink.user_id).where(OneTimeLink.purpose == "setup", OneTimeLink.used_at.is_not(None))
    first = (await session.scalars(statement.order_by(OneTimeLink.used_at).limit(1))).first()
    return first or await ensure_user(session, OPERATOR)
