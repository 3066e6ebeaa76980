"""The database: short measured sessions, and the guard that keeps external I/O out of them."""

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self, TypeVar, cast

import asyncpg
from sqlalchemy import ClauseElement, TextClause, bindparam, event, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.compiler import SQLCompiler
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from lib.errors import SessionHeldError

T = TypeVar("T")
KEEP = 100_000
# Seconds that the database may be away while it restarts.
RESTART = 30.0
# What executes a statement: within a session, or alone.
Executor = AsyncSession | AsyncConnection

_held: ContextVar[int] = ContextVar("sessions_held", default=0)


def forbid_session(what: str) -> None:
    """Raise SessionHeldError if the current task holds a database session.

    Every client of the outside world calls this before it goes out.
    """
    if _held.get():
        raise SessionHeldError(f"{what} was begun inside a database session")


# SQLSTATE classes: connection lost, transaction undone (a deadlock's victim), no resources, ended by an operator.
_PASSING = ("08", "40", "53", "57")


def will_pass(error: BaseException) -> bool:
    """Whether the database was away, busy, restarts, or undid the transaction: nothing was written, or no answer came.

    asyncpg's errors are no OperationalError: they come as a plain DBAPIError that only its SQLSTATE explains, and while
    a connection is made, as they are. A statement that was prepared before a migration is prepared anew the next time.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError | OperationalError | InterfaceError | InternalError | asyncpg.InterfaceError):
        return True
    if isinstance(error, NoConnectionFree):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    if cause is not None and isinstance(cause.__cause__, asyncpg.InvalidCachedStatementError):
        return True
    return str(getattr(cause, "sqlstate", None) or "").startswith(_PASSING)


async def _persistently(what: Callable[[], Awaitable[T]]) -> T:
    retrying = AsyncRetrying(
        retry=retry_if_exception(will_pass),
        stop=stop_after_delay(RESTART),
        wait=wait_random_exponential(multiplier=0.2, max=3),
        reraise=True,
    )
    return await retrying(what)


def as_text(statement: ClauseElement) -> TextClause:
    """The same in words, to be compiled once; a statement with PostgreSQL's INSERT is compiled for each execution.

    Not for one with an IN that takes a list. What it returns comes without types.
    """
    compiled = cast("SQLCompiler", statement.compile(dialect=_Words(paramstyle="named")))  # type: ignore[no-untyped-call]
    names = compiled.bind_names.items()
    return text(compiled.string).bindparams(
        *(bindparam(name, each.value, each.type, required=each.required) for each, name in names)
    )


class _Words(PGDialect):
    """Its casts come when the text is compiled."""

    bind_typing = BindTyping.NONE


@dataclass(frozen=True)
class SessionFigures:
    """How long sessions were open, in seconds, over the last KEEP of each database."""

    count: int
    p50: float
    p99: float
    max: float
    round_trips: int
    peak_connections: int


@dataclass
class Measures:
    """What one database has seen; `durations` of sessions in seconds."""

    durations: deque[float] = field(default_factory=lambda: deque(maxlen=KEEP))
    round_trips: int = 0
    connections: int = 0
    peak: int = 0


def together(measures: Sequence[Measures]) -> SessionFigures:
    """The figures of all sessions of several databases; the connections are the most that one of them had."""
    times = sorted(seconds for each in measures for seconds in each.durations) or [0.0]
    return SessionFigures(
        count=sum(len(each.durations) for each in measures),
        p50=times[len(times) // 2],
        p99=times[min(len(times) - 1, int(len(times) * 0.99))],
        max=times[-1],
        round_trips=sum(each.round_trips for each in measures),
        peak_connections=max((each.peak for each in measures), default=0),
    )


@dataclass(frozen=True)
class PoolFigures:
    """How many connections there may be, and what they do now."""

    size: int
    in_use: int
    idle: int


class Database:
    """One engine and its sessions. `async with Database(url) as database:` closes it."""

    def __init__(self, url: str, pool_size: int = 5) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=30,
            pool_pre_ping=False,
            hide_parameters=True,  # an error's words are logged and stored, and values may be secrets
            # Our statements are short: to compile one takes longer than to run it.
            connect_args={"server_settings": {"jit": "off"}},
        )
        self._committing = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.measures = Measures()
        event.listen(self.engine.sync_engine, "connect", self._connected)
        event.listen(self.engine.sync_engine, "close", self._closed)
        event.listen(self.engine.sync_engine, "before_cursor_execute", self._executed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Commit on success, roll back on error; nothing else commits."""
        depth = _held.set(_held.get() + 1)
        try:
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                # The clock starts with the connection: waiting for one holds nothing.
                await session.connection()
                began = time.perf_counter()
                try:
                    yield session
                finally:
                    self.measures.durations.append(time.perf_counter() - began)
        finally:
            _held.reset(depth)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[AsyncConnection]:
        """For a single statement, which is a transaction of its own: one round trip instead of three."""
        depth = _held.set(_held.get() + 1)
        try:
            async with self._committing.connect() as connection:
                began = time.perf_counter()
                try:
                    yield connection
                finally:
                    self.measures.durations.append(time.perf_counter() - began)
        finally:
            _held.reset(depth)

    async def run_transaction(self, what: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What it returns in a session of its own; repeated while the database restarts.

        So a write is one that a second time would find done: a settle. Or a claim: what was claimed when its answer was
        lost is free again when its lease has ended.
        """

        async def once() -> T:
            async with self.session() as session:
                return await what(session)

        return await _persistently(once)

    async def run_statement(self, what: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """As `run_transaction`, for a single statement."""

        async def once() -> T:
            async with self.alone() as connection:
                return await what(connection)

        return await _persistently(once)

    def figures(self) -> SessionFigures:
        """The measures so far; all zero before the first session."""
        return together([self.measures])

    def pool_figures(self) -> PoolFigures:
        pool = cast("QueuePool", self.engine.sync_engine.pool)
        return PoolFigures(pool.size(), pool.checkedout(), pool.checkedin())

    def _connected(self, *_: object) -> None:
        self.measures.connections += 1
        self.measures.peak = max(self.measures.peak, self.measures.connections)

    def _closed(self, *_: object) -> None:
        self.measures.connections -= 1

    def _executed(self, *_: object) -> None:
        self.measures.round_trips += 1
