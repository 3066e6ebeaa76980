"""The tables that the migrations make: those of the models, and reached with data in them."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from lib import migrate
from lib.database import Database
from lib.settings import Settings
from lib.taskwatch.models import is_partition
from lib.work import Base
from tests.world import World


def _has_a_model(_: object, name: str | None, kind: str, *__: object) -> bool:
    return kind != "table" or not is_partition(name)


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "include_object": _has_a_model}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, Base.metadata))


async def test_models_and_migrations_are_equal(database: Database) -> None:
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_comments_and_stops_of_before_are_kept_by_the_upgrade(settings: Settings, database: Database) -> None:
    world = World(settings, database)
    kind, short = await world.template("kind"), await world.template("short")
    process = await world.process(templates=[kind])
    await world.comments(process, 2)

    async def run(statement: str) -> list[tuple[object, ...]]:
        async with database.session() as session:
            found = await session.execute(text(statement), {"short": short})
            return [tuple(row) for row in found] if found.returns_rows else []  # type: ignore[attr-defined]

    await run("UPDATE monitoring_processes SET status = 'stopped', stopped_at = now(), held_at = now()")
    # Both were written with one template in the end: the older tables have no room for that.
    await run(
        "UPDATE ai_comments SET prompt_template_id = :short, mymoment_article_id = '1', "
        "discovered_template_id = CASE mymoment_article_id WHEN '1' THEN discovered_template_id ELSE :short END"
    )
    await migrate.downgrade(database, "0004")
    assert set(await run("SELECT prompt_template_id FROM ai_comments")) == {(kind,), (short,)}
    await migrate.upgrade(database)
    assert await run("SELECT 1 FROM ai_comments WHERE discovered_template_id <> prompt_template_id") == []
    assert await run("SELECT held_at = stopped_at FROM monitoring_processes") == [(True,)]
