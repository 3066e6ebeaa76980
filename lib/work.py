"""The engine: claim, do, settle. Every stage of every pipeline takes its items through here.

The claim is the record of intent. Whoever holds its token may write the result; a lease that is not renewed
expires, and the next claimant takes the item over. All times are the database's, so that no worker's clock
decides who owns an item.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    CursorResult,
    DateTime,
    Integer,
    Interval,
    Uuid,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, mapped_column

from lib.database import Database, Executor, will_pass
from lib.errors import OutcomeUnknown, Permanent, PressroomError, Refused, Transient
from lib.retry import backoff

log = structlog.get_logger()


class Base(DeclarativeBase):
    """The declarative base of every wing's tables."""


def new_id() -> UUID:
    """A UUIDv7: unique, and in the order of its making."""
    return uuid_utils.compat.uuid7()


class Leased:
    """Somebody may hold this row for a while: until the lease expires, only the token's owner writes to it.

    Rows in work are found by their keys. Keep these two out of indexes of a large table: then a claim that changes
    nothing else that is indexed writes none of them (PostgreSQL calls it a heap-only tuple).
    """

    claim_token: Mapped[UUID | None] = mapped_column(Uuid)
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Claimable(Leased):
    """An item of work. `attempts` counts claims, also those whose worker died; `retry_count` recorded failures."""

    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    retry_count: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def now() -> ColumnElement[datetime]:
    """The time of the transaction, by the database's clock."""
    return func.now()


def in_seconds(seconds: float) -> ColumnElement[datetime]:
    """The database's time so many seconds from now."""
    return func.now() + timedelta(seconds=seconds)


def unheld(row: type[Leased]) -> ColumnElement[bool]:
    """Nobody holds it, or its holder let the lease expire."""
    return or_(row.claim_token.is_(None), row.lease_expires_at < func.now())


def held(row: type[Leased]) -> ColumnElement[bool]:
    return and_(row.claim_token.is_not(None), row.lease_expires_at >= func.now())


def due(row: type[Claimable]) -> ColumnElement[bool]:
    """Free to take, and its time has come."""
    return and_(unheld(row), or_(row.next_attempt_at.is_(None), row.next_attempt_at <= func.now()))


def id_parameter(name: str) -> BindParameter[UUID]:
    """A place for an id in a statement that is built once."""
    return bindparam(name, type_=Uuid())


def lease_end() -> ColumnElement[datetime]:
    """When a lease that begins now ends; `claim_parameters` says how long it is."""
    return func.now() + bindparam("the_lease", type_=Interval())


def claiming(row: type[Leased]) -> dict[Any, Any]:
    """The values that an UPDATE of free, locked rows sets to claim them, with `claim_parameters`."""
    values: dict[Any, Any] = {row.claim_token: id_parameter("the_token"), row.lease_expires_at: lease_end()}
    if issubclass(row, Claimable):
        values[row.attempts] = row.attempts + 1
    return values


def claim_parameters(token: UUID, lease: float) -> dict[str, Any]:
    """`lease` in seconds."""
    return {"the_token": token, "the_lease": timedelta(seconds=lease)}


def is_over(part: CTE) -> ColumnElement[bool]:
    """True, and known only when all of it is written: by themselves the parts of a statement come in no order."""
    return select(func.count()).select_from(part).scalar_subquery() >= 0


FREE: Mapping[str, Any] = {"claim_token": None, "lease_expires_at": None}


async def settle(executor: Executor, row: type[Leased], token: UUID, where: ColumnElement[bool], **values: Any) -> int:
    """Write the result and let go, only where the token is still ours; return how many rows that was."""
    statement = update(row).where(where, row.claim_token == token).values(**FREE, **values)
    return cast("CursorResult[Any]", await executor.execute(statement)).rowcount


async def renew(
    session: AsyncSession, key: InstrumentedAttribute[UUID], held: Mapping[UUID, Collection[UUID]], lease: float
) -> set[UUID]:
    """Prolong the leases that are still ours; return the tokens that are. One that has ended was anybody's since.

    `held`: by token, the rows taken with it, as values of the column `key`.
    """
    row = cast("type[Leased]", key.class_)
    statement = (
        update(row)
        .where(key.in_([each for rows in held.values() for each in rows]), row.claim_token.in_(held))
        .where(row.lease_expires_at >= func.now())
        .values(lease_expires_at=in_seconds(lease))
        .returning(row.claim_token)
    )
    return {token for token in await session.scalars(statement) if token is not None}


@dataclass(frozen=True)
class Policy:
    """How a stage retries. Times in seconds."""

    max_attempts: int
    base: float
    cap: float
    refused: float = 300
    unknown: float = 60


@dataclass(frozen=True)
class Again:
    """Try again after so many seconds."""

    delay: float


@dataclass(frozen=True)
class Postponed:
    """It was not the item's turn to fail: look again after so many seconds, with a clean record."""

    delay: float


@dataclass(frozen=True)
class Dead:
    """Never again by itself."""


# A worker that dies over an item says nothing about it; one that dies so often does.
MAX_CRASHES = 20


def crashed_too_often(attempts: int, failures: int) -> bool:
    """Whether the present claim (the `attempts`-th) follows so many that ended with their worker."""
    return attempts - 1 - failures >= MAX_CRASHES


def verdict(error: PressroomError, failures: int, policy: Policy) -> Again | Postponed | Dead:
    """What follows the `failures`-th failure (≥ 1) of an item."""
    if isinstance(error, Refused):
        return Postponed(error.retry_after or policy.refused)
    if isinstance(error, OutcomeUnknown) and error.retry_after is not None:
        return Postponed(error.retry_after)
    if isinstance(error, Permanent) or failures >= policy.max_attempts:
        return Dead()
    # What went out may still be on its way: give it time to arrive before it is looked for.
    wait = error.retry_after if isinstance(error, Transient) else policy.unknown
    return Again(backoff(failures, base=policy.base, cap=policy.cap, retry_after=wait))


class LeaseKeeper:
    """Renews the leases of what is in work, a few statements a beat however much that is.

    A token that turns out not to be ours any more is dropped and shows in `lost`; its settle will find nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[tuple[InstrumentedAttribute[UUID], float], dict[UUID, Collection[UUID]]] = {}
        self.lost: set[UUID] = set()

    @contextlib.contextmanager
    def keeping(
        self, key: InstrumentedAttribute[UUID], rows: Collection[UUID], token: UUID, lease: float
    ) -> Iterator[None]:
        """Renew this token of these rows, given as values of the column `key`, while the block runs."""
        held = self._held.setdefault((key, lease), {})
        held[token] = rows
        try:
            yield
        finally:
            held.pop(token, None)

    @contextlib.asynccontextmanager
    async def running(self, beat: float) -> AsyncIterator[None]:
        """Renew every `beat` seconds while the block runs. `beat` is a third of the shortest lease or less."""
        task = asyncio.create_task(self._run(beat))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, beat: float) -> None:
        while True:
            await asyncio.sleep(beat)
            try:
                await self._renew_all()
            except Exception as error:
                if not isinstance(error, SQLAlchemyError) and not will_pass(error):
                    raise
                # The database restarts: leases outlive it by two more beats, and settling decides in the end.
                log.warning("lease_renewal_failed", error=str(error))

    async def _renew_all(self) -> None:
        groups = {group: dict(held) for group, held in self._held.items() if held}
        if not groups:
            return
        async with self._database.session() as session:
            for (key, lease), held in groups.items():
                kept = await renew(session, key, held, lease)
                for token in held.keys() - kept:
                    if self._held[key, lease].pop(token, None) is not None:
                        self.lost.add(token)
