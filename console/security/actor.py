"""Who asks. A route says what it takes by the type of its parameter: `actor: Viewer`, `Operator` or `Admin`."""

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from console.desk.visit import Visit
from console.security import sessions
from console.security.errors import Forbidden, NotSignedIn
from console.security.state import address_of, console_of
from lib.people import roles, tokens
from lib.people.members import Doer
from lib.people.roles import Role
from lib.people.store import accounts
from lib.people.store import tokens as token_store

Via = Literal["session", "token"]


@dataclass(frozen=True)
class Actor:
    """A person or their program. `role`: what they may do now; for a token, what its scopes leave of the role.

    `scopes`: of an API token; None for a browser's session.
    """

    user_id: UUID
    name: str
    role: Role
    scopes: frozenset[str] | None
    via: Via

    def may(self, role: Role) -> bool:
        return roles.at_least(self.role, role)


async def actor_or_none(request: HTTPConnection) -> Actor | None:
    """Asked once a request. Raise NotSignedIn for a token that is not valid."""
    if not hasattr(request.state, "actor"):
        bearer = bearer_of(request)
        request.state.actor = await (_by_session(request) if bearer is None else _by_token(request, bearer))
    found: Actor | None = request.state.actor
    return found


def bearer_of(request: HTTPConnection) -> str | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


async def _by_session(request: HTTPConnection) -> Actor | None:
    session = sessions.read(request)
    if session is None:
        return None
    async with console_of(request).database.session() as opened:
        person = await accounts.signed_in(opened, session.user_id, session.epoch, session.hash)
    if person is None or person.role is None:
        sessions.drop(request)
        return None
    request.state.session = session
    sessions.keep_alive(request, session)
    return Actor(person.id, person.name, person.role, None, "session")


async def _by_token(request: HTTPConnection, bearer: str) -> Actor:
    async with console_of(request).database.session() as opened:
        found = await token_store.use(opened, tokens.digest(bearer))
    role = None if found is None else roles.capped(found.role, found.scopes)
    if found is None or role is None:
        raise NotSignedIn("The API token is not valid; it may have been revoked or have expired")
    return Actor(found.user_id, found.name, role, found.scopes, "token")


async def is_still(connection: HTTPConnection, actor: Actor) -> bool:
    """Whether who asked may still do the same; for a connection that outlasts a request."""
    connection.scope["state"].pop("actor", None)
    try:
        return await actor_or_none(connection) == actor
    except NotSignedIn:
        return False


async def _viewer(request: HTTPConnection) -> Actor:
    return await _at_least(request, "viewer")


async def _operator(request: HTTPConnection) -> Actor:
    return await _at_least(request, "operator")


async def _admin(request: HTTPConnection) -> Actor:
    return await _at_least(request, "admin")


async def _at_least(request: HTTPConnection, role: Role) -> Actor:
    actor = await actor_or_none(request)
    if actor is None:
        raise NotSignedIn("Sign in first, or send an API token as `Authorization: Bearer …`")
    if not actor.may(role):
        scope = roles.SCOPES[roles.ROLES.index(role)]
        least = f"the role {role}" if actor.scopes is None else f"the role {role} and a token with the scope {scope}"
        raise Forbidden(f"This takes {least}; you have the role {actor.role}")
    return actor


Viewer = Annotated[Actor, Depends(_viewer)]
Operator = Annotated[Actor, Depends(_operator)]
Admin = Annotated[Actor, Depends(_admin)]
Anyone = Annotated[Actor | None, Depends(actor_or_none)]


def visit_of(request: HTTPConnection, actor: Actor) -> Visit:
    """What the functions of the desk take. An administrator sees everything, everybody else what they own."""
    console = console_of(request)
    sees = None if actor.may("admin") else actor.user_id
    return Visit(console.settings, console.database, actor.user_id, sees=sees, via=actor.via)


def doer_of(request: HTTPConnection, actor: Actor) -> Doer:
    """Who does it, for what lib.people writes to the audit log."""
    return Doer(actor.user_id, actor.via, address_of(request))
