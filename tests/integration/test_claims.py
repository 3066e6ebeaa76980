"""The claim engine, with two and more claimants in any interleaving, on a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Database
from lib.errors import OutcomeUnknown, Permanent, Transient
from lib.monitoring.items import ArticleToPrepare, CommentToGenerate, CommentToPost, KeptAnswer, Wait
from lib.monitoring.models import AIComment, ProcessStage
from lib.monitoring.stages import Stage
from lib.monitoring.store import claims, comments, history, stages
from lib.settings import Settings
from lib.work import LeaseKeeper, Policy
from tests.world import World

POLICY = Policy(max_attempts=3, base=0.001, cap=0.001, refused=0.001, unknown=0.001)
LEASE = 60.0


@pytest.fixture
async def world(settings: Settings, database: Database) -> World:
    return World(settings, database)


async def claim_one(
    database: Database, process_id: UUID, provider_id: UUID, limit: int = 100
) -> CommentToGenerate | None:
    async with database.session() as session:
        taken = await claims.claim_generation(session, process_id, provider_id, limit, work.new_id(), LEASE)
    assert not isinstance(taken, Wait)
    return taken


async def test_many_claimants_at_once_take_every_item_exactly_once(world: World) -> None:
    process_id = await world.process()
    ids = await world.comments(process_id, 40, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id

    async def claimant() -> list[UUID]:
        mine = []
        while (taken := await claim_one(world.database, process_id, provider_id)) is not None:
            mine.append(taken.claim.id)
        return mine

    taken = await asyncio.gather(*(claimant() for _ in range(5)))
    assert Counter(id_ for mine in taken for id_ in mine) == Counter(ids)


async def test_an_expired_lease_is_taken_over_and_the_late_owner_settles_nothing(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id
    first = await claim_one(world.database, process_id, provider_id)
    assert first is not None
    assert await claim_one(world.database, process_id, provider_id) is None
    await world.expire_leases()
    second = await claim_one(world.database, process_id, provider_id)
    assert second is not None
    assert second.claim.attempts == 2
    late, ours, again = [await settled(world.database, *each) for each in ((first, "a"), (second, "b"), (second, "b"))]
    assert (late, ours, again) == (0, 1, 0)
    [row] = await world.all_comments()
    assert (row.status, row.comment_content, row.attempts) == ("generated", "b", 0)
    assert (await world.get_process(process_id)).comments_generated == 1
    async with world.database.session() as session:  # what each call used is used, and counts once
        attempts = await session.execute(text("SELECT attempt, answer FROM generation_attempts ORDER BY attempt"))
        assert attempts.all() == [(1, "a"), (2, "b")]
        assert (await session.execute(text("SELECT calls, input_tokens FROM llm_usage"))).one() == (2, 200)


async def settled(database: Database, item: CommentToGenerate, answer: str) -> int:
    """As generation settles what a model has written."""
    kept = KeptAnswer(
        provider_id=item.provider_id,
        provider_name="model",
        currency="EUR",
        outcome="accepted",
        error=None,
        model_name="m",
        prompt_system="",
        prompt_user="",
        answer=answer,
        finish_reason="stop",
        findings=(),
        input_tokens=100,
        output_tokens=10,
        tokens_estimated=False,
        cost=None,
        milliseconds=5,
    )
    values = {"status": "generated", "comment_content": answer}
    settle = partial(
        history.settle_answered, claim=item.claim, template_id=item.template_id, kept=kept, zone="UTC", **values
    )
    return await database.run_statement(settle)


async def test_a_kept_lease_does_not_expire_and_a_lost_one_is_noticed(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id
    kept = await claim_one(world.database, process_id, provider_id)
    lost = await claim_one(world.database, process_id, provider_id)
    assert kept
    assert lost
    keeper = LeaseKeeper(world.database)
    with (
        keeper.keeping(AIComment.id, [kept.claim.id], kept.claim.token, LEASE),
        keeper.keeping(AIComment.id, [lost.claim.id], lost.claim.token, LEASE),
    ):
        async with world.database.session() as session:
            await session.execute(
                text("UPDATE ai_comments SET claim_token = gen_random_uuid() WHERE id = :id"), {"id": lost.claim.id}
            )
            await session.execute(
                text("UPDATE ai_comments SET lease_expires_at = now() + interval '1 second' WHERE id = :id"),
                {"id": kept.claim.id},
            )
        async with keeper.running(beat=0.05):
            await asyncio.sleep(0.3)
    assert keeper.lost == {lost.claim.token}
    async with world.database.session() as session:
        left = await session.scalar(
            text("SELECT extract(epoch FROM lease_expires_at - now()) FROM ai_comments WHERE id = :id"),
            {"id": kept.claim.id},
        )
    assert left > LEASE / 2


async def test_a_stage_that_runs_for_long_keeps_the_leases_of_its_processes(world: World) -> None:
    processes = [await world.process(name=name) for name in ("one", "two")]
    for process_id in processes:
        await world.comments(process_id, 1)
    token = work.new_id()
    claim = partial(
        stages.claim_stages, stage="preparation", process_id=None, token=token, lease=1, flow_run_id=None, at_once=10
    )
    assert len(await world.database.run_statement(claim)) == len(processes)
    keeper = LeaseKeeper(world.database)
    with keeper.keeping(ProcessStage.monitoring_process_id, processes, token, LEASE):
        await keeper._renew_all()
    assert keeper.lost == set()
    longest = text("SELECT min(extract(epoch FROM lease_expires_at - now())), count(*) FROM monitoring_process_stages")
    async with world.database.session() as session:
        row = (await session.execute(text(f"{longest} WHERE claim_token IS NOT NULL"))).one()
    assert row.min > LEASE / 2
    assert row.count == len(processes)


async def test_a_claim_says_whether_it_took_the_last(world: World) -> None:
    templates = [await world.template("kind"), await world.template("short")]
    process_id = await world.process(templates=templates)
    await world.comments(process_id, 2)
    lasts = []
    for _ in range(2):
        claim = partial(claims.claim_article, process_id=process_id, token=work.new_id(), lease=LEASE)
        page = await world.database.run_statement(claim)
        assert page
        assert len(page.comments) == len(templates)
        lasts.append(page.is_last)
    assert lasts == [False, True]
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id
    await world.comments(process_id, 1, status="prepared", first=10)
    lasts = []
    for _ in templates:
        item = await claim_one(world.database, process_id, provider_id)
        assert item
        lasts.append(item.is_last)
    assert lasts == [False, True]


async def test_nobody_claims_for_a_provider_that_is_gone(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1, status="prepared")
    assert await claim_one(world.database, process_id, work.new_id()) is None


async def test_no_more_than_the_providers_limit_is_in_work_in_all_workers_together(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 10, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id

    async def claimant() -> object:
        async with world.database.session() as session:
            return await claims.claim_generation(session, process_id, provider_id, 3, work.new_id(), LEASE)

    taken = await asyncio.gather(*(claimant() for _ in range(5)))
    assert sum(isinstance(one, CommentToGenerate) for one in taken) == 3
    assert sum(isinstance(one, Wait) for one in taken) == 2


async def test_one_login_posts_one_comment_at_a_time_whoever_asks(world: World) -> None:
    login = await world.login()
    one = await world.process("one", logins=[login])
    two = await world.process("two", logins=[login])
    await world.comments(one, 5, status="generated", comment_content="text")
    await world.comments(two, 5, status="generated", comment_content="text")

    async def claimant(process_id: UUID) -> object:
        async with world.database.session() as session:
            return await claims.claim_post(session, process_id, login, work.new_id(), LEASE)

    taken = await asyncio.gather(*(claimant(process) for process in (one, two, one, two)))
    assert sum(isinstance(one, CommentToPost) for one in taken) == 1
    assert sum(isinstance(one, Wait) for one in taken) == 3


async def claim_post(world: World, process_id: UUID, login: UUID) -> object:
    async with world.database.alone() as connection:
        return await claims.claim_post(connection, process_id, login, work.new_id(), LEASE)


async def while_waiting(claim: Coroutine[Any, Any, object], *then: Awaitable[object]) -> object:
    """What the claim gives that began before all of `then`, and had to wait."""
    claiming = asyncio.create_task(claim)
    await asyncio.sleep(0.3)
    assert not claiming.done()
    for each in then:
        await each
    async with asyncio.timeout(10):
        return await claiming


async def test_a_claim_that_waited_for_a_stop_takes_nothing(world: World) -> None:
    login = await world.login()
    process_id = await world.process(logins=[login])
    await world.comments(process_id, 2, status="generated", comment_content="text")
    async with AsyncSession(world.database.engine) as stop:
        await stop.execute(text("UPDATE monitoring_processes SET status = 'stopped', held_at = now()"))
        taken = await while_waiting(claim_post(world, process_id, login), stop.commit())
    assert not isinstance(taken, CommentToPost)
    assert await claim_post(world, process_id, login) is None
    assert {row.claim_token for row in await world.all_comments()} == {None}


async def test_a_claim_that_began_before_another_post_of_the_login_takes_nothing(world: World) -> None:
    login = await world.login()
    process_id = await world.process(logins=[login])
    await world.comments(process_id, 2, status="generated", comment_content="text")

    async def posted_meanwhile() -> None:
        async with world.database.session() as session:
            await session.execute(text("UPDATE mymoment_logins SET next_post_at = now() - interval '1 ms'"))

    async with AsyncSession(world.database.engine) as other:
        await other.execute(text("SELECT FROM monitoring_processes FOR UPDATE"))
        taken = await while_waiting(claim_post(world, process_id, login), posted_meanwhile(), other.commit())
    assert isinstance(taken, Wait)
    assert isinstance(await claim_post(world, process_id, login), CommentToPost)


async def test_a_claim_that_waited_for_another_counts_it(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id

    async def claim() -> object:
        async with world.database.alone() as connection:
            return await claims.claim_generation(connection, process_id, provider_id, 1, work.new_id(), LEASE)

    async with AsyncSession(world.database.engine) as other:
        first = await claims.claim_generation(other, process_id, provider_id, 1, work.new_id(), LEASE)
        assert isinstance(first, CommentToGenerate)
        assert isinstance(await while_waiting(claim(), other.commit()), Wait)


async def test_the_pause_between_posts_of_a_login_holds_across_workers(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="generated", comment_content="text")
    async with world.database.session() as session:
        [login] = await stages.posting_logins(session, process_id)
        first = await claims.claim_post(session, process_id, login, work.new_id(), LEASE)
    assert isinstance(first, CommentToPost)
    async with world.database.session() as session:
        await comments.release_login(session, first.claim.token, 30)
    async with world.database.session() as session:
        second = await claims.claim_post(session, process_id, login, work.new_id(), LEASE)
    assert isinstance(second, Wait)
    assert 25 < second.seconds <= 30


async def test_a_failure_returns_later_three_times_and_then_is_dead_with_its_reason(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id
    for number in range(1, 4):
        taken = await claim_one(world.database, process_id, provider_id)
        assert taken is not None
        async with world.database.session() as session:
            settled = await comments.settle_failed(session, "generation", [taken.claim], Transient("slow"), POLICY)
        assert settled == ((0, 1) if number < 3 else (1, 0))
        await world.look_again()
    [row] = await world.all_comments()
    assert (row.status, row.failed_from, row.error_message, row.retry_count) == ("failed", "prepared", "slow", 3)
    assert (await world.get_process(process_id)).errors_encountered_in_generation == 3


async def test_a_stage_that_runs_is_skipped_and_a_dead_one_is_taken_over(world: World) -> None:
    process_id = await world.process()

    async def claim() -> list[str | None]:
        async with world.database.session() as session:
            found = await stages.claim_stages(session, "discovery", None, work.new_id(), LEASE, None, 10)
        return [process.skipped for process in found]

    assert await claim() == [None]
    assert await claim() == ["this stage is still running"]
    await world.expire_leases()
    assert await claim() == [None]
    async with world.database.session() as session:
        row = await session.get(ProcessStage, (process_id, "discovery"))
        assert row is not None
        assert row.last_started_at is not None


async def test_a_claim_of_stages_whose_answer_was_lost_is_found_again_by_its_token(world: World) -> None:
    for name in "abc":
        await world.process(name)
    token, answers = work.new_id(), list[set[UUID]]()
    for _ in range(2):
        async with world.database.session() as session:
            found = await stages.claim_stages(session, "discovery", None, token, LEASE, None, 2)
        assert [process.skipped for process in found] == [None, None]
        answers.append({process.id for process in found})
    assert answers[0] == answers[1]


async def test_who_waited_longest_is_claimed_first_and_who_runs_takes_no_place(world: World) -> None:
    first, second, third = [await world.process(name) for name in "abc"]

    async def claim() -> list[UUID]:
        async with world.database.session() as session:
            found = await stages.claim_stages(session, "discovery", None, work.new_id(), LEASE, None, 1)
        return [process.id for process in found if process.skipped is None]

    async def let_go(process_id: UUID) -> None:
        async with world.database.session() as session:
            await session.execute(
                update(ProcessStage).where(ProcessStage.monitoring_process_id == process_id).values(**work.FREE)
            )

    assert await claim() == [first]
    assert await claim() == [second]
    await let_go(first)
    assert await claim() == [third]
    assert await claim() == [first]
    await let_go(third)
    await let_go(second)
    assert await claim() == [second]


async def test_what_a_dead_run_held_is_free_at_once(world: World) -> None:
    login = await world.login()
    process_id = await world.process(logins=[login])
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id
    first, _ = await world.comments(process_id, 2, status="prepared")
    async with world.database.session() as session:
        written = "UPDATE ai_comments SET status = 'generated', comment_content = 'text' WHERE id = :id"
        await session.execute(text(written), {"id": first})

    async def holds(stage: Stage, flow_run_id: str) -> bool:
        async with world.database.session() as session:
            found = await stages.claim_stages(session, stage, None, work.new_id(), LEASE, flow_run_id, 10)
        return [process.skipped for process in found] == [None]

    assert await holds("generation", "dead")
    assert await holds("posting", "dead")
    assert await holds("discovery", "alive")
    assert await claim_one(world.database, process_id, provider_id) is not None
    assert isinstance(await claim_post(world, process_id, login), CommentToPost)
    assert await claim_one(world.database, process_id, provider_id) is None
    async with world.database.session() as session:
        assert await stages.let_go(session, ["dead"]) == 2
    async with world.database.session() as session:
        assert await stages.abandoned_stages(session) == ["generation", "posting"]
    assert await holds("generation", "new")
    assert not await holds("discovery", "new")
    assert await claim_one(world.database, process_id, provider_id) is not None
    again = await claim_post(world, process_id, login)
    assert isinstance(again, CommentToPost)
    assert not again.sent


async def test_a_post_that_a_dead_run_had_sent_is_looked_for_by_the_next_and_its_login_goes_on(world: World) -> None:
    login = await world.login()
    process_id = await world.process(logins=[login])
    await world.comments(process_id, 2, status="generated", comment_content="text")
    async with world.database.session() as session:
        await stages.claim_stages(session, "posting", None, work.new_id(), LEASE, "dead", 10)
    sent = await claim_post(world, process_id, login)
    assert isinstance(sent, CommentToPost)
    assert not sent.sent
    async with world.database.session() as session:
        assert await comments.confirm_post(session, sent.claim, LEASE)
        await stages.let_go(session, ["dead"])
    back = await claim_post(world, process_id, login)
    assert isinstance(back, CommentToPost)
    assert back.claim.id == sent.claim.id
    assert back.sent_ago is not None
    assert 0 <= back.sent_ago < 30
    async with world.database.session() as session:
        # Whoever was thought dead and is not finds that it may send nothing any more.
        assert not await comments.confirm_post(session, sent.claim, LEASE)
        not_there = OutcomeUnknown("not there yet", retry_after=0.5)
        await comments.settle_failed(session, "posting", [back.claim], not_there, Policy(max_attempts=1, base=1, cap=1))
        await comments.release_login(session, back.claim.token, pause=0)
    other = await claim_post(world, process_id, login)
    assert isinstance(other, CommentToPost)
    assert other.claim.id != sent.claim.id
    async with world.database.session() as session:
        await comments.release_login(session, other.claim.token, pause=0)
    await asyncio.sleep(0.6)
    again = await claim_post(world, process_id, login)
    assert isinstance(again, CommentToPost)
    assert (again.claim.id, again.sent) == (sent.claim.id, True)


@dataclass
class Claimant:
    """One worker: at most one open transaction, and the claims that it believes to hold."""

    database: Database
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    session: AsyncSession | None = None
    pending: list[ArticleToPrepare] = field(default_factory=list)
    holding: list[ArticleToPrepare] = field(default_factory=list)

    async def begin_claim(self, process_id: UUID) -> None:
        """Claim in a transaction that stays open."""
        if self.session is None:
            self.session = await self.stack.enter_async_context(AsyncSession(self.database.engine))
        taken = await claims.claim_article(self.session, process_id, work.new_id(), LEASE)
        self.pending += [taken] if taken else []

    async def end(self, *, commit: bool) -> None:
        if self.session is None:
            return
        await (self.session.commit() if commit else self.session.rollback())
        await self.session.close()
        self.session = None
        self.holding += self.pending if commit else []
        self.pending = []


# What can happen, to whom: any worker claims, commits, rolls back, settles, fails or dies; leases expire.
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["claim", "commit", "rollback", "settle", "fail", "die", "expire"])),
    min_size=4,
    max_size=30,
)


@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate, Phase.shrink],
)
@given(steps=STEPS)
def test_in_any_interleaving_every_item_is_settled_once_and_never_held_twice(
    database_url: str, settings: Settings, steps: list[tuple[int, str]]
) -> None:
    asyncio.run(_interleave(settings, database_url, steps))


async def _interleave(settings: Settings, url: str, steps: list[tuple[int, str]]) -> None:
    async with Database(url) as database:
        world = World(settings, database)
        async with database.session() as session:
            await session.execute(text("TRUNCATE users CASCADE"))
        process_id = await world.process()
        await world.comments(process_id, 3)
        settled: Counter[UUID] = Counter()
        workers = [Claimant(database) for _ in range(3)]
        for number, step in steps:
            await _step(world, process_id, workers, number, step, settled)
            await _never_held_twice(world, workers)
        for worker in workers:
            await worker.end(commit=True)
        rows = await world.all_comments()
        for row in rows:
            assert settled[row.id] == (1 if row.status == "prepared" else 0)
        assert (await world.get_process(process_id)).articles_prepared == sum(settled.values())
        # Nothing is lost: whatever was not settled or given up can be taken again.
        await world.expire_leases()
        await world.look_again()
        left = [row for row in rows if row.status == "discovered"]
        for _ in left:
            async with database.session() as session:
                assert await claims.claim_article(session, process_id, work.new_id(), LEASE) is not None


async def _step(
    world: World, process_id: UUID, workers: list[Claimant], number: int, step: str, settled: Counter[UUID]
) -> None:
    worker = workers[number]
    match step:
        case "claim":
            await worker.begin_claim(process_id)
        case "commit" | "rollback":
            await worker.end(commit=step == "commit")
        case "die":
            await worker.end(commit=False)
            worker.holding = []
        case "expire":
            # Not while somebody's transaction holds the rows: expiry is the passing of time, which locks nothing.
            if not worker.pending:
                await _expire_unlocked(world)
        case "settle" | "fail" if worker.holding:
            item = worker.holding.pop(0)
            await _make_way(workers, item)
            async with world.database.session() as session:
                if step == "settle":
                    kept = await comments.settle_done(session, "preparation", item.comments, status="prepared")
                    settled.update({item.comments[0].id: kept})
                else:
                    await comments.settle_failed(session, "preparation", item.comments, Permanent("gone"), POLICY)


async def _make_way(workers: list[Claimant], item: ArticleToPrepare) -> None:
    """A settle waits for a takeover that is not committed yet; with one event loop somebody has to commit it."""
    for worker in workers:
        if any(pending.comments[0].id == item.comments[0].id for pending in worker.pending):
            await worker.end(commit=True)


async def _expire_unlocked(world: World) -> None:
    async with world.database.session() as session:
        await session.execute(
            text(
                "UPDATE ai_comments SET lease_expires_at = now() - interval '1 second' WHERE id IN"
                " (SELECT id FROM ai_comments WHERE claim_token IS NOT NULL FOR UPDATE SKIP LOCKED)"
            )
        )


async def _never_held_twice(world: World, workers: list[Claimant]) -> None:
    """At most one worker's token is the one in the table."""
    tokens = {row.id: row.claim_token for row in await world.all_comments()}
    for item_id, token in tokens.items():
        owners = [w for w in workers for item in w.holding if item.token == token and item.comments[0].id == item_id]
        assert len(owners) <= 1


async def test_abandoned_work_is_found_when_its_lease_ends_and_not_before(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="prepared")
    provider_id = (await world.get_process(process_id)).llm_provider_id
    assert provider_id

    async def abandoned() -> list[str]:
        async with world.database.session() as session:
            return list(await stages.abandoned_stages(session))

    taken = await claim_one(world.database, process_id, provider_id)
    assert taken
    assert await abandoned() == []
    await world.expire_leases()
    assert await abandoned() == ["generation"]
    again = await claim_one(world.database, process_id, provider_id)
    assert again
    assert await abandoned() == []


async def test_a_dead_runs_stage_is_abandoned_only_while_it_has_work(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 1, status="prepared")
    async with world.database.session() as session:
        for stage in ("preparation", "generation"):
            await stages.claim_stages(session, stage, None, work.new_id(), LEASE, None, 10)
    await world.expire_leases()
    async with world.database.session() as session:
        assert await stages.abandoned_stages(session) == ["generation"]


MANY_IDLE = (
    """INSERT INTO monitoring_processes
        (id, user_id, name, status, started_at, expires_at, llm_provider_id, generate_only)
    SELECT uuidv7(), user_id, 'idle ' || n, status, started_at, expires_at, llm_provider_id, generate_only
    FROM monitoring_processes, generate_series(1, 1000) n""",
    """INSERT INTO monitoring_process_stages (monitoring_process_id, stage)
    SELECT id, unnest(ARRAY['discovery', 'preparation', 'generation', 'posting']) FROM monitoring_processes
    ON CONFLICT DO NOTHING""",
    """INSERT INTO ai_comments (id, user_id, monitoring_process_id, mymoment_login_id, prompt_template_id,
        discovered_template_id, llm_provider_id, mymoment_article_id, article_title, article_author, article_url,
        status, failed_at, failed_from, error_message)
    SELECT uuidv7(), c.user_id, p.id, mymoment_login_id, prompt_template_id, discovered_template_id,
        c.llm_provider_id, p.id::text || n, article_title, article_author, article_url,
        'failed', now(), 'discovered', 'gone'
    FROM ai_comments c, monitoring_processes p, generate_series(1, 10) n""",
    "DELETE FROM ai_comments WHERE status <> 'failed'",
    "ANALYZE",
)


async def test_a_tick_does_not_look_for_the_comments_of_every_process(world: World) -> None:
    await world.comments(await world.process(), 1)
    async with world.database.session() as session:
        for statement in MANY_IDLE:
            await session.execute(text(statement))
    later: tuple[Stage, ...] = ("preparation", "generation", "posting")
    async with world.database.session() as session:
        before = await _looks_at_comments(session)
        for stage in later:
            assert await stages.claim_stages(session, stage, None, work.new_id(), LEASE, None, 10) == []
            assert await stages.waits_for_tick(await session.connection(), stage) is None
        assert await _looks_at_comments(session) - before < 60


async def _looks_at_comments(session: AsyncSession) -> int:
    """Index and table scans of this transaction."""
    statement = "SELECT seq_scan + idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'ai_comments'"
    return (await session.execute(text(statement))).scalar_one()
