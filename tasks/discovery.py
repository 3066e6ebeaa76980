"""Discovery as Prefect tasks: an index fetched once a login and query, then one batch a process."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.monitoring import discovery
from lib.monitoring.items import IndexQuery, ProcessRef, StageReport, Watch
from lib.monitoring.pages import Index
from lib.monitoring.runtime import runtime
from lib.monitoring.store import stages
from tasks.items import as_item_run


async def read_watches(processes: Sequence[ProcessRef]) -> Mapping[UUID, tuple[Watch, ...]]:
    """The logins whose turn it is, by process, read in one short session."""
    run = runtime()
    if not processes:
        return {}
    async with run.database.session() as session:
        found = await stages.due_watches(session, [process.id for process in processes])
    return {process.id: tuple(w for w in found if w.process_id == process.id) for process in processes}


@task(task_run_name="index of tab {query.tab}", cache_policy=NO_CACHE)
async def fetch_index(login_id: UUID, query: IndexQuery) -> Index:
    return await discovery.fetch_index(login_id, query)


@task(cache_policy=NO_CACHE)
async def discover_process(process: ProcessRef, watches: tuple[Watch, ...]) -> StageReport:
    """Look at the index with each login that is due, and save what is new in one batch."""
    fetch = as_item_run(fetch_index)
    with_tab = [watch for watch in watches if watch.query is not None]
    looks = await asyncio.gather(*(discovery.look(watch, fetch) for watch in with_tab))
    return await discovery.save(process, watches, looks)
