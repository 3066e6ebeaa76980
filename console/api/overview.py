"""The overview: every process at a glance, what is wrong right now, and what of the budgets is used."""

import os
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from console.api.process_documents import Budgeted, Counts, ProcessSettings, StageDocument
from console.api.schemas import Told
from console.desk import overview
from console.security.actor import Viewer, visit_of
from lib.monitoring.health import examine
from lib.monitoring.store import budgets

router = APIRouter(tags=["overview"])


class ProcessGlance(ProcessSettings):
    """A process with its stages. `posted_per_hour`: of the last 24 hours, the oldest first."""

    owner: str
    provider: str | None
    comments: Counts
    stages: list[StageDocument]
    posted_per_hour: list[int]


class Subject(Told):
    """What it is about."""

    kind: str
    id: UUID | None
    name: str


class Trouble(Told):
    """One thing that is wrong, and what to do about it."""

    severity: Literal["error", "warning"]
    code: str
    subject: Subject
    what: str
    todo: str
    values: dict[str, Any]


class Overview(Told):
    """Everything at a glance; what is wrong, the worst first."""

    processes: list[ProcessGlance]
    posted_per_hour: list[int]
    wrong: list[Trouble]
    at: datetime


class Budgets(Told):
    """Every budget of a process or a provider, as it stands today."""

    budgets: list[Budgeted]


@router.get("/overview")
async def read(
    request: Request,
    actor: Viewer,
    health: Annotated[bool, Query(description="Look at the database, Prefect and its worker too.")] = False,
) -> Overview:
    """All processes, comments by the hour, and what is wrong right now."""
    visit = visit_of(request, actor)
    checks = (await examine(visit.settings, visit.database, os.environ.get("PREFECT_API_URL"))).checks if health else ()
    return Overview.model_validate(await overview.overview(visit, checks))


@router.get("/budgets")
async def standings(request: Request, actor: Viewer) -> Budgets:
    """What of the budgets is used today."""
    visit = visit_of(request, actor)
    async with visit.database.session() as session:
        found = await budgets.standings(session, visit.settings.budget_timezone, visit.sees)
    return Budgets(budgets=[Budgeted.model_validate(each) for each in found])
