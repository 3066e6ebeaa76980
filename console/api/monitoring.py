"""Task monitoring: how each kind of task does, what each one did, and trying the failed again.

What cannot be used is answered 400 here, with the name of the parameter or the place in the body.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute

from console.api import etags, problems
from console.api.idempotency import IdempotencyKey, once
from console.api.monitoring_documents import (
    FailureGroups,
    FailuresQuery,
    History,
    HistoryQuery,
    Metrics,
    MetricsQuery,
    RetriedTasks,
    TaskDocument,
    TaskRetry,
)
from console.desk import tasks
from console.security.actor import Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid

RESPONSES = problems.BAD_REQUEST_RESPONSES
RecordId = Annotated[UUID, Path(description="A record's id.")]
_IN_QUERY = ("GET", "HEAD")


class BadRequestRoute(APIRoute):
    """Answers 400 where the others answer 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_refuse(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise problems.BadRequest(error.errors()) from error
            except Invalid as error:
                if error.field is None or isinstance(error, Conflict):
                    raise
                place = "query" if request.method in _IN_QUERY else "body"
                raise problems.bad_request(place, error.field.split("."), str(error)) from error

        return handle_or_refuse


router = APIRouter(prefix="/monitoring", tags=["monitoring"], route_class=BadRequestRoute)


@router.get("/metrics")
async def metrics(request: Request, actor: Viewer, wanted: Annotated[MetricsQuery, Query()]) -> Metrics:
    """How each kind of task did in the last hours, and what waits for it."""
    found = await tasks.metrics(visit_of(request, actor), wanted.time_window)
    if not actor.may("admin"):
        found["recorders"] = [each | {"host": None, "pid": None} for each in found["recorders"]]
    return Metrics.model_validate(found)


@router.get("/history")
async def history(request: Request, actor: Viewer, wanted: Annotated[HistoryQuery, Query()]) -> History:
    """What was done, the newest first."""
    page, size, cursor = wanted.page, wanted.page_size, wanted.cursor
    visit = visit_of(request, actor)
    found = await tasks.history(visit, wanted.asked, page=page, page_size=size, cursor=cursor, tracebacks=True)
    return History.model_validate(found)


@router.get("/tasks/{record_id}", responses=problems.said(404))
async def task(request: Request, actor: Viewer, record_id: RecordId) -> TaskDocument:
    """One record with its traceback, and what was done within it."""
    return TaskDocument.model_validate(await tasks.show(visit_of(request, actor), record_id))


@router.get("/failures")
async def failures(request: Request, actor: Viewer, wanted: Annotated[FailuresQuery, Query()]) -> FailureGroups:
    """What went wrong, by its fingerprint: type, place, and message without what varies."""
    found = await tasks.failures(visit_of(request, actor), wanted.asked, wanted.limit)
    return FailureGroups.model_validate({"failures": found})


@router.post("/retry", response_model=RetriedTasks, responses=problems.said(404, 409))
async def retry(request: Request, actor: Operator, wanted: TaskRetry, key: IdempotencyKey = None) -> Response:
    """Try the items of failed records again, those named or all that match."""

    async def do() -> Response:
        visit, which = visit_of(request, actor), wanted.filter.asked if wanted.filter else wanted.ids or []
        return etags.plain(RetriedTasks.model_validate(await tasks.retry(visit, which, wanted.expected_count)))

    return await once(request, actor, key, do)
