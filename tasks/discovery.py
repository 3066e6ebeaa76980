"""Discovery as Prefect tasks: an index fetched once a login and query, then one batch a process."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from lib.monitoring import discovery
from lib.monitoring.discovery import Look
from lib.monitoring.items import ProcessRef, StageReport, Watch
from lib.monitoring.runtime import runtime
from lib.monitoring.store import stages
from tasks.items import as_item_run
from tasks.units import task


async def read_watches(processes: Sequence[ProcessRef], *, due: bool) -> Mapping[UUID, tuple[Watch, ...]]:
    """The logins by process, with `due` those whose turn it is, read in one short session."""
    ids = [process.id for process in processes]
    found = await runtime().database.run_transaction(partial(stages.watches, process_ids=ids, due=due))
    return {process.id: tuple(w for w in found if w.process_id == process.id) for process in processes}


@task(task_run_name="look at tab {watch.query.tab}", cache_policy=NO_CACHE)
async def look_at_index(watch: Watch) -> Look:
    return await discovery.look(watch)


@task(task_run_name="discovery of {process.name}", cache_policy=NO_CACHE)
async def discover_process(process: ProcessRef, watches: tuple[Watch, ...]) -> StageReport:
    """Look at the index with each login that is due, and save what is new in one batch.

    Most looks find nothing, so they are task runs only where the process has one.
    """
    look = as_item_run(look_at_index) if task_run.get_id() else look_at_index.fn
    looks = await asyncio.gather(*(look(watch) for watch in watches if watch.query is not None))
    return await discovery.save(process, watches, looks)
