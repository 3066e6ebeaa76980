"""Comparison as Prefect tasks: one model call each."""

from uuid import UUID

from prefect.cache_policies import NO_CACHE

from lib.monitoring import comparison
from lib.monitoring.comparison import Report
from lib.monitoring.runtime import opened
from lib.monitoring.store.comparisons import AnswerToGet
from tasks.items import as_item_run
from tasks.units import task


@task(task_run_name="compare on “{item.title}”", cache_policy=NO_CACHE)
async def get_answer(item: AnswerToGet) -> str | None:
    return await comparison.answer(item)


async def run_comparison(comparison_id: UUID) -> Report:
    async with opened():
        return await comparison.run(comparison_id, as_item_run(get_answer))
