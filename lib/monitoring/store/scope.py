"""Whose things a person sees, how a thing is named, and which state of it they saw."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, false, true
from sqlalchemy.orm import InstrumentedAttribute

from lib.errors import Invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_VERSION = 16
NAMED = 20


class Named(Protocol):
    """A table whose rows have an id and a name."""

    id: Any
    name: Any


def seen(owner: InstrumentedAttribute[Any], sees: UUID | None) -> ColumnElement[bool]:
    """Rows of this owner; of everybody where it is None."""
    return true() if sees is None else owner == sees


def as_id(reference: str) -> UUID | None:
    """The id that the text is; None for a name."""
    try:
        return UUID(reference)
    except ValueError:
        return None


def called(kind: type[Named], reference: str) -> ColumnElement[bool]:
    """The row of this id or name; none for a text that PostgreSQL cannot hold."""
    if "\0" in reference:
        return false()
    id_ = as_id(reference)
    found: ColumnElement[bool] = kind.name == reference if id_ is None else kind.id == id_
    return found


def some_of(names: Sequence[str]) -> str:
    """What there is, as an error says it: `NAMED` of them at most."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "") or "none yet"


def version_of(changed_at: datetime) -> str:
    """What a reader gives back to say which state they saw."""
    return f"{(changed_at - EPOCH) // timedelta(microseconds=1):x}"


def moment_of(version: str) -> datetime:
    """The time of the change that made this version. Raise Invalid for what never was one."""
    try:
        if len(version) > LONGEST_VERSION:
            raise ValueError  # noqa: TRY301 - all that is wrong with it ends in one sentence
        return EPOCH + timedelta(microseconds=int(version, 16))
    except (ValueError, OverflowError) as error:
        raise Invalid(f"“{version[:40]}” is no version; read the record again") from error
