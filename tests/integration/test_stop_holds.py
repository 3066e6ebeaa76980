"""The stop of the page, while a slow site is in the middle of a post."""

import asyncio

import httpx
import pytest

from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from playground.serve import Running
from tests.integration.pages import house
from tests.integration.test_console_security import House
from tests.integration.test_pipeline import fault, on_the_site, requests, true_to_the_site
from tests.world import World

__all__ = ["house"]

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize("page", ["process", "everything"])
async def test_after_the_page_says_stopped_nothing_is_posted(
    house: House, world: World, playground: Running, page: str
) -> None:
    process = await world.process()
    for stage in (discover_articles, prepare_content_of_articles, generate_comments_for_articles):
        await stage()
    async with house.as_("operator", "operator") as browser:
        fault(playground, "comment", "latency", seconds=1.0, times=None)
        posting = asyncio.create_task(post_comments_for_articles())
        while not requests(playground)["comment_posts"]:
            await asyncio.sleep(0.05)
        path = f"/processes/{process}/stop" if page == "process" else "/stop-everything"
        answer = await browser.post(path)
        assert answer.status_code == httpx.codes.SEE_OTHER
        number = len(on_the_site(playground))
        assert number > 0
        await posting
        await post_comments_for_articles()
    assert len(on_the_site(playground)) == number
    await true_to_the_site(world, playground)
