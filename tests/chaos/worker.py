"""What one worker does until it is killed: ticks of the four stages, over and over.

The flows' own functions run, with the same claims, sessions and clients; only Prefect's engine and its API are left
out, because a worker has to be there a few milliseconds after the one before it was killed.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import openai.resources.chat.completions
from sqlalchemy.orm import configure_mappers

from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib import http
from lib.monitoring import pages, posting, sites
from lib.monitoring.items import CommentToPost, TickReport
from lib.monitoring.mymoment import MyMoment
from lib.monitoring.runtime import Runtime
from lib.units import observed
from tasks import discovery, generation, preparation, tick
from tasks import posting as posting_tasks

STAGES = (
    discover_articles,
    prepare_content_of_articles,
    generate_comments_for_articles,
    post_comments_for_articles,
)
# The flows import their tasks when they run; here everything is wanted before the fork.
LOADED = (discovery, preparation, generation, posting_tasks, openai.resources.chat.completions)
PROCESSES = "CHAOS_PROCESSES"
BREAK = "CHAOS_BREAK"
LOG_IN_LEASE = "CHAOS_LOG_IN_LEASE"
BLIND = "blind"
ERROR = "unexpected"
ENDED = "ended"
NUMBERS = itertools.count()


def warm_up() -> None:
    """What every worker would otherwise do first; without a thread, a socket or a random number left behind."""
    http.trusted()
    configure_mappers()
    pages.read_csrf("<p>")


def run() -> None:
    _without_prefect()
    # Constants of two and ten minutes, meant for real sites: as short here as the other leases and waits.
    sites.LOG_IN_LEASE = float(os.environ[LOG_IN_LEASE])
    sites.REFUSED_PAUSE = 1.0
    if os.environ.get(BREAK) == BLIND:
        posting._post = _post_blindly
    asyncio.run(_work([UUID(text) for text in os.environ[PROCESSES].split(",")]))


def _without_prefect() -> None:
    async def as_with_many(_: Runtime) -> bool:
        """No process has a task run then."""
        return False

    async def no_artifact(**_: Any) -> None:
        """The tables are for Prefect's pages."""

    tick.few_run = as_with_many  # type: ignore[assignment]
    tick.acreate_table_artifact = no_artifact  # type: ignore[assignment,attr-defined]


async def _work(process_ids: list[UUID]) -> None:
    await asyncio.gather(*(_repeat(stage.fn, process_ids) for stage in STAGES))


async def _repeat(stage: Callable[[UUID | None], Awaitable[TickReport]], process_ids: list[UUID]) -> None:
    """Tick after tick: of one process, as by hand, or of all, as on schedule. Each is a unit, and in the log too."""

    @observed()
    async def turn(number: int) -> TickReport:  # noqa: ARG001 - is recorded
        return await stage(random.choice([None, *process_ids]))

    while True:
        number, done = next(NUMBERS), 0
        try:
            done = (await turn(number)).done
        except Exception as error:  # noqa: BLE001 - a failed tick is Prefect's to show; the next one comes all the same
            print(f"{ERROR} {stage.__name__} {type(error).__name__}: {str(error)[:300]!r}", flush=True)  # noqa: T201
        print(ENDED, os.getpid(), number, flush=True)  # noqa: T201
        await asyncio.sleep(random.uniform(0.02, 0.1) if done else random.uniform(0.3, 0.8))


async def _post_blindly(site: MyMoment, item: CommentToPost) -> str:
    """Posting with its first reading back taken out: what the harness must be able to catch."""
    page = await site.article(item.article_id)
    await posting._note_intent(item)
    await site.post_comment(item.article_id, item.text, csrf_token=page.csrf_token or "", hidden=item.hidden)
    return await posting._read_back(site, item, None, accepted=True, alike=0)
