"""One pool for the runs of a worker, and its statements when the tables change under it."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from lib.database import Database
from lib.monitoring.runtime import opened, sharing_connections
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
