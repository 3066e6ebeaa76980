"""The program of the ideal: read once what is to be done, when something new is running, and do it once.

`python -m benchmarks.peers.bare SECONDS`: so long after there is something to do it begins.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from benchmarks.peers import clients
from lib import llm
from lib.monitoring.items import Watch
from lib.monitoring.models import AIComment
from lib.monitoring.mymoment import MyMoment, find_own

LOOK_AGAIN = 0.1
READY = "ready"


@dataclass(frozen=True)
class _Limits:
    pages: asyncio.Semaphore
    """Of one process."""
    posts: asyncio.Lock
    """Of one login."""
    calls: asyncio.Semaphore
    """Of the provider."""


async def _work() -> None:
    llm.load()
    done: set[UUID] = set()
    async with clients.tools(pool_size=2) as have:
        print(READY, flush=True)
        while True:
            if ids := set(await clients.running_processes(have.database)) - done:
                await asyncio.sleep(float(sys.argv[1]))
                await _all(have, sorted(ids))
                done |= ids
            await asyncio.sleep(LOOK_AGAIN)


async def _all(have: clients.Tools, process_ids: Sequence[UUID]) -> None:
    watches = await clients.watches_of(have.database, *process_ids)
    calls: dict[UUID | None, asyncio.Semaphore] = {}
    for watch in watches:
        if watch.provider_id is not None and watch.provider_id not in calls:
            provider = await have.providers.provider(watch.provider_id)
            calls[watch.provider_id] = asyncio.Semaphore(provider.limit)
    await asyncio.gather(*(_watch(have, watch, calls[watch.provider_id]) for watch in watches))


async def _watch(have: clients.Tools, watch: Watch, calls: asyncio.Semaphore) -> None:
    limits = _Limits(asyncio.Semaphore(have.settings.preparation_concurrency), asyncio.Lock(), calls)
    rows = await clients.look(have, watch)
    await asyncio.gather(*(_one(have, AIComment(**row), limits) for row in rows))


async def _one(have: clients.Tools, comment: AIComment, limits: _Limits) -> None:
    async with limits.pages:
        _take(comment, await clients.article(have, comment))
    async with limits.calls:
        _take(comment, await clients.answer(have, comment))
    async with limits.posts:
        await have.sites.use(comment.mymoment_login_id, lambda site: _post(site, comment))


def _take(comment: AIComment, values: dict[str, object]) -> None:
    for name, value in values.items():
        setattr(comment, name, value)


async def _post(site: MyMoment, comment: AIComment) -> None:
    """Read, post, read back: as many pages as Pressroom."""
    id_, text = comment.mymoment_article_id, comment.comment_content or ""
    page = await site.article(id_)
    await site.post_comment(id_, text, csrf_token=page.csrf_token or "", hidden=False)
    assert find_own((await site.article(id_)).comments, text)


if __name__ == "__main__":
    asyncio.run(_work())
