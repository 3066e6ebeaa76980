"""People, as far as their processes are concerned: these stop with whoever is deactivated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import trail
from console.desk.visit import Visit
from lib.monitoring import lifecycle
from lib.monitoring.store import processes
from lib.people import members
from lib.people.members import Doer
from lib.people.roles import Role
from lib.people.store.accounts import Person


@dataclass(frozen=True)
class Changed:
    """A person as they are now. `stopped`: their processes that this stopped, by name."""

    person: Person
    stopped: tuple[str, ...]


async def change(
    visit: Visit, by: Doer, user_id: UUID, *, role: Role | None = None, is_active: bool | None = None
) -> Changed:
    """None stays as it is. When somebody is deactivated, return when nothing more can be posted for them.

    Their processes end in the transaction of the change. Raise what `members.change` raises, and Transient when a post
    has not ended for long; the change is made then, and asking for it again waits again.
    """
    stopped: list[str] = []

    async def leaving(session: AsyncSession, person: Person) -> Mapping[str, Any]:
        for row in [*await processes.end_all(session, person.id), *await processes.hold(session, person.id)]:
            stopped.append(row.name)
            details = {"name": row.name, "owner_deactivated": person.name}
            await trail.note(session, visit, "process.stop", row.id, details)
        return {"processes_stopped": len(stopped)}

    done = await members.change(visit.database, by, user_id, role=role, is_active=is_active, leaving=leaving)
    if is_active is False:
        async with visit.database.session() as session:
            theirs = await processes.listed(session, user_id)
        await lifecycle.until_quiet(visit.desk_without_secrets(), theirs)
    return Changed(done, tuple(stopped))


async def running(visit: Visit) -> Mapping[UUID, int]:
    """How many processes of each person run now, of those who have one that does."""
    async with visit.database.session() as session:
        return await processes.running_by_owner(session)
