"""Logins and their sessions on the site."""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    Float,
    Insert,
    LargeBinary,
    Select,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from lib import work
from lib.database import Executor
from lib.errors import NotFound
from lib.monitoring.models import MyMomentLogin, MyMomentSession


@dataclass(frozen=True)
class LoginSnapshot:
    """A login with its stored session, if one is valid. Secrets stay encrypted.

    `wait`: seconds for which no log-in may be tried after failed ones; 0 when it may.
    """

    id: UUID
    name: str
    base_url: str
    username_encrypted: bytes
    password_encrypted: bytes
    is_active: bool
    cookies_encrypted: bytes | None
    wait: float
    failed_logins: int
    error_message: str | None


async def read_login(executor: Executor, login_id: UUID) -> LoginSnapshot:
    """Raise NotFound for an unknown id."""
    found = (await executor.execute(_login(), {"the_login": login_id})).first()
    if found is None:
        raise NotFound(f"There is no login {login_id}")
    return LoginSnapshot(*found)


@cache
def _login() -> Select[Any]:
    """The fields of a snapshot, in their order."""
    login, stored = MyMomentLogin, MyMomentSession
    wait = func.greatest(func.extract("epoch", login.next_login_at - func.now()), 0)
    valid = (stored.mymoment_login_id == login.id) & stored.is_active & (stored.expires_at > func.now())
    return (
        select(
            login.id,
            login.name,
            login.base_url,
            login.username_encrypted,
            login.password_encrypted,
            login.is_active,
            stored.cookies_encrypted,
            sql_cast(func.coalesce(wait, 0), Float()),
            login.failed_logins,
            login.error_message,
        )
        .outerjoin(stored, valid)
        .where(login.id == work.id_parameter("the_login"))
    )


async def claim_log_in(executor: Executor, login_id: UUID, token: UUID, lease: float) -> bool:
    """Take the right to log in; False while another worker is about to. A second call with the token has it too."""
    parameters = {"the_login": login_id} | work.claim_parameters(token, lease)
    return (await executor.execute(_take_log_in(), parameters)).first() is not None


@cache
def _take_log_in() -> ReturningUpdate[tuple[UUID]]:
    login, ours = MyMomentLogin, MyMomentLogin.claim_token == work.id_parameter("the_token")
    return (
        update(login)
        .where(login.id == work.id_parameter("the_login"), or_(work.unheld(login), ours))
        .values(work.claiming(login))
        .returning(login.id)
    )


async def settle_logged_in(
    executor: Executor, login_id: UUID, token: UUID, cookies_encrypted: bytes, hours: float
) -> None:
    """Store the new session as the active one, if the right to log in is still ours. One statement does it all."""
    session = {"the_session": work.new_id(), "the_cookies": cookies_encrypted}
    parameters = {"the_login": login_id} | session | work.claim_parameters(token, hours * 3600)
    await executor.execute(_logged_in(), parameters)


@cache
def _logged_in() -> Insert:
    """The lease of its parameters is how long the session lasts."""
    values: dict[str, Any] = {"failed_logins": 0, "next_login_at": None, "error_message": None, "refused_since": None}
    kept = (
        update(MyMomentLogin)
        .where(MyMomentLogin.id == work.id_parameter("the_login"))
        .where(MyMomentLogin.claim_token == work.id_parameter("the_token"))
        .values(**work.FREE, **values, last_used_at=func.now())
        .returning(MyMomentLogin.id)
        .cte("kept")
    )
    ended = (
        update(MyMomentSession)
        .where(MyMomentSession.mymoment_login_id.in_(select(kept.c.id)), MyMomentSession.is_active)
        .values(is_active=False)
        .returning(MyMomentSession.id)
        .cte("ended")
    )
    session: dict[str, Any] = {
        "id": work.id_parameter("the_session"),
        "mymoment_login_id": kept.c.id,
        "cookies_encrypted": bindparam("the_cookies", type_=LargeBinary()),
        "is_active": true(),
        "expires_at": work.lease_end(),
        "last_used_at": func.now(),
    }
    begun = select(*session.values()).select_from(kept).where(work.is_over(ended))
    # Into the table: of an entity, a session would take the parameters for values of its columns.
    return insert(cast("Table", MyMomentSession.__table__)).from_select(list(session), begun)


async def settle_log_in_failed(
    session: AsyncSession, login_id: UUID, token: UUID, error: str, pause: float, *, refused: bool = False
) -> None:
    """Note why, and keep everyone from trying again for `pause` seconds. `refused`: the site turned it away."""
    # A login that was changed begins anew, with no failures.
    since = case(
        (MyMomentLogin.failed_logins == 0, func.now()), else_=func.coalesce(MyMomentLogin.refused_since, func.now())
    )
    await work.settle(
        session,
        MyMomentLogin,
        token,
        MyMomentLogin.id == login_id,
        failed_logins=MyMomentLogin.failed_logins + 1,
        next_login_at=work.in_seconds(pause),
        error_message=error,
        refused_since=since if refused else MyMomentLogin.refused_since,
    )


async def end_session(session: AsyncSession, login_id: UUID, cookies_encrypted: bytes | None = None) -> None:
    """The site does not know this session any more; a newer one than the named one stays."""
    statement = update(MyMomentSession).where(MyMomentSession.mymoment_login_id == login_id, MyMomentSession.is_active)
    if cookies_encrypted is not None:
        statement = statement.where(MyMomentSession.cookies_encrypted == cookies_encrypted)
    await session.execute(statement.values(is_active=False))


async def end_expired_sessions(session: AsyncSession) -> int:
    """Mark every session past its time; return how many."""
    ended = await session.scalars(
        update(MyMomentSession)
        .where(MyMomentSession.is_active, MyMomentSession.expires_at <= func.now())
        .values(is_active=False)
        .returning(MyMomentSession.id)
    )
    return len(ended.all())


async def delete_old_sessions(session: AsyncSession, days: int) -> int:
    """Delete sessions that ended more than `days` ago; return how many."""
    old = func.now() - func.make_interval(0, 0, 0, days)
    gone = await session.scalars(
        delete(MyMomentSession)
        .where(or_(MyMomentSession.is_active.is_(False), MyMomentSession.expires_at <= func.now()))
        .where(MyMomentSession.updated_at < old)
        .returning(MyMomentSession.id)
    )
    return len(gone.all())
