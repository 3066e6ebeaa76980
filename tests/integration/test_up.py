"""`pressroom up` as a person starts it: one command, everything real, in a data directory of its own."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from prefect import flow_engine, results
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.settings import PREFECT_API_URL, PREFECT_WORKER_QUERY_SECONDS, temporary_settings
from prefect.states import Cancelled, Cancelling, Running, Scheduled, Suspended
from sqlalchemy import text

from deployments import apply, automations, definitions, instance, limits, tidying
from deployments.in_process import InProcessWorker
from deployments.worker import worker_name
from lib.database import Database
from lib.monitoring import nudges
from lib.settings import Settings
from lib.settings import settings as read_settings
from tests.up import PATIENCE, Up, running_up, until

COMPONENTS = ("keys", "postgres", "playground", "demo", "prefect", "console", "worker", "deployments")
FLOW = """
import asyncio
from prefect import flow, task

@task
async def wait() -> None:
    await asyncio.sleep(0.1)

@flow
async def greet(name: str, seconds: float = 0, steps: int = 0) -> str:
    if name == "nobody":
        raise ValueError("nobody is there")
    for _ in range(steps):
        await wait()
    await asyncio.sleep(seconds)
    return f"Hello, {name}"
"""


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with running_up(Up) as running:
        yield running


@pytest.fixture
async def prefect(up: Up) -> AsyncIterator[PrefectClient]:
    with temporary_settings({PREFECT_API_URL: up.api, PREFECT_WORKER_QUERY_SECONDS: 0.3}):
        async with get_client() as client:
            yield client


async def eventually(true: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.1)


async def finished(client: PrefectClient, flow_run_id: UUID, seconds: float = PATIENCE) -> FlowRun:
    async with asyncio.timeout(seconds):
        while True:
            run = await client.read_flow_run(flow_run_id)
            if run.state is not None and run.state.is_final():
                return run
            await asyncio.sleep(0.2)


async def run_of(client: PrefectClient, name: str) -> FlowRun:
    deployment = await client.read_deployment_by_name(name)
    return await client.create_flow_run_from_deployment(deployment.id)


# What is up


def test_a_line_a_component_says_what_is_up_and_where(up: Up) -> None:
    lines = {line.split()[0]: line for line in up.said.splitlines()}
    assert set(COMPONENTS) <= set(lines), up.said
    for name, port in (("prefect", up.prefect), ("console", up.console), ("playground", up.playground)):
        assert f"http://127.0.0.1:{port}" in lines[name]
    assert str(up.data_dir) in lines["postgres"]
    assert f"{len(definitions.load().deployments)} created" in lines["deployments"]


# Before any test that kills or cancels what runs.
async def test_each_stage_ran_once_at_once_and_now_runs_on_its_schedule(prefect: PrefectClient) -> None:
    stages = {each.name for each in definitions.load().deployments if each.is_stage}
    completed = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])))

    async def both_happened() -> bool:
        runs = await prefect.read_flow_runs(flow_run_filter=completed, limit=200)
        at_once = {tag for run in runs if "at-start" in run.tags for tag in run.tags if tag.startswith("stage:")}
        return len(at_once) == len(stages) and any({"auto-scheduled", "stage:posting"} <= set(run.tags) for run in runs)

    await eventually(both_happened)


def test_the_parts_answer(up: Up) -> None:
    assert httpx.get(f"{up.api}/health", timeout=10).status_code == httpx.codes.OK
    assert httpx.get(f"http://127.0.0.1:{up.console}/healthz", timeout=10).status_code == httpx.codes.OK
    assert httpx.get(f"http://127.0.0.1:{up.prefect}/", timeout=10, follow_redirects=True).text.startswith("<!")


def test_another_command_finds_what_runs(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    record = up.data_dir / "run.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    for name in ("PREFECT_API_URL", "PRESSROOM_DATABASE_URL", "PRESSROOM_POST_INTERVAL"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRESSROOM_ALLOW_PRIVATE_ADDRESSES", "false")
    before = dict(os.environ)
    try:
        instance.connect_environment(Settings(data_dir=up.data_dir))
        assert os.environ["PREFECT_API_URL"] == up.api
        assert read_settings().database_url is not None
        assert read_settings().post_interval == 2
        assert not read_settings().allow_private_addresses, "what is set stays"
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        read_settings.cache_clear()


# What is refused


def test_a_second_one_on_the_same_data_directory_is_refused(up: Up) -> None:
    said = up.refused()
    assert f"process {up.supervisor.pid}" in said
    assert len(said.strip().splitlines()) == 1


def test_a_taken_port_is_named_with_its_setting(up: Up) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        said = up.refused(PRESSROOM_DATA_DIR=elsewhere)
        assert "PRESSROOM_CONSOLE_PORT" in said
        assert str(up.console) in said
        assert len(said.strip().splitlines()) == 1


# Deployments


@pytest.fixture
def product(up: Up) -> Settings:
    found = instance.read(up.data_dir)
    assert found is not None
    return Settings(
        data_dir=up.data_dir,
        database_url=found.environment["PRESSROOM_DATABASE_URL"],
        console_port=up.console,
        stage_interval=15,
    )


@pytest.mark.usefixtures("prefect")
async def test_a_second_deploy_changes_nothing(product: Settings) -> None:
    changes = await apply.deploy(product)
    assert {change.outcome for change in changes} == {"unchanged"}
    # The work pool and the webhook block beside them
    assert len(changes) == 2 + len(definitions.load().deployments) + len(automations.load())


async def test_a_deploy_sets_the_interval_and_leaves_a_paused_schedule_paused(
    prefect: PrefectClient, product: Settings
) -> None:
    async def schedule() -> tuple[bool, timedelta]:
        found = await prefect.read_deployment_by_name("discover_articles/discover_articles")
        return found.schedules[0].active, found.schedules[0].schedule.interval  # type: ignore[union-attr]

    found = await prefect.read_deployment_by_name("discover_articles/discover_articles")
    await prefect.update_deployment_schedule(found.id, found.schedules[0].id, active=False)
    changed = await apply.deploy(product.model_copy(update={"stage_interval": 20}))
    assert sum(change.outcome == "updated" for change in changed) == 4
    assert await schedule() == (False, timedelta(seconds=20))
    await apply.deploy(product)
    assert await schedule() == (False, timedelta(seconds=15))
    await prefect.update_deployment_schedule(found.id, found.schedules[0].id, active=True)


@pytest.mark.usefixtures("prefect")
@pytest.mark.usefixtures("prefect")
async def test_prefects_own_deploy_command_understands_the_file(up: Up) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = up.environment | {"PREFECT_API_URL": up.api, "PREFECT_HOME": str(up.data_dir / "other")}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=definitions.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    settings = Settings(database_url=None, data_dir=up.data_dir, console_port=up.console)
    again = await apply.deploy(settings)
    deployed = [change for change in again if change.kind == "deployment"]
    assert {change.outcome for change in deployed} == {"unchanged"}
    await apply.deploy(settings.model_copy(update={"stage_interval": 15}))


async def test_a_limit_that_people_set_stays(prefect: PrefectClient) -> None:
    one, other = UUID(int=1), UUID(int=2)
    await prefect.create_concurrency_limit(limits.tag_of(one), 9)
    assert await limits.ensure_limits(prefect, [one, other]) == [other]
    assert (await prefect.read_concurrency_limit_by_tag(limits.tag_of(one))).concurrency_limit == 9
    assert (await prefect.read_concurrency_limit_by_tag(limits.tag_of(other))).concurrency_limit == 4
    for id_ in (one, other):
        await prefect.delete_concurrency_limit_by_tag(limits.tag_of(id_))


async def test_a_process_worker_runs_the_same_flows(up: Up, prefect: PrefectClient) -> None:
    pool = "containers"
    await apply._ensure_pool(prefect, pool, "process")
    stage = next(each for each in definitions.load().deployments if each.name == "enforce_time_limits")
    flow_id = await prefect.create_flow_from_name("enforce_time_limits")
    deployment = await prefect.create_deployment(
        flow_id,
        "in-a-process",
        entrypoint=stage.entrypoint,
        work_pool_name=pool,
        pull_steps=definitions.load().pull,
    )
    run = await prefect.create_flow_run_from_deployment(deployment)
    found = instance.read(up.data_dir)
    assert found is not None
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--run-once"),
        cwd=definitions.ROOT,
        env=up.environment | found.environment | {"PATH": path, "PREFECT_HOME": str(up.data_dir / "other")},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert (await finished(prefect, run.id)).state_type == StateType.COMPLETED
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.terminate()
        await worker.wait()


# The worker in its own process


@pytest.fixture
async def worker(prefect: PrefectClient, tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    (tmp_path / "greeting.py").write_text(FLOW)
    await apply._ensure_pool(prefect, "greetings", "pressroom")
    flow_id = await prefect.create_flow_from_name("greet")
    await prefect.create_deployment(
        flow_id, "greet", entrypoint="greeting.py:greet", work_pool_name="greetings", parameters={"name": "world"}
    )
    worker = InProcessWorker(work_pool_name="greetings", name="tester", limit=5, root=tmp_path)
    working = asyncio.create_task(worker.start(printer=lambda *_: None))
    yield worker
    await worker.cancel_all("The test is over.")
    working.cancel()
    await asyncio.wait({working})
    sys.modules.pop("greeting", None)
    sys.path.remove(str(tmp_path))


async def ask_greeting(client: PrefectClient, **parameters: object) -> FlowRun:
    deployment = await client.read_deployment_by_name("greet/greet")
    return await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


async def started(worker: InProcessWorker, client: PrefectClient, run: FlowRun) -> None:
    async def is_running() -> bool:
        return worker.running > 0 and (await client.read_flow_run(run.id)).state_type == StateType.RUNNING

    await eventually(is_running)


@pytest.mark.usefixtures("worker")
async def test_the_worker_runs_flows_with_their_parameters(prefect: PrefectClient) -> None:
    good, bad = await ask_greeting(prefect), await ask_greeting(prefect, name="nobody")
    assert (await finished(prefect, good.id)).state_type == StateType.COMPLETED
    failed = await finished(prefect, bad.id)
    assert failed.state_type == StateType.FAILED
    assert "nobody is there" in (failed.state.message or "" if failed.state else "")


async def test_a_run_that_was_asked_for_here_does_not_wait_for_the_next_poll(
    worker: InProcessWorker, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_now(_: InProcessWorker) -> list[FlowRun]:
        return []

    monkeypatch.setattr(InProcessWorker, "get_and_submit_flow_runs", not_now)  # as between two polls
    polling = asyncio.create_task(worker.poll_when_asked())
    run = await ask_greeting(prefect)
    await asyncio.sleep(0.5)
    assert (await prefect.read_flow_run(run.id)).state_type == StateType.SCHEDULED
    nudges.asked_for_a_run()
    assert (await finished(prefect, run.id)).state_type == StateType.COMPLETED
    polling.cancel()


async def fetched_early(worker: InProcessWorker, client: PrefectClient, seconds: float) -> FlowRun:
    """A run that is to begin in so many seconds, and waits for it in the worker."""
    deployment = await client.read_deployment_by_name("greet/greet")
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    run = await client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=at))
    await worker._submit_scheduled_flow_runs(
        [WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run)]
    )

    async def is_pending() -> bool:
        return (await client.read_flow_run(run.id)).state_type == StateType.PENDING

    await eventually(is_pending)
    assert worker.running == 0
    return run


async def test_a_run_that_was_fetched_early_begins_when_its_time_comes(
    worker: InProcessWorker, prefect: PrefectClient
) -> None:
    run = await fetched_early(worker, prefect, 4)
    ended = await finished(prefect, run.id)
    assert ended.state_type == StateType.COMPLETED
    assert ended.start_time is not None
    assert ended.expected_start_time is not None
    assert 0 <= ended.start_time.timestamp() - ended.expected_start_time.timestamp() < 5


async def test_a_run_that_is_cancelled_before_its_time_never_begins(
    worker: InProcessWorker, prefect: PrefectClient
) -> None:
    run = await fetched_early(worker, prefect, 3)
    await prefect.set_flow_run_state(run.id, Cancelled(), force=True)
    await asyncio.sleep(4)
    states = [state.type for state in await prefect.read_flow_run_states(run.id)]
    assert states[-1] == StateType.CANCELLED
    assert StateType.RUNNING not in states
    assert worker.running == 0


async def test_a_worker_that_stops_cancels_what_waits_for_its_time(
    worker: InProcessWorker, prefect: PrefectClient
) -> None:
    run = await fetched_early(worker, prefect, 600)
    await worker.cancel_all("The test is over.")
    assert (await prefect.read_flow_run(run.id)).state_type == StateType.CANCELLED


async def test_an_answer_to_a_poll_that_is_older_than_a_run_starts_nothing_twice(
    worker: InProcessWorker, prefect: PrefectClient
) -> None:
    run = await ask_greeting(prefect, seconds=600)
    await started(worker, prefect, run)
    old = WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run)
    assert await worker._submit_scheduled_flow_runs([old]) == []
    assert worker.running == 1
    await prefect.set_flow_run_state(run.id, Cancelling())
    assert (await finished(prefect, run.id)).state_type == StateType.CANCELLED


@pytest.mark.usefixtures("worker")
async def test_a_server_that_cannot_answer_costs_a_run_its_turn_and_nothing_else(
    prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose, refused = PrefectClient.set_flow_run_state, []

    async def refuse_once(client: PrefectClient, flow_run_id: UUID, *args: Any, **more: Any) -> object:
        if refused:
            return await propose(client, flow_run_id, *args, **more)
        refused.append(flow_run_id)
        raise httpx.ReadError("the server is in trouble")

    assert (await finished(prefect, (await ask_greeting(prefect)).id)).state_type == StateType.COMPLETED
    monkeypatch.setattr(PrefectClient, "set_flow_run_state", refuse_once)
    run = await ask_greeting(prefect)
    assert (await finished(prefect, run.id)).state_type == StateType.COMPLETED
    assert refused


async def test_a_run_that_is_cancelled_ends_cancelled_and_never_crashed(
    worker: InProcessWorker, prefect: PrefectClient
) -> None:
    run = await ask_greeting(prefect, seconds=600)
    await started(worker, prefect, run)
    await prefect.set_flow_run_state(run.id, Cancelling())
    assert (await finished(prefect, run.id)).state_type == StateType.CANCELLED

    async def is_idle() -> bool:
        return worker.running == 0

    await eventually(is_idle)
    states = [state.type for state in await prefect.read_flow_run_states(run.id)]
    assert StateType.CRASHED not in states
    assert states[-1] == StateType.CANCELLED


async def test_a_run_that_is_suspended_stops_at_its_next_task(worker: InProcessWorker, prefect: PrefectClient) -> None:
    run = await ask_greeting(prefect, steps=6000)
    await started(worker, prefect, run)
    await prefect.set_flow_run_state(run.id, Suspended())

    async def is_idle() -> bool:
        return worker.running == 0

    await eventually(is_idle)
    left = await prefect.read_flow_run(run.id)
    assert left.state is not None
    assert left.state.name == "Suspended"


@pytest.mark.usefixtures("worker")
async def test_no_run_holds_up_the_loop_that_all_share(prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine waits for the server within the loop, or asks it with a client that blocks."""
    held_up = []
    for module, name in (
        (flow_engine, "observe_flow_run_suspension"),
        (results, "_read_server_default_result_storage_block_id"),
    ):
        original = getattr(module, name)

        def noted(*args: Any, _name: str = name, _original: Callable[..., Any] = original) -> Any:
            held_up.append(_name)
            return _original(*args)

        monkeypatch.setattr(module, name, noted)
    run = await ask_greeting(prefect)
    assert (await finished(prefect, run.id)).state_type == StateType.COMPLETED
    assert held_up == []


async def test_a_worker_that_stops_leaves_nothing_running(worker: InProcessWorker, prefect: PrefectClient) -> None:
    run = await ask_greeting(prefect, seconds=600)
    await started(worker, prefect, run)
    await worker.cancel_all("The worker was stopped.")
    ended = await finished(prefect, run.id, 5)
    assert ended.state is not None
    assert (ended.state.type, ended.state.message) == (StateType.CANCELLED, "The worker was stopped.")


# What happens to it


def test_a_child_that_dies_is_started_again_and_that_is_said(up: Up) -> None:
    before = up.child("console")
    before.kill()
    assert until(lambda: "console      runs again" in up.said), up.said
    assert "console      was killed by SIGKILL; starting it again in 1 s" in up.said
    assert up.child("console").pid != before.pid
    assert httpx.get(f"http://127.0.0.1:{up.console}/healthz", timeout=10).status_code == httpx.codes.OK


async def test_everything_works_again_after_postgres_was_killed(up: Up, prefect: PrefectClient) -> None:
    up.child("postgres").send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(until, lambda: "postgres     runs again" in up.said), up.said
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                run = await run_of(prefect, "enforce_time_limits/enforce_time_limits")
                if (await finished(prefect, run.id, 20)).state_type == StateType.COMPLETED:
                    break
            await asyncio.sleep(0.5)


async def test_a_worker_that_was_killed_comes_back_and_clears_up(
    up: Up, prefect: PrefectClient, product: Settings
) -> None:
    deployment = await prefect.read_deployment_by_name("check_health/check_health")
    lost = await prefect.create_flow_run_from_deployment(deployment.id, state=Scheduled())
    await prefect.update_flow_run_labels(lost.id, {tidying.LABEL: worker_name(product)})
    up.child("worker").kill()
    await prefect.set_flow_run_state(lost.id, Running(), force=True)
    hold = (
        "UPDATE monitoring_process_stages SET claim_token = gen_random_uuid(), flow_run_id = :run,"
        " lease_expires_at = now() + interval '1 hour' WHERE stage = 'discovery'"
    )
    async with Database(product.database_url or "") as database, database.session() as session:
        await session.execute(text(hold), {"run": str(lost.id)})
    assert await asyncio.to_thread(until, lambda: "worker       runs again" in up.said), up.said
    assert (await finished(prefect, lost.id)).state_type == StateType.CRASHED
    held = "SELECT count(*) FROM monitoring_process_stages WHERE lease_expires_at > now() + interval '30 min'"
    async with Database(product.database_url or "") as database, database.session() as session:
        assert await session.scalar(text(held)) == 0


def test_sigterm_stops_everything_within_ten_seconds(up: Up) -> None:
    family = up.family()
    began = time.monotonic()
    up.supervisor.terminate()
    assert up.supervisor.wait(20) == 0, up.said
    assert time.monotonic() - began < 10
    assert not living(family)
    assert not (up.data_dir / "run.json").exists()


def test_it_starts_again_after_everything_was_killed(up: Up) -> None:
    up.start()
    family = up.family()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    up.supervisor.wait(5)
    assert until(lambda: not living(family), 10)
    record = json.loads((up.data_dir / "run.json").read_text())
    assert record["supervisor"]["pid"] == up.supervisor.pid
    up.start()
    assert f"{len(definitions.load().deployments)} unchanged" in up.said


def test_a_second_signal_stops_it_at_once(up: Up) -> None:
    family = up.family()
    up.supervisor.send_signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    up.supervisor.send_signal(signal.SIGINT)
    assert up.supervisor.wait(5) in {0, 130}
    assert time.monotonic() - began < 3
    assert until(lambda: not living(family), 5)
