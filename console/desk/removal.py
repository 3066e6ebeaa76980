"""Taking a login, a provider or a template away."""

from collections.abc import Callable
from typing import TypeVar

from console.desk import given, trail
from console.desk.visit import Visit
from console.record import Record
from lib.monitoring.models import LLMProviderConfiguration, MyMomentLogin, PromptTemplate
from lib.monitoring.store import catalog

Owned = TypeVar("Owned", MyMomentLogin, LLMProviderConfiguration, PromptTemplate)


async def remove(
    visit: Visit, kind: type[Owned], name: str, version: Callable[[Owned], str], seen: str | None
) -> Record:
    """Raise NotFound, Stale when it is not as it was seen, or Conflict while something refers to it."""
    word = catalog.KIND[kind]
    async with visit.database.session() as session:
        row = await catalog.locked(session, kind, visit.sees, name)
        given.as_seen(f"The {word} “{row.name}”", version(row), seen)
        await catalog.remove(session, row)
        await trail.note(session, visit, f"{word}.remove", row.id, {"name": row.name})
    return {"removed": row.name}
