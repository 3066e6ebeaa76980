"""What people do about their own account: their password, their sessions, their API tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Database
from lib.errors import Conflict, Invalid
from lib.people import names, passwords, roles, throttle, tokens
from lib.people.members import Doer, how
from lib.people.models import ApiToken
from lib.people.store import accounts, attempts, audit
from lib.people.store import tokens as store
from lib.people.throttle import Throttled

LONGEST_DAYS = 3650
MOST_TOKENS = 50


@dataclass(frozen=True)
class TokenRecord:
    """A token as its owner sees it; `prefix` is how it begins."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, repr=False)
class NewToken:
    """The text is shown once."""

    record: TokenRecord
    text: str


async def change_password(database: Database, by: Doer, user_id: UUID, old: str, new: str) -> int:
    """Every other session ends; return the epoch in which this one goes on. Raise Invalid when the old one is wrong."""
    async with database.session() as session:
        person = await accounts.person(session, user_id)
        known = await accounts.credentials(session, person.name)
        await _count(session, person.name)
    if known is None or not await passwords.matches(old, known.password_hash):
        raise Invalid("This is not your present password", field="old_password")
    passwords.check(new, person.name)
    password_hash = await passwords.hashed(new)
    async with database.session() as session:
        await attempts.forgive_account(session, throttle.account_key(person.name))
        epoch = await accounts.set_password(session, user_id, password_hash)
        await audit(session, by.user_id, "user.password", "user", user_id, **how(by))
    return epoch


async def _count(session: AsyncSession, name: str) -> None:
    """A stolen session must not be a way to guess the password."""
    wait = await attempts.count(session, "account", throttle.account_key(name), throttle.ACCOUNT)
    if wait:
        raise Throttled(f"Too many attempts failed; try again in {wait:.0f} s", max(wait, 1))


async def log_out(database: Database, by: Doer, user_id: UUID, session_hash: bytes, until: datetime) -> None:
    """This session only: its cookie is worth nothing any more, whoever kept a copy. `until`: when it would end."""
    async with database.session() as session:
        await accounts.end_session(session, session_hash, until)
        await audit(session, by.user_id, "user.log_out", "user", user_id, **how(by))


async def log_out_everywhere(database: Database, by: Doer, user_id: UUID) -> None:
    async with database.session() as session:
        await accounts.end_all_sessions(session, user_id)
        await audit(session, by.user_id, "user.log_out_everywhere", "user", user_id, **how(by))


async def my_tokens(database: Database, user_id: UUID) -> list[TokenRecord]:
    """Those that were not revoked, the newest first; the expired too."""
    async with database.session() as session:
        return [_record(row) for row in await store.listed(session, user_id)]


async def make_token(
    database: Database, by: Doer, user_id: UUID, name: str, scopes: Iterable[str], days: int, most: frozenset[str]
) -> NewToken:
    """`most`: the scopes that who asks has. Raise Invalid beyond them, Conflict when there are too many."""
    clean = names.clean(name, "The token's name")
    wanted = roles.scopes(scopes)
    if not wanted <= most:
        raise Invalid(f"You cannot give the scope {max(wanted - most, key=roles.SCOPES.index)}", field="scopes")
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid(f"A token lives 1 to {LONGEST_DAYS} days, not {days}", field="days")
    secret = tokens.new(tokens.PREFIX)
    async with database.session() as session:
        if await store.count_valid(session, user_id) >= MOST_TOKENS:
            raise Conflict(f"You have {MOST_TOKENS} tokens; revoke one first")
        row = await store.add(session, user_id, clean, secret, wanted, days)
        details = {"name": clean, "scopes": list(row.scopes), "days": days}
        await audit(session, by.user_id, "token.make", "token", row.id, details, **how(by))
        return NewToken(_record(row), secret.text)


async def revoke_token(database: Database, by: Doer, user_id: UUID, token_id: UUID) -> TokenRecord:
    """Raise NotFound."""
    async with database.session() as session:
        row = await store.revoke(session, user_id, token_id)
        await audit(session, by.user_id, "token.revoke", "token", row.id, {"name": row.name}, **how(by))
        return _record(row)


def _record(row: ApiToken) -> TokenRecord:
    return TokenRecord(
        row.id, row.name, row.prefix, tuple(row.scopes), row.created_at, row.expires_at, row.last_used_at
    )
