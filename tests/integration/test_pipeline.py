"""The four stages on the playground's real wire: what a user would see on the site and in the table."""

import httpx
import pytest

from flows.discover_articles import discover_articles
from flows.generate_comments_for_articles import generate_comments_for_articles
from flows.post_comments_for_articles import post_comments_for_articles
from flows.prepare_content_of_articles import prepare_content_of_articles
from lib.monitoring.guard import PREFIX
from playground.serve import Running
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server")


def on_the_site(playground: Running) -> list[dict[str, object]]:
    found: list[dict[str, object]] = httpx.get(f"{playground.url}/control/comments").json()
    return found


async def test_an_article_is_discovered_prepared_commented_and_posted_once(world: World, playground: Running) -> None:
    process_id = await world.process()
    reports = [
        await discover_articles(),
        await prepare_content_of_articles(),
        await generate_comments_for_articles(),
        await post_comments_for_articles(),
    ]
    rows = await world.all_comments()
    assert rows, reports
    assert not [r.error_message for r in rows if r.error_message], rows
    assert [report.done for report in reports] == [len(rows)] * 4
    assert {row.status for row in rows} == {"posted"}
    posted = on_the_site(playground)
    assert sorted(str(comment["id"]) for comment in posted) == sorted(str(row.mymoment_comment_id) for row in rows)
    assert all(str(comment["text"]).startswith(PREFIX) for comment in posted)
    process = await world.get_process(process_id)
    assert process.articles_discovered == process.comments_posted == len(rows)
