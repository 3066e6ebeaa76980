"""Posting as Prefect tasks: one comment each, one at a time for a login."""

import asyncio
from functools import partial
from uuid import UUID

from prefect.cache_policies import NO_CACHE

from lib.monitoring import posting
from lib.monitoring.items import CommentToPost, ProcessRef, StageReport
from lib.monitoring.turns import Outcome, Turns, merged
from tasks.items import as_item_run
from tasks.units import task


@task(task_run_name="post on “{item.title}”", cache_policy=NO_CACHE)
async def post_comment(item: CommentToPost) -> Outcome:
    return await posting.post(item)


@task(task_run_name="posting of {process.name}", cache_policy=NO_CACHE)
async def post_for_process(process: ProcessRef) -> StageReport:
    """Post with every login of the process at once, each at its own pace."""
    logins = await posting.logins_of(process.id)
    return merged(process, await asyncio.gather(*(_post_with(process, login_id) for login_id in logins)))


async def _post_with(process: ProcessRef, login_id: UUID) -> StageReport:
    return await Turns(
        stage="posting",
        process=process,
        take=partial(posting.take, process.id, login_id),
        do=as_item_run(post_comment),
        slots=asyncio.Semaphore(1),
    ).run()
