"""Logins: accounts on a site."""

from collections.abc import Callable
from dataclasses import dataclass

from console.desk import given, removal, trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict, Invalid, PressroomError
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
    name: str | None = None


def record(row: MyMomentLogin) -> Record:
    """Without the account's name and password, which are secrets."""
    return {
        "id": row.id,
        "owner_id": row.user_id,
        "version": version(row),
        "name": row.name,
        "base_url": row.base_url,
        "is_active": row.is_active,
        "last_used_at": row.last_used_at,
        "failed_logins": row.failed_logins,
        "refused_since": row.refused_since if row.failed_logins else None,
        "next_login_at": row.next_login_at,
        "next_post_at": row.next_post_at,
        "error": row.error_message,
        "created_at": row.created_at,
    }


def version(row: MyMomentLogin) -> str:
    secrets = (row.username_encrypted, row.password_encrypted)
    return given.version_of(row.name, row.base_url, row.is_active, *secrets)


async def add(
    visit: Visit, name: str, base_url: str, username: str, password: Callable[[], str], *, test: bool
) -> Record:
    """Raises what the log-in raises, with nothing saved."""
    desk = visit.desk()
    row = MyMomentLogin(
        user_id=visit.user_id,
        name=given.new_name(name, "A login's name"),
        base_url=_base_url(base_url),
        username_encrypted=desk.vault.encrypt(_username(username)),
    )
    async with visit.database.session() as session:
        if any(other.name == row.name for other in await catalog.listed(session, MyMomentLogin, visit.user_id)):
            raise Conflict(f"There is a login “{row.name}” already", "name")
    row.password_encrypted = desk.vault.encrypt(_password(password))
    if test:
        await _try_out(desk, row, given.NOT_SAVED)
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await session.refresh(row)
        details = {"name": row.name, "base_url": row.base_url, "tested": test}
        await trail.note(session, visit, "login.add", row.id, details)
        return record(row) | {"tested": test}


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, MyMomentLogin, visit.sees)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.sees, name)
        return record(row) | {"processes": await catalog.used_by(session, row)}


async def change(visit: Visit, name: str, wanted: LoginChange, seen: str | None = None) -> Record:
    """Raise Conflict while the account that would go is needed. What waited for the login is woken.

    Raise Invalid for another address without the secrets: those that are there were not meant for it.
    """
    vault = visit.desk().vault
    base_url = None if wanted.base_url is None else _base_url(wanted.base_url)
    username = None if wanted.username is None else _username(wanted.username)
    async with visit.database.session() as session:
        await catalog.by_name(session, MyMomentLogin, visit.sees, name)
    password = None if wanted.password is None else _password(wanted.password)
    async with visit.database.session() as session:
        row = await catalog.locked(session, MyMomentLogin, visit.sees, name)
        given.as_seen(f"The login “{row.name}”", version(row), seen)
        if (base_url not in (None, row.base_url)) or username is not None:
            await catalog.free_account(session, row)
        if base_url not in (None, row.base_url):
            _need_anew(username, password)
        row.base_url = base_url or row.base_url
        if wanted.name is not None:
            row.name = given.new_name(wanted.name, "A login's name")
        if username is not None:
            row.username_encrypted = vault.encrypt(username)
        if password is not None:
            row.password_encrypted = vault.encrypt(password)
        if wanted.is_active is not None:
            row.is_active = wanted.is_active
        details = {"name": row.name, "changed": trail.changes(row)}
        await catalog.write(session, row)
        await catalog.wake_waiting(session, login_id=row.id)
        await trail.note(session, visit, "login.change", row.id, details)
        await session.refresh(row)
        return record(row)


def _need_anew(username: str | None, password: str | None) -> None:
    """Raise Invalid: whoever may change the address could have them sent to a site of their own."""
    for given_anew, field in ((password, "password"), (username, "username")):
        if given_anew is None:
            raise Invalid("Another address takes username and password anew", field)


async def remove(visit: Visit, name: str, seen: str | None = None) -> Record:
    return await removal.remove(visit, MyMomentLogin, name, version, seen)


async def test(visit: Visit, name: str) -> Record:
    """Log in for real, once."""
    desk = visit.desk()
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.sees, name)
    await _try_out(desk, row, "")
    return {"name": row.name, "works": True}


def _base_url(text: str) -> str:
    with given.field("base_url"):
        return validate_base_url(text)


def _username(text: str) -> str:
    with given.field("username"):
        return fields.name(text, "The username", 150)


def _password(ask: Callable[[], str]) -> str:
    with given.field("password"):
        return fields.secret(ask(), "The password")


async def _try_out(desk: lifecycle.Desk, row: MyMomentLogin, but: str) -> None:
    try:
        await lifecycle.test_login(desk, row)
    except PressroomError as error:
        raise type(error)(f"{error}{but}") from error
