"""Getting in: with a password, or with a one-time link that sets one."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lib.database import Database
from lib.errors import Conflict, Invalid, NotFound
from lib.people import names, passwords, throttle, tokens
from lib.people.models import Purpose
from lib.people.store import accounts, attempts, audit, links
from lib.people.store.accounts import Credentials
from lib.people.store.links import Link
from lib.people.throttle import Throttled

SETUP_HOURS = 24 * 7
_NO_SUCH_LINK = "This link was used already, was replaced, or has expired; ask for a new one"


class WrongCredentials(Invalid):
    """The name or the password is wrong; which one is not said."""


@dataclass(frozen=True)
class SignedIn:
    """Whose session begins, and in which epoch of their account."""

    user_id: UUID
    name: str
    epoch: int


async def sign_in(database: Database, name: str, password: str, address: str) -> SignedIn:
    """Raise Throttled, or WrongCredentials after the same work whether or not there is such a user."""
    account_key, address_key = throttle.account_key(name), throttle.address_key(address)
    await _count(database, account_key, address_key)
    async with database.session() as session:
        found = await accounts.credentials(session, _normal(name))
    right = await passwords.matches(password, None if found is None else found.password_hash)
    if found is None or not right:
        await _note_failure(database, found, address)
        raise WrongCredentials("The name or the password is wrong")
    fresh = await passwords.hashed(password) if passwords.is_outdated(found.password_hash) else None
    async with database.session() as session:
        await attempts.forgive(session, account_key, address_key)
        if fresh is not None:
            await accounts.rehash(session, found.user_id, found.password_hash, fresh)
        await accounts.note_sign_in(session, found.user_id)
        await audit(session, found.user_id, "user.sign_in", "user", found.user_id, via="session", address=address)
    return SignedIn(found.user_id, found.name, found.session_epoch)


def _normal(name: str) -> str:
    """As it would have been saved; what could not have been is nobody's name."""
    try:
        return names.clean(name)
    except Invalid:
        return ""


async def _count(database: Database, account_key: bytes, address_key: bytes) -> None:
    async with database.session() as session:
        await attempts.forget_old(session)
        wait = await attempts.count(session, "address", address_key, throttle.ADDRESS)
        wait = wait or await attempts.count(session, "account", account_key, throttle.ACCOUNT)
        if wait:
            raise Throttled(f"Too many attempts to sign in failed; try again in {wait:.0f} s", max(wait, 1))


async def _note_failure(database: Database, found: Credentials | None, address: str) -> None:
    """A name that nobody has is not written down: it may be a password in the wrong field."""
    subject = None if found is None else found.user_id
    async with database.session() as session:
        await audit(session, None, "user.sign_in_failed", "user", subject, via="session", address=address)


async def look_at_link(database: Database, token: str) -> Link:
    """Raise NotFound unless it can be used."""
    async with database.session() as session:
        link = await links.valid(session, tokens.digest(token))
        if link is None or (link.purpose == "setup" and await accounts.admins(session)):
            raise NotFound(_NO_SUCH_LINK)
    return link


async def use_link(database: Database, token: str, password: str, name: str | None, address: str) -> SignedIn:
    """Set the password, and for the first administrator the name. Raise NotFound unless the link can be used.

    A name or password that cannot be accepted leaves the link as it was.
    """
    link = await look_at_link(database, token)
    wanted = names.clean(name) if name is not None and link.purpose == "setup" else link.name
    passwords.check(password, wanted)
    password_hash = await passwords.hashed(password)
    async with database.session() as session:
        await accounts.take_turns_about_admins(session)
        if not await links.use(session, tokens.digest(token)):
            raise NotFound(_NO_SUCH_LINK)
        if link.purpose == "setup" and await accounts.admins(session):
            raise Conflict("There is an administrator already; ask them for an invitation")
        await accounts.rename(session, link.user_id, wanted)
        epoch = await accounts.set_password(session, link.user_id, password_hash)
        await accounts.note_sign_in(session, link.user_id)
        await audit(session, link.user_id, _ACTIONS[link.purpose], "user", link.user_id, via="session", address=address)
    return SignedIn(link.user_id, wanted, epoch)


_ACTIONS: dict[Purpose, str] = {
    "setup": "user.first_admin",
    "invite": "user.accept_invitation",
    "reset": "user.reset_password",
}


@dataclass(frozen=True, repr=False)
class FirstAdminLink:
    """Where the first administrator sets their password: the path of the console's page, with its one-time token."""

    path: str
    expires_at: datetime


async def ensure_first_admin_link(database: Database) -> FirstAdminLink | None:
    """A new link in place of the former one; None where an administrator can sign in already.

    It is for the user of the command line, so that what was made there belongs to them.
    """
    secret = tokens.new()
    async with database.session() as session:
        await accounts.take_turns_about_admins(session)
        if await accounts.admins(session):
            return None
        user_id = await links.ensure_operator(session)
        await accounts.add_account(session, user_id, "admin")
        await accounts.set_role(session, user_id, "admin")
        await accounts.set_active(session, user_id, active=True)
        await links.drop_setup(session)
        expires_at = await links.make(session, user_id, "setup", secret.hash, SETUP_HOURS)
        await audit(session, None, "user.first_admin_link", "user", user_id, via="system")
    return FirstAdminLink(f"/setup/{secret.text}", expires_at)
