"""Attempts to sign in, counted in the database: every console process and every start sees the same."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, case, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib.people.models import AttemptKind, SignInAttempt
from lib.people.throttle import FORGOTTEN_AFTER, Limit, wait_after


async def count(session: AsyncSession, kind: AttemptKind, key: bytes, limit: Limit) -> float:
    """Count an attempt as failed before it is made; return 0, or the seconds to wait where it may not be made.

    Counting first makes guesses at the same time take turns. An attempt that has to wait is not counted: nobody can
    lengthen another's wait beyond the limit's longest.
    """
    failures = _failures()
    values: dict[str, Any] = {"kind": kind, "key_hash": key, "failures": 1, "last_failed_at": func.now()}
    values["blocked_until"] = func.now() + timedelta(seconds=wait_after(1, limit))
    statement = (
        insert(SignInAttempt)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[SignInAttempt.kind, SignInAttempt.key_hash],
            set_={
                "failures": failures,
                "last_failed_at": func.now(),
                "blocked_until": func.now() + timedelta(seconds=1) * _wait(failures, limit),
            },
            where=SignInAttempt.blocked_until <= func.now(),
        )
        .returning(SignInAttempt.failures)
    )
    if (await session.execute(statement)).one_or_none() is not None:
        return 0
    remaining = func.extract("epoch", SignInAttempt.blocked_until - func.now())
    mine = (SignInAttempt.kind == kind, SignInAttempt.key_hash == key)
    return float(await session.scalar(select(cast(remaining, Float)).where(*mine)) or 0)


def _failures() -> ColumnElement[int]:
    """With this one; those of long ago are forgotten."""
    long_ago = SignInAttempt.last_failed_at < func.now() - timedelta(seconds=FORGOTTEN_AFTER)
    return case((long_ago, 1), else_=SignInAttempt.failures + 1)


def _wait(failures: ColumnElement[int], limit: Limit) -> ColumnElement[float]:
    """`lib.people.throttle.wait_after`, for the database."""
    power = func.least(failures - limit.free, 20)
    return case((failures < limit.free, 0.0), else_=func.least(limit.first * func.power(2.0, power), limit.longest))


async def forgive(session: AsyncSession, account_key: bytes, address_key: bytes) -> None:
    """After a success: the account starts anew, the address gets back the one that was counted.

    No more, or somebody with an account of their own could wipe out their guesses at others.
    """
    await forgive_account(session, account_key)
    await session.execute(
        update(SignInAttempt)
        .where(SignInAttempt.kind == "address", SignInAttempt.key_hash == address_key)
        .values(failures=func.greatest(SignInAttempt.failures - 1, 0), blocked_until=func.now())
    )


async def forgive_account(session: AsyncSession, account_key: bytes) -> None:
    mine = (SignInAttempt.kind == "account", SignInAttempt.key_hash == account_key)
    await session.execute(delete(SignInAttempt).where(*mine))


async def forget_old(session: AsyncSession) -> None:
    long_ago = func.now() - timedelta(seconds=FORGOTTEN_AFTER)
    await session.execute(delete(SignInAttempt).where(SignInAttempt.last_failed_at < long_ago))
