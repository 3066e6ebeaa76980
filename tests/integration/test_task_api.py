"""Task monitoring for programs: the contract, what cannot be asked, who sees what, and trying again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from console.desk import runs, task_retries
from lib import work
from lib.monitoring import guard
from tests.integration.feeding import BEAT, ended, failed, record, write
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]
METRIC = {
    "task_name",
    "total_executions",
    "pending",
    "running",
    "success",
    "failed",
    "abandoned",
    "avg_duration_ms",
    "p50_duration_ms",
    "p95_duration_ms",
    "p99_duration_ms",
    "success_rate",
    "queue_depth",
    "oldest_waiting_seconds",
}
ITEM = {
    "id",
    "task_name",
    "status",
    "params",
    "started_at",
    "completed_at",
    "duration_ms",
    "error_message",
    "error_traceback",
    "created_at",
}


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


async def names(program: Program, query: str) -> list[str]:
    return [item["run_name"] for item in (await program.ok("GET", f"/monitoring/history?{query}"))["items"]]


# Metrics


async def test_metrics_are_those_of_the_contract(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    done = [ended(record(**mine), duration_ms=duration) for duration in (100.0, 200.0, 300.0)]
    await write(
        site.database, *done, failed(**mine, duration_ms=9000.0), record(**mine), record(status="pending", **mine)
    )
    await write(site.database, ended(record(task_name="discover_articles", kind="flow", **mine), "abandoned"))
    found = await operator.ok("GET", "/monitoring/metrics")
    assert found["time_window_hours"] == 24
    assert datetime.fromisoformat(found["generated_at"]).tzinfo is not None
    metrics = {each["task_name"]: each for each in found["metrics"]}
    prepare = metrics["prepare_article"]
    assert prepare.keys() == METRIC
    counts = {"total_executions": 6, "pending": 1, "running": 1, "success": 3, "failed": 1, "abandoned": 0}
    assert prepare.items() >= counts.items()
    assert prepare["avg_duration_ms"] == pytest.approx(200)  # of what succeeded
    assert prepare["p50_duration_ms"] == pytest.approx(200, rel=0.05)
    assert prepare["p99_duration_ms"] == pytest.approx(300, rel=0.05)
    assert prepare["success_rate"] == pytest.approx(75)
    assert metrics["discover_articles"]["abandoned"] == 1
    assert metrics["discover_articles"]["avg_duration_ms"] is None
    assert metrics["discover_articles"]["success_rate"] == 0


async def test_the_window_is_what_was_asked_for(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    old = ended(record(**mine, created_at=at(hours=30), started_at=at(hours=30)), completed_at=at(hours=29))
    await write(site.database, old)
    assert (await operator.ok("GET", "/monitoring/metrics"))["metrics"] == []
    found = await operator.ok("GET", "/monitoring/metrics?time_window=48")
    assert found["time_window_hours"] == 48
    assert [each["success"] for each in found["metrics"]] == [1]


async def test_a_queue_is_seen_even_when_nothing_works_on_it(site: Site, operator: Program, things: World) -> None:
    process_id = await things.process("watch")
    await things.comments(process_id, 3, "discovered")
    async with site.database.session() as session:
        older = "UPDATE ai_comments SET updated_at = now() - interval '90 s'"
        await session.execute(text("ALTER TABLE ai_comments DISABLE TRIGGER USER"))
        await session.execute(text(older))
        await session.execute(text("ALTER TABLE ai_comments ENABLE TRIGGER USER"))
    await write(site.database, ended(record(task_name="discover_articles", kind="flow")))
    [prepare] = (await operator.ok("GET", "/monitoring/metrics"))["metrics"]
    assert (prepare["task_name"], prepare["queue_depth"], prepare["total_executions"]) == ("prepare_article", 3, 0)
    assert 85 < prepare["oldest_waiting_seconds"] < 600
    async with site.program("boss", "admin") as boss:
        found = {each["task_name"]: each for each in (await boss.ok("GET", "/monitoring/metrics"))["metrics"]}
        assert found["discover_articles"]["queue_depth"] is None
        assert found["discover_articles"]["oldest_waiting_seconds"] is None
    async with site.program("other") as other:
        assert (await other.ok("GET", "/monitoring/metrics"))["metrics"] == []


async def test_what_was_lost_or_waits_to_be_written_is_shown(site: Site, operator: Program) -> None:
    await write(site.database, record())
    async with site.database.session() as session:
        await session.execute(text("UPDATE task_recorders SET dropped = 3, waiting = 2, spilled = 1"))
    [recorder] = (await operator.ok("GET", "/monitoring/metrics"))["recorders"]
    assert (recorder["dropped"], recorder["waiting"], recorder["spilled"], recorder["is_alive"]) == (3, 2, 1, True)
    assert (recorder["host"], recorder["pid"]) == (None, None)
    async with site.program("boss", "admin") as boss:
        [recorder] = (await boss.ok("GET", "/monitoring/metrics"))["recorders"]
        assert (recorder["id"], recorder["host"], recorder["pid"]) == (str(BEAT.recorder_id), "somewhere", 1)
    async with site.database.session() as session:
        await session.execute(text("UPDATE task_recorders SET seen_at = now() - interval '2 min'"))
    [recorder] = (await operator.ok("GET", "/monitoring/metrics"))["recorders"]
    assert recorder["is_alive"] is False


# History


async def test_history_is_that_of_the_contract(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    await write(site.database, failed(**mine, parameters={"title": "Der Rotpanda"}, error_traceback="Traceback: here"))
    found = await operator.ok("GET", "/monitoring/history")
    assert (found["total_count"], found["page"], found["page_size"], found["total_pages"]) == (1, 1, 50, 1)
    assert (found["total_is_capped"], found["total_text"], found["next_cursor"]) == (False, "1", None)
    [item] = found["items"]
    assert item.keys() >= ITEM
    assert (item["status"], item["params"]) == ("failed", {"title": "Der Rotpanda"})
    assert (item["error_message"], item["error_traceback"]) == ("The site answered HTTP 503", "Traceback: here")
    one = await operator.ok("GET", f"/monitoring/tasks/{item['id']}")
    assert one.items() >= item.items()
    assert (one["children"], one["cause"]) == ([], "The site answered HTTP *")


async def test_pages_and_cursors_give_the_same_newest_first(site: Site, operator: Program) -> None:
    """While more is written."""
    mine = {"owner_id": operator.user_id}
    await write(site.database, *(record(**mine, run_name=str(n), created_at=at(seconds=100 - n)) for n in range(35)))
    paged = [await names(operator, f"page_size=10&page={page}") for page in (1, 2, 3, 4)]
    assert paged == [[str(n) for n in range(34 - start, max(24 - start, -1), -1)] for start in (0, 10, 20, 30)]
    seen: list[str] = []
    query = "/monitoring/history?page_size=10"
    page = await operator.ok("GET", query)
    for number in (1, 2, 3, 4):
        assert (page["page"], page["total_pages"]) == (number, 4)
        seen += [item["run_name"] for item in page["items"]]
        if page["next_cursor"] is not None:
            await write(site.database, record(run_name="meanwhile"))
            page = await operator.ok("GET", f"{query}&cursor={page['next_cursor']}")
    assert seen == [name for each in paged for name in each]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("task_name=post_comment", ["post"]),
        ("task_name=nothing", []),
        ("status=failed", ["bad"]),
        ("status=pending", ["waits"]),
        ("text=Rotpanda", ["waits"]),
        ("text=answered+503", ["bad"]),
        ("fingerprint=f00d", ["bad"]),
        ("item=018f3c1e-7b2a-7c3d-8e4f-5a6b7c8d9e0f", ["post"]),
        ("process=watch", ["post"]),
        ("task_name=prepare_article&status=running", []),
    ],
)
async def test_records_are_found_by(site: Site, operator: Program, things: World, query: str, found: list[str]) -> None:
    mine = {"owner_id": operator.user_id}
    process_id = await things.process("watch")
    item = UUID("018f3c1e-7b2a-7c3d-8e4f-5a6b7c8d9e0f")
    await write(
        site.database,
        record(**mine, status="pending", run_name="waits", parameters={"title": "Der Rotpanda"}),
        failed(**mine, run_name="bad"),
        record(**mine, run_name="post", task_name="post_comment", item_id=item, process_id=process_id),
    )
    assert await names(operator, query) == found
    if "process=" in query:
        assert await names(operator, f"process={process_id}") == found


async def test_dates_are_days_or_moments(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    day = datetime.now(UTC).date() - timedelta(days=2)
    times = {"early": "00:00:00", "late": "23:59:59.999999"}
    made = [record(**mine, run_name=name, created_at=f"{day}T{time}+00:00") for name, time in times.items()]
    await write(site.database, *made)
    assert await names(operator, f"start_date={day}&end_date={day}") == ["late", "early"]
    assert await names(operator, f"start_date={day}T00:00:01Z") == ["late"]
    assert await names(operator, f"end_date={day}T00:00:01") == ["early"]
    assert await names(operator, f"end_date={day}T02:00:00%2B02:00") == []
    assert await names(operator, f"start_date={day}T00:00:00-00:01") == ["late"]


async def test_beyond_ten_thousand_the_number_is_honest(site: Site, operator: Program) -> None:
    await write(site.database, *(record(owner_id=operator.user_id) for _ in range(10_010)))
    found = await operator.ok("GET", "/monitoring/history?page=100&page_size=100")
    assert (found["total_count"], found["total_is_capped"], found["total_text"]) == (10_000, True, "10,000+")
    assert (found["total_pages"], len(found["items"])) == (100, 100)
    refused = await operator.no(400, "GET", "/monitoring/history?page=101&page_size=100")
    assert "cursor" in refused["detail"]
    assert refused["errors"][0]["parameter"] == "page"
    behind = await operator.ok("GET", f"/monitoring/history?page_size=100&cursor={found['next_cursor']}")
    assert (len(behind["items"]), behind["next_cursor"], behind["page"]) == (10, None, 101)


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("metrics?time_window=0", "time_window"),
        ("metrics?time_window=169", "time_window"),
        ("metrics?time_window=a%20day", "time_window"),
        ("metrics?window=24", "window"),
        ("history?start_date=invalid", "start_date"),
        ("history?start_date=1698364800", "start_date"),
        ("history?start_date=2025-02-30", "start_date"),
        ("history?start_date=0001-01-01T00:00:00%2B02:00", "start_date"),
        ("history?end_date=9999-12-31", "end_date"),
        ("history?end_date=", "end_date"),
        ("history?start_date=2025-10-28&end_date=2025-10-26", "end_date"),
        ("history?status=lost", "status"),
        ("history?page=0", "page"),
        ("history?page=99999999999999999999", "page"),
        ("history?page=101&page_size=100", "page"),
        ("history?page_size=9", "page_size"),
        ("history?page_size=101", "page_size"),
        ("history?cursor=x", "cursor"),
        ("history?cursor=1-2-3", "cursor"),
        ("history?cursor=ffffffffffffffff-018f3c1e7b2a7c3d8e4f5a6b7c8d9e0f-2", "cursor"),
        ("history?cursor=5-018f3c1e7b2a7c3d8e4f5a6b7c8d9e0f--2", "cursor"),
        ("history?cursor=5-018f3c1e7b2a7c3d8e4f5a6b7c8d9e0f-2&page=2", "page"),
        ("history?process=nobody's", "process"),
        ("history?process=", "process"),
        ("history?text=%00", "text"),
        ("history?text=", "text"),
        (f"history?text={'x' * 201}", "text"),
        ("history?task_name=%ed%a0%80%00", "task_name"),
        ("history?item=7", "item"),
        ("history?statuss=failed", "statuss"),
        ("failures?limit=0", "limit"),
        ("failures?limit=201", "limit"),
        ("tasks/7", "record_id"),
    ],
)
async def test_bad_input_is_a_bad_request_that_names_it(operator: Program, path: str, parameter: str) -> None:
    problem = await operator.no(400, "GET", f"/monitoring/{path}")
    assert problem["type"] == "urn:pressroom:problem:bad-request"
    assert [each["parameter"] for each in problem["errors"]] == [parameter]
    assert problem["detail"].startswith(parameter)


async def test_elsewhere_bad_input_stays_what_it_was(operator: Program) -> None:
    await operator.no(422, "GET", "/failures?limit=0")
    await operator.no(422, "POST", "/monitoring-processes", json={})


# One record, and failures


async def test_a_record_shows_what_was_done_within_it(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    parent = failed(**mine, run_name="prepare")
    steps = [record(**mine, task_name=name, kind="step", parent_id=parent["id"]) for name in ("log_in", "read_page")]
    await write(site.database, parent, *steps)
    one = await operator.ok("GET", f"/monitoring/tasks/{parent['id']}")
    assert [each["task_name"] for each in one["children"]] == ["log_in", "read_page"]
    assert one["error_traceback"] == "Traceback …"
    child = await operator.ok("GET", f"/monitoring/tasks/{steps[0]['id']}")
    assert child["parent_id"] == one["id"]
    await operator.no(404, "GET", f"/monitoring/tasks/{work.new_id()}")
    await operator.no(404, "GET", f"/monitoring/tasks/{uuid4()}")


async def test_failures_are_grouped_by_their_fingerprint(site: Site, operator: Program) -> None:
    mine = {"owner_id": operator.user_id}
    await write(site.database, *(failed(**mine) for _ in range(3)), failed(**mine, fingerprint="cafe", cause="other"))
    groups = (await operator.ok("GET", "/monitoring/failures"))["failures"]
    assert {(each["fingerprint"], each["count"], each["message"]) for each in groups} == {
        ("f00d", 3, "The site answered HTTP *"),
        ("cafe", 1, "other"),
    }
    [one] = (await operator.ok("GET", "/monitoring/failures?fingerprint=cafe"))["failures"]
    assert one["task_names"] == ["prepare_article"]
    assert len((await operator.ok("GET", "/monitoring/failures?limit=1"))["failures"]) == 1


# Who sees what


async def test_everybody_sees_their_own_and_administrators_everything(site: Site, operator: Program) -> None:
    theirs, nobodys = failed(owner_id=operator.user_id), failed(fingerprint="none")
    await write(site.database, theirs, nobodys)
    async with site.program("boss", "admin") as boss, site.program("second", "viewer") as viewer:
        for program, mine in ((operator, [theirs]), (boss, [theirs, nobodys]), (viewer, [])):
            items = (await program.ok("GET", "/monitoring/history"))["items"]
            assert {item["id"] for item in items} == {str(each["id"]) for each in mine}
            metrics = (await program.ok("GET", "/monitoring/metrics"))["metrics"]
            assert [each["failed"] for each in metrics] == ([len(mine)] if mine else [])
            assert len((await program.ok("GET", "/monitoring/failures"))["failures"]) == len(mine)
            for each in (theirs, nobodys):
                status = 200 if each in mine else 404
                assert (await program("GET", f"/monitoring/tasks/{each['id']}")).status_code == status
        await viewer.no(403, "POST", "/monitoring/retry", json={"filter": {}, "expected_count": 0})


# Trying again


async def failures_of(site: Site, program: Program, ids: list[UUID], **values: Any) -> list[str]:
    made = [failed(owner_id=program.user_id, item_id=id_, **values) for id_ in ids]
    await write(site.database, *made)
    return [str(each["id"]) for each in made]


async def statuses(site: Site) -> list[str]:
    async with site.database.session() as session:
        return list((await session.execute(text("SELECT status FROM ai_comments ORDER BY id"))).scalars())


async def test_all_that_match_are_tried_again_once_their_number_is_right(
    site: Site, operator: Program, things: World
) -> None:
    process_id = await things.process("watch")
    died = {"error_message": "The site answered HTTP 503", "failed_at": datetime.now(UTC)}
    content = {"article_content": "x", "comment_content": guard.with_prefix("Ein schöner Text.")}
    ids = await things.comments(process_id, 2, "failed", **died, failed_from="discovered")
    sent = {"failed_from": "generated", "post_sent_at": datetime.now(UTC)}
    ids += await things.comments(process_id, 1, "failed", first=3, **died, **sent, **content)
    ids += await things.comments(
        process_id, 1, "posted", first=4, posted_at=datetime.now(UTC), mymoment_comment_id="7", **content
    )
    await failures_of(site, operator, [*ids, ids[0], uuid4()])
    await write(
        site.database, failed(owner_id=operator.user_id, task_name="examine"), record(owner_id=operator.user_id)
    )
    wanted = {"filter": {"fingerprint": "f00d"}}
    refused = await operator.no(409, "POST", "/monitoring/retry", json=wanted | {"expected_count": 6})
    assert "7 failed records match now, not 6" in refused["detail"]
    assert refused["errors"][0]["pointer"] == "#/expected_count"
    assert await statuses(site) == ["failed", "failed", "failed", "posted"]
    key = {"Idempotency_Key": "again-monday"}
    done = await operator.ok("POST", "/monitoring/retry", json=wanted | {"expected_count": 7}, **key)
    assert (done["matched"], done["retried"], done["read_back_first"]) == (7, 3, 1)
    left = {each["reason"]: each["number"] for each in done["left_alone"]}
    assert left == {"posted": 1, "gone": 1, "no_item": 1}
    assert all(each["why"] for each in done["left_alone"])
    assert await statuses(site) == ["discovered", "discovered", "generated", "posted"]
    async with site.database.session() as session:
        still = await session.scalar(text("SELECT post_sent_at FROM ai_comments WHERE status = 'generated'"))
        assert still is not None  # so that posting reads back first
        [noted] = (
            await session.execute(text("SELECT details FROM audit_entries WHERE action = 'comment.retry'"))
        ).scalars()
        assert noted["retried"] == 3
    same = await operator.ok("POST", "/monitoring/retry", json=wanted | {"expected_count": 7}, **key)
    assert same == done
    anew = await operator.ok("POST", "/monitoring/retry", json=wanted | {"expected_count": 7})
    assert anew["retried"] == 0
    assert {each["reason"] for each in anew["left_alone"]} == {"posted", "gone", "no_item", "waits"}


async def test_of_many_who_try_the_same_again_at_once_one_does(site: Site, operator: Program, things: World) -> None:
    process_id = await things.process("watch")
    died = {"error_message": "x", "failed_at": datetime.now(UTC), "failed_from": "discovered"}
    ids = await things.comments(process_id, 5, "failed", **died)
    records = await failures_of(site, operator, ids)
    body = {"ids": records, "expected_count": 5}
    answers = await asyncio.gather(*(operator("POST", "/monitoring/retry", json=body) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sum(answer.json().get("retried", 0) for answer in answers) == 5
    assert await statuses(site) == ["discovered"] * 5


async def test_nobody_tries_anothers_again(site: Site, operator: Program, things: World) -> None:
    process_id = await things.process("watch")
    ids = await things.comments(
        process_id, 1, "failed", error_message="x", failed_at=datetime.now(UTC), failed_from="discovered"
    )
    records = await failures_of(site, operator, ids)
    async with site.program("second") as second:
        for which in ({"ids": records}, {"filter": {}}):
            await second.no(409, "POST", "/monitoring/retry", json=which | {"expected_count": 1})
            done = await second.ok("POST", "/monitoring/retry", json=which | {"expected_count": 0})
            assert (done["matched"], done["retried"]) == (0, 0)
        # a record of one's own that names another's comment
        own = await failures_of(site, second, ids)
        done = await second.ok("POST", "/monitoring/retry", json={"ids": own, "expected_count": 1})
        assert done["left_alone"][0]["reason"] == "gone"
    assert await statuses(site) == ["failed"]


async def test_a_stage_that_failed_is_asked_to_run(
    site: Site, operator: Program, things: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    async def started(name: str, parameters: Any) -> str:
        asked.append((name, parameters))
        return str(uuid4())

    monkeypatch.setattr(runs, "start_deployment", started)
    process_id = await things.process("watch")
    await things.process("stopped", start=False, logins=[await things.login("b")])
    mine = {"owner_id": operator.user_id, "kind": "stage", "task_name": "prepare_process"}
    await write(
        site.database, *(failed(**mine, process_id=process_id) for _ in range(2)), failed(**mine, process_id=uuid4())
    )
    done = await operator.ok("POST", "/monitoring/retry", json={"filter": {}, "expected_count": 3})
    assert (done["stages_run"], done["retried"]) == (1, 0)
    assert [(each["reason"], each["number"]) for each in done["left_alone"]] == [("no_item", 1)]
    assert asked == [("prepare_content_of_articles", {"process_id": str(process_id)})]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"expected_count": 1}, "#"),
        ({"expected_count": 1, "ids": [], "filter": None}, "#/ids"),
        ({"expected_count": 1, "ids": [str(uuid4())], "filter": {}}, "#"),
        ({"filter": {}}, "#/expected_count"),
        ({"filter": {}, "expected_count": -1}, "#/expected_count"),
        ({"filter": {"state": "failed"}, "expected_count": 1}, "#/filter/state"),
        ({"filter": {"start_date": "soon"}, "expected_count": 1}, "#/filter/start_date"),
        ({"filter": {"process": "nobody's"}, "expected_count": 1}, "#/filter/process"),
        ({"ids": [str(uuid4())] * (task_retries.MOST_CHOSEN + 1), "expected_count": 1}, "#/ids"),
    ],
)
async def test_a_retry_says_what_it_is_about(operator: Program, body: dict[str, Any], pointer: str) -> None:
    problem = await operator.no(400, "POST", "/monitoring/retry", json=body)
    assert problem["errors"][0]["pointer"] == pointer
