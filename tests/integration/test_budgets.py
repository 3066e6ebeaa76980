"""What a model costs: counted, warned, stopped with the items left waiting; and who writes while the first is down."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from flows.enforce_time_limits import enforce_time_limits
from flows.generate_comments_for_articles import generate_comments_for_articles
from lib.database import Database
from lib.monitoring import health
from lib.monitoring.items import StageReport
from lib.monitoring.presets import Budget
from lib.monitoring.store import budgets, claims
from lib.monitoring.store.budgets import Claimant, Standing
from lib.settings import settings as read_settings
from playground.serve import Running
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server", "plain_items")
ZONE = "Europe/Zurich"
LEASE = 60.0


@pytest.fixture
def plain_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")


def fault(playground: Running, kind: str, **more: Any) -> None:
    asked = {"route": "llm", "kind": kind, "times": None, **more}
    httpx.post(f"{playground.url}/control/faults", json=asked).raise_for_status()


async def prepared(world: World, number: int, **fields: Any) -> UUID:
    process_id = await world.process(**fields)
    await world.comments(process_id, number, "prepared", article_content="Am Sonntag waren wir am See. " * 5)
    return process_id


async def generated() -> StageReport:
    [report] = (await generate_comments_for_articles()).reports
    return report


async def change(world: World, statement: str, **parameters: Any) -> Any:
    async with world.database.session() as session:
        return await session.execute(text(statement), parameters)


async def rows(world: World, statement: str) -> list[Any]:
    async with world.database.session() as session:
        return list((await session.execute(text(statement))).all())


async def standings(world: World) -> list[Standing]:
    async with world.database.session() as session:
        return await budgets.standings(session, ZONE)


async def used(world: World) -> int:
    [[tokens]] = await rows(world, "SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM llm_usage")
    return int(tokens)


async def statuses(world: World) -> list[str]:
    return sorted(row.status for row in await world.all_comments())


async def test_every_call_is_counted_and_priced_also_those_that_are_turned_away(
    world: World, playground: Running
) -> None:
    provider = await world.provider("priced", input_price=Decimal(2), output_price=Decimal(8), currency="CHF")
    process_id = await prepared(world, 3, provider=provider)
    fault(playground, "too_short", times=1)
    await generated()
    [(calls, taken, given, cost, currency)] = await rows(
        world, "SELECT calls, input_tokens, output_tokens, cost, currency FROM llm_usage"
    )
    assert (calls, currency) == (4, "CHF")
    assert cost == (taken * Decimal(2) + given * Decimal(8)) / 1_000_000
    assert await rows(world, "SELECT sum(input_tokens), sum(output_tokens), sum(cost) FROM generation_attempts") == [
        (taken, given, cost)
    ]
    assert await rows(world, "SELECT process_id, provider_id FROM llm_usage") == [(process_id, provider)]


@pytest.mark.parametrize("whose", ["process", "provider"])
async def test_a_used_up_budget_leaves_the_items_waiting_and_says_until_when(world: World, whose: str) -> None:
    provider = await world.provider("model", max_concurrency=4, max_tokens=50)
    process_id = await prepared(world, 12, provider=provider)
    table = {"process": "monitoring_processes", "provider": "llm_provider_configurations"}[whose]
    await change(world, f"UPDATE {table} SET budget_tokens = 400")
    report = await generated()
    one_call = max(row[0] for row in await rows(world, "SELECT input_tokens + output_tokens FROM generation_attempts"))
    assert 400 <= await used(world) < 400 + one_call
    assert set(await statuses(world)) == {"generated", "prepared"}
    assert {row.retry_count for row in await world.all_comments()} == {0}
    assert f"Daily budget of {whose}" in report.note
    assert "used up" in report.note
    assert "goes on at" in report.note
    [standing] = await standings(world)
    assert (standing.owner, standing.state) == (whose, "used_up")
    assert (await generated()).done == 0
    await change(world, f"UPDATE {table} SET budget_tokens = NULL")
    await generated()
    assert await statuses(world) == ["generated"] * 12
    assert (await world.get_process(process_id)).errors_encountered_in_generation == 0


async def test_a_budget_of_money_stops_too_and_warns_from_80_percent(world: World) -> None:
    provider = await world.provider("model", max_tokens=50, input_price=Decimal(1000), output_price=Decimal(1000))
    process_id = await prepared(world, 1, provider=provider)
    await generated()
    [[cost]] = await rows(world, "SELECT sum(cost) FROM llm_usage")
    await world.comments(process_id, 2, "prepared", article_content="Ein Text über den See.")
    await change(world, "UPDATE monitoring_processes SET budget_money = :budget", budget=cost / Decimal("0.85"))
    [standing] = await standings(world)
    assert standing.state == "warned"
    report = await generated()
    assert report.done == 1
    assert "used up" in report.note
    assert (await standings(world))[0].state == "used_up"


async def test_yesterdays_use_does_not_count_today(world: World) -> None:
    provider = await world.provider("model", budget_tokens=10)
    process_id = await prepared(world, 1, provider=provider)
    await change(
        world,
        "INSERT INTO llm_usage (day, process_id, provider_id, input_tokens, currency) "
        "VALUES ((now() AT TIME ZONE 'Europe/Zurich')::date - 1, :process, :provider, 99, 'USD')",
        process=process_id,
        provider=provider,
    )
    assert (await generated()).done == 1


async def test_what_is_at_work_is_reserved_in_every_worker(world: World, database: Database) -> None:
    provider = await world.provider("model", max_tokens=100, budget_tokens=1000)
    process_id = await prepared(world, 10, provider=provider)
    claimant = Claimant(process_id, Budget(), provider, Budget(1000), 800, ZONE)

    async def worker() -> bool:
        async with database.session() as session:
            [standing] = await budgets.room(session, claimant)
            if standing.is_taken:
                return False
            return bool(await claims.claim_generation(session, process_id, provider, 50, UUID(int=1), LEASE))

    taken = sum(await asyncio.gather(*(worker() for _ in range(8))))
    # 145 characters and a prompt are 572 tokens, and 100 of an answer: the second one may go over, no third.
    assert taken == 2


async def test_without_a_budget_nothing_is_asked_about_it(world: World, database: Database) -> None:
    provider = await world.provider("model")
    process_id = await world.process(provider=provider)
    before = database.figures().round_trips
    async with database.session() as session:
        assert await budgets.room(session, Claimant(process_id, Budget(), provider, Budget(), 800, ZONE)) == []
    assert database.figures().round_trips == before


async def test_health_is_well_while_items_wait_for_tomorrows_budget(world: World) -> None:
    provider = await world.provider("model", budget_tokens=0)
    await prepared(world, 1, provider=provider)
    await change(world, "UPDATE ai_comments SET updated_at = now() - interval '3 hours'")
    found = await health.examine(world.settings, world.database, None)
    checks = {check.name: check for check in found.checks}
    assert checks["stage generation"].ok
    assert "used up" in checks["budget of provider model"].detail


async def with_fallback(world: World, number: int, first: UUID) -> UUID:
    spare = await world.provider("spare")
    return await prepared(world, number, provider=first, fallback_provider_id=spare)


async def writers(world: World) -> set[str | None]:
    return {row.ai_provider_name for row in await world.all_comments()}


@pytest.mark.parametrize(
    "broken",
    [{"base_url": "http://127.0.0.1:9/v1"}, {"key": "not-the-key"}, {"is_active": False}],
    ids=["unreachable", "refused", "switched off"],
)
async def test_the_fallback_writes_while_the_first_is_down_and_no_item_suffers(
    world: World, broken: dict[str, Any]
) -> None:
    await with_fallback(world, 6, await world.provider("first", **broken))
    report = await generated()
    assert report.done == 6
    assert "“spare” writes instead" in report.note
    assert await writers(world) == {"spare"}
    assert {(row.status, row.retry_count) for row in await world.all_comments()} == {("generated", 0)}


async def test_trouble_in_a_row_hands_over_and_no_item_fails(
    world: World, playground: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_MAX_ATTEMPTS", "1")
    read_settings.cache_clear()
    first = await world.provider("first", max_concurrency=1)
    await with_fallback(world, 6, first)
    fault(playground, "status", status=503, times=1)
    report = await generated()
    assert (report.done, report.failed) == (6, 0)
    assert await writers(world) == {"spare"}
    outcomes = await rows(world, "SELECT provider_name, outcome FROM generation_attempts ORDER BY id")
    assert outcomes[0] == ("first", "error")
    assert set(outcomes[1:]) == {("spare", "accepted")}


async def test_three_failures_in_a_row_are_the_providers_and_one_is_the_items(
    world: World, playground: Running
) -> None:
    first = await world.provider("first", max_concurrency=1)
    await with_fallback(world, 6, first)
    fault(playground, "status", status=503, times=3)
    await generated()
    names = [row[0] for row in await rows(world, "SELECT provider_name FROM generation_attempts ORDER BY id")]
    assert names[:3] == ["first"] * 3
    assert set(names[3:]) == {"spare"}
    assert (
        "503" in (await rows(world, "SELECT down_reason FROM llm_provider_configurations WHERE name = 'first'"))[0][0]
    )


async def test_the_first_is_used_again_after_its_pause(world: World) -> None:
    first = await world.provider("first", key="not-the-key")
    process_id = await with_fallback(world, 2, first)
    await generated()
    await change(
        world,
        "UPDATE llm_provider_configurations SET api_key_encrypted = "
        "(SELECT api_key_encrypted FROM llm_provider_configurations WHERE name = 'spare') WHERE name = 'first'",
    )
    await world.comments(process_id, 4, "prepared", article_content="Ein Text über den See.")
    await generated()
    assert await writers(world) == {"spare"}
    await change(world, "UPDATE llm_provider_configurations SET down_until = now() WHERE name = 'first'")
    await world.comments(process_id, 6, "prepared", article_content="Ein Text über den See.")
    await generated()
    assert await writers(world) == {"spare", "first"}
    assert await rows(world, "SELECT down_until FROM llm_provider_configurations WHERE name = 'first'") == [(None,)]
    assert set(await statuses(world)) == {"generated"}


async def test_a_used_up_budget_of_the_first_is_no_reason_to_wait_for_the_fallback(world: World) -> None:
    first = await world.provider("first", budget_tokens=0)
    await with_fallback(world, 3, first)
    report = await generated()
    assert report.done == 3
    assert await writers(world) == {"spare"}
    assert "Daily budget of provider “first”" in report.note


async def test_when_both_are_down_the_items_fail_in_their_own_time(world: World) -> None:
    spare = await world.provider("spare", base_url="http://127.0.0.1:9/v1")
    first = await world.provider("first", base_url="http://127.0.0.1:9/v1")
    await prepared(world, 1, provider=first, fallback_provider_id=spare)
    for _ in range(5):
        await generate_comments_for_articles()
        await world.look_again()
    assert await statuses(world) == ["failed"]


async def test_a_process_whose_logins_are_refused_for_a_day_fails_by_itself(world: World) -> None:
    process_id = await world.process()
    other = await world.process("other", logins=[await world.login("fine")])
    await change(
        world,
        "UPDATE mymoment_logins SET failed_logins = 9, refused_since = now() - interval '25 hours' "
        "WHERE name = 'bot of watch'",
    )
    assert await enforce_time_limits() == ["watch"]
    process = await world.get_process(process_id)
    assert (process.status, process.stop_reason) == ("failed", "logins_refused")
    assert "“bot of watch”" in (process.error_message or "")
    assert (await world.get_process(other)).status == "running"
