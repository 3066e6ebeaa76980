"""The audit log: written in the transaction of the change itself, read newest first."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from lib.people.models import AuditEntry, users


async def audit(
    session: AsyncSession,
    actor_user_id: UUID | None,
    action: str,
    subject_kind: str,
    subject_id: UUID | str | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    via: str = "cli",
    address: str | None = None,
) -> None:
    """Write down a change. `details` holds no secret; what JSON does not know is written as its text."""
    name = select(users.c.name).where(users.c.id == actor_user_id).scalar_subquery()
    await session.execute(
        insert(AuditEntry).values(
            actor_user_id=actor_user_id,
            actor_name=name,
            via=via,
            action=action,
            subject_kind=subject_kind,
            subject_id=None if subject_id is None else _savable(str(subject_id))[:150],
            details=_plain(details or {}),
            address=None if address is None else address[:45],
        )
    )


def _plain(value: Any) -> Any:
    """What PostgreSQL's JSON takes."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if isfinite(value) else str(value)
        case Mapping():
            return {_savable(str(key)): _plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
        case _:
            return _savable(str(value))


def _savable(text: str) -> str:
    """PostgreSQL takes neither U+0000 nor half a character."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


async def entries(
    session: AsyncSession,
    *,
    before: UUID | None = None,
    limit: int = 50,
    actor_user_id: UUID | None = None,
    subject_kind: str | None = None,
    subject_id: str | None = None,
) -> Sequence[AuditEntry]:
    """At most `limit`, newest first, older than the entry `before`. Texts are looked for as they would be saved."""
    statement = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(AuditEntry.id < before)
    if actor_user_id is not None:
        statement = statement.where(AuditEntry.actor_user_id == actor_user_id)
    if subject_kind is not None:
        statement = statement.where(AuditEntry.subject_kind == _savable(subject_kind))
    if subject_id is not None:
        statement = statement.where(AuditEntry.subject_id == _savable(subject_id))
    return (await session.scalars(statement)).all()
