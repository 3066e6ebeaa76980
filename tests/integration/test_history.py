"""A comment's whole life, as a trigger and the generation records tell it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib import work
from lib.errors import Refused
from lib.monitoring.calls import storable
from lib.monitoring.guard import PREFIX
from lib.monitoring.models import AIComment
from lib.monitoring.store import claims, comments, decisions, history, review
from lib.monitoring.store.history import Attempt, Step
from lib.work import Policy
from playground.serve import Running
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server", "plain_items")


@pytest.fixture
def plain_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")


async def of(world: World, comment_id: Any) -> list[Step | Attempt]:
    async with world.database.session() as session:
        return await history.of_comment(session, comment_id)


def obey_an_injection(playground: Running) -> None:
    fault = {"route": "llm", "kind": "obey_injection"}
    httpx.post(f"{playground.url}/control/faults", json=fault).raise_for_status()


def kinds(found: list[Step | Attempt]) -> list[str]:
    return [step.kind if isinstance(step, Step) else step.outcome for step in found]


async def change(world: World, statement: str, **parameters: Any) -> None:
    async with world.database.session() as session:
        await session.execute(text(statement), parameters)


async def test_the_whole_life_of_a_comment_is_told_in_order(world: World, playground: Running) -> None:
    await world.process(article_limit=1, generate_only=True)
    await discover_articles()
    await prepare_content_of_articles()
    obey_an_injection(playground)
    await generate_comments_for_articles()
    [row] = await world.all_comments()
    async with world.database.session() as session:
        await decisions.act_as(session, await world.user())
        await session.execute(text("UPDATE ai_comments SET comment_content = comment_content || ' Bravo!'"))
        await review.approve(session, await world.user(), [row.id])
    await post_comments_for_articles()
    found = await of(world, row.id)
    assert kinds(found) == [
        "discovered",
        "claimed",
        "prepared",
        "claimed",
        "rejected",
        "attempt_failed",
        "claimed",
        "accepted",
        "generated",
        "edited",
        "approved",
        "claimed",
        "sent",
        "posted",
    ]
    steps = [step for step in found if isinstance(step, Step)]
    assert {step.actor for step in steps if step.kind in ("edited", "approved")} == {"user operator"}
    machine = [step.actor or "" for step in steps if step.kind not in ("edited", "approved")]
    assert all(actor.startswith("flow run ") for actor in machine)
    assert len(set(machine)) == 4
    assert steps[0].seconds is None
    assert all(step.seconds is not None and step.seconds >= 0 for step in steps[1:])
    edited = next(step for step in steps if step.kind == "edited")
    assert (edited.note or "").startswith(PREFIX)
    rejected, accepted = [each for each in found if isinstance(each, Attempt)]
    assert {finding["rule"] for finding in rejected.findings} == {"link", "contact"}
    assert "evil.example" in (rejected.answer or "")
    assert (rejected.attempt, accepted.attempt) == (1, 2)
    assert accepted.findings == ()
    assert "kind reader" in (accepted.prompt_system or "")
    assert row.article_title in (accepted.prompt_user or "")
    assert accepted.input_tokens > accepted.output_tokens > 0
    assert f"flow run {accepted.flow_run_id}" in machine
    assert not accepted.tokens_estimated


async def test_renewing_a_lease_writes_nothing_and_letting_go_does(world: World) -> None:
    process_id = await world.process()
    [comment_id] = await world.comments(process_id, 1, "prepared")
    process = await world.get_process(process_id)
    assert process.llm_provider_id
    token = work.new_id()
    async with world.database.session() as session:
        item = await claims.claim_generation(session, process_id, process.llm_provider_id, 5, token, 60)
    async with world.database.session() as session:
        assert await work.renew(session, AIComment.id, {token: [comment_id]}, 90) == {token}
    assert kinds(await of(world, comment_id)) == ["discovered", "claimed"]
    async with world.database.session() as session:
        await comments.release(session, [item.claim])  # type: ignore[union-attr]
    assert kinds(await of(world, comment_id)) == ["discovered", "claimed", "released"]


async def test_a_takeover_a_refusal_and_a_persons_note_are_told_as_such(world: World) -> None:
    process_id = await world.process()
    [comment_id] = await world.comments(process_id, 1, "prepared")
    process = await world.get_process(process_id)
    assert process.llm_provider_id
    for _ in range(2):
        async with world.database.session() as session:
            item = await claims.claim_generation(session, process_id, process.llm_provider_id, 5, work.new_id(), 60)
        await world.expire_leases()
    async with world.database.session() as session:
        policy = Policy(3, 1, 1)
        claim = item.claim  # type: ignore[union-attr]
        await comments.settle_failed(session, "generation", [claim], Refused("The key is refused"), policy)
    await change(world, "UPDATE ai_comments SET status = 'generated', comment_content = 'Text.'")
    async with world.database.session() as session:
        await decisions.act_as(session, await world.user())
        await session.execute(
            text("UPDATE ai_comments SET status = 'prepared', comment_content = NULL, generation_note = 'Kürzer bitte'")
        )
    found = [step for step in await of(world, comment_id) if isinstance(step, Step)]
    assert [step.kind for step in found[1:]] == ["claimed", "taken_over", "postponed", "generated", "sent_back"]
    assert found[3].note == "The key is refused"
    assert (found[5].actor, found[5].note) == ("user operator", "Kürzer bitte")
    assert found[4].actor is None


async def test_the_operators_note_reaches_the_model_outside_the_fence(world: World) -> None:
    process_id = await world.process()
    await world.comments(
        process_id, 1, "prepared", article_content="Am See.", generation_note="Frag nach dem\x07 Hund."
    )
    await generate_comments_for_articles()
    [row] = await world.all_comments()
    [attempt] = [each for each in await of(world, row.id) if isinstance(each, Attempt)]
    prompt = attempt.prompt_user or ""
    assert prompt.rstrip().endswith("Frag nach dem Hund.")
    assert prompt.rindex(" ---") < prompt.index("Frag nach dem")


async def test_what_a_refused_call_was_asked_is_not_kept(world: World) -> None:
    process_id = await world.process(provider=await world.provider(key="not-the-key"))
    [comment_id] = await world.comments(process_id, 1, "prepared", article_content="Am See.")
    await generate_comments_for_articles()
    [attempt] = [each for each in await of(world, comment_id) if isinstance(each, Attempt)]
    assert attempt.outcome == "error"
    assert "refuses its key" in (attempt.error or "")
    assert (attempt.prompt_system, attempt.prompt_user) == (None, None)


async def test_of_a_history_without_end_the_newest_is_told(world: World) -> None:
    [comment_id] = await world.comments(await world.process(), 1)
    await change(
        world,
        "INSERT INTO comment_events (comment_id, kind, to_status, attempt)"
        " SELECT :comment, 'postponed', 'prepared', number FROM generate_series(1, 400) AS number",
        comment=comment_id,
    )
    found = await of(world, comment_id)
    assert len(found) == history.MOST_STEPS
    assert [step.attempt for step in found] == list(range(101, 401))


async def test_what_was_refused_again_and_again_is_kept_once_a_day(world: World) -> None:
    provider = await world.provider()
    [comment_id, other] = await world.comments(await world.process(), 2, "prepared")
    calls = (
        "INSERT INTO generation_attempts (comment_id, claim_token, attempt, started_at, ended_at, provider_id,"
        " provider_name, template_id, outcome, error, answer)"
        " SELECT :comment, gen_random_uuid(), n, :day, :day, :provider, 'model', :provider, 'error',"
        " :error || n, :answer FROM generate_series(1, 50) AS n"
    )
    steps = (
        "INSERT INTO comment_events (comment_id, at, kind, from_status, to_status, attempt, note)"
        " SELECT :comment, :day, kind, :status, :status, n, :error || n"
        " FROM generate_series(1, 50) AS n, unnest(ARRAY['claimed', 'postponed']) AS kind"
    )
    yesterday, before = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) - timedelta(days=2)
    repeated = {"comment": comment_id, "day": yesterday, "error": "HTTP 401, request ", "status": "prepared"}
    for more in (
        {},
        {"day": before},
        {"comment": other},
        {"error": "it is down; attempt "},
        {"day": datetime.now(UTC)},
        {"answer": "Toll!", "status": "generated"},
    ):
        values = {"provider": provider, "answer": None} | repeated | more
        await change(world, calls, **{key: value for key, value in values.items() if key != "status"})
        await change(world, steps, **{key: value for key, value in values.items() if key not in ("provider", "answer")})
    async with world.database.session() as session:
        assert await history.thin_out(session) == 4 * 49 + 4 * 2 * 49
        assert await history.thin_out(session) == 0
        kept = await session.execute(
            text("SELECT count(*), max(attempt) FROM generation_attempts WHERE answer IS NULL AND ended_at < :day"),
            {"day": datetime.now(UTC) - timedelta(hours=1)},
        )
        assert kept.one() == (4, 50)


async def test_an_actor_is_named_for_one_transaction_alone(world: World) -> None:
    process_id = await world.process()
    async with world.database.session() as session:
        await decisions.act_as(session, await world.user())
    [comment_id] = await world.comments(process_id, 1)
    [step] = await of(world, comment_id)
    assert step.actor is None  # type: ignore[union-attr]


async def test_the_trigger_is_there_and_goes_with_its_comment(world: World) -> None:
    async with world.database.session() as session:
        found = await session.scalars(
            text("SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'ai_comments'::regclass AND NOT tgisinternal")
        )
        assert {"comment_steps", "comment_beginnings"} <= set(found)
    process_id = await world.process()
    await world.comments(process_id, 2)
    await change(world, "DELETE FROM ai_comments")
    async with world.database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM comment_events")) == 0


def test_an_answer_that_no_database_can_hold_is_kept_as_far_as_it_can_be() -> None:
    assert storable("a\x00b\ud800c" + "x" * 50, 6) == "a\ufffdb?cx"
