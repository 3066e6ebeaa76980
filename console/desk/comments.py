"""Comments: what there is, what became of each, and what people decide on several at once."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Invalid
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store import decisions, history, processes, review
from lib.monitoring.store.choosing import ApprovalFilter, Wanted
from lib.monitoring.store.review import CommentDetails, Decided
from lib.monitoring.store.scope import version_of

Decision = Literal["approve", "reject", "retry"]
MOST_AT_ONCE = 1000

SHOWN = (
    "id",
    "status",
    "approval",
    "approval_at",
    "article_title",
    "article_author",
    "article_category",
    "article_url",
    "article_published_at",
    "comment_content",
    "ai_model_name",
    "ai_provider_name",
    "generation_tokens",
    "generation_time_ms",
    "generation_note",
    "created_at",
    "generated_at",
    "post_sent_at",
    "posted_at",
    "mymoment_article_id",
    "mymoment_comment_id",
    "is_hidden",
    "attempts",
    "retry_count",
    "next_attempt_at",
    "error_message",
    "failed_at",
    "failed_from",
)


def record(found: CommentDetails) -> Record:
    names = {
        "version": version_of(found.row.updated_at),
        "process": found.process,
        "login": found.login,
        "template": found.template,
        "provider": found.provider,
        "in_work": found.in_work,
    }
    return {column: getattr(found.row, column) for column in SHOWN} | names


async def listed(
    visit: Visit,
    *,
    process: str | None,
    status: CommentStatus | None,
    approval: ApprovalFilter | None,
    limit: int,
    after: str | None,
    short_ids: bool = True,
) -> Record:
    """The newest first. `short_ids` costs a look at every comment: for people who type them."""
    if not 1 <= limit <= MOST_AT_ONCE:
        raise Invalid(f"The limit must be from 1 to {MOST_AT_ONCE:,}", "limit")
    async with visit.database.session() as session:
        process_id = (await processes.by_name(session, visit.sees, process)).id if process is not None else None
        behind = await review.resolve(session, visit.sees, after) if after is not None else None
        wanted = Wanted(process_id, status, approval)
        page = await review.listed(session, visit.sees, wanted, limit, behind, short_ids=short_ids)
    return {"comments": [asdict(comment) for comment in page.comments], "next": page.next}


async def show(visit: Visit, text: str) -> Record:
    async with visit.database.session() as session:
        comment_id = await review.resolve(session, visit.sees, text)
        return record(await review.show(session, visit.sees, comment_id))


async def life(visit: Visit, text: str) -> Record:
    """A comment with its whole history: what moved it, who, when, and every call of a model for it."""
    async with visit.database.session() as session:
        comment_id = await review.resolve(session, visit.sees, text)
        found = record(await review.show(session, visit.sees, comment_id))
        steps = await history.of_comment(session, comment_id)
    return found | {
        "history": [{"what": "step" if isinstance(step, history.Step) else "attempt", **asdict(step)} for step in steps]
    }


async def decide(visit: Visit, decision: Decision, texts: Sequence[str]) -> Decided:
    """All of them or, when one does not allow it, none."""
    async with visit.database.session() as session:
        ids = await resolved(session, visit, texts)
        await decisions.act_as(session, visit.user_id)
        match decision:
            case "approve":
                done = await review.approve(session, visit.sees, ids, visit.user_id)
            case "reject":
                done = await review.reject(session, visit.sees, ids, visit.user_id)
            case "retry":
                done = await review.retry(session, visit.sees, ids)
        for id_ in done.changed:
            await trail.note(session, visit, f"comment.{decision}", id_, {})
        return done


async def resolved(session: AsyncSession, visit: Visit, texts: Sequence[str]) -> list[UUID]:
    """Each once. Raise Invalid or NotFound that names the text."""
    if not texts:
        raise Invalid("No comment is named; `pressroom comment list` shows their ids")
    if len(texts) > MOST_AT_ONCE:
        raise Invalid(f"{len(texts):,} comments are too many at once; at most {MOST_AT_ONCE:,} are possible")
    ids = [await review.resolve(session, visit.sees, text) for text in texts]
    return list(dict.fromkeys(ids))


async def retry_all(visit: Visit, process: str) -> Decided:
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.sees, process)
        await decisions.act_as(session, visit.user_id)
        done = await review.retry_all(session, visit.sees, row.id)
        if done.changed:
            details = {"process": row.name, "retried": len(done.changed), "sent_before": len(done.sent)}
            await trail.note(session, visit, "comment.retry", None, details)
        return done
