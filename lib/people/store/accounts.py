"""Users and their accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.errors import Conflict, NotFound
from lib.people import roles
from lib.people.models import Account, EndedSession, users
from lib.people.roles import Role

# Any number, but always the same: whoever changes who is an administrator takes turns.
_ADMINS_LOCK = 7_310_226


@dataclass(frozen=True)
class Person:
    """A user with their account; the role is None for one who only uses the command line."""

    id: UUID
    name: str
    is_active: bool
    role: Role | None
    has_password: bool
    session_epoch: int
    last_login_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, repr=False)
class Credentials:
    """What a sign-in is checked against."""

    user_id: UUID
    name: str
    password_hash: str
    session_epoch: int


def _people() -> Select[Any]:
    return select(
        users.c.id,
        users.c.name,
        users.c.is_active,
        users.c.created_at,
        Account.role,
        Account.password_hash.is_not(None).label("has_password"),
        func.coalesce(Account.session_epoch, 0).label("session_epoch"),
        Account.last_login_at,
    ).select_from(users.outerjoin(Account.__table__, Account.user_id == users.c.id))


def person_from(row: Row[Any]) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        is_active=row.is_active,
        role=None if row.role is None else roles.role(row.role),
        has_password=bool(row.has_password),
        session_epoch=row.session_epoch,
        last_login_at=row.last_login_at,
        created_at=row.created_at,
    )


async def everybody(session: AsyncSession) -> Sequence[Person]:
    """In the order of their names."""
    return [person_from(row) for row in await session.execute(_people().order_by(users.c.name))]


async def person(session: AsyncSession, user_id: UUID) -> Person:
    """Raise NotFound."""
    row = (await session.execute(_people().where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no user {user_id}")
    return person_from(row)


async def by_name(session: AsyncSession, name: str) -> Person | None:
    row = (await session.execute(_people().where(users.c.name == name))).one_or_none()
    return None if row is None else person_from(row)


async def signed_in(session: AsyncSession, user_id: UUID, epoch: int, session_hash: bytes) -> Person | None:
    """The active person of a session that was ended neither by itself nor with all the others."""
    ended = exists().where(EndedSession.session_hash == session_hash)
    alive = (users.c.id == user_id, users.c.is_active, Account.session_epoch == epoch, ~ended)
    row = (await session.execute(_people().where(*alive))).one_or_none()
    return None if row is None else person_from(row)


async def credentials(session: AsyncSession, name: str) -> Credentials | None:
    """Of an active user who has a password."""
    statement = (
        select(users.c.id, users.c.name, Account.password_hash, Account.session_epoch)
        .select_from(users.join(Account.__table__, Account.user_id == users.c.id))
        .where(users.c.name == name, users.c.is_active, Account.password_hash.is_not(None))
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else Credentials(row.id, row.name, row.password_hash, row.session_epoch)


async def ensure_user(session: AsyncSession, name: str) -> UUID:
    """The user of that name, made if there is none."""
    made = insert(users).values(id=work.new_id(), name=name).on_conflict_do_nothing(index_elements=["name"])
    await session.execute(made)
    found: UUID = (await session.execute(select(users.c.id).where(users.c.name == name))).scalar_one()
    return found


async def add_account(session: AsyncSession, user_id: UUID, role: Role) -> bool:
    """Whether there was none."""
    statement = insert(Account).values(user_id=user_id, role=role).on_conflict_do_nothing().returning(Account.user_id)
    return (await session.execute(statement)).one_or_none() is not None


async def rename(session: AsyncSession, user_id: UUID, name: str) -> None:
    """Raise Conflict when somebody else has the name."""
    try:
        async with session.begin_nested():
            await session.execute(update(users).where(users.c.id == user_id).values(name=name, updated_at=func.now()))
    except IntegrityError as error:
        raise Conflict(f"There is a user “{name}” already", field="name") from error


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str, *, epochs: int = 1) -> int:
    """Raise the epoch by so many; return the new one."""
    statement = (
        update(Account)
        .where(Account.user_id == user_id)
        .values(password_hash=password_hash, session_epoch=Account.session_epoch + epochs)
        .returning(Account.session_epoch)
    )
    epoch = (await session.execute(statement)).scalar_one_or_none()
    if epoch is None:
        raise NotFound("This user has no account in the console")
    return int(epoch)


async def rehash(session: AsyncSession, user_id: UUID, old_hash: str, new_hash: str) -> None:
    """The same password under today's parameters, unless it was changed meanwhile."""
    mine = (Account.user_id == user_id, Account.password_hash == old_hash)
    await session.execute(update(Account).where(*mine).values(password_hash=new_hash))


async def note_sign_in(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(update(Account).where(Account.user_id == user_id).values(last_login_at=func.now()))


async def end_all_sessions(session: AsyncSession, user_id: UUID) -> int:
    """Return the new epoch."""
    raised = Account.session_epoch + 1
    statement = (
        update(Account).where(Account.user_id == user_id).values(session_epoch=raised).returning(Account.session_epoch)
    )
    return int((await session.execute(statement)).scalar_one())


async def end_session(session: AsyncSession, session_hash: bytes, expires_at: datetime) -> None:
    """Forget those whose time is over anyway."""
    await session.execute(delete(EndedSession).where(EndedSession.expires_at < func.now()))
    statement = insert(EndedSession).values(session_hash=session_hash, expires_at=expires_at)
    await session.execute(statement.on_conflict_do_nothing())


async def set_role(session: AsyncSession, user_id: UUID, role: Role) -> None:
    await session.execute(update(Account).where(Account.user_id == user_id).values(role=role))


async def set_active(session: AsyncSession, user_id: UUID, *, active: bool) -> None:
    await session.execute(update(users).where(users.c.id == user_id).values(is_active=active, updated_at=func.now()))


async def take_turns_about_admins(session: AsyncSession) -> None:
    """Until the transaction ends nobody else changes who is an administrator."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADMINS_LOCK})


async def admins(session: AsyncSession) -> set[UUID]:
    """Those who are active and can sign in."""
    statement = (
        select(Account.user_id)
        .join(users, users.c.id == Account.user_id)
        .where(Account.role == "admin", users.c.is_active, Account.password_hash.is_not(None))
    )
    return set(await session.scalars(statement))
