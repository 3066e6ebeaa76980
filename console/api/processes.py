"""Processes: what is watched, and starting and stopping it."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.api import etags, problems
from console.api.etags import IfMatch, IfNoneMatch
from console.api.idempotency import IdempotencyKey, once
from console.api.paging import After, Limit, Page, page_of
from console.api.process_documents import (
    PipelineStatus,
    ProcessDocument,
    ProcessLine,
    ProcessPatch,
    ProcessRemoved,
    ProcessRequest,
    StartRequest,
    Stopped,
    StopRequest,
)
from console.desk import processes, sheets
from console.desk.visit import Visit
from console.security.actor import Operator, Viewer, visit_of

router = APIRouter(prefix="/monitoring-processes", tags=["processes"])


async def _read(visit: Visit, process_id: UUID) -> ProcessDocument:
    return ProcessDocument.model_validate(await sheets.process_sheet(visit, process_id, None))


async def _answer(visit: Visit, process_id: UUID, status: int = 200) -> Response:
    document = await _read(visit, process_id)
    location = f"/api/v1/monitoring-processes/{process_id}" if status == 201 else None  # noqa: PLR2004 - created
    return etags.answer(document, document.version, status=status, location=location)


@router.get("")
async def listed(request: Request, actor: Viewer, limit: Limit = 50, after: After = None) -> Page[ProcessLine]:
    """The processes, in the order of their making."""
    found = await processes.listed(visit_of(request, actor))
    return page_of([ProcessLine.model_validate(each) for each in found], limit, after)


@router.post("", status_code=201, response_model=ProcessDocument, responses=problems.said(409))
async def create(request: Request, actor: Operator, wanted: ProcessRequest, key: IdempotencyKey = None) -> Response:
    """Make a process; it does not run yet."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        made = await processes.add(visit, wanted.name, wanted.wanted())
        return await _answer(visit, made["id"], 201)

    return await once(request, actor, key, do)


@router.post("/stop", response_model=Stopped)
async def stop_all(request: Request, actor: Operator, key: IdempotencyKey = None) -> Response:
    """Stop every process; answered when nothing more can be posted for any."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        return etags.plain(Stopped.model_validate(await processes.stop_all(visit)))

    return await once(request, actor, key, do)


@router.get("/{process_id}", response_model=ProcessDocument, responses={304: {}, **problems.said(404)})
async def read(request: Request, actor: Viewer, process_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One process, with its stages, counts and budgets."""
    del if_none_match  # read from the request
    document = await _read(visit_of(request, actor), process_id)
    return etags.read(request, document, document.version)


@router.patch("/{process_id}", response_model=ProcessDocument, responses=problems.said(404, 409, 412, 428))
async def change(
    request: Request, actor: Operator, process_id: UUID, wanted: ProcessPatch, if_match: IfMatch = None
) -> Response:
    """Change a process that does not run."""
    visit = visit_of(request, actor)
    await processes.change(visit, str(process_id), wanted.wanted(), etags.seen(if_match))
    return await _answer(visit, process_id)


@router.delete("/{process_id}", responses=problems.said(404, 409, 412, 428))
async def remove(request: Request, actor: Operator, process_id: UUID, if_match: IfMatch = None) -> ProcessRemoved:
    """Delete a process that does not run, and the records of its comments with it."""
    gone = await processes.remove(visit_of(request, actor), str(process_id), etags.seen(if_match))
    return ProcessRemoved.model_validate(gone)


@router.post("/{process_id}/start", response_model=ProcessDocument, responses=problems.said(404, 409, 424))
async def start(
    request: Request, actor: Operator, process_id: UUID, wanted: StartRequest | None = None, key: IdempotencyKey = None
) -> Response:
    """Start it, from created, stopped or failed. The answer 422 names everything that it lacks."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        await processes.start(visit, str(process_id), check=wanted is not None and wanted.check)
        return await _answer(visit, process_id)

    return await once(request, actor, key, do)


@router.post("/{process_id}/stop", response_model=ProcessDocument, responses=problems.said(404, 424))
async def stop(
    request: Request, actor: Operator, process_id: UUID, wanted: StopRequest | None = None, key: IdempotencyKey = None
) -> Response:
    """Stop it; answered when nothing more can be posted for it. One that has ended holds what was approved since."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        await processes.stop(visit, str(process_id), completed=wanted is not None and wanted.completed)
        return await _answer(visit, process_id)

    return await once(request, actor, key, do)


@router.get("/{process_id}/pipeline-status", responses=problems.said(404))
async def pipeline_status(request: Request, actor: Viewer, process_id: UUID) -> PipelineStatus:
    """How many comments stand where."""
    return PipelineStatus.model_validate(await processes.pipeline_status(visit_of(request, actor), str(process_id)))
