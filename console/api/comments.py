"""Comments: what there is, what became of each, and what people decide."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from console.api import etags, problems
from console.api.comment_documents import (
    CommentDocument,
    CommentLine,
    DecisionRequest,
    EditRequest,
    History,
    QueuedComment,
    RegenerateRequest,
    Retried,
    RetryRequest,
    RulingDocument,
    Rulings,
)
from console.api.etags import IfMatch, IfNoneMatch
from console.api.idempotency import IdempotencyKey, once
from console.api.paging import After, Limit, Page
from console.api.schemas import Name
from console.desk import comments, review, sheets
from console.desk.review import Choice
from console.desk.visit import Visit
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid, NotFound, Stale
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store.choosing import ApprovalFilter
from lib.monitoring.store.scope import moment_of

router = APIRouter(prefix="/comments", tags=["comments"])

Decision = Literal["approve", "reject"]
ProcessName = Annotated[Name | None, Query(description="Of this process, by name or id.")]
Decided = Annotated[ApprovalFilter | None, Query(description="`none`: nobody has decided on it.")]


class Queue(Page[QueuedComment]):
    """`total`: how many there are in all."""

    total: int


async def _answer(visit: Visit, comment_id: UUID) -> Response:
    document = await _read(visit, comment_id)
    return etags.answer(document, document.version)


async def _read(visit: Visit, comment_id: UUID) -> CommentDocument:
    return CommentDocument.model_validate(await sheets.comment_sheet(visit, comment_id))


def _seen(if_match: str | None) -> str | None:
    """Of a comment the version is a time. Raise Stale for what never was one."""
    version = etags.seen_if_said(if_match)
    try:
        if version is not None:
            moment_of(version)
    except Invalid as error:
        raise Stale(str(error)) from error
    return version


@router.get("")
async def listed(
    request: Request,
    actor: Viewer,
    process: ProcessName = None,
    status: CommentStatus | None = None,
    approval: Decided = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[CommentLine]:
    """The comments, the newest first."""
    found = await comments.listed(
        visit_of(request, actor),
        process=process,
        status=status,
        approval=approval,
        limit=limit,
        after=None if after is None else str(after),
        short_ids=False,
    )
    items = [CommentLine.model_validate(each) for each in found["comments"]]
    return Page(items=items, next=None if found["next"] is None else str(found["next"]))


@router.get("/queue")
async def queue(
    request: Request,
    actor: Viewer,
    process: ProcessName = None,
    approval: Decided = "none",
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 20,
    after: After = None,
) -> Queue:
    """Generated comments beside their articles, as people read them: the oldest first."""
    behind = None if after is None else str(after)
    visit = visit_of(request, actor)
    found = await review.listed(visit, process=process, approval=approval, limit=limit, after=behind)
    items = [QueuedComment.model_validate(each) for each in found["comments"]]
    return Queue(items=items, next=None if found["next"] is None else str(found["next"]), total=found["total"])


@router.post("/approve", response_model=Rulings)
async def approve_many(
    request: Request, actor: Operator, wanted: DecisionRequest, key: IdempotencyKey = None
) -> Response:
    """Let each be posted that is as it was seen."""
    return await _decide_many(request, actor, "approve", wanted, key)


@router.post("/reject", response_model=Rulings)
async def reject_many(
    request: Request, actor: Operator, wanted: DecisionRequest, key: IdempotencyKey = None
) -> Response:
    """Keep each from being posted that is as it was seen."""
    return await _decide_many(request, actor, "reject", wanted, key)


async def _decide_many(
    request: Request, actor: Actor, decision: Decision, wanted: DecisionRequest, key: str | None
) -> Response:
    choices = [Choice(str(each.id), each.version) for each in wanted.comments]

    async def do() -> Response:
        found = await _decide(visit_of(request, actor), decision, choices)
        return etags.plain(Rulings(results=[RulingDocument.model_validate(each) for each in found]))

    return await once(request, actor, key, do)


async def _decide(visit: Visit, decision: Decision, choices: list[Choice]) -> list[Record]:
    return await (review.approve if decision == "approve" else review.reject)(visit, choices)


@router.post("/retry", response_model=Retried, responses=problems.said(404, 409))
async def retry_many(request: Request, actor: Operator, wanted: RetryRequest, key: IdempotencyKey = None) -> Response:
    """Put failed comments back to where they failed. One that was sent is looked for on the site first."""
    return await _retry(request, actor, [str(each) for each in wanted.comments], key)


async def _retry(request: Request, actor: Actor, ids: list[str], key: str | None) -> Response:
    async def do() -> Response:
        done = await comments.decide(visit_of(request, actor), "retry", ids)
        return etags.plain(Retried(retried=len(done.changed), sent_before=len(done.sent)))

    return await once(request, actor, key, do)


@router.get("/{comment_id}", response_model=CommentDocument, responses={304: {}, **problems.said(404)})
async def read(request: Request, actor: Viewer, comment_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One comment beside its article."""
    del if_none_match  # read from the request
    document = await _read(visit_of(request, actor), comment_id)
    return etags.read(request, document, document.version)


@router.get("/{comment_id}/history", responses=problems.said(404))
async def history(request: Request, actor: Viewer, comment_id: UUID) -> History:
    """Who or what moved it, when and why, and every call of a model for it."""
    return History.model_validate(await comments.life(visit_of(request, actor), str(comment_id)))


@router.patch("/{comment_id}", response_model=CommentDocument, responses=problems.said(404, 409, 412, 428))
async def edit(
    request: Request, actor: Operator, comment_id: UUID, wanted: EditRequest, if_match: IfMatch = None
) -> Response:
    """Give a generated comment another text; an approval of the old one is taken back."""
    etags.seen(if_match)
    visit = visit_of(request, actor)
    version = _seen(if_match) or (await _read(visit, comment_id)).version
    await review.edit(visit, str(comment_id), wanted.text, version)
    return await _answer(visit, comment_id)


@router.post("/{comment_id}/approve", response_model=CommentDocument, responses=problems.said(404, 409, 412))
async def approve(
    request: Request, actor: Operator, comment_id: UUID, if_match: IfMatch = None, key: IdempotencyKey = None
) -> Response:
    """Let it be posted; with If-Match only if it is as you saw it."""
    return await _decide_one(request, actor, "approve", Choice(str(comment_id), _seen(if_match)), key)


@router.post("/{comment_id}/reject", response_model=CommentDocument, responses=problems.said(404, 409, 412))
async def reject(
    request: Request, actor: Operator, comment_id: UUID, if_match: IfMatch = None, key: IdempotencyKey = None
) -> Response:
    """Keep it from being posted; with If-Match only if it is as you saw it."""
    return await _decide_one(request, actor, "reject", Choice(str(comment_id), _seen(if_match)), key)


async def _decide_one(request: Request, actor: Actor, decision: Decision, choice: Choice, key: str | None) -> Response:
    visit = visit_of(request, actor)

    async def do() -> Response:
        [ruling] = await _decide(visit, decision, [choice])
        match ruling["outcome"]:
            case "unknown":
                raise NotFound(f"There is no comment {choice.comment}")
            case "changed":
                raise Stale(ruling["message"])
            case "refused":
                raise Conflict(ruling["message"])
        return await _answer(visit, UUID(choice.comment))

    return await once(request, actor, key, do)


@router.post("/{comment_id}/retry", response_model=Retried, responses=problems.said(404, 409))
async def retry(request: Request, actor: Operator, comment_id: UUID, key: IdempotencyKey = None) -> Response:
    """Put a failed comment back to where it failed. If it was sent, it is looked for on the site first."""
    return await _retry(request, actor, [str(comment_id)], key)


@router.post("/{comment_id}/regenerate", response_model=CommentDocument, responses=problems.said(404, 409, 412))
async def regenerate(
    request: Request,
    actor: Operator,
    comment_id: UUID,
    wanted: RegenerateRequest | None = None,
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Response:
    """Back to the model, with another template or a note; it is written at the next tick of generation."""
    visit, said, version = visit_of(request, actor), wanted or RegenerateRequest(), _seen(if_match)

    async def do() -> Response:
        await review.regenerate(visit, str(comment_id), template=said.template, note=said.note, version=version)
        return await _answer(visit, comment_id)

    return await once(request, actor, key, do)
