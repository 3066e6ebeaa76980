"""Templates: the prompts that a model is given."""

from console.cli.output import Record
from console.cli.visit import Visit
from lib.errors import Conflict
from lib.monitoring import fields
from lib.monitoring.models import PromptTemplate
from lib.monitoring.prompt import validate_template
from lib.monitoring.store import catalog


def record(row: PromptTemplate) -> Record:
    return {
        "id": row.id,
        "name": row.name,
        "is_active": row.is_active,
        "of_system": row.user_id is None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _prompts(row: PromptTemplate) -> Record:
    return {"system_prompt": row.system_prompt, "user_prompt": row.user_prompt_template}


def _apply(row: PromptTemplate, system: str | None, user: str | None) -> None:
    if system is not None:
        row.system_prompt = fields.prompt(system, "The system prompt")
    if user is not None:
        validate_template(fields.prompt(user, "The user prompt"))
        row.user_prompt_template = user


async def add(visit: Visit, name: str, system: str, user: str) -> Record:
    row = PromptTemplate(user_id=visit.user_id, name=fields.name(name, "A template's name"))
    _apply(row, system, user)
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await session.refresh(row)
        return record(row)


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, PromptTemplate, visit.user_id)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, PromptTemplate, visit.user_id, name)
        return record(row) | _prompts(row) | {"processes": await catalog.used_by(session, row)}


async def change(visit: Visit, name: str, system: str | None, user: str | None, is_active: bool | None) -> Record:
    """Raise Conflict for a template of the system."""
    async with visit.database.session() as session:
        row = await catalog.by_name(session, PromptTemplate, visit.user_id, name)
        if row.user_id is None:
            raise Conflict(f"The template “{name}” belongs to the system and stays as it is; add one of your own")
        _apply(row, system, user)
        if is_active is not None:
            row.is_active = is_active
        await session.flush()
        await session.refresh(row)
        return record(row)


async def remove(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        await catalog.remove(session, PromptTemplate, visit.user_id, name)
    return {"removed": name}
