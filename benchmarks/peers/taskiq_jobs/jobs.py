"""One item a job: each does its stage and enqueues the next. Run twice, a job finds its work done.

A job holds its comment's lock in Redis, so the sweep below, and messages that are delivered again, do no harm.
"""

# mypy: disable-error-code="untyped-decorator, no-any-return"
import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import clients
from sqlalchemy import func, select
from taskiq_jobs.brokers import BEAT_SECONDS, TAKEOVER_SECONDS, discovery, generation, lent, posting, preparation

from lib.errors import Transient
from lib.monitoring.models import AIComment, MonitoringProcess
from lib.monitoring.mymoment import MyMoment, find_own

# How many of its looks at the site found something, and how many nothing, as the report reads them.
FOUND, EMPTY = "looks:found", "looks:empty"

# One worker posts, so a lock within it keeps a login's posts apart.
_turns: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)


@discovery.task(schedule=[{"interval": BEAT_SECONDS}])
async def watch() -> None:
    for process_id in await clients.running_processes(lent.tools.database):
        await discover.kiq(str(process_id))


@discovery.task(schedule=[{"interval": BEAT_SECONDS}])
async def sweep() -> None:
    """Enqueue again what nothing has happened to: the job that should have enqueued it may have died before.

    Not what was enqueued here already, and may only wait for its turn.
    """
    still = select(AIComment.id, AIComment.status).where(
        AIComment.status.in_(NEXT), AIComment.updated_at < func.now() - timedelta(seconds=TAKEOVER_SECONDS)
    )
    running = MonitoringProcess.status == "running"
    still = still.join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id).where(running)
    found = (await lent.tools.database.run_statement(lambda connection: connection.execute(still))).all()
    for row in found:
        if await lent.redis.set(f"swept:{row.id}", row.status, nx=True, ex=TAKEOVER_SECONDS):
            await NEXT[row.status].kiq(str(row.id))


@discovery.task
async def discover(process_id: str) -> None:
    have, found = lent.tools, False
    for one in await clients.watches_of(have.database, UUID(process_id)):
        rows = await clients.look(have, one)
        for comment_id in await clients.insert(have.database, rows):
            found = True
            await prepare.kiq(str(comment_id))
    await lent.redis.incr(FOUND if found else EMPTY)


@preparation.task
async def prepare(comment_id: str) -> None:
    async with _item(comment_id, "discovered") as comment:
        if comment is None:
            return
        values = await clients.article(lent.tools, comment)
        await _done(comment, status="prepared", article_scraped_at=func.now(), **values)
    await generate.kiq(comment_id)


@generation.task
async def generate(comment_id: str) -> None:
    async with _item(comment_id, "prepared") as comment:
        if comment is None:
            return
        values = await clients.answer(lent.tools, comment)
        await _done(comment, status="generated", generated_at=func.now(), **values)
    await post.kiq(comment_id)


@posting.task
async def post(comment_id: str) -> None:
    async with _item(comment_id, "generated") as comment:
        if comment is None:
            return
        login = comment.mymoment_login_id
        async with _turns[login]:
            site_id = await lent.tools.sites.use(login, lambda site: _post(site, comment))
            await _done(comment, status="posted", posted_at=func.now(), mymoment_comment_id=site_id)


NEXT: dict[str, Any] = {"discovered": prepare, "prepared": generate, "generated": post}


async def _post(site: MyMoment, comment: AIComment) -> str:
    """Look first, so that a job that is delivered again finds what it posted."""
    id_, text = comment.mymoment_article_id, comment.comment_content or ""
    page = await site.article(id_)
    there = find_own(page.comments, text)
    if there is None:
        await site.post_comment(id_, text, csrf_token=page.csrf_token or "", hidden=False)
        there = find_own((await site.article(id_)).comments, text)
    if there is None or there.id is None:
        raise Transient(f"article {id_} does not show our comment")
    return there.id


@asynccontextmanager
async def _item(comment_id: str, status: str) -> AsyncIterator[AIComment | None]:
    """The comment while its lock is ours; None where another job has it, or its stage is done."""
    lock = lent.redis.lock(f"comment:{comment_id}", timeout=TAKEOVER_SECONDS, blocking=False)
    if not await lock.acquire():
        yield None
        return
    try:
        comment = await clients.read(lent.tools.database, UUID(comment_id))
        yield comment if comment.status == status else None
    finally:
        await lent.redis.delete(f"comment:{comment_id}")


async def _done(comment: AIComment, **values: Any) -> None:
    await clients.write(lent.tools.database, comment.id, **values)
