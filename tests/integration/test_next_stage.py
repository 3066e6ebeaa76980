"""A tick has the stages after its own started: what Prefect's server is asked for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flow_engine import run_flow
from prefect.states import Running

from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib.monitoring import nudges
from lib.monitoring.runtime import opened
from lib.monitoring.stages import Stage
from playground.serve import Running as Playground
from tasks import next_stage
from tasks import tick as ticks
from tests.integration.test_pipeline import fault
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
async def prefect() -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


async def deployed(client: PrefectClient, flow: Flow[..., object]) -> UUID:
    """Its deployment with a schedule far away, and with none of its runs."""
    flow_id = await client.create_flow_from_name(flow.name)
    schedule = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(days=365)), active=True)
    deployment_id = await client.create_deployment(flow_id, flow.name, schedules=[schedule])
    for run in await asked_for(client, deployment_id):
        await client.delete_flow_run(run.id)
    return deployment_id


async def asked_for(client: PrefectClient, deployment_id: UUID) -> list[FlowRun]:
    """Runs that were asked for, not those of the schedule."""
    found = await client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))
    return [run for run in found if not run.auto_scheduled]


@pytest.fixture
async def tick(prefect: PrefectClient) -> Callable[[Flow[..., object]], Awaitable[None]]:
    """Run a stage once, as a worker runs its deployment."""

    async def run(flow: Flow[..., object]) -> None:
        flow_run = await prefect.create_flow_run_from_deployment(await deployed(prefect, flow))
        await run_flow(flow, flow_run=flow_run, return_type="state")  # type: ignore[misc]

    return run


async def test_what_a_stage_makes_starts_the_next_one_once_and_nothing_made_starts_nothing(
    world: World, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    await world.process()
    preparation = await deployed(prefect, prepare_content_of_articles)
    generation = await deployed(prefect, generate_comments_for_articles)
    await tick(discover_articles)
    assert {row.status for row in await world.all_comments()} == {"discovered"}
    assert len(await asked_for(prefect, preparation)) == 1
    await tick(discover_articles)
    assert len(await asked_for(prefect, preparation)) == 1
    assert await asked_for(prefect, generation) == []
    posting = await deployed(prefect, post_comments_for_articles)
    await tick(prepare_content_of_articles)
    assert len(await asked_for(prefect, generation)) == 1
    # It is there, waiting, when the first comment is written.
    assert len(await asked_for(prefect, posting)) == 1


@dataclass
class Beside:
    """A tick that runs here. `takes`: it is about to claim what waits; `told`: how often it was told that there is."""

    takes: bool = False
    is_open: bool = True
    told: int = 0

    def tell(self, _: UUID) -> bool:
        self.told += 1
        return self.is_open


async def test_none_is_asked_for_while_a_tick_here_is_about_to_take_what_waits(
    world: World, playground: Playground, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    await world.comments(await world.process(), 1)
    preparation = await deployed(prefect, prepare_content_of_articles)
    fault(playground, "index", "latency", seconds=6, times=1)
    ticking = asyncio.create_task(tick(discover_articles))
    with nudges.catching_up("preparation", Beside(takes=True)):
        await asyncio.sleep(3)
        assert await asked_for(prefect, preparation) == []
    async with asyncio.timeout(20):
        while not await asked_for(prefect, preparation):
            await asyncio.sleep(0.1)
    assert not ticking.done()
    await ticking
    assert len(await asked_for(prefect, preparation)) == 1


async def test_a_tick_here_is_told_once_what_waits_and_what_it_does_not_take_is_asked_for(
    world: World, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    await world.comments(await world.process(), 1)
    preparation = await deployed(prefect, prepare_content_of_articles)
    closed, has_served_it = Beside(is_open=False), Beside()
    with nudges.catching_up("preparation", closed), nudges.catching_up("preparation", has_served_it):
        await tick(discover_articles)
    assert closed.told
    assert has_served_it.told
    assert len(await asked_for(prefect, preparation)) == 1


async def test_none_is_asked_for_when_a_tick_here_takes_what_it_is_told_of(
    world: World, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1)
    preparation = await deployed(prefect, prepare_content_of_articles)

    class Taking(Beside):
        def tell(self, _: UUID) -> bool:
            self.takes = True
            return True

    with nudges.catching_up("preparation", beside := Taking()):
        ticking = asyncio.create_task(tick(discover_articles))
        async with asyncio.timeout(20), opened(world.settings) as run:
            while not beside.takes:
                await asyncio.sleep(0.01)
            await ticks.claim(run, "preparation", process_id)
        beside.takes = False
        await ticking
    assert await asked_for(prefect, preparation) == []


async def test_a_tick_begins_with_its_items_when_the_later_stages_that_it_asked_for_are_here(
    world: World,
    prefect: PrefectClient,
    tick: Callable[[Flow[..., object]], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(next_stage, "HEAD_START", 60)
    await world.process()
    await tick(discover_articles)
    for flow in (generate_comments_for_articles, post_comments_for_articles):
        await deployed(prefect, flow)
    with nudges.polling() as asked:
        ticking = asyncio.create_task(tick(prepare_content_of_articles))
        await asked.wait()
        await asyncio.sleep(1)
        assert {row.status for row in await world.all_comments()} == {"discovered"}
        with nudges.ticking("generation"), nudges.ticking("posting"):
            await ticking
    assert {row.status for row in await world.all_comments()} == {"prepared"}


async def test_a_later_stage_is_awaited_from_the_moment_it_is_asked_for_until_it_has_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = [True], list[Stage]()

    async def ask(stage: Stage) -> bool:
        asked.append(stage)
        return answers[-1]

    async def becomes(expected: bool, is_awaiting: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while is_awaiting() is not expected:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(next_stage, "ask_for", ask)
    monkeypatch.setattr(next_stage, "HEAD_START", 60)
    monkeypatch.setattr(next_stage.deployment, "get_id", lambda: str(uuid4()))
    process_id = await world.process()
    async with opened(world.settings) as run:
        with nudges.polling():
            async with next_stage.started_when_needed(run, "discovery") as is_awaiting:
                assert not is_awaiting()
                await world.comments(process_id, 1)
                nudges.made("discovery", [process_id])
                await becomes(True, is_awaiting)
                with nudges.ticking("preparation"):
                    assert not is_awaiting()
                assert is_awaiting()
                answers.append(False)
                nudges.made("discovery", [process_id])
                await becomes(False, is_awaiting)
        assert set(asked) == {"preparation"}
        answers.append(True)
        async with next_stage.started_when_needed(run, "discovery") as is_awaiting:
            assert len(asked) > 2
            assert not is_awaiting()  # it will come to be elsewhere


async def test_a_stage_that_somebody_paused_is_not_started(
    world: World, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    await world.process()
    preparation = await deployed(prefect, prepare_content_of_articles)
    (schedule,) = await prefect.read_deployment_schedules(preparation)
    await prefect.update_deployment_schedule(preparation, schedule.id, active=False)
    await tick(discover_articles)
    assert {row.status for row in await world.all_comments()} == {"discovered"}
    assert await asked_for(prefect, preparation) == []
    await prefect.update_deployment_schedule(preparation, schedule.id, active=True)
    await prefect.pause_deployment(preparation)
    assert not await next_stage.ask_for("preparation")
    await prefect.resume_deployment(preparation)
    assert all(await asyncio.gather(*(next_stage.ask_for("preparation") for _ in range(3))))
    assert await next_stage.ask_for("preparation")
    (first,) = await asked_for(prefect, preparation)
    await prefect.set_flow_run_state(first.id, Running(), force=True)
    assert await next_stage.ask_for("preparation")
    assert len(await asked_for(prefect, preparation)) == 2


async def test_a_stage_that_cannot_be_started_is_left_to_its_schedule(
    world: World, prefect: PrefectClient, tick: Callable[[Flow[..., object]], Awaitable[None]]
) -> None:
    await world.process()
    await prefect.delete_deployment(await deployed(prefect, prepare_content_of_articles))
    await tick(discover_articles)
    assert {row.status for row in await world.all_comments()} == {"discovered"}
