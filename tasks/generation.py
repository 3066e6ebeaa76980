"""Generation as Prefect tasks: one model call each."""

from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.errors import PressroomError
from lib.monitoring import generation
from lib.monitoring.items import CommentToGenerate, ProcessRef, StageReport
from lib.monitoring.turns import Outcome, Turns
from tasks.items import as_item_run


@task(task_run_name="generate for “{item.title}”", cache_policy=NO_CACHE)
async def generate_comment(item: CommentToGenerate) -> Outcome:
    return await generation.generate(item)


@task(cache_policy=NO_CACHE)
async def generate_for_process(process: ProcessRef) -> StageReport:
    """Ask the process's provider, with a fair share of the calls that it takes at once."""
    try:
        provider = await generation.provider_of(process.id)
    except PressroomError as error:
        return StageReport(process.id, process.name, errors=(str(error),), note=str(error))
    return await Turns(
        stage="generation",
        process=process,
        take=partial(generation.take, process.id, provider.id, provider.limit),
        do=as_item_run(generate_comment),
        at_once=provider.limit,
        slots=provider.slots,
    ).run()
