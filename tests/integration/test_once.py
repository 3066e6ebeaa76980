"""What keeps a comment from being posted twice or against a person's word, one case each."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text, update

from lib import work
from lib.database import Database
from lib.errors import OutcomeUnknown
from lib.monitoring.items import CommentToPost, Wait
from lib.monitoring.models import AIComment
from lib.monitoring.store import catalog, claims, comments, review, stages
from lib.settings import Settings
from lib.work import LeaseKeeper, Policy
from tests.world import World

POLICY = Policy(max_attempts=1, base=1, cap=1, refused=1, unknown=600)
LEASE = 60.0


@pytest.fixture
async def world(settings: Settings, database: Database) -> World:
    return World(settings, database)


async def login_of(world: World, process_id: UUID) -> UUID:
    async with world.database.session() as session:
        return (await stages.posting_logins(session, process_id))[0]


async def take(world: World, process_id: UUID) -> CommentToPost | Wait | None:
    login = await login_of(world, process_id)
    async with world.database.session() as session:
        return await claims.claim_post(session, process_id, login, work.new_id(), LEASE)


async def confirm(world: World, item: CommentToPost) -> bool:
    async with world.database.alone() as connection:
        return await comments.confirm_post(connection, item.claim, LEASE)


async def taken(world: World) -> tuple[UUID, CommentToPost]:
    process_id = await world.process()
    await world.comments(process_id, 1, status="generated", comment_content="text")
    item = await take(world, process_id)
    assert isinstance(item, CommentToPost)
    return process_id, item


async def test_a_worker_that_slept_past_its_lease_does_not_post_any_more(world: World) -> None:
    _, item = await taken(world)
    assert await confirm(world, item)
    await world.expire_leases()
    assert not await confirm(world, item)


async def test_a_lease_that_has_ended_is_not_renewed(world: World) -> None:
    _, item = await taken(world)
    await world.expire_leases()
    keeper = LeaseKeeper(world.database)
    with keeper.keeping(AIComment.id, [item.claim.id], item.claim.token, LEASE):
        await keeper._renew_all()
    assert keeper.lost == {item.claim.token}


async def test_a_login_that_is_switched_off_posts_nothing_more(world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="generated", comment_content="text")
    async with world.database.session() as session:
        await session.execute(text("UPDATE mymoment_logins SET is_active = false"))
    assert await take(world, process_id) is None


async def sent_without_an_answer(world: World, *, last: bool) -> tuple[UUID, UUID]:
    """A comment that went out, and waits, or failed with the `last` attempt; its process and its login."""
    process_id, item = await taken(world)
    assert await confirm(world, item)
    policy = POLICY if last else replace(POLICY, max_attempts=3)
    async with world.database.session() as session:
        await comments.settle_failed(session, "posting", [item.claim], OutcomeUnknown("no answer"), policy)
        await comments.release_login(session, item.claim.token, 0)
    return process_id, item.login_id


async def test_a_changed_login_does_not_shorten_the_wait_for_what_was_sent(world: World) -> None:
    process_id, login = await sent_without_an_answer(world, last=False)
    async with world.database.session() as session:
        await catalog.wake_waiting(session, login_id=login)
    assert await take(world, process_id) is None


async def test_a_changed_provider_wakes_what_it_has_to_write_and_nothing_else(world: World) -> None:
    process_id, _ = await sent_without_an_answer(world, last=False)
    provider = (await world.get_process(process_id)).llm_provider_id
    async with world.database.session() as session:
        await catalog.wake_waiting(session, provider_id=provider)
    assert await take(world, process_id) is None


async def test_trying_again_waits_until_what_was_sent_had_its_time_to_arrive(world: World) -> None:
    process_id, _ = await sent_without_an_answer(world, last=True)
    [row] = await world.all_comments()
    assert row.status == "failed"
    async with world.database.session() as session:
        await review.retry(session, None, [row.id])
    assert await take(world, process_id) is None
    async with world.database.session() as session:
        await session.execute(update(AIComment).values(next_attempt_at=None))
    again = await take(world, process_id)
    assert isinstance(again, CommentToPost)
    assert again.sent
