"""Logins: accounts on a site."""

from collections.abc import Callable
from dataclasses import dataclass

from console.cli.output import Record
from console.cli.visit import Visit
from lib.errors import Conflict, PressroomError
from lib.monitoring import fields, lifecycle
from lib.monitoring.models import MyMomentLogin
from lib.monitoring.mymoment import validate_base_url
from lib.monitoring.store import catalog


@dataclass(frozen=True)
class LoginChange:
    """What to change of a login; None stays. `password` is asked for when the rest is known to be right."""

    base_url: str | None = None
    username: str | None = None
    password: Callable[[], str] | None = None
    is_active: bool | None = None


def record(row: MyMomentLogin) -> Record:
    """Without the account's name and password, which are secrets."""
    return {
        "id": row.id,
        "name": row.name,
        "base_url": row.base_url,
        "is_active": row.is_active,
        "last_used_at": row.last_used_at,
        "failed_logins": row.failed_logins,
        "next_login_at": row.next_login_at,
        "error": row.error_message,
        "created_at": row.created_at,
    }


async def add(
    visit: Visit, name: str, base_url: str, username: str, password: Callable[[], str], *, test: bool
) -> Record:
    """Raises what the log-in raises, with nothing saved."""
    desk = visit.desk()
    row = MyMomentLogin(
        user_id=visit.user_id,
        name=fields.name(name, "A login's name"),
        base_url=validate_base_url(base_url),
        username_encrypted=desk.vault.encrypt(_username(username)),
    )
    async with visit.database.session() as session:
        if any(other.name == row.name for other in await catalog.listed(session, MyMomentLogin, visit.user_id)):
            raise Conflict(f"There is a login “{row.name}” already")
    row.password_encrypted = desk.vault.encrypt(fields.secret(password(), "The password"))
    if test:
        await _try_out(desk, row, "; nothing was saved (--no-test saves it untested)")
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await session.refresh(row)
        return record(row) | {"tested": test}


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, MyMomentLogin, visit.user_id)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.user_id, name)
        return record(row) | {"processes": await catalog.used_by(session, row)}


async def change(visit: Visit, name: str, wanted: LoginChange) -> Record:
    """Raise Conflict while the account that would go is needed. What waited for the login is woken."""
    vault = visit.desk().vault
    base_url = None if wanted.base_url is None else validate_base_url(wanted.base_url)
    username = None if wanted.username is None else _username(wanted.username)
    async with visit.database.session() as session:
        await catalog.by_name(session, MyMomentLogin, visit.user_id, name)
    password = None if wanted.password is None else fields.secret(wanted.password(), "The password")
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.user_id, name)
        if (base_url not in (None, row.base_url)) or username is not None:
            await catalog.free_account(session, row)
        row.base_url = base_url or row.base_url
        if username is not None:
            row.username_encrypted = vault.encrypt(username)
        if password is not None:
            row.password_encrypted = vault.encrypt(password)
        if wanted.is_active is not None:
            row.is_active = wanted.is_active
        await session.flush()
        await catalog.wake_waiting(session, login_id=row.id)
        await session.refresh(row)
        return record(row)


async def remove(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        await catalog.remove(session, MyMomentLogin, visit.user_id, name)
    return {"removed": name}


async def test(visit: Visit, name: str) -> Record:
    """Log in for real, once."""
    desk = visit.desk()
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.user_id, name)
    await _try_out(desk, row, "")
    return {"name": row.name, "works": True}


def _username(text: str) -> str:
    return fields.name(text, "The username", 150)


async def _try_out(desk: lifecycle.Desk, row: MyMomentLogin, but: str) -> None:
    try:
        await lifecycle.test_login(desk, row)
    except PressroomError as error:
        raise type(error)(f"{error}{but}") from error
