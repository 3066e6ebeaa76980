"""What the runs of a worker share: one pool, whose statements outlive changed tables, and the sites' clients."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lib.database import Database
from lib.errors import Refused
from lib.monitoring import sites
from lib.monitoring.models import MyMomentLogin
from lib.monitoring.mymoment import MyMoment
from lib.monitoring.runtime import opened, sharing_connections
from lib.monitoring.sites import _Open
from lib.monitoring.store import logins
from tests.world import World


async def test_runs_share_the_connections_of_their_worker(world: World) -> None:
    pid = text("SELECT pg_backend_pid()")
    seen = []
    async with sharing_connections(world.settings):
        for _ in range(2):
            async with opened() as run, run.database.alone() as connection:
                seen.append((run.database, await connection.scalar(pid)))
    assert seen[0] == seen[1]
    async with opened() as run:
        assert run.database is not seen[0][0]


async def used(world: World, login_id: UUID) -> MyMoment:
    """The client that a new run uses for the login."""

    async def itself(site: MyMoment) -> MyMoment:
        return site

    async with opened(world.settings) as run:
        return await run.sites.use(login_id, itself)


def is_closed(site: MyMoment) -> bool:
    return site._client.is_closed


async def change_login(world: World, login_id: UUID, **values: Any) -> None:
    async with world.database.session() as session:
        await session.execute(update(MyMomentLogin).where(MyMomentLogin.id == login_id).values(values))


async def test_runs_share_the_clients_of_their_worker(world: World) -> None:
    login_id = await world.login()
    async with sharing_connections(world.settings):
        first = await used(world, login_id)
        assert await used(world, login_id) is first
    assert is_closed(first)
    alone = await used(world, login_id)
    assert alone is not first
    assert is_closed(alone)


async def test_a_login_that_changed_is_noticed_by_runs_that_share_its_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login_id = await world.login()
    async with sharing_connections(world.settings):
        first = await used(world, login_id)
        await change_login(world, login_id, is_active=False)
        assert await used(world, login_id) is first
        monkeypatch.setattr(_Open, "is_fresh", False)
        with pytest.raises(Refused, match="switched off"):
            await used(world, login_id)
        await change_login(world, login_id, is_active=True)
        assert await used(world, login_id) is first
        async with world.database.session() as session:
            await logins.end_session(session, login_id)
        second = await used(world, login_id)
        assert second is not first
        assert is_closed(first)
        assert not is_closed(second)


async def test_a_client_that_nobody_uses_is_closed_when_a_run_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login_id, other_id = await world.login("one"), await world.login("two")
    async with sharing_connections(world.settings):
        first = await used(world, login_id)
        assert not is_closed(first)
        monkeypatch.setattr(sites, "FRESH", 0.0)

        async def wait_for_the_other(_: MyMoment) -> None:
            await used(world, other_id)
            assert not is_closed(first)

        async with opened(world.settings) as run:
            await run.sites.use(login_id, wait_for_the_other)
        assert is_closed(first)


async def test_a_statement_outlives_a_migration(database: Database) -> None:
    async def first(connection: AsyncConnection) -> Sequence[int]:
        return (await connection.execute(text("SELECT * FROM changing"))).one()

    async with database.session() as session:
        await session.execute(text("CREATE TABLE changing (id int)"))
        await session.execute(text("INSERT INTO changing VALUES (1)"))
    try:
        async with Database(database.engine.url.render_as_string(hide_password=False), pool_size=1) as worker:
            assert await worker.run_statement(first) == (1,)
            async with database.session() as session:
                await session.execute(text("ALTER TABLE changing ADD COLUMN more int DEFAULT 2"))
            assert await worker.run_statement(first) == (1, 2)
    finally:
        async with database.session() as session:
            await session.execute(text("DROP TABLE changing"))
