"""What an administrator does about people. Every change is in the audit log, in the same transaction."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Database
from lib.errors import Conflict, NotFound
from lib.people import names, tokens
from lib.people.models import Purpose
from lib.people.roles import Role
from lib.people.store import accounts, audit, links
from lib.people.store.accounts import Person

INVITE_HOURS = 24 * 7
RESET_HOURS = 24


class _How(TypedDict):
    via: str
    address: str | None


@dataclass(frozen=True)
class Doer:
    """Who does it, and how they came; None is nobody who signed in, such as the system itself."""

    user_id: UUID | None
    via: str
    address: str | None = None


# What else ends in the transaction in which somebody becomes inactive; what the audit log is to say of it.
Leaving = Callable[[AsyncSession, Person], Awaitable[Mapping[str, Any]]]


async def _nothing_ends(_session: AsyncSession, _person: Person) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, repr=False)
class Invitation:
    """The path of the page where the person sets their password. It holds a token and is shown once."""

    person: Person
    path: str
    expires_at: datetime


async def everybody(database: Database) -> list[Person]:
    async with database.session() as session:
        return list(await accounts.everybody(session))


async def find(database: Database, who: str) -> Person:
    """By id or name; raise NotFound."""
    async with database.session() as session:
        found = await _found(session, who)
    if found is None:
        raise NotFound(f"There is no user “{who[:150]}”")
    return found


async def _found(session: AsyncSession, who: str) -> Person | None:
    try:
        return await accounts.person(session, UUID(who))
    except (ValueError, NotFound):
        return await accounts.by_name(session, who) if "\x00" not in who else None


async def invite(database: Database, by: Doer, name: str, role: Role) -> Invitation:
    """An account for a new user, or for one who until now used the command line alone. Raise Conflict for the rest."""
    clean = names.clean(name)
    async with database.session() as session:
        user_id = await accounts.ensure_user(session, clean)
        if not await accounts.add_account(session, user_id, role):
            raise Conflict(f"There is a user “{clean}” already", field="name")
        await audit(session, by.user_id, "user.invite", "user", user_id, {"name": clean, "role": role}, **how(by))
        return await _link(session, await accounts.person(session, user_id), "invite", INVITE_HOURS)


async def new_link(database: Database, by: Doer, user_id: UUID) -> Invitation:
    """To set a password anew; until it is used the present one stays. Raise Conflict without an active account."""
    async with database.session() as session:
        person = await accounts.person(session, user_id)
        if person.role is None or not person.is_active:
            raise Conflict(f"“{person.name}” has no active account")
        purpose: Purpose = "reset" if person.has_password else "invite"
        await audit(session, by.user_id, f"user.{purpose}_link", "user", user_id, {"name": person.name}, **how(by))
        return await _link(session, person, purpose, RESET_HOURS if person.has_password else INVITE_HOURS)


async def _link(session: AsyncSession, person: Person, purpose: Purpose, hours: float) -> Invitation:
    secret = tokens.new()
    expires_at = await links.make(session, person.id, purpose, secret.hash, hours)
    return Invitation(person, f"/setup/{secret.text}", expires_at)


async def change(
    database: Database,
    by: Doer,
    user_id: UUID,
    *,
    role: Role | None = None,
    is_active: bool | None = None,
    leaving: Leaving = _nothing_ends,
) -> Person:
    """None stays as it is. Who becomes inactive is signed out everywhere, and their links are worth nothing.

    Raise Conflict where nobody would be left to administrate, or for a role without an account. All or nothing.
    """
    async with database.session() as session:
        # Two who change people at the same time take turns, so that each sees what the other did.
        await accounts.take_turns_about_admins(session)
        person = await accounts.person(session, user_id)
        if is_active is False or role not in (None, "admin"):
            await _leave_an_admin(session, person)
        if role is not None and role != person.role:
            await _set_role(session, by, person, role)
        if is_active is not None and is_active != person.is_active:
            await _set_active(session, by, person, is_active, leaving)
        return await accounts.person(session, user_id)


async def _leave_an_admin(session: AsyncSession, person: Person) -> None:
    if await accounts.admins(session) == {person.id}:
        raise Conflict(f"“{person.name}” is the last active administrator; make somebody else one first")


async def _set_role(session: AsyncSession, by: Doer, person: Person, role: Role) -> None:
    if person.role is None:
        raise Conflict(f"“{person.name}” has no account; invite them first")
    await accounts.set_role(session, person.id, role)
    details = {"name": person.name, "from": person.role, "to": role}
    await audit(session, by.user_id, "user.role", "user", person.id, details, **how(by))


async def _set_active(session: AsyncSession, by: Doer, person: Person, active: bool, leaving: Leaving) -> None:
    await accounts.set_active(session, person.id, active=active)
    details: dict[str, Any] = {"name": person.name}
    if not active:
        await links.drop_unused(session, person.id)
        if person.role is not None:
            await accounts.end_all_sessions(session, person.id)
        details |= await leaving(session, person)
    action = "user.activate" if active else "user.deactivate"
    await audit(session, by.user_id, action, "user", person.id, details, **how(by))


def how(by: Doer) -> "_How":
    return {"via": by.via, "address": by.address}
