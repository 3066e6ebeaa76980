"""Runs: one tick of a stage, now instead of at its next time."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ConfigDict

from console.api import etags, problems
from console.api.idempotency import IdempotencyKey, once
from console.api.schemas import Given, Reference, Told
from console.desk import runs
from console.security.actor import Operator, visit_of
from console.security.errors import Forbidden
from lib.monitoring.stages import Stage

router = APIRouter(prefix="/runs", tags=["runs"])


class RunRequest(Given):
    """Which stage, and of which process; without one of every process that runs, which takes an administrator."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "discovery", "process": "watch"}]})

    stage: Stage
    process: Reference | None = None


class RunDocument(Told):
    """The run in Prefect. What it did stands in the process's `stages` afterwards."""

    flow_run_id: UUID
    stage: Stage
    process: str | None


@router.post("", status_code=202, response_model=RunDocument, responses=problems.said(404, 409, 424))
async def create(request: Request, actor: Operator, wanted: RunRequest, key: IdempotencyKey = None) -> Response:
    """Run a stage now, once, without waiting for its end."""
    if wanted.process is None and not actor.may("admin"):
        raise Forbidden("Only an administrator runs a stage of every process; name one of yours")

    async def do() -> Response:
        run = await runs.run_stage(visit_of(request, actor), wanted.process, wanted.stage)
        document = RunDocument(flow_run_id=UUID(run), stage=wanted.stage, process=wanted.process)
        return etags.plain(document, status=202)

    return await once(request, actor, key, do)
