"""The four tasks of the document. Each reads what waits for it in one process, then does one item after the other."""

# mypy: disable-error-code="untyped-decorator, no-any-return"
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import clients
from celery_design.app import app
from clients import Tools
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from lib.errors import PressroomError
from lib.monitoring.models import AIComment
from lib.monitoring.mymoment import MyMoment, placeholder_id

Report = dict[str, int]


@app.task(name="discover_articles")
def discover_articles(process_id: str) -> Report:
    return asyncio.run(_discover(UUID(process_id)))


@app.task(name="prepare_content_of_articles")
def prepare_content_of_articles(process_id: str) -> Report:
    return asyncio.run(_each(UUID(process_id), "discovered", _prepare))


@app.task(name="generate_comments_for_articles")
def generate_comments_for_articles(process_id: str) -> Report:
    return asyncio.run(_each(UUID(process_id), "prepared", _generate))


@app.task(name="post_comments_for_articles", autoretry_for=(Exception,), max_retries=3, retry_backoff=2)
def post_comments_for_articles(process_id: str) -> Report:
    return asyncio.run(_each(UUID(process_id), "generated", _post))


async def _discover(process_id: UUID) -> Report:
    """What one login's index cannot give does not keep the others from theirs."""
    errors, rows = 0, []
    async with clients.tools(pool_size=1) as have:
        for watch in await clients.watches_of(have.database, process_id):
            try:
                rows += await clients.look(have, watch)
            except PressroomError:
                errors += 1
        return {"discovered": len(await clients.insert(have.database, rows)), "errors": errors}


async def _each(process_id: UUID, status: str, do: Any) -> Report:
    """A failure marks its comment as failed and leaves the others alone."""
    done = failed = 0
    async with clients.tools(pool_size=1) as have:
        for comment in await _waiting(have, process_id, status):
            try:
                values = await do(have, comment)
            except (PressroomError, clients.UnusableError) as error:
                failed += 1
                values = {
                    "status": "failed",
                    "failed_from": status,
                    "failed_at": _now(),
                    "error_message": str(error),
                    "retry_count": comment.retry_count + 1,
                }
            else:
                done += 1
            await clients.write(have.database, comment.id, **values)
    return {"done": done, "failed": failed}


async def _waiting(have: Tools, process_id: UUID, status: str) -> Sequence[AIComment]:
    found = select(AIComment).where(AIComment.monitoring_process_id == process_id, AIComment.status == status)

    async def read(session: AsyncSession) -> Sequence[AIComment]:
        return (await session.scalars(found.order_by(AIComment.id))).all()

    return await have.database.run_transaction(read)


async def _prepare(have: Tools, comment: AIComment) -> dict[str, Any]:
    return await clients.article(have, comment) | {"status": "prepared", "article_scraped_at": _now()}


async def _generate(have: Tools, comment: AIComment) -> dict[str, Any]:
    return await clients.answer(have, comment) | {"status": "generated", "generated_at": _now()}


async def _post(have: Tools, comment: AIComment) -> dict[str, Any]:
    """The site gives no id, so the document makes one: nothing is read back."""

    async def send(site: MyMoment) -> None:
        page = await site.article(comment.mymoment_article_id)
        await site.post_comment(
            comment.mymoment_article_id, comment.comment_content or "", csrf_token=page.csrf_token or "", hidden=False
        )

    await have.sites.use(comment.mymoment_login_id, send)
    made_up = placeholder_id(comment.mymoment_article_id, comment.id)
    return {"status": "posted", "posted_at": _now(), "mymoment_comment_id": made_up}


def _now() -> datetime:
    return datetime.now(UTC)
