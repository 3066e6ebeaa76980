"""The four stages on the playground's real wire: what a user would see on the site and in the table."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from sqlalchemy import text

from flows.discover_articles import discover_articles
from flows.enforce_time_limits import enforce_time_limits
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib import http, work
from lib.database import Database
from lib.errors import Invalid, SessionHeldError
from lib.monitoring import lifecycle, nudges
from lib.monitoring.guard import PREFIX
from lib.monitoring.items import ProcessRef, StageReport, TickReport
from lib.monitoring.mymoment import MyMoment
from lib.monitoring.pages import Index
from lib.monitoring.store import review, stages
from lib.settings import settings as read_settings
from playground.serve import Running
from tasks import tick as ticks
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server", "plain_items")

Flow = Callable[[], Awaitable[TickReport]]
STAGES: list[Flow] = [
    discover_articles,
    prepare_content_of_articles,
    generate_comments_for_articles,
    post_comments_for_articles,
]


@pytest.fixture
def plain_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")


async def run_all(stages: list[Flow] = STAGES) -> list[TickReport]:
    return [await stage() for stage in stages]


def on_the_site(playground: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{playground.url}/control/comments").json()
    return found


def requests(playground: Running) -> dict[str, Any]:
    counted: dict[str, Any] = httpx.get(f"{playground.url}/control/requests").json()
    return counted


def fault(playground: Running, route: str, kind: str, **more: Any) -> None:
    httpx.post(f"{playground.url}/control/faults", json={"route": route, "kind": kind, **more}).raise_for_status()


async def true_to_the_site(world: World, playground: Running) -> None:
    """Every posted record is one comment on the site, with its id and its disclosure, and there is no other."""
    posted = [row for row in await world.all_comments() if row.status == "posted"]
    there = on_the_site(playground)
    assert sorted(str(comment["id"]) for comment in there) == sorted(str(row.mymoment_comment_id) for row in posted)
    assert all(str(comment["text"]).startswith(PREFIX) for comment in there)


async def test_an_article_is_discovered_prepared_commented_and_posted_once(
    world: World, playground: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "true")
    process_id = await world.process()
    reports = await run_all()
    rows = await world.all_comments()
    assert rows
    assert not [row.error_message for row in rows if row.error_message]
    assert [report.done for report in reports] == [len(rows)] * 4
    assert {row.status for row in rows} == {"posted"}
    assert all(row.article_content and row.ai_model_name and row.generation_tokens for row in rows)
    await true_to_the_site(world, playground)
    process = await world.get_process(process_id)
    assert {row.llm_provider_id for row in rows} == {process.llm_provider_id}
    assert process.articles_discovered == process.comments_posted == len(rows)


async def test_each_process_has_its_task_run_and_its_tag_while_few_run_and_none_has_when_many_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def task_runs_of_a_tick(flow: Any, number: int) -> dict[str, set[str]]:
        """The tags of each by its name, once so many and the moment of one more have come."""
        state = await flow(return_state=True)
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        async with get_client() as client:
            async with asyncio.timeout(30):
                while len(await client.read_task_runs(flow_run_filter=mine)) < number:
                    await asyncio.sleep(0.2)
            await asyncio.sleep(1)
            runs = await client.read_task_runs(flow_run_filter=mine)
        return {run.name: set(run.tags) for run in runs}

    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "true")
    monkeypatch.setenv("PRESSROOM_TAG_LIMIT_PROCESSES", "1")
    read_settings.cache_clear()
    first = await world.process("first {one}")
    found = await task_runs_of_a_tick(discover_articles, 2)
    assert found.pop("discovery of first {one}") == {f"process:{first}"}
    assert len(found) == 1
    # One has work, and two run.
    await world.process("second")
    assert await task_runs_of_a_tick(discover_articles, 0) == {}
    items = await task_runs_of_a_tick(prepare_content_of_articles, 1)
    assert items
    assert {name.split()[0] for name in items} == {"prepare"}


async def test_a_second_round_finds_nothing_new_and_looks_less_often(world: World, playground: Running) -> None:
    process_id = await world.process()
    await run_all()
    number = len(on_the_site(playground))
    reports = await run_all()
    assert [report.done for report in reports] == [0, 0, 0, 0]
    assert len(on_the_site(playground)) == number
    async with world.database.session() as session:
        wait = await session.scalar(
            text("SELECT extract(epoch FROM next_look_at - now()) FROM monitoring_process_logins")
        )
    assert 5 < wait <= 30
    assert (await world.get_process(process_id)).errors_encountered_in_discovery == 0
    before = requests(playground)["index_fetches"]
    assert (await discover_articles()).reports == ()
    assert requests(playground)["index_fetches"] == before
    [report] = (await discover_articles(process_id)).reports
    assert report.process_id == process_id
    assert requests(playground)["index_fetches"] == before + 1


async def test_stages_go_on_while_an_earlier_one_runs_and_carry_an_article_through_in_one_tick(
    world: World, playground: Running
) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1)
    async with world.database.session() as session:
        article = {"article": an_article(playground)}
        await session.execute(text("UPDATE ai_comments SET mymoment_article_id = :article"), article)
    fault(playground, "article", "latency", seconds=3, times=1)
    running = []
    for number, stage in enumerate(STAGES[1:], 1):
        running.append(asyncio.create_task(stage()))
        async with asyncio.timeout(60):
            while await held_stages(world) < number:
                await asyncio.sleep(0.02)
    assert {row.status for row in await world.all_comments()} == {"discovered"}
    await asyncio.gather(*running)
    assert {row.status for row in await world.all_comments()} == {"posted"}
    await true_to_the_site(world, playground)


async def test_a_stage_takes_no_process_for_what_discovery_may_find(world: World) -> None:
    await world.process()
    async with world.database.session() as session:
        assert await stages.claim_stages(session, "discovery", None, work.new_id(), 60, None, 10)
    assert [report.reports for report in await run_all(STAGES[1:])] == [()] * 3


@pytest.mark.parametrize("named", [False, True], ids=["any", "named"])
async def test_a_process_that_gets_work_while_others_are_served_is_served_in_the_same_tick_once(
    world: World,
    playground: Running,
    named: bool,
) -> None:
    first, second = await world.process("first"), await world.process("second")
    await discover_articles(first)
    fault(playground, "article", "latency", seconds=12, times=1)
    tick = asyncio.create_task(prepare_content_of_articles(first if named else None))
    async with asyncio.timeout(60):
        while not await held_stages(world):
            await asyncio.sleep(0.02)
    await discover_articles(second)
    await asyncio.sleep(2)
    await world.comments(second, 1)
    nudges.made("discovery", [second])
    assert not tick.done()
    report = await tick
    assert sorted(each.process for each in report.reports) == (["first"] if named else ["first", "second"])
    assert await held_stages(world) == 0
    prepared = {row.monitoring_process_id for row in await world.all_comments() if row.status == "prepared"}
    assert prepared == ({first} if named else {first, second})
    # What came when it was served is a later tick's.
    assert {row.monitoring_process_id for row in await world.all_comments() if row.status == "discovered"} == {second}


async def test_two_ticks_share_the_processes_and_leave_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, begun, both = ticks.claim, list[ticks.Claimed](), asyncio.Event()

    async def further_when_both_have_begun(*of: Any, **since: Any) -> ticks.Claimed:
        if since:
            await both.wait()
            return await claim(*of, **since)
        begun.append(await claim(*of))
        if len(begun) == 2:
            both.set()
        return begun[-1]

    monkeypatch.setattr(ticks, "AT_ONCE", 2)
    names = [(await world.process(name), name)[1] for name in "abcdef"]
    await discover_articles()
    monkeypatch.setattr(ticks, "claim", further_when_both_have_begun)
    reports = await asyncio.gather(prepare_content_of_articles(), prepare_content_of_articles())
    served = [[each.process for each in report.reports] for report in reports]
    assert sorted(served[0] + served[1]) == names
    assert all(len(each) >= 2 for each in served)
    assert {row.status for row in await world.all_comments()} == {"prepared"}
    assert await held_stages(world) == 0


async def test_no_process_is_added_to_those_at_work_while_a_later_stage_is_about_to_begin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = list[str](), asyncio.Event()

    async def serve(process: ProcessRef) -> StageReport:
        begun.append(process.name)
        await release.wait()
        return StageReport(process.id, process.name)

    async def have_begun(*names: str) -> None:
        async with asyncio.timeout(20):
            while begun != list(names):
                await asyncio.sleep(0.01)

    monkeypatch.setattr(ticks, "AT_ONCE", 1)
    for name in "abc":
        await world.process(name)
    about_to_begin = True
    async with ticks.tick("discovery", None) as this:
        this.tagged, this.is_awaiting = False, lambda: about_to_begin
        serving = asyncio.create_task(this.each(SimpleNamespace(fn=serve)))  # type: ignore[arg-type]
        await have_begun("a")
        await asyncio.sleep(3 * ticks.LOOK)
        assert begun == ["a"]
        about_to_begin = False
        await have_begun("a", "b", "c")
        release.set()
        await serving
    assert len(this.report.reports) == 3


async def test_a_tick_that_has_nothing_at_work_waits_for_no_later_stage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "AT_ONCE", 1)
    for name in "abc":
        await world.process(name)

    async def serve(process: ProcessRef) -> StageReport:
        return StageReport(process.id, process.name)

    async with asyncio.timeout(20), ticks.tick("discovery", None) as this:
        this.tagged, this.is_awaiting = False, lambda: True
        await this.each(SimpleNamespace(fn=serve))  # type: ignore[arg-type]
    assert len(this.report.reports) == 3


async def test_what_is_made_while_a_tick_begins_is_claimed_by_it_and_needs_no_other(world: World) -> None:
    needs_no_other = list[bool]()

    async def serve(process: ProcessRef) -> StageReport:
        needs_no_other.append(nudges.is_catching_up("preparation"))
        return StageReport(process.id, process.name)

    process_id = await world.process("a")
    async with ticks.tick("preparation", None) as this:
        assert not this.first.processes
        assert nudges.is_catching_up("preparation")
        await world.comments(process_id, 1)
        nudges.made("discovery", [process_id])
        await this.each(SimpleNamespace(fn=serve))  # type: ignore[arg-type]
    assert [report.process for report in this.report.reports] == ["a"]
    # It has claimed what waited; of what is made from now on it is told.
    assert needs_no_other == [False]
    assert not nudges.is_catching_up("preparation")


async def test_the_latest_tick_here_claims_what_it_is_told_of_while_it_serves_others(world: World) -> None:
    begun, release = list[tuple[str, str]](), asyncio.Event()

    def serving(by: str) -> Any:
        async def serve(process: ProcessRef) -> StageReport:
            begun.append((by, process.name))
            await release.wait()
            return StageReport(process.id, process.name)

        return SimpleNamespace(fn=serve)

    async def have_begun(*these: tuple[str, str]) -> None:
        async with asyncio.timeout(20):
            while begun != list(these):
                await asyncio.sleep(0.01)

    async def new(name: str) -> UUID:
        process_id = await world.process(name)
        await world.comments(process_id, 1)
        return process_id

    served = await new("a")
    async with ticks.tick("preparation", None) as older:
        older.tagged = False
        first = asyncio.create_task(older.each(serving("older")))
        await have_begun(("older", "a"))
        assert not nudges.is_catching_up("preparation")
        assert not nudges.tell_ticks("preparation", served)
        assert nudges.tell_ticks("preparation", await new("b"))
        await have_begun(("older", "a"), ("older", "b"))
        async with ticks.tick("preparation", None) as latest:
            latest.tagged = False
            third = await new("c")
            second = asyncio.create_task(latest.each(serving("latest")))
            assert nudges.tell_ticks("preparation", third)
            await have_begun(("older", "a"), ("older", "b"), ("latest", "c"))
            assert not older.is_open
            release.set()
            await second
        await first
    assert not nudges.tell_ticks("preparation", served)


async def test_an_end_that_cannot_be_noted_is_said_and_stops_no_other_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await world.process("first"), await world.process("second")
    finish = stages.finish_stage

    async def failing(executor: Any, stage: Any, token: UUID, report: StageReport, error: str | None = None) -> None:
        if report.process_id == first:
            raise RuntimeError("not noted")
        await finish(executor, stage, token, report, error)

    monkeypatch.setattr(stages, "finish_stage", failing)
    with pytest.raises(RuntimeError, match="not noted"):
        await discover_articles()
    assert {row.monitoring_process_id for row in await world.all_comments()} == {first, second}
    assert await held_stages(world) == 1


def an_article(playground: Running) -> str:
    articles = httpx.get(f"{playground.url}/control/articles").json()
    return str(next(one["id"] for one in articles if one["tab"] == "102"))


async def held_stages(world: World) -> int:
    async with world.database.session() as session:
        number = await session.scalar(
            text("SELECT count(*) FROM monitoring_process_stages WHERE claim_token IS NOT NULL")
        )
    return int(number)


async def test_processes_that_ask_for_the_same_share_one_log_in_one_index_and_one_page(
    world: World, playground: Running
) -> None:
    login = await world.login()
    templates = [await world.template("one"), await world.template("two")]
    for name in ("first", "second"):
        more = [await world.template(f"own of {name}")]
        await world.process(name, logins=[login], templates=templates + more, generate_only=True)
    await run_all(STAGES[:2])
    rows = await world.all_comments()
    pages = {row.mymoment_article_id for row in rows}
    assert len(rows) == len(pages) * 4
    assert {row.status for row in rows} == {"prepared"}
    counted = requests(playground)
    assert (counted["log_ins"], counted["index_fetches"]) == (1, 1)
    assert counted["article_fetches"] == len(pages)


async def test_a_process_only_generates_unless_told_to_post(world: World, playground: Running) -> None:
    await world.process(generate_only=True)
    reports = await run_all()
    assert reports[2].done > 0
    assert reports[3].done == 0
    assert on_the_site(playground) == []


async def test_an_approved_comment_is_posted_and_a_rejected_one_never(world: World, playground: Running) -> None:
    process_id = await world.process(generate_only=True)
    await run_all(STAGES[:3])
    first, second = [row.id for row in await world.all_comments()][:2]
    user = await world.user()
    async with world.database.session() as session:
        await review.approve(session, user, [first])
        await review.reject(session, user, [second])
    assert (await post_comments_for_articles()).done == 1
    [posted] = [row for row in await world.all_comments() if row.status == "posted"]
    assert posted.id == first
    await true_to_the_site(world, playground)
    assert (await world.get_process(process_id)).comments_posted == 1


async def test_an_approval_after_the_stop_posts_and_one_before_it_is_held(world: World, playground: Running) -> None:
    await world.process(generate_only=True)
    await run_all(STAGES[:3])
    before, after = [row.id for row in await world.all_comments()][:2]
    user = await world.user()
    async with world.database.session() as session:
        await review.approve(session, user, [before])
    await lifecycle.stop(await world.desk(), "watch")
    assert (await post_comments_for_articles()).done == 0
    async with world.database.session() as session:
        await review.approve(session, user, [after])
    assert (await post_comments_for_articles()).done == 1
    assert {row.id for row in await world.all_comments() if row.status == "posted"} == {after}
    await true_to_the_site(world, playground)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "status", "truncate"])
async def test_a_post_without_a_clear_answer_ends_as_one_comment(world: World, playground: Running, kind: str) -> None:
    await world.process()
    await run_all(STAGES[:3])
    fault(playground, "comment", kind, **({"status": 502, "when": "after_accept"} if kind == "status" else {}))
    await post_comments_for_articles()
    await world.look_again()
    await post_comments_for_articles()
    assert {row.status for row in await world.all_comments()} == {"posted"}
    await true_to_the_site(world, playground)


async def test_a_session_that_expires_on_the_way_costs_a_log_in_and_no_comment(
    world: World, playground: Running
) -> None:
    await world.process()
    await run_all(STAGES[:3])
    fault(playground, "comment", "expire_session")
    await post_comments_for_articles()
    assert {row.status for row in await world.all_comments()} == {"posted"}
    await true_to_the_site(world, playground)
    assert requests(playground)["log_ins"] == 2


async def test_the_stored_session_is_used_again_and_is_not_readable(world: World, playground: Running) -> None:
    await world.process()
    await run_all()
    assert requests(playground)["log_ins"] == 1
    async with world.database.session() as session:
        stored = await session.scalar(text("SELECT cookies_encrypted FROM mymoment_sessions WHERE is_active"))
    assert b"session" not in bytes(stored)


async def test_a_wrong_password_is_said_and_costs_no_item_anything(world: World, playground: Running) -> None:
    login = await world.login(password="wrong")
    bad = await world.process("bad", logins=[login])
    good = await world.process("good")
    report = await discover_articles()
    by_name = {one.process: one for one in report.reports}
    assert "does not accept" in by_name["bad"].errors[0]
    assert by_name["good"].done > 0
    assert (await world.get_process(bad)).errors_encountered_in_discovery == 1
    assert (await world.get_process(good)).errors_encountered_in_discovery == 0
    await world.look_again()
    await discover_articles()
    assert requests(playground)["failed_log_ins"] == 1


async def test_a_wrong_key_leaves_the_items_waiting_with_the_reason(world: World, playground: Running) -> None:
    provider = await world.provider("wrong", key="not-the-key")
    await world.process(provider=provider)
    report = (await run_all(STAGES[:3]))[2]
    assert "refuses its key" in report.reports[0].note
    rows = await world.all_comments()
    assert {row.status for row in rows} == {"prepared"}
    assert any("refuses its key" in (row.error_message or "") for row in rows)
    assert {row.retry_count for row in rows} == {0}
    assert requests(playground)["llm_calls"] <= 5


async def test_a_dead_model_fails_after_three_attempts_with_its_reason(world: World) -> None:
    provider = await world.provider("dead", base_url="http://127.0.0.1:9/v1")
    process_id = await world.process(provider=provider)
    await run_all(STAGES[:2])
    for _ in range(3):
        await generate_comments_for_articles()
        await world.look_again()
    rows = await world.all_comments()
    assert {(row.status, row.failed_from) for row in rows} == {("failed", "prepared")}
    assert all("cannot be reached" in (row.error_message or "") for row in rows)
    assert (await world.get_process(process_id)).errors_encountered_in_generation == 3 * len(rows)


@pytest.mark.parametrize("kind", ["obey_injection", "echo_prompt", "too_short", "too_long"])
async def test_an_answer_that_must_not_be_posted_is_not(world: World, playground: Running, kind: str) -> None:
    await world.process()
    await run_all(STAGES[:2])
    fault(playground, "llm", kind, times=None)
    for _ in range(3):
        await generate_comments_for_articles()
        await world.look_again()
    await post_comments_for_articles()
    assert {row.status for row in await world.all_comments()} == {"failed"}
    assert on_the_site(playground) == []


async def test_a_page_that_is_gone_or_unreadable_fails_that_article_alone(world: World, playground: Running) -> None:
    await world.process()
    await discover_articles()
    gone = (await world.all_comments())[0].mymoment_article_id
    fault(playground, "article", "status", status=404, article_id=int(gone), times=None)
    await run_all(STAGES[1:])
    rows = {row.mymoment_article_id: row for row in await world.all_comments()}
    assert (rows[gone].status, rows[gone].failed_from) == ("failed", "discovered")
    assert "404" in (rows[gone].error_message or "")
    assert {row.status for id_, row in rows.items() if id_ != gone} == {"posted"}


async def test_connections_cut_under_the_stages_cost_no_tick_no_answer_and_no_comment(
    world: World, playground: Running
) -> None:
    process_id = await world.process()
    for route in ("index", "article", "llm", "comment"):
        fault(playground, route, "latency", seconds=0.4, times=None)
    for stage in STAGES:
        async with connections_cut(world.database):
            report = await stage()
        assert report.done == len(await world.all_comments())
    counted, rows = requests(playground), await world.all_comments()
    assert {(row.status, row.error_message) for row in rows} == {("posted", None)}
    assert counted["llm_calls"] == len(rows)
    assert (await world.get_process(process_id)).comments_posted == len(rows)
    await true_to_the_site(world, playground)


@asynccontextmanager
async def connections_cut(database: Database) -> AsyncIterator[None]:
    """Every other connection that is idle ends, a few times a second: the next statement on it finds out."""
    cutting = asyncio.create_task(cut_connections(database))
    yield
    assert not cutting.done()
    cutting.cancel()
    await asyncio.wait([cutting])


async def cut_connections(database: Database) -> None:
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    cut += " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
    while True:
        async with database.session() as session:
            await session.execute(text(cut))
        await asyncio.sleep(0.3)


async def test_one_broken_site_does_not_delay_another_processes(world: World, playground: Running) -> None:
    slow = await world.login("slow", "ki-bot-2")
    await world.process("slow", logins=[slow], generate_only=True)
    await world.process("quick", generate_only=True)
    fault(playground, "index", "latency", seconds=4, user="ki-bot-2", times=None)
    discovering = asyncio.create_task(discover_articles())
    while not await world.all_comments() and not discovering.done():
        await asyncio.sleep(0.05)
    assert not discovering.done()
    await discovering


async def test_few_looks_go_to_a_site_at_once_and_hold_up_no_other_site(
    world: World, playground: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_DISCOVERY_CONCURRENCY", "2")
    read_settings.cache_clear()
    elsewhere = replace(world, site=playground.url.replace("127.0.0.1", "localhost"))
    for number, place in enumerate((world, world, world, world, elsewhere)):
        await place.process(f"watch {number}", generate_only=True, tab_filter="102" if place is world else "alle")
    read, at_once, looked_elsewhere = MyMoment.index, [0], asyncio.Event()

    async def index(site: MyMoment, tab: str, *about: Any) -> Index:
        if tab == "alle":
            looked_elsewhere.set()
            return await read(site, tab, *about)
        at_once.append(at_once[-1] + 1)
        await asyncio.wait_for(looked_elsewhere.wait(), 20)
        await asyncio.sleep(0.1)
        at_once.append(at_once[-1] - 1)
        return await read(site, tab, *about)

    monkeypatch.setattr(MyMoment, "index", index)
    report = await discover_articles()
    assert not [one.errors for one in report.reports if one.errors]
    assert max(at_once) == 2


async def test_a_login_that_another_worker_logs_in_with_holds_up_no_other_of_the_site(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_DISCOVERY_CONCURRENCY", "1")
    read_settings.cache_clear()
    taken = await world.login("taken")
    await world.process("waits", logins=[taken], generate_only=True)
    await world.process("goes on", generate_only=True)
    claim = text("UPDATE mymoment_logins SET claim_token = :token, lease_expires_at = now() + :left WHERE id = :id")
    async with world.database.session() as session:
        await session.execute(claim, {"token": work.new_id(), "left": timedelta(seconds=60), "id": taken})
    discovering = asyncio.create_task(discover_articles())
    while not await world.all_comments() and not discovering.done():
        await asyncio.sleep(0.05)
    assert not discovering.done()
    async with world.database.session() as session:
        await session.execute(text("UPDATE mymoment_logins SET claim_token = NULL WHERE id = :id"), {"id": taken})
    report = await discovering
    assert all(one.done for one in report.reports)


async def test_a_process_without_a_tab_skips_discovery_and_says_so(world: World, playground: Running) -> None:
    await world.process(tab_filter=None)
    report = await discover_articles()
    assert "no tab" in report.reports[0].note
    assert requests(playground)["index_fetches"] == 0


async def test_an_unknown_tab_is_named_with_those_there_are(world: World) -> None:
    await world.process(tab_filter="999")
    [report] = (await discover_articles()).reports
    assert "999" in report.errors[0]
    assert "102" in report.errors[0]


async def test_search_state_and_limit_choose_the_articles(world: World) -> None:
    await world.process("limited", article_limit=1)
    await world.process("searching", search_filter="no title holds this")
    report = await discover_articles()
    assert {one.process: one.done for one in report.reports} == {"limited": 1, "searching": 0}


async def test_a_stop_returns_when_nothing_more_can_be_posted(world: World, playground: Running) -> None:
    await world.process()
    await run_all(STAGES[:3])
    fault(playground, "comment", "latency", seconds=1.0, times=None)
    posting = asyncio.create_task(post_comments_for_articles())
    while not requests(playground)["comment_posts"]:
        await asyncio.sleep(0.05)
    process = await lifecycle.stop(await world.desk(), "watch")
    number = len(on_the_site(playground))
    assert (process.status, process.stop_reason) == ("stopped", "user")
    await posting
    await post_comments_for_articles()
    assert len(on_the_site(playground)) == number
    await true_to_the_site(world, playground)


async def test_a_process_ends_when_its_time_is_over(world: World, playground: Running) -> None:
    process_id = await world.process()
    async with world.database.session() as session:
        await session.execute(text("UPDATE monitoring_processes SET expires_at = now() - interval '1 second'"))
    assert (await discover_articles()).reports == ()
    assert await enforce_time_limits() == ["watch"]
    process = await world.get_process(process_id)
    assert (process.status, process.stop_reason) == ("stopped", "timeout")
    assert requests(playground)["index_fetches"] == 0


async def test_a_start_names_what_is_missing(world: World) -> None:
    await world.process("bare", logins=[], templates=[], start=False)
    with pytest.raises(Invalid, match=r"a login.*a template"):
        await lifecycle.start(await world.desk(), "bare")


async def test_a_start_that_checks_names_the_credentials_that_do_not_work(world: World) -> None:
    login = await world.login(password="wrong")
    provider = await world.provider("wrong", key="not-the-key")
    await world.process(logins=[login], provider=provider, start=False)
    with pytest.raises(Invalid, match=r"password.*refuses its key"):
        await lifecycle.start(await world.desk(), "watch", check_credentials=True)


async def test_no_session_is_open_while_a_slow_site_or_model_answers(
    world: World, playground: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Database] = []
    enter = Database.__aenter__

    async def remembering(self: Database) -> Database:
        opened.append(self)
        return await enter(self)

    monkeypatch.setattr(Database, "__aenter__", remembering)
    await world.process()
    for route in ("login", "index", "article", "llm", "comment"):
        fault(playground, route, "latency", seconds=2)
    await run_all()
    assert {row.status for row in await world.all_comments()} == {"posted"}
    figures = [database.figures() for database in opened]
    assert sum(one.count for one in figures) > 10
    assert max(one.max for one in figures) < 1.5  # the outside took 2 s each time
    assert max(one.peak_connections for one in figures) <= 5


async def test_the_guard_refuses_external_io_inside_a_session(world: World, playground: Running) -> None:
    async with http.client(http.Limits(allow_private=True)) as client, world.database.session():
        with pytest.raises(SessionHeldError):
            await client.get(playground.url)


async def test_an_idle_tick_over_a_thousand_processes_costs_ten_round_trips_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, template, provider = await world.login(), await world.template(), await world.provider()
    for number in range(3):
        await world.process(f"p{number}", logins=[login], templates=[template], provider=provider)
    async with world.database.session() as session:
        await session.execute(
            text(
                "INSERT INTO monitoring_processes (id, user_id, name, status, expires_at, llm_provider_id, tab_filter)"
                " SELECT gen_random_uuid(), p.user_id, 'bulk ' || n, 'running', p.expires_at, p.llm_provider_id, '102'"
                " FROM monitoring_processes p, generate_series(1, 997) n WHERE p.name = 'p0'"
            )
        )
        await session.execute(
            text(
                "INSERT INTO monitoring_process_stages (monitoring_process_id, stage)"
                " SELECT p.id, s FROM monitoring_processes p,"
                " unnest(ARRAY['discovery', 'preparation', 'generation', 'posting']) s WHERE p.name LIKE 'bulk%'"
            )
        )
        await session.execute(text("UPDATE monitoring_process_logins SET next_look_at = now() + interval '1 hour'"))
    figures: list[int] = []
    leave = Database.__aexit__

    async def counting(self: Database, *error: object) -> None:
        # A session costs a BEGIN and a COMMIT beside its statements.
        figures.append(self.figures().round_trips + 2 * self.figures().count)
        await leave(self, *error)

    monkeypatch.setattr(Database, "__aexit__", counting)
    for stage in STAGES:
        assert (await stage()).reports == ()
    assert len(figures) == 4
    assert max(figures) <= 10
