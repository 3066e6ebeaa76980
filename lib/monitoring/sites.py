"""Logged-in clients: a stored session while it lasts, one log-in at a time per login."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from lib import http, work
from lib.database import Database
from lib.errors import PressroomError, Refused, Transient
from lib.monitoring.mymoment import MyMoment, SessionExpired, throttle_for
from lib.monitoring.store import logins
from lib.monitoring.store.logins import LoginSnapshot
from lib.retry import backoff
from lib.settings import Settings
from lib.units import observed
from lib.vault import Vault

T = TypeVar("T")

LOG_IN_LEASE = 120.0
ANYWHERE = nullcontext()
REFUSED_PAUSE = 600.0
REFUSED_PAUSE_MAX = 86_400.0
# Seconds for which a login is used as it was read, and for which a client is kept that nobody uses.
FRESH = 30.0


def site_limits(settings: Settings) -> http.Limits:
    return http.Limits(
        seconds=settings.site_timeout,
        total_seconds=settings.site_timeout,
        max_bytes=settings.site_max_bytes,
        allow_private=settings.allow_private_addresses,
    )


class LogsInElsewhere(Transient):
    """Another worker is logging in with this login; its session will be ours too."""


@dataclass(eq=False)
class _Open:
    """A client, and what it was made of. Times are of `time.monotonic`."""

    client: MyMoment
    base_url: str
    cookies_encrypted: bytes
    username: str
    read_at: float = field(default_factory=time.monotonic)
    used_at: float = field(default_factory=time.monotonic)
    users: int = 0

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < FRESH

    @property
    def is_idle(self) -> bool:
        return not self.users and time.monotonic() - self.used_at >= FRESH

    async def lend(self, do: Callable[[MyMoment], Awaitable[T]]) -> T:
        self.users += 1
        try:
            return await do(self.client)
        finally:
            self.users -= 1
            self.used_at = time.monotonic()


class Clients:
    """The clients by login, for runs beside and after each other: their connections and sessions are there already."""

    def __init__(self) -> None:
        self._open: dict[UUID, _Open] = {}
        self._replaced: list[_Open] = []
        self.locks = defaultdict[UUID, asyncio.Lock](asyncio.Lock)

    def get(self, login_id: UUID) -> _Open | None:
        return self._open.get(login_id)

    def put(self, login_id: UUID, entry: _Open) -> None:
        """In place of the one before, which others may be using."""
        if self._open.get(login_id) is not entry:
            self.drop(login_id)
            self._open[login_id] = entry

    def drop(self, login_id: UUID) -> None:
        if login_id in self._open:
            self._replaced.append(self._open.pop(login_id))

    async def close_idle(self) -> None:
        """Close those that were replaced, and those that nobody has used of late."""
        for login_id in [login_id for login_id, entry in self._open.items() if entry.is_idle]:
            self.drop(login_id)
        while unused := next((entry for entry in self._replaced if not entry.users), None):
            self._replaced.remove(unused)
            await unused.client.aclose()

    async def aclose(self) -> None:
        entries = [*self._open.values(), *self._replaced]
        self._open.clear()
        self._replaced.clear()
        for entry in entries:
            await entry.client.aclose()


class Sites:
    """A run's way to the sites. `clients`: those that it shares with others; else it has its own, and closes them."""

    def __init__(self, settings: Settings, database: Database, vault: Vault, clients: Clients | None = None) -> None:
        self._settings = settings
        self._database = database
        self._vault = vault
        self._is_shared = clients is not None
        self._clients = clients or Clients()

    async def aclose(self) -> None:
        await (self._clients.close_idle() if self._is_shared else self._clients.aclose())

    async def use(
        self, login_id: UUID, do: Callable[[MyMoment], Awaitable[T]], place: AbstractAsyncContextManager[Any] = ANYWHERE
    ) -> T:
        """Run `do` with a logged-in client; when the site has ended the session, log in and run it once more.

        So `do` must be a read, or begin with one. `place`: entered for the log-in and `do`, but not while it waits for
        another worker that is logging in. Raises what the client and the log-in raise.
        """
        deadline = 0.0
        while True:
            try:
                async with place:
                    return await self._use(login_id, do)
            except LogsInElsewhere:
                deadline = deadline or time.monotonic() + LOG_IN_LEASE
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(1)

    async def _use(self, login_id: UUID, do: Callable[[MyMoment], Awaitable[T]]) -> T:
        entry = await self._entry(login_id)
        try:
            return await entry.lend(do)
        except SessionExpired:
            await self._end(login_id, entry)
        entry = await self._entry(login_id)
        return await entry.lend(do)

    async def username(self, login_id: UUID) -> str:
        """The account's name, decrypted."""
        entry = self._clients.get(login_id)
        if entry is not None and entry.is_fresh:
            return entry.username
        return self._vault.decrypt((await self._read(login_id)).username_encrypted)

    async def _entry(self, login_id: UUID) -> _Open:
        async with self._clients.locks[login_id]:
            entry = self._clients.get(login_id)
            if entry is None or not entry.is_fresh:
                entry = await self._connect(login_id, entry)
                self._clients.put(login_id, entry)
            return entry

    async def _end(self, login_id: UUID, entry: _Open) -> None:
        if self._clients.get(login_id) is not entry:
            return  # somebody else noticed first
        self._clients.drop(login_id)
        async with self._database.session() as session:
            await logins.end_session(session, login_id, entry.cookies_encrypted)

    async def _connect(self, login_id: UUID, known: _Open | None) -> _Open:
        """The one we have if it is as it was, from the stored session, or by logging in.

        Raises LogsInElsewhere while another worker logs in.
        """
        login = await self._read(login_id)
        self._check(login)
        if known and (login.cookies_encrypted, login.base_url) == (known.cookies_encrypted, known.base_url):
            known.read_at = time.monotonic()
            return known
        if login.cookies_encrypted:
            return self._restored(login, login.cookies_encrypted)
        token = work.new_id()
        claim = partial(logins.claim_log_in, login_id=login_id, token=token, lease=LOG_IN_LEASE)
        if not await self._database.run_statement(claim):
            raise LogsInElsewhere(f"Login {login.name}: another worker is logging in")
        return await self._log_in(login, token)

    async def _read(self, login_id: UUID) -> LoginSnapshot:
        return await self._database.run_statement(partial(logins.read_login, login_id=login_id))

    @staticmethod
    def _check(login: LoginSnapshot) -> None:
        if not login.is_active:
            raise Refused(f"Login {login.name} is switched off")
        if not login.cookies_encrypted and login.wait > 0:
            raise Refused(f"Login {login.name} waits {login.wait:.0f} s after: {login.error_message}", login.wait)

    def _client(self, login: LoginSnapshot, cookies: str | None = None) -> MyMoment:
        rate, burst = self._settings.site_requests_per_second, self._settings.site_burst
        return MyMoment(
            login.base_url,
            site_limits(self._settings),
            cookies=cookies,
            throttle=throttle_for(login.base_url, rate, burst),
        )

    def _restored(self, login: LoginSnapshot, cookies_encrypted: bytes) -> _Open:
        username = self._vault.decrypt(login.username_encrypted)
        client = self._client(login, self._vault.decrypt(cookies_encrypted))
        return _Open(client, login.base_url, cookies_encrypted, username)

    @observed(run_name="log in with {login.name}")
    async def _log_in(self, login: LoginSnapshot, token: UUID) -> _Open:
        client = self._client(login)
        username = self._vault.decrypt(login.username_encrypted)
        try:
            await client.log_in(username, self._vault.decrypt(login.password_encrypted))
        except PressroomError as error:
            await client.aclose()
            await self._settle_failed(login, token, error)
            raise
        cookies = self._vault.encrypt(client.cookies())
        hours = self._settings.session_hours
        await self._database.run_statement(
            lambda connection: logins.settle_logged_in(connection, login.id, token, cookies, hours)
        )
        return _Open(client, login.base_url, cookies, username)

    async def _settle_failed(self, login: LoginSnapshot, token: UUID, error: PressroomError) -> None:
        # A wrong password is tried seldom: sites lock accounts. Trouble on the way is not the password's fault.
        if isinstance(error, Refused):
            pause = backoff(login.failed_logins + 1, base=REFUSED_PAUSE, cap=REFUSED_PAUSE_MAX)
        else:
            wait = error.retry_after if isinstance(error, Transient) else None
            pause = backoff(
                login.failed_logins + 1,
                base=self._settings.retry_base,
                cap=self._settings.retry_max,
                retry_after=wait,
            )
        refused = isinstance(error, Refused)
        await self._database.run_transaction(
            lambda session: logins.settle_log_in_failed(session, login.id, token, str(error), pause, refused=refused)
        )
