"""A browser's session: a signed cookie that names the user, and whose time is over when nothing happens."""

import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import HTTPConnection

from console.security import cookies
from console.security.state import console_of
from lib.people import tokens
from lib.settings import Settings

COOKIE = "session"
_PURPOSE = "session"
# A cookie younger than this is not written anew at each step, in seconds.
RENEWED_AFTER = 300.0
_HOUR = 3600


@dataclass(frozen=True)
class Session:
    """`epoch` is the account's when it began; `seed` is random, and what form tokens are bound to. Unix seconds."""

    user_id: UUID
    epoch: int
    seed: str
    began: float
    seen: float

    @property
    def hash(self) -> bytes:
        """By which it is ended before its time."""
        return tokens.digest(self.seed)

    def ends(self, settings: Settings) -> float:
        """When it ends if nothing happens any more."""
        longest = self.began + settings.console_longest_session_hours * _HOUR
        return min(self.seen + settings.console_session_hours * _HOUR, longest)


def begin(user_id: UUID, epoch: int, now: float) -> Session:
    return Session(user_id, epoch, secrets.token_urlsafe(24), now, now)


def as_value(session: Session) -> list[str | int | float]:
    return [session.user_id.hex, session.epoch, session.seed, session.began, session.seen]


def from_value(value: object, settings: Settings, now: float) -> Session | None:
    """None when it is none, or its time is over. The value was signed by us, perhaps by an earlier version."""
    match value:
        case [str(user), int(epoch), str(seed), float() | int() as began, float() | int() as seen]:
            try:
                found = Session(UUID(hex=user), epoch, seed, began, seen)
            except ValueError:
                return None
            return found if now < found.ends(settings) else None
        case _:
            return None


def read(request: HTTPConnection) -> Session | None:
    """The session that the browser shows us; whether it still counts is for the database to say."""
    text = cookies.read(request, COOKIE)
    console = console_of(request)
    return from_value(console.signer.open(_PURPOSE, text), console.settings, time.time()) if text else None


def write(request: HTTPConnection, session: Session) -> None:
    sealed = console_of(request).signer.seal(_PURPOSE, as_value(session))
    cookies.jar_of(request).set(COOKIE, sealed)


def keep_alive(request: HTTPConnection, session: Session) -> None:
    """A person did something: the session lives on. What a page fetches by itself is nothing that a person did."""
    now = time.time()
    fetched = request.headers.get("HX-Request") == "true" and request.scope.get("method") == "GET"
    by_itself = fetched or request.scope["type"] == "websocket"
    if not by_itself and now - session.seen > RENEWED_AFTER:
        write(request, replace(session, seen=now))


def start(request: HTTPConnection, user_id: UUID, epoch: int) -> Session:
    """A new seed each time: nobody can have planted it."""
    session = begin(user_id, epoch, time.time())
    write(request, session)
    return session


def drop(request: HTTPConnection) -> None:
    cookies.jar_of(request).drop(COOKIE)


def end_of(request: HTTPConnection, session: Session) -> datetime:
    """The latest moment at which its cookie could be shown again."""
    longest = session.began + console_of(request).settings.console_longest_session_hours * _HOUR
    return datetime.fromtimestamp(longest, UTC)
