"""Generation as Prefect tasks: one model call each."""

from prefect.cache_policies import NO_CACHE

from lib.errors import PressroomError
from lib.monitoring import generation
from lib.monitoring.items import CommentToGenerate, ProcessRef, StageReport
from lib.monitoring.turns import Outcome, Turns
from lib.units import failed
from tasks.items import as_item_run
from tasks.units import task


@task(task_run_name="generate for “{item.title}”", cache_policy=NO_CACHE)
async def generate_comment(item: CommentToGenerate) -> Outcome:
    return await generation.generate(item)


@task(task_run_name="generation of {process.name}", cache_policy=NO_CACHE)
async def generate_for_process(process: ProcessRef) -> StageReport:
    """Ask the process's provider, with a fair share of the calls that it takes at once."""
    try:
        have = await generation.providing(process.id)
    except PressroomError as error:
        failed(error)
        return StageReport(process.id, process.name, errors=(str(error),), note=str(error))
    writing = generation.Writing(process.id, have)
    report = await Turns(
        stage="generation",
        process=process,
        take=writing.take,
        do=as_item_run(generate_comment),
        slots=have.first.slots,
    ).run()
    return writing.noted(report)
