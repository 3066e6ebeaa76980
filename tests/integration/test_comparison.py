"""Two templates side by side over past articles: nothing is posted, costs are summed, a killed run is gone on with."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from flows.compare_templates import compare_templates
from lib import work
from lib.errors import Invalid, NotFound
from lib.monitoring import comparison
from lib.monitoring.comparison import Compared, Wanted
from lib.monitoring.items import Wait
from lib.monitoring.runtime import opened
from lib.monitoring.store import claims, comparisons
from playground.serve import Running
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server", "plain_items")
TEXT = "Am Sonntag waren wir am See und haben gebadet."


@pytest.fixture
def plain_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")


async def made(world: World, articles: int = 3, **provider: Any) -> UUID:
    first = await world.template("first")
    second = await world.template("second", "Über {article_title}: {article_content} Stelle eine Frage.")
    await world.provider("judge", **provider)
    process_id = await world.process(templates=[first], start=False)
    await world.comments(process_id, articles, "generated", article_content=TEXT, comment_content="x")
    user = await world.user()
    return await comparison.create(world.database, user, user, Wanted("first", str(second), "judge"))


async def read(world: World, comparison_id: UUID) -> Compared:
    return await comparison.read(world.database, await world.user(), comparison_id)


def on_the_site(playground: Running) -> Any:
    return httpx.get(f"{playground.url}/control/comments").json()


async def change(world: World, statement: str) -> Any:
    async with world.database.session() as session:
        return await session.execute(text(statement))


def fault(playground: Running, kind: str, **more: Any) -> None:
    httpx.post(f"{playground.url}/control/faults", json={"route": "llm", "kind": kind, **more}).raise_for_status()


async def test_two_templates_are_compared_side_by_side_with_their_costs(world: World, playground: Running) -> None:
    comparison_id = await made(world, input_price=Decimal(1), output_price=Decimal(2))
    assert (await read(world, comparison_id)).line.left == 6
    assert (await compare_templates(comparison_id)).asked == 6
    found = await read(world, comparison_id)
    assert (found.line.status, found.line.left) == ("done", 0)
    assert (found.line.template_a, found.line.template_b, found.line.provider) == ("first", "second", "judge")
    assert len(found.pairs) == 3
    for pair in found.pairs:
        assert pair.content == TEXT
        assert pair.a.comment
        assert pair.b.comment
        assert "Stelle eine Frage" in (pair.b.prompt_user or "")
        assert pair.a.prompt_user != pair.b.prompt_user
    assert found.a.cost == sum((pair.a.cost or 0 for pair in found.pairs), Decimal(0)) > 0
    assert (found.a.done, found.a.accepted) == (3, 3)
    async with world.database.session() as session:
        cost = await session.scalar(text("SELECT sum(cost) FROM llm_usage"))
    assert cost == (found.a.cost or 0) + (found.b.cost or 0)
    assert {row.status for row in await world.all_comments()} == {"generated"}
    assert on_the_site(playground) == []
    assert (await compare_templates(comparison_id)).asked == 0


async def test_what_the_guard_turns_away_is_shown_and_trouble_is_tried_again(world: World, playground: Running) -> None:
    comparison_id = await made(world, 2)
    fault(playground, "obey_injection")
    fault(playground, "status", status=503)
    await compare_templates(comparison_id)
    found = await read(world, comparison_id)
    assert found.line.status == "done"
    assert found.a.done + found.b.done == 4
    assert found.a.accepted + found.b.accepted == 3
    rules = {each["rule"] for pair in found.pairs for side in (pair.a, pair.b) for each in side.findings}
    assert rules == {"link", "contact"}


async def test_a_run_goes_on_where_a_killed_one_ended(world: World) -> None:
    comparison_id = await made(world)
    async with world.database.session() as session:
        provider_id = await comparisons.begin(session, comparison_id)
        assert provider_id
        taken = await comparisons.claim(session, comparison_id, provider_id, 5, work.new_id(), 60)
    assert isinstance(taken, comparisons.AnswerToGet)
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == []
    await change(world, "UPDATE comparison_answers SET lease_expires_at = now() - interval '1 s' WHERE attempts > 0")
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == [comparison_id]
    assert (await compare_templates(comparison_id)).asked == 6
    assert (await read(world, comparison_id)).line.status == "done"


async def test_a_cancelled_run_is_gone_on_with_and_a_waiting_one_is_left_alone(world: World) -> None:
    comparison_id = await made(world)
    async with world.database.session() as session:
        provider_id = await comparisons.begin(session, comparison_id)
        assert provider_id
        taken = await comparisons.claim(session, comparison_id, provider_id, 5, work.new_id(), 60)
    assert isinstance(taken, comparisons.AnswerToGet)
    async with world.database.session() as session:
        await comparisons.release(session, taken)
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == []
    await change(world, "UPDATE comparisons SET updated_at = now() - interval '3 minutes'")
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == [], "an answer was touched a moment ago"
    await change(world, "UPDATE comparison_answers SET updated_at = now() - interval '3 minutes'")
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == [comparison_id]
        await comparisons.note_waiting(session, comparison_id)
    async with world.database.session() as session:
        assert await comparisons.abandoned(session) == [], "a run of it waits"


async def test_a_run_that_waits_for_the_provider_says_that_it_lives(world: World) -> None:
    comparison_id = await made(world, max_concurrency=1)
    async with world.database.session() as session:
        provider_id = await comparisons.begin(session, comparison_id)
    assert provider_id
    process_id = await world.process("busy", provider=provider_id)
    await world.comments(process_id, 1, "prepared", article_content=TEXT)
    async with world.database.session() as session:
        assert await claims.claim_generation(session, process_id, provider_id, 1, work.new_id(), 60)
    waiting = asyncio.create_task(compare_templates(comparison_id))
    await asyncio.sleep(2)
    await change(world, "UPDATE comparisons SET updated_at = now() - interval '3 minutes'")
    async with asyncio.timeout(20):
        while not await fresh(world):
            await asyncio.sleep(0.1)
    await change(world, "UPDATE ai_comments SET claim_token = NULL, lease_expires_at = NULL")
    assert (await waiting).asked == 6


async def fresh(world: World) -> bool:
    async with world.database.session() as session:
        return bool(await session.scalar(text("SELECT updated_at > now() - interval '1 minute' FROM comparisons")))


async def test_an_answer_that_is_not_ours_any_more_is_paid_for_all_the_same(world: World) -> None:
    comparison_id = await made(world, 1, input_price=Decimal(1), output_price=Decimal(2))
    async with opened():
        async with world.database.session() as session:
            provider_id = await comparisons.begin(session, comparison_id)
            assert provider_id
            taken = await comparisons.claim(session, comparison_id, provider_id, 5, work.new_id(), 60)
        assert isinstance(taken, comparisons.AnswerToGet)
        await change(world, "UPDATE comparison_answers SET claim_token = NULL, lease_expires_at = NULL")
        await comparison.answer(taken)
    assert (await read(world, comparison_id)).line.left == 2
    async with world.database.session() as session:
        [(calls, cost)] = await session.execute(text("SELECT calls, cost FROM llm_usage"))
    assert calls == 1
    assert cost > 0


async def test_a_refusal_or_a_used_up_budget_stops_it_and_the_rest_waits(world: World) -> None:
    comparison_id = await made(world, key="not-the-key", max_concurrency=1)
    assert "refuses its key" in ((await compare_templates(comparison_id)).stopped or "")
    found = await read(world, comparison_id)
    assert (found.line.status, found.line.left) == ("stopped", 6)
    assert "refuses its key" in (found.line.error or "")
    await change(world, "UPDATE llm_provider_configurations SET budget_tokens = 0 WHERE name = 'judge'")
    assert "used up" in ((await compare_templates(comparison_id)).stopped or "")
    assert (await read(world, comparison_id)).line.left == 6


async def test_the_providers_limit_holds_over_comparisons_and_processes_together(world: World) -> None:
    comparison_id = await made(world, max_concurrency=2)
    async with world.database.session() as session:
        provider_id = await comparisons.begin(session, comparison_id)
    assert provider_id
    process_id = await world.process("busy", provider=provider_id)
    await world.comments(process_id, 5, "prepared", article_content=TEXT)

    async def compare() -> object:
        async with world.database.session() as session:
            return await comparisons.claim(session, comparison_id, provider_id, 2, work.new_id(), 60)

    async def write() -> object:
        async with world.database.session() as session:
            return await claims.claim_generation(session, process_id, provider_id, 2, work.new_id(), 60)

    taken = await asyncio.gather(*(each() for each in (compare, write) * 4))
    assert sum(not isinstance(each, Wait) for each in taken) == 2


async def test_what_cannot_be_compared_is_named(world: World) -> None:
    await world.template("first")
    await world.template("second")
    await world.provider("judge")
    user = await world.user()
    for wanted, error, words in (
        (Wanted("first", "first", "judge"), Invalid, "with itself"),
        (Wanted("first", "third", "judge"), NotFound, "“third”"),
        (Wanted("first", "second", "judge"), Invalid, "no past article"),
        (Wanted("first", "second", "judge", [UUID(int=5)]), NotFound, "00000005"),
        (Wanted("first", "second", "judge", articles=21), Invalid, "1 to 20"),
    ):
        with pytest.raises(error, match=words):
            await comparison.create(world.database, user, user, wanted)
    with pytest.raises(NotFound):
        await comparison.read(world.database, user, UUID(int=1))
