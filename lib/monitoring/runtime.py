"""What the stages of one run share: settings, database, leases, and clients that are opened once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from lib.database import Database
from lib.errors import Invalid
from lib.monitoring.providers import Providers
from lib.monitoring.sites import Clients, Sites
from lib.monitoring.stages import STAGES
from lib.settings import Settings
from lib.settings import settings as read_settings
from lib.vault import Vault, open_vault
from lib.work import LeaseKeeper, Policy

T = TypeVar("T")


class Shared:
    """Answers that a run asks for once: whoever wants the same key meanwhile waits for the same answer.

    The latest `keep` answers are kept; a failure is not, so that a second attempt asks again.
    """

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._asked: dict[Hashable, asyncio.Future[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Raises what `ask` raised, to everyone who waited for it."""
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(ask())
            self._asked[key].add_done_callback(partial(self._forget_failure, key))
            while len(self._asked) > self._keep:
                self._asked.pop(next(iter(self._asked)))
        # One that gives up waiting does not take the answer from the others.
        answer: T = await asyncio.shield(self._asked[key])
        return answer

    def _forget_failure(self, key: Hashable, asked: asyncio.Future[Any]) -> None:
        if (asked.cancelled() or asked.exception()) and self._asked.get(key) is asked:
            del self._asked[key]

    async def aclose(self) -> None:
        for asked in tuple(self._asked.values()):
            asked.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)


@dataclass(frozen=True)
class Progress:
    """How a run in the foreground tells how far it is: so many more to do, and one done."""

    more: Callable[[int], None] = lambda _: None
    done: Callable[[], None] = lambda: None


NO_PROGRESS = Progress()
progress: ContextVar[Progress] = ContextVar("progress", default=NO_PROGRESS)
_current: ContextVar["Runtime"] = ContextVar("runtime")
_connections: ContextVar[tuple[Database, Clients] | None] = ContextVar("connections", default=None)


@dataclass(frozen=True)
class Runtime:
    """The tools of one run. Tasks reach it by `runtime()`, never as a parameter."""

    settings: Settings
    database: Database
    vault: Vault
    keeper: LeaseKeeper
    sites: Sites
    providers: Providers
    shared: Shared

    @property
    def policy(self) -> Policy:
        have = self.settings
        return Policy(have.max_attempts, have.retry_base, have.retry_max, have.refused_wait, have.unknown_wait)


def runtime() -> Runtime:
    """The runtime of the run that we are in."""
    return _current.get()


@asynccontextmanager
async def sharing_connections(settings: Settings) -> AsyncIterator[None]:
    """The runs that are opened within have one pool, whose statements are prepared, and clients that are logged in."""
    if settings.database_url is None:
        yield
        return
    async with Database(settings.database_url, settings.pool_size * len(STAGES)) as database:
        clients = Clients()
        before = _connections.set((database, clients))
        try:
            yield
        finally:
            _connections.reset(before)
            await clients.aclose()


@asynccontextmanager
async def opened(settings: Settings | None = None) -> AsyncIterator[Runtime]:
    """Open a runtime, make it the current one, renew its leases, and close everything in the end.

    Raises Invalid when no database is set.
    """
    settings = settings or read_settings()
    if settings.database_url is None:
        raise Invalid("PRESSROOM_DATABASE_URL is not set; `pressroom up` sets it for what it starts")
    vault = open_vault(settings)
    shared, clients = _connections.get() or (None, None)
    pool = nullcontext(shared) if shared is not None else Database(settings.database_url, settings.pool_size)
    async with pool as database:
        keeper = LeaseKeeper(database)
        sites = Sites(settings, database, vault, clients)
        providers = Providers(settings, database, vault)
        run = Runtime(settings, database, vault, keeper, sites, providers, Shared())
        before = _current.set(run)
        try:
            async with keeper.running(beat=min(settings.stage_lease, settings.item_lease) / 3):
                yield run
        finally:
            _current.reset(before)
            await run.shared.aclose()
            await sites.aclose()
            await providers.aclose()
