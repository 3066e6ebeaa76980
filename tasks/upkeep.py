"""Housekeeping as Prefect tasks: time limits, sessions, old records, health."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.settings import get_current_settings

from lib.database import Database
from lib.errors import Invalid
from lib.monitoring import health
from lib.monitoring.store import logins, processes
from lib.settings import settings


def _database() -> Database:
    url = settings().database_url
    if url is None:
        raise Invalid("PRESSROOM_DATABASE_URL is not set")
    return Database(url, pool_size=1)


@task(cache_policy=NO_CACHE)
async def stop_overdue_processes() -> list[str]:
    async with _database() as database, database.session() as session:
        return await processes.end_overdue(session)


@task(cache_policy=NO_CACHE)
async def end_expired_sessions() -> int:
    async with _database() as database, database.session() as session:
        return await logins.end_expired_sessions(session)


@task(cache_policy=NO_CACHE)
async def delete_old_sessions() -> int:
    async with _database() as database, database.session() as session:
        return await logins.delete_old_sessions(session, settings().keep_sessions_days)


@task(cache_policy=NO_CACHE)
async def delete_old_comments() -> int:
    async with _database() as database, database.session() as session:
        return await processes.delete_old_comments(session, settings().keep_comments_days)


@task(cache_policy=NO_CACHE)
async def examine() -> health.Health:
    async with _database() as database:
        return await health.examine(settings(), database, get_current_settings().api.url)
