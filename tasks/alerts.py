"""Alerts as Prefect tasks: say what is wrong, by an event each; tell it to whom it concerns."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event

from lib.alerts import delivery, store
from lib.alerts.causes import Cause, Kind
from lib.alerts.delivery import Delivered
from lib.monitoring import alarms
from lib.monitoring.health import Health
from lib.settings import Settings, settings
from tasks.units import task
from tasks.upkeep import opened_database

TAG = "pressroom"
KINDS: Mapping[str, Kind] = {
    "Failed": "flow_run.failed",
    "TimedOut": "flow_run.failed",
    "Crashed": "flow_run.crashed",
}
# Prefect calls the relay at once; a call that was lost is noticed within this time.
LOOK_BACK = timedelta(minutes=15)
AT_ONCE = timedelta(seconds=20)
MOST_RUNS = 200


@task(cache_policy=NO_CACHE)
async def raise_alarms(health: Health) -> list[str]:
    """Emit an event for everything wrong that has no alert yet, and close the alerts of what is over.

    Whether there is to be an alert is the automations' decision, which people switch on and off: until one has
    reported it back, each look emits it again. Returns the titles.
    """
    if not all(check.ok for check in health.checks if check.name == "database"):
        return []  # without it nothing could be recorded either
    failed = await _failed_runs(settings())
    async with opened_database() as database:
        causes = await alarms.find(settings(), database, health)
        async with database.session() as session:
            new = await store.follow(session, causes)
            new += await store.unreported(session, failed)
    for cause in new:
        emit(cause)
    return [cause.title for cause in new]


def emit(cause: Cause) -> None:
    noun, _, _ = cause.kind.partition(".")
    emit_event(
        event=f"pressroom.{cause.kind}",
        resource={"prefect.resource.id": f"pressroom.{noun}.{cause.subject}", "prefect.resource.name": cause.title},
        related=[{"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}],
        payload=cause.model_dump(mode="json"),
    )


async def _failed_runs(have: Settings) -> list[tuple[Cause, datetime]]:
    """The latest failure of each flow and kind, and when: Prefect calls a webhook once, even if nobody is there."""
    now = datetime.now(UTC)
    window = min(LOOK_BACK, timedelta(seconds=have.alert_quiet / 2))
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(KINDS))),
        end_time=FlowRunFilterEndTime(after_=now - window, before_=now - AT_ONCE),
    )
    found: dict[tuple[str, str, str], tuple[Cause, datetime]] = {}
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=ended, sort=FlowRunSort.END_TIME_DESC, limit=MOST_RUNS)
        for run in runs:
            cause = await _cause_of(client, run)
            found.setdefault(cause.key, (cause, run.end_time or now))
    return list(found.values())


async def _cause_of(client: PrefectClient, run: FlowRun) -> Cause:
    flow = await client.read_flow(run.flow_id)
    name, message = run.state_name or "Failed", (run.state.message if run.state else None) or "no message"
    kind = KINDS[name]
    return Cause(
        kind=kind,
        subject=flow.name,
        title=f"The flow {flow.name} {kind.removeprefix('flow_run.')}: {message}",
        details={"flow_run": run.name, "flow_run_id": str(run.id), "state": name, "message": message},
    )


@task(cache_policy=NO_CACHE)
async def delete_old_alerts() -> int:
    async with opened_database() as database, database.session() as session:
        return await store.delete_old(session, settings().keep_alerts_days)


@task(cache_policy=NO_CACHE)
async def deliver() -> Delivered:
    async with opened_database() as database:
        return await delivery.deliver(settings(), database)
