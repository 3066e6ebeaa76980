"""What a form offers to choose from: ids and names, and nothing else of each thing."""

from uuid import UUID

from console.desk.visit import Visit
from console.record import Record
from lib.monitoring.models import LLMProviderConfiguration, PromptTemplate
from lib.monitoring.store import catalog
from lib.monitoring.store import processes as process_store


async def processes(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        rows = await process_store.listed(session, visit.sees)
    return [{"id": row.id, "name": row.name} for row in rows]


async def templates(visit: Visit, owner: UUID | None = None) -> list[Record]:
    """Those that are switched on: of this owner and the system, or all that are seen."""
    async with visit.database.session() as session:
        rows = await catalog.listed(session, PromptTemplate, owner or visit.sees)
    return [{"id": row.id, "name": row.name} for row in rows if row.is_active]


async def providers(visit: Visit) -> list[Record]:
    """Those that are switched on."""
    async with visit.database.session() as session:
        rows = await catalog.listed(session, LLMProviderConfiguration, visit.sees)
    return [{"id": row.id, "name": row.name, "model": row.model_name} for row in rows if row.is_active]
