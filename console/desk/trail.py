"""What the audit log is told. Called in the transaction of the change itself."""

from typing import Any
from uuid import UUID

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession

from console.desk.visit import Visit
from lib.people import store as people

ENCRYPTED = "_encrypted"
LONGEST = 200


async def note(
    session: AsyncSession, visit: Visit, action: str, subject_id: UUID | None, details: dict[str, Any]
) -> None:
    """Write down who did it. `action` is the kind of the subject and a verb: `process.start`."""
    kind = action.partition(".")[0]
    await people.audit(session, visit.user_id, action, kind, subject_id, details, via=visit.via)


def changes(row: Any) -> dict[str, Any]:
    """What differs from the database, before it is written: old and new by column, of secrets only that they do."""
    found: dict[str, Any] = {}
    for attribute in inspect(row).attrs:
        history = attribute.history
        if not history.has_changes():
            continue
        if attribute.key.endswith(ENCRYPTED):
            found[attribute.key.removesuffix(ENCRYPTED)] = "changed"
        else:
            found[attribute.key] = [_short(history.deleted), _short(history.added)]
    return found


def _short(values: Any) -> Any:
    value = values[0] if values else None
    return value[:LONGEST] if isinstance(value, str) else value
