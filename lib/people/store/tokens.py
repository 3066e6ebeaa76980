"""API tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib.errors import NotFound
from lib.people import roles
from lib.people.models import Account, ApiToken, users
from lib.people.roles import Role, Scope
from lib.people.tokens import SHOWN, NewSecret

# The last use is known to the minute: not every call is a write.
_USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class TokenUse:
    """A token that may be used now, its owner, and their role."""

    token_id: UUID
    user_id: UUID
    name: str
    role: Role
    scopes: frozenset[str]


async def use(session: AsyncSession, token_hash: bytes) -> TokenUse | None:
    """None unless it is valid and its owner active."""
    statement = (
        select(ApiToken.id, ApiToken.user_id, ApiToken.scopes, users.c.name, Account.role, _unnoted().label("unnoted"))
        .join(users, users.c.id == ApiToken.user_id)
        .join(Account, Account.user_id == ApiToken.user_id)
        .where(ApiToken.token_hash == token_hash, _valid(), users.c.is_active)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    if row.unnoted:
        noted = update(ApiToken).where(ApiToken.id == row.id, _unnoted()).values(last_used_at=func.now())
        await session.execute(noted)
    return TokenUse(row.id, row.user_id, row.name, roles.role(row.role), frozenset(row.scopes))


def _valid() -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & (ApiToken.expires_at > func.now())


def _unnoted() -> ColumnElement[bool]:
    return or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < func.now() - _USE_NOTED_EVERY)


async def add(
    session: AsyncSession, user_id: UUID, name: str, secret: NewSecret, scopes: frozenset[Scope], days: int
) -> ApiToken:
    statement = (
        insert(ApiToken)
        .values(
            user_id=user_id,
            name=name,
            token_hash=secret.hash,
            prefix=secret.text[:SHOWN],
            scopes=sorted(scopes, key=roles.SCOPES.index),
            expires_at=func.now() + timedelta(days=days),
        )
        .returning(ApiToken)
    )
    return (await session.scalars(statement)).one()


async def count_valid(session: AsyncSession, user_id: UUID) -> int:
    return await session.scalar(select(func.count()).where(ApiToken.user_id == user_id, _valid())) or 0


async def listed(session: AsyncSession, user_id: UUID) -> Sequence[ApiToken]:
    """Those that were not revoked, newest first."""
    statement = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return (await session.scalars(statement.order_by(ApiToken.id.desc()))).all()


async def revoke(session: AsyncSession, user_id: UUID, token_id: UUID) -> ApiToken:
    """Raise NotFound unless it is this user's and valid until now."""
    statement = (
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiToken)
    )
    row = (await session.scalars(statement)).one_or_none()
    if row is None:
        raise NotFound(f"You have no token {token_id}")
    return row
