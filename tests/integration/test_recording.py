"""Every unit of a real run leaves its record, and no trouble of the database reaches the work."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import Flow, State, Task
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from sqlalchemy import text

from deployments import in_process
from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib import postgres, units
from lib.database import Database
from lib.errors import Transient
from lib.settings import Settings
from lib.taskwatch import recorder, spill, writer
from lib.taskwatch.recorder import Recorder
from lib.taskwatch.store import writing
from lib.taskwatch.writer import Writer
from lib.units import observed
from lib.work import new_id
from playground.serve import Running
from tasks.units import flow, task
from tests.world import World

FLOWS = (
    discover_articles,
    prepare_content_of_articles,
    generate_comments_for_articles,
    post_comments_for_articles,
)
NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:9/nothing"
# Statements whose first event is older than the last one of the statement before.
DISORDER = """SELECT count(*) FROM (
    SELECT first, lag(last) OVER (ORDER BY seq) AS before FROM (
        SELECT min(seq) AS seq, min(at) AS first, max(at) AS last FROM task_events GROUP BY xmin::text
    ) statements
) pairs WHERE first < before - interval '50 milliseconds'"""

Record = dict[str, Any]


async def records(database: Database, **where: Any) -> list[Record]:
    """In the order of their making, once all are written."""
    await asyncio.to_thread(recorder.stop)
    return await written(database, **where)


async def written(database: Database, **where: Any) -> list[Record]:
    query = "SELECT * FROM task_execution_logs ORDER BY created_at, id"
    async with database.session() as session:
        rows = (await session.execute(text(query))).mappings().all()
    return [dict(row) for row in rows if all(row[name] == value for name, value in where.items())]


async def number(database: Database, query: str) -> int:
    async with database.session() as session:
        return int(await session.scalar(text(query)) or 0)


# A real run


@pytest.mark.usefixtures("prefect_server", "recording")
@pytest.mark.parametrize("item_runs", ["true", "false"])
async def test_every_unit_of_the_four_flows_leaves_its_record(
    world: World, monkeypatch: pytest.MonkeyPatch, item_runs: str
) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", item_runs)
    process_id = await world.process("watch {braces}")
    for stage in FLOWS:
        await stage()
    found = await records(world.database)
    comments = {row.id: row for row in await world.all_comments()}
    assert comments
    assert {record["status"] for record in found} == {"success"}
    by_id = {record["id"]: record for record in found}
    names = [
        (by_id[record["parent_id"]]["task_name"] if record["parent_id"] else None, record["task_name"], record["kind"])
        for record in found
    ]
    each = len(comments)
    assert len(found) == 10 + 4 * each
    assert names.count((None, "discover_articles", "flow")) == 1
    assert names.count(("discover_articles", "discover_process", "stage")) == 1
    assert names.count(("discover_process", "look_at_index", "item")) == 1
    assert names.count(("look_at_index", "log_in", "step")) == 1
    assert names.count(("prepare_process", "prepare_article", "item")) == each
    assert names.count(("generate_for_process", "generate_comment", "item")) == each
    assert names.count(("post_for_process", "post_comment", "item")) == each
    assert names.count(("post_comment", "read_back", "step")) == each
    stages = {record["run_name"] for record in found if record["kind"] == "stage"}
    assert stages == {f"{stage} of watch {{braces}}" for stage in ("discovery", "preparation", "generation", "posting")}
    items = [record for record in found if record["item_id"]]
    assert {record["item_id"] for record in items} == comments.keys()
    assert {record["attempt"] for record in items} == {1}
    assert all(comments[record["item_id"]].article_title in record["run_name"] for record in items)
    its_own = {"flow", "stage", "item"} if item_runs == "true" else {"flow", "stage"}
    assert {record["kind"] for record in found if record["task_id"] != str(record["id"])} == its_own
    assert await number(world.database, "SELECT newest FROM task_event_counter") == 2 * len(found)
    await whose_they_are(world, process_id, found)


async def whose_they_are(world: World, process_id: UUID, found: list[Record]) -> None:
    owner, flow_runs = await world.user(), set()
    for record in found:
        assert record["created_at"] <= record["started_at"] <= record["completed_at"]
        assert record["duration_ms"] >= 0
        if record["kind"] == "flow":
            flow_runs.add(record["flow_run_id"])
            assert record["task_id"] == str(record["flow_run_id"])
        else:
            assert (record["process_id"], record["owner_id"]) == (process_id, owner)
    assert {record["flow_run_id"] for record in found} == flow_runs
    assert len(flow_runs) == len(FLOWS)
    said = str([record["parameters"] for record in found])
    assert "'token': '…'" in said
    assert "demo-ki-bot" not in said


@pytest.mark.usefixtures("prefect_server", "recording")
async def test_a_failure_has_its_traceback_and_the_next_attempt_its_number(
    world: World, playground: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")
    process_id = await world.process()
    await discover_articles()
    fault = {"route": "article", "kind": "status", "status": 503, "times": None}
    async with httpx.AsyncClient(base_url=playground.url) as site:
        (await site.post("/control/faults", json=fault)).raise_for_status()
    await prepare_content_of_articles()
    await world.look_again()
    await prepare_content_of_articles()
    found = await records(world.database, task_name="prepare_article")
    wrong = next(record for record in found if record["status"] == "failed")
    assert wrong["attempt"] == 1
    assert wrong["error_type"] == "Transient"
    assert wrong["error_message"]
    assert "Transient" in wrong["error_traceback"]
    assert wrong["place"] == "lib/http.py:raise_for_trouble"
    assert len(wrong["fingerprint"]) == 16
    assert wrong["process_id"] == process_id
    same = [record for record in found if record["item_id"] == wrong["item_id"]]
    assert len(same) > 1
    assert [record["attempt"] for record in same] == list(range(1, len(same) + 1))
    (stage,) = [r for r in await written(world.database, task_name="prepare_process") if r["id"] == wrong["parent_id"]]
    assert stage["status"] == "failed"
    assert wrong["error_message"] in stage["error_message"]


@pytest.mark.usefixtures("prefect_server", "recording")
async def test_a_refused_log_in_is_a_failed_step_and_a_failed_look(world: World) -> None:
    await world.process(logins=[await world.login(password="wrong")])
    await discover_articles()
    found = {record["task_name"]: record for record in await records(world.database)}
    assert {name: record["status"] for name, record in found.items()} == {
        "discover_articles": "success",
        "discover_process": "failed",
        "look_at_index": "failed",
        "log_in": "failed",
    }
    assert found["look_at_index"]["error_type"] == found["log_in"]["error_type"] == "Refused"
    assert "wrong" not in str(found["log_in"]["parameters"])


# Prefect stays as it is


@task(task_run_name="square {number}")
async def square(number: int) -> int:
    return number * number


@task(retries=1, retry_delay_seconds=0)
async def stumble_once(tries: list[int]) -> int:
    tries.append(1)
    if len(tries) == 1:
        raise Transient("not yet")
    return len(tries)


@flow(name="arithmetic")
async def arithmetic() -> tuple[int, int, str]:
    seen = square.with_options(task_run_name="square of {number}")
    state: State[int] = await square(4, return_state=True)
    return await seen(3), await stumble_once([]), await state.aresult()


async def known(client: PrefectClient, task_run_id: UUID) -> TaskRun:
    """Prefect hears of a task run some time after it."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await client.read_task_run(task_run_id)
            except ObjectNotFound:
                await asyncio.sleep(0.2)


@pytest.mark.usefixtures("prefect_server", "recording")
async def test_names_results_states_and_retries_are_prefects(database: Database) -> None:
    assert await arithmetic() == (9, 2, 16)
    found = await records(database)
    assert [(record["task_name"], record["run_name"], record["status"]) for record in found[1:]] == [
        ("square", "square 4", "success"),
        ("square", "square of 3", "success"),
        ("stumble_once", "stumble_once", "failed"),
        ("stumble_once", "stumble_once", "success"),
    ]
    async with get_client() as client:
        runs = [await known(client, UUID(record["task_id"])) for record in found[1:]]
        flow_run = await client.read_flow_run(found[0]["flow_run_id"])
    assert [run.name for run in runs[:2]] == ["square 4", "square of 3"]
    assert runs[2].id == runs[3].id
    assert flow_run.name == found[0]["run_name"]
    assert {record["flow_run_id"] for record in found} == {flow_run.id}


def test_what_prefect_knows_a_task_and_a_flow_by_is_their_functions() -> None:
    plain = Task(square.fn.__wrapped__)  # type: ignore[attr-defined]
    assert (square.name, square.task_key) == (plain.name, plain.task_key)
    assert square.with_options(retries=2).task_key == plain.task_key
    assert type(square.with_options(retries=2)) is type(square)
    same = Flow(discover_articles.fn.__wrapped__, name="discover_articles")  # type: ignore[attr-defined]
    assert (same.version, same._entrypoint) == (discover_articles.version, discover_articles._entrypoint)
    assert same.parameters == discover_articles.parameters


def test_a_function_that_is_not_async_is_refused() -> None:
    def plain() -> None:
        """Holds up every other run."""

    with pytest.raises(TypeError, match="not async"):
        task(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not async"):
        flow(plain)  # type: ignore[arg-type]


@flow
async def waits_for_long() -> None:
    await hold()


@task
async def hold() -> None:
    await asyncio.sleep(60)


@pytest.mark.usefixtures("prefect_server", "recording")
async def test_what_is_cancelled_has_failed_as_cancelled(database: Database) -> None:
    running = asyncio.create_task(waits_for_long())
    async with asyncio.timeout(60):
        while not [r for r in await written(database) if (r["task_name"], r["status"]) == ("hold", "running")]:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait({running})
    found = await records(database)
    assert {(record["status"], record["error_type"]) for record in found} == {("failed", "Cancelled")}


@pytest.mark.usefixtures("recording")
async def test_a_task_waits_from_its_call_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a slot of its tag: the engine comes to the function when it may."""
    gate = asyncio.Event()

    async def engine(self: Task[..., Any], *args: Any, **kwargs: Any) -> Any:
        await gate.wait()
        return await self.fn(*args, **kwargs)

    monkeypatch.setattr(Task, "__call__", engine)
    calling = asyncio.create_task(square(5))
    async with asyncio.timeout(30):
        while not (found := await written(database)):
            await asyncio.sleep(0.02)
    assert [(record["status"], record["started_at"]) for record in found] == [("pending", None)]
    assert found[0]["parameters"] == {"number": 5}
    gate.set()
    assert await calling == 25
    (record,) = await records(database)
    assert record["status"] == "success"
    assert record["parameters"] == {"number": 5}


@pytest.mark.usefixtures("recording")
async def test_a_run_that_the_worker_takes_up_waits_until_its_function_begins(database: Database) -> None:
    run = FlowRun(flow_id=new_id(), name="brave-panda", parameters={"process_id": None})
    with in_process._noted(arithmetic, run):
        await asyncio.sleep(0)
    (record,) = await records(database)
    assert (record["kind"], record["run_name"], record["flow_run_id"]) == ("flow", "brave-panda", run.id)
    assert (record["status"], record["error_type"]) == ("failed", "NotBegun")


async def test_recording_can_be_off(world: World, prefect_server: None) -> None:  # noqa: ARG001 - runs the flow
    recorder.stop()
    await world.process()
    await discover_articles()
    assert FlowRunContext.get() is None
    assert recorder.current() is None
    assert await records(world.database) == []


# The database away


@observed(kind="item")
async def nap(number: int, seconds: float = 0.05) -> int:
    await asyncio.sleep(seconds)
    return number


@pytest.mark.usefixtures("recording")
async def test_with_postgresql_away_nothing_waits_and_nothing_is_lost(
    own_cluster: postgres.Cluster, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(writer, "IN_MEMORY", 1_000)
    url = own_cluster.url("pressroom")
    taking = Writer(url, settings.data_dir / "taskwatch", new_id())
    listening = Recorder(taking)
    units.observe_with(lambda: listening)
    latest, done, over = 0.0, 0, asyncio.Event()

    async def line() -> None:
        nonlocal latest, done
        while not over.is_set():
            began = time.perf_counter()
            await nap(done)
            latest, done = max(latest, time.perf_counter() - began - 0.05), done + 1

    lines = [asyncio.create_task(line()) for _ in range(20)]
    await asyncio.sleep(1)
    await postgres.stop(own_cluster)
    await asyncio.sleep(5)
    spilled = taking._spill.rows
    in_memory = len(taking._waiting)
    cluster = await postgres.start(own_cluster.directory, durable=False)
    over.set()
    await asyncio.gather(*lines)
    async with asyncio.timeout(60):
        while taking.waiting:
            await asyncio.sleep(0.05)
    await asyncio.to_thread(taking.close)
    assert latest < 2  # the machine may be busy; waiting for the database would have taken five seconds
    assert spilled > 0
    assert in_memory <= 1_000 + writer.BATCH
    async with Database(cluster.url("pressroom"), pool_size=1) as database:
        found = await written(database)
        assert await number(database, DISORDER) == 0
        assert await number(database, "SELECT max(dropped) FROM task_recorders") == 0
    await postgres.stop(cluster)
    assert [record["status"] for record in found] == ["success"] * done
    assert max(record["parameters"]["number"] for record in found) < done
    assert not list((settings.data_dir / "taskwatch").iterdir())


@pytest.fixture
def unreachable(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(NOWHERE, tmp_path / "taskwatch", new_id())
    yield made
    made.close()


def change(made: Writer, **more: Any) -> Record:
    return {
        "id": new_id(),
        "created_at": "2026-02-04T18:04:00.000000+00:00",
        "task_name": "nap",
        "kind": "item",
        "status": "running",
        "recorder_id": made.id,
    } | more


async def test_memory_is_bounded_the_rest_is_spilled_and_the_next_recorder_adopts_it(
    unreachable: Writer, database: Database, database_url: str, tmp_path: Path
) -> None:
    rows = [change(unreachable, parameters={"n": n}) for n in range(25_000)]
    for row in rows:
        unreachable.put(row)
        if len(unreachable._waiting) >= writer.IN_MEMORY:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        while len(unreachable._waiting) > writer.IN_MEMORY:
            await asyncio.sleep(0.02)
    began = time.monotonic()
    await asyncio.to_thread(unreachable.close)
    assert time.monotonic() - began < 10  # two seconds, and a busy machine
    assert unreachable.dropped == 0
    (left,) = (tmp_path / "taskwatch").iterdir()
    assert left.read_bytes().count(b"\n") == len(rows)

    heir = Writer(database_url, tmp_path / "taskwatch", new_id())
    try:
        async with asyncio.timeout(90):
            while left.exists():
                await asyncio.sleep(0.1)
    finally:
        await asyncio.to_thread(heir.close)
    found = [record["parameters"]["n"] for record in await written(database)]
    assert found == list(range(len(rows)))
    assert await number(database, "SELECT count(DISTINCT recorder_id) FROM task_execution_logs") == 1


async def test_what_fits_nowhere_is_dropped_and_counted(unreachable: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "MOST_BYTES", 100_000)
    monkeypatch.setattr(writer, "IN_MEMORY", 200)
    for _ in range(3_000):
        unreachable.put(change(unreachable))
        if len(unreachable._waiting) > 400:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(unreachable.close)
    kept = unreachable._spill.rows
    assert 0 < kept < 1_000
    assert kept + unreachable.dropped == 3_000


def test_a_file_that_somebody_writes_to_is_not_adopted(tmp_path: Path) -> None:
    held = spill.Spill(tmp_path, new_id())
    assert held.append([{"id": "1"}, {"id": "2"}]) == 2
    assert list(spill.left_behind(tmp_path)) == []
    held.close()
    with (tmp_path / next(tmp_path.iterdir()).name).open("ab") as file:
        file.write(b'{"id": "torn')  # as by a death in the middle of it
    (found,) = spill.left_behind(tmp_path)
    assert found.read(1) == [{"id": "1"}]
    found.forget()
    assert found.read(10) == [{"id": "2"}]
    found.forget()
    assert (found.empty, found.broken) == (True, 1)
    found.close()
    assert not list(tmp_path.iterdir())


async def test_one_record_that_the_database_refuses_does_not_hold_up_the_others(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    taking = Writer(database_url, tmp_path, new_id())
    for n in range(60):
        poison = {"n": n, "text": "\x00"} if n == 17 else {"n": n}
        taking.put(change(taking, parameters=poison))
    async with asyncio.timeout(60):
        while taking.waiting:
            await asyncio.sleep(0.05)
    taking.put(change(taking, parameters={"n": 60}))
    await asyncio.to_thread(taking.close)
    assert [r["parameters"]["n"] for r in await written(database)] == [n for n in range(61) if n != 17]
    assert await number(database, "SELECT dropped FROM task_recorders") == 1


# Processes that end


SCRIPT = """
import asyncio, os
from lib import units
from lib.taskwatch import recorder
units.observe_with(recorder.start)
@units.observed(kind="item")
async def nap(seconds):
    await asyncio.sleep(seconds)
"""


def script(*lines: str) -> str:
    return "\n".join((SCRIPT, *lines))


@pytest.mark.usefixtures("recording")
async def test_the_last_record_of_a_process_that_ends_is_written(database: Database) -> None:
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script("asyncio.run(nap(0))")], check=True, timeout=60
    )
    assert [record["status"] for record in await records(database)] == ["success"]


@pytest.mark.usefixtures("recording")
async def test_a_process_without_its_database_ends_in_time_and_leaves_a_file(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("PRESSROOM_DATABASE_URL", NOWHERE)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script("asyncio.run(nap(0)); print('done', flush=True)"), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        await child.stdout.readuntil(b"done\n")  # which the warning of an unreachable database may precede
        began = time.monotonic()
        assert await child.wait() == 0
    assert time.monotonic() - began < 10  # two seconds, and a busy machine
    (left,) = (settings.data_dir / "taskwatch").iterdir()
    assert b'"success"' in left.read_bytes()


@pytest.mark.usefixtures("recording")
async def test_what_a_killed_worker_had_under_way_is_abandoned(database: Database) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script("asyncio.run(nap(600))"))
    try:
        async with asyncio.timeout(60):
            while not await written(database, status="running"):
                await asyncio.sleep(0.05)
        async with database.session() as session:
            assert await writing.abandon_dead(session, settled_after=0) == 0
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()
    async with database.session() as session:
        await session.execute(text("UPDATE task_recorders SET seen_at = now() - interval '2 minutes'"))
        await session.execute(text("UPDATE task_execution_logs SET updated_at = now() - interval '2 minutes'"))
    async with database.session() as session:
        assert await writing.abandon_dead(session, settled_after=0) == 1
    (record,) = await written(database)
    assert (record["status"], record["error_message"]) == ("abandoned", "The worker died")


@pytest.mark.usefixtures("recording")
async def test_a_forked_process_has_a_recorder_of_its_own(database: Database) -> None:
    lines = (
        "asyncio.run(nap(0))",
        "child = os.fork()",
        "asyncio.run(nap(0))",
        "os.waitpid(child, 0) if child else None",
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script(*lines)], check=True, timeout=60)
    found = await records(database)
    assert [record["status"] for record in found] == ["success"] * 3
    assert len({record["recorder_id"] for record in found}) == 2
    assert await number(database, "SELECT count(DISTINCT pid) FROM task_recorders") == 2
    assert os.getpid() not in {record["id"] for record in found}
