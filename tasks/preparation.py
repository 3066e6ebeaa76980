"""Preparation as Prefect tasks: one article page each."""

import asyncio
from functools import partial

from prefect.cache_policies import NO_CACHE

from lib.monitoring import preparation
from lib.monitoring.items import ArticleToPrepare, ProcessRef, StageReport
from lib.monitoring.runtime import runtime
from lib.monitoring.turns import Outcome, Turns
from tasks.items import as_item_run
from tasks.units import task


@task(task_run_name="prepare “{item.title}”", cache_policy=NO_CACHE)
async def prepare_article(item: ArticleToPrepare) -> Outcome:
    return await preparation.prepare(item)


@task(task_run_name="preparation of {process.name}", cache_policy=NO_CACHE)
async def prepare_process(process: ProcessRef) -> StageReport:
    """Fetch the pages that wait, a few at once."""
    return await Turns(
        stage="preparation",
        process=process,
        take=partial(preparation.take, process.id),
        do=as_item_run(prepare_article),
        slots=asyncio.Semaphore(runtime().settings.preparation_concurrency),
    ).run()
