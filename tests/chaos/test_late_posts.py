"""A post that arrives after we stopped waiting for its answer: found, and not sent again."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lib.monitoring import posting
from lib.monitoring.guard import PREFIX
from lib.monitoring.items import CommentToPost
from lib.monitoring.mymoment import MyMoment
from lib.monitoring.runtime import opened
from playground.serve import Running
from tests.world import World

ARTICLE = "4602"
TEXT = f"{PREFIX} What a lovely text! It made me think of my own summer by the lake."
TIME_OUT = 0.4
# Arrives so long after the time-out, within the wait for what has no answer.
LATE: dict[str, Any] = {"kind": "latency", "route": "comment", "when": "before_accept", "seconds": TIME_OUT + 0.4}


@pytest.fixture(autouse=True)
def _waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the settings are read."""
    monkeypatch.setenv("PRESSROOM_SITE_TIMEOUT", str(TIME_OUT))


def ask(playground: Running, **fault: Any) -> None:
    httpx.post(f"{playground.url}/control/faults", json=fault).raise_for_status()


def on_the_site(playground: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{playground.url}/control/comments").json()
    return found


async def generated(world: World, **logins: Any) -> Any:
    process_id = await world.process(**logins)
    await world.comments(process_id, 1, "generated", mymoment_article_id=ARTICLE, comment_content=TEXT)
    return process_id


async def post_until_settled(
    world: World, process_id: Any, login_id: Any, faulty: Callable[[], None] = lambda: None
) -> None:
    """Take and post until the comment is posted or failed; waits are real. `faulty` comes when all is ready."""
    async with opened(world.settings.model_copy(update={"unknown_wait": 1.0, "site_timeout": TIME_OUT})) as run:
        await run.sites.use(login_id, lambda site: site.article(ARTICLE))  # logged in: what follows is quick
        faulty()
        while (item := await posting.take(process_id, login_id)) or await waits(world):
            if isinstance(item, CommentToPost):
                await posting.post(item)


async def waits(world: World) -> bool:
    return any(row.status == "generated" for row in await world.all_comments())


@pytest.mark.parametrize(
    "then",
    [
        pytest.param({"kind": "expire_session", "route": "article"}, id="the session ends"),
        pytest.param({"kind": "rate_limit", "route": "article", "retry_after": 0.05}, id="the page is refused"),
    ],
)
async def test_a_late_post_is_sent_once_though_reading_back_fails(
    world: World, playground: Running, then: dict[str, Any]
) -> None:
    login_id = await world.login()
    process_id = await generated(world, logins=[login_id])

    def faulty() -> None:
        ask(playground, **LATE)
        ask(playground, **then, after_s=TIME_OUT * 0.75)

    await post_until_settled(world, process_id, login_id, faulty)
    await asyncio.sleep(LATE["seconds"])  # whatever is still on its way arrives
    [row] = await world.all_comments()
    assert [str(comment["id"]) for comment in on_the_site(playground)] == [row.mymoment_comment_id]


@pytest.mark.parametrize("arrives", [False, True])
async def test_what_a_dead_worker_sent_is_looked_for_at_once_and_sent_again_after_its_time(
    world: World, playground: Running, arrives: bool
) -> None:
    login_id = await world.login()
    process_id = await generated(world, logins=[login_id])
    settings = world.settings.model_copy(update={"unknown_wait": 2.0, "retry_base": 0.1, "post_interval": 0.01})
    async with opened(settings) as run:
        dead = await posting.take(process_id, login_id)
        assert isinstance(dead, CommentToPost)
        sent = time.monotonic()
        await posting._note_intent(dead)
        if arrives:
            await run.sites.use(login_id, post_and_forget)
        await world.expire_leases()
        looked = await posting.take(process_id, login_id)
        assert isinstance(looked, CommentToPost)
        outcome = await posting.post(looked)
        assert (outcome.done, outcome.retried) == ((1, 0) if arrives else (0, 1))
        [row] = await world.all_comments()
        assert row.status == ("posted" if arrives else "generated")
        assert row.retry_count == 0
        while (item := await posting.take(process_id, login_id)) or await waits(world):
            if isinstance(item, CommentToPost):
                assert time.monotonic() - sent >= 2.0
                await posting.post(item)
    [row] = await world.all_comments()
    assert [str(comment["id"]) for comment in on_the_site(playground)] == [row.mymoment_comment_id]


async def post_and_forget(site: MyMoment) -> None:
    page = await site.article(ARTICLE)
    await site.post_comment(ARTICLE, TEXT, csrf_token=str(page.csrf_token), hidden=False)


async def test_the_same_words_by_another_login_are_not_ours(world: World, playground: Running) -> None:
    ids = [await world.login("one", "ki-bot"), await world.login("two", "ki-bot-2")]
    for number, login_id in enumerate(ids):
        process_id = await generated(world, name=f"watch {number}", logins=[login_id])
        await post_until_settled(world, process_id, login_id)
    rows = await world.all_comments()
    there = on_the_site(playground)
    assert {(str(c["id"]), c["author"]) for c in there} == {
        (row.mymoment_comment_id, author) for row, author in zip(rows, ("ki-bot", "ki-bot-2"), strict=True)
    }
