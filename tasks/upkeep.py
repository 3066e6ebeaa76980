"""Housekeeping as Prefect tasks: time limits, sessions, old records, health."""

from prefect.cache_policies import NO_CACHE
from prefect.deployments import arun_deployment
from prefect.settings import get_current_settings

from lib.database import Database
from lib.errors import Invalid
from lib.monitoring import health
from lib.monitoring.stages import Stage
from lib.monitoring.store import comparisons, history, hopeless, logins, processes, stages
from lib.settings import settings
from lib.taskwatch import upkeep
from lib.taskwatch.store import retention
from tasks.next_stage import ask_for
from tasks.units import task


def opened_database() -> Database:
    url = settings().database_url
    if url is None:
        raise Invalid("PRESSROOM_DATABASE_URL is not set")
    return Database(url, pool_size=1)


@task(cache_policy=NO_CACHE)
async def stop_overdue_processes() -> list[str]:
    """And fail those that can never work any more."""
    async with opened_database() as database, database.session() as session:
        return [*await processes.end_overdue(session), *await hopeless.fail_hopeless(session)]


@task(cache_policy=NO_CACHE)
async def find_abandoned_stages() -> list[Stage]:
    async with opened_database() as database, database.session() as session:
        return await stages.abandoned_stages(session)


@task(task_run_name="start {stage}", cache_policy=NO_CACHE)
async def start_stage(stage: Stage) -> None:
    await ask_for(stage)


@task(cache_policy=NO_CACHE)
async def restart_abandoned_comparisons() -> int:
    """Ask Prefect for a run of each comparison whose worker died; return how many."""
    async with opened_database() as database, database.session() as session:
        found = await comparisons.abandoned(session)
    for comparison_id in found:
        parameters = {"comparison_id": str(comparison_id)}
        await arun_deployment("compare_templates/compare_templates", parameters=parameters, timeout=0, as_subflow=False)
    return len(found)


@task(cache_policy=NO_CACHE)
async def end_expired_sessions() -> int:
    async with opened_database() as database, database.session() as session:
        return await logins.end_expired_sessions(session)


@task(cache_policy=NO_CACHE)
async def delete_old_sessions() -> int:
    async with opened_database() as database, database.session() as session:
        return await logins.delete_old_sessions(session, settings().keep_sessions_days)


@task(cache_policy=NO_CACHE)
async def delete_old_comments() -> int:
    async with opened_database() as database, database.session() as session:
        return await processes.delete_old_comments(session, settings().keep_comments_days)


@task(cache_policy=NO_CACHE)
async def thin_out_history() -> int:
    async with opened_database() as database, database.session() as session:
        return await history.thin_out(session)


@task(cache_policy=NO_CACHE)
async def tidy_up_task_records() -> upkeep.Tidied:
    async with opened_database() as database:
        return await upkeep.tidy_up(database)


@task(cache_policy=NO_CACHE)
async def delete_old_task_records() -> int:
    """Drop the days that are too old, exported first where the settings say so; return how many records that was."""
    have = settings()
    async with opened_database() as database:
        dropped = await retention.drop_expired(database, have.task_log_retention_days, have.task_log_export_dir)
    return dropped.records


@task(cache_policy=NO_CACHE)
async def examine() -> health.Health:
    async with opened_database() as database:
        return await health.examine(settings(), database, get_current_settings().api.url)
