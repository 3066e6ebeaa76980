"""What a worker puts right before it begins: what a worker that died left, and runs that nobody was there for."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

from lib.database import Database, will_pass
from lib.monitoring.store import stages
from lib.settings import Settings

LABEL = "prefect.worker.name"
# A run between being taken and being labelled is nobody's for a moment.
UNLABELLED_FOR = timedelta(seconds=60)
AT_ONCE = 8
EARLIEST = datetime.min.replace(tzinfo=UTC)
_PAGE = 200


async def orphans_of(client: PrefectClient, pool: str, me: str) -> list[FlowRun]:
    """What a dead worker of this pool left running. A run of this worker's own name is one of its predecessor's."""
    under_way = await _runs(client, pool, [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    if not under_way:
        return []
    workers = await client.read_workers_for_work_pool(pool)
    alive = {worker.name for worker in workers if worker.status == WorkerStatus.ONLINE} - {me}
    return [run for run in under_way if is_orphan(run, alive, datetime.now(UTC))]


async def mark_crashed(client: PrefectClient, orphans: Iterable[FlowRun]) -> None:
    """The last thing that is done about them: whoever is killed before it leaves them to be found again."""
    state: State[Any] = Crashed(message="The worker that ran it is gone.")
    await _each(client.set_flow_run_state(run.id, state, force=True) for run in orphans)


def is_orphan(run: FlowRun, alive: set[str], now: datetime) -> bool:
    """`alive`: the names of the other workers that are online."""
    owner = run.labels.get(LABEL)
    if owner is not None:
        return owner not in alive
    since = run.state.timestamp if run.state is not None else now
    return not alive or now - since > UNLABELLED_FOR


async def let_go(settings: Settings, orphans: Sequence[FlowRun], me: str) -> int:
    """Let others have at once what a predecessor of this name held; return how many stages that was.

    Without a database nothing happens: the leases end by themselves.
    """
    mine = [str(run.id) for run in orphans if run.labels.get(LABEL) == me]
    if not mine or settings.database_url is None:
        return 0
    try:
        async with Database(settings.database_url, pool_size=1) as database, database.session() as session:
            return await stages.let_go(session, mine)
    except Exception as error:
        if not will_pass(error):
            raise
        return 0


async def skip_late(client: PrefectClient, pool: str) -> int:
    """Of the scheduled runs whose time has passed, keep the newest of each deployment; return how many were skipped."""
    late = await _runs(client, pool, [StateType.SCHEDULED], before=datetime.now(UTC))
    skipped = superfluous(late)
    state: State[Any] = Cancelled(name="Skipped", message="Nothing was there to run it; a later one stands for it.")
    await _each(client.set_flow_run_state(run.id, state, force=True) for run in skipped)
    return len(skipped)


def superfluous(late: Iterable[FlowRun]) -> list[FlowRun]:
    """All but the newest of each deployment; what a person asked for stays."""
    by_deployment: defaultdict[UUID | None, list[FlowRun]] = defaultdict(list)
    for run in late:
        if run.auto_scheduled:
            by_deployment[run.deployment_id].append(run)
    skipped = []
    for runs in by_deployment.values():
        skipped += sorted(runs, key=lambda run: run.expected_start_time or EARLIEST)[:-1]
    return skipped


async def _runs(
    client: PrefectClient, pool: str, states: Sequence[StateType], before: datetime | None = None
) -> list[FlowRun]:
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))))
    if before is not None:
        wanted.expected_start_time = FlowRunFilterExpectedStartTime(before_=before)
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted,
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


async def _each(calls: Iterable[Awaitable[object]]) -> None:
    """A few at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[object]) -> None:
        async with gate:
            await call

    await asyncio.gather(*(one(call) for call in calls))
