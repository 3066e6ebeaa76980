"""What the tests of the pages share: the application with people in it, and comments to look at."""

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from console.app import create_app
from lib.monitoring.guard import PREFIX
from lib.monitoring.models import AIComment
from lib.settings import Settings
from tests.integration.test_console_security import Browser, House
from tests.world import World

SAID = "Deine Geschichte vom Igel hat mir gut gefallen. Was macht er wohl im Frühling als Erstes?"


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield House(app, app.state.console.database)


@pytest.fixture
async def ann(house: House) -> AsyncIterator[Browser]:
    """She owns what `world` makes."""
    async with house.as_("operator", "operator") as browser:
        yield browser


async def waiting(world: World, number: int = 3, name: str = "watch", **more: Any) -> list[UUID]:
    """Comments that wait for a decision, in the order of the queue."""
    process_id = await world.process(name, generate_only=True)
    fields = {"article_content": "Gestern war ein Igel im Garten.", "comment_content": f"{PREFIX} {SAID}"} | more
    return sorted(await world.comments(process_id, number, "generated", **fields))


async def failed(world: World, number: int, cause: str, sent: int = 0) -> list[UUID]:
    """Of a process that is called like the first word of the cause; `sent` of them went out once."""
    process_id = await world.process(cause.split(maxsplit=1)[0], start=False)
    fields = {"comment_content": f"{PREFIX} {SAID}", "article_content": "Ein Igel.", "failed_from": "generated"}
    ids = sorted(await world.comments(process_id, number, "failed", error_message=cause, **fields))
    await change(world, "UPDATE ai_comments SET failed_at = now() WHERE id = ANY(:ids)", ids=ids)
    await change(world, "UPDATE ai_comments SET post_sent_at = now() WHERE id = ANY(:ids)", ids=ids[:sent])
    return ids


async def row(world: World, comment_id: UUID) -> AIComment:
    return next(each for each in await world.all_comments() if each.id == comment_id)


async def change(world: World, statement: str, **values: Any) -> None:
    async with world.database.session() as session:
        await session.execute(text(statement), values)


async def said(browser: Browser, response: httpx.Response) -> str:
    """What the page says to which the answer leads."""
    assert response.status_code == 303, response.text
    page = (await browser.get(response.headers["Location"])).text
    return unescape(" ".join(re.findall(r'<p class="flash [a-z]+">([^<]*)</p>', page)))


async def audited(world: World) -> list[str]:
    async with world.database.session() as session:
        return list(await session.scalars(text("SELECT action FROM audit_entries ORDER BY id")))
