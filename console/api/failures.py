"""Failures: what went wrong, grouped by cause, and trying it again."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from console.api import etags, problems
from console.api.comment_documents import Retried
from console.api.idempotency import IdempotencyKey, once
from console.api.schemas import Given, Name, Reference, Told
from console.desk import comments, failures
from console.desk.comments import MOST_AT_ONCE
from console.desk.failures import MOST_GROUPS
from console.security.actor import Operator, Viewer, visit_of
from lib.monitoring.stages import Stage

router = APIRouter(prefix="/failures", tags=["failures"])

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="`key` of the group.")]


class Group(Told):
    """Comments with one cause. `status` is the one that they failed or wait in; `samples` are the newest."""

    key: str
    state: Literal["failed", "waiting"]
    status: str
    stage: Stage | None
    cause: str
    number: int
    sent: int = Field(description="How many went out to the site once; a retry of these looks for them first.")
    first_at: datetime | None
    last_at: datetime | None
    samples: list[UUID]
    processes: list[str]


class Groups(Told):
    """The failed, and what waits after an error; the most frequent first."""

    failed: list[Group]
    waiting: list[Group]


class GroupRetry(Given):
    """Which of the group: at most so many, the oldest first; of this process alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit": 10}]})

    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = None
    process: Reference | None = None


class ProcessRetry(Given):
    """Whose failed comments."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"process": "watch"}]})

    process: Reference


@router.get("")
async def groups(
    request: Request,
    actor: Viewer,
    process: Annotated[Name | None, Query(description="Of this process, by name or id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_GROUPS, description="How many of each kind at most.")] = 50,
) -> Groups:
    """What went wrong, by cause."""
    return Groups.model_validate(await failures.groups(visit_of(request, actor), process=process, limit=limit))


@router.post("/retry", response_model=Retried)
async def retry_process(
    request: Request, actor: Operator, wanted: ProcessRetry, key: IdempotencyKey = None
) -> Response:
    """Try every failed comment of a process again."""

    async def do() -> Response:
        done = await comments.retry_all(visit_of(request, actor), wanted.process)
        return etags.plain(Retried(retried=len(done.changed), sent_before=len(done.sent)))

    return await once(request, actor, key, do)


@router.post("/{group}/retry", response_model=Retried, responses=problems.said(404))
async def retry_group(
    request: Request, actor: Operator, group: Key, wanted: GroupRetry | None = None, key: IdempotencyKey = None
) -> Response:
    """Try the comments of a group again, all or some; those that wait are tried at once."""
    said = wanted or GroupRetry()

    async def do() -> Response:
        visit = visit_of(request, actor)
        return etags.plain(
            Retried.model_validate(await failures.retry_group(visit, group, limit=said.limit, process=said.process))
        )

    return await once(request, actor, key, do)
