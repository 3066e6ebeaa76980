"""Comments: what waits for a person, what became of each."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal
from uuid import UUID

from console.cli.output import Record
from console.cli.visit import Visit
from lib.errors import Invalid
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store import processes, review
from lib.monitoring.store.review import ApprovalFilter, CommentDetails, Decided, Wanted

Decision = Literal["approve", "reject", "retry"]

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
) -> Record:
    async with visit.database.session() as session:
        process_id = (await processes.by_name(session, visit.user_id, process)).id if process is not None else None
        behind = await review.resolve(session, visit.user_id, after) if after is not None else None
        page = await review.listed(session, visit.user_id, Wanted(process_id, status, approval), limit, behind)
    return {"comments": [asdict(comment) for comment in page.comments], "next": page.next}


async def show(visit: Visit, text: str) -> Record:
    async with visit.database.session() as session:
        comment_id = await review.resolve(session, visit.user_id, text)
        return record(await review.show(session, visit.user_id, comment_id))


async def decide(visit: Visit, decision: Decision, texts: Sequence[str]) -> Decided:
    """All of them or, when one does not allow it, none."""
    decide_on = {"approve": review.approve, "reject": review.reject, "retry": review.retry}[decision]
    async with visit.database.session() as session:
        ids: list[UUID] = [await review.resolve(session, visit.user_id, text) for text in texts]
        if not ids:
            raise Invalid("No comment is named; `pressroom comment list` shows their ids")
        return await decide_on(session, visit.user_id, list(dict.fromkeys(ids)))


async def retry_all(visit: Visit, process: str) -> Decided:
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.user_id, process)
        return await review.retry_all(session, visit.user_id, row.id)
