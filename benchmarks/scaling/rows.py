"""Many processes and many comments, by a few statements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from lib.database import Database
from tests.world import World

LOGINS = 10
IN_A_STATEMENT = 500_000
FAILED_EACH = 100  # one in so many that is over

PROCESSES = """INSERT INTO monitoring_processes
    (id, user_id, name, status, started_at, expires_at, llm_provider_id, generate_only, tab_filter)
SELECT uuidv7(), p.user_id, 'process ' || n, 'running', now(), now() + interval '1 day', p.id, false, '999999'
FROM llm_provider_configurations p, generate_series(:first ::int, :last ::int) n"""
# Each has one login and one template, and nothing to do for a day.
PARTS = (
    """INSERT INTO monitoring_process_logins (monitoring_process_id, mymoment_login_id, next_look_at)
    SELECT p.id, l.id, now() + interval '1 day'
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM monitoring_processes) p
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS all FROM mymoment_logins) l
        ON l.place = p.place % l.all + 1
    ON CONFLICT DO NOTHING""",
    """INSERT INTO monitoring_process_templates (monitoring_process_id, prompt_template_id)
    SELECT p.id, t.id FROM monitoring_processes p, prompt_templates t ON CONFLICT DO NOTHING""",
    """INSERT INTO monitoring_process_stages (monitoring_process_id, stage)
    SELECT p.id, s FROM monitoring_processes p,
        unnest(ARRAY['discovery', 'preparation', 'generation', 'posting']) s ON CONFLICT DO NOTHING""",
)
# The newest `waiting` wait for the three stages in turn, the others are over. Ids are in the order of their making.
COMMENTS = """INSERT INTO ai_comments (id, user_id, monitoring_process_id, mymoment_login_id, prompt_template_id,
    discovered_template_id, llm_provider_id, mymoment_article_id, article_title, article_author, article_url,
    article_content, status, comment_content, generated_at, posted_at, mymoment_comment_id, error_message, failed_at,
    failed_from)
SELECT uuidv7(), p.user_id, p.id, p.login_id, p.template_id, p.template_id,
    CASE WHEN s.status NOT IN ('discovered', 'prepared') THEN p.llm_provider_id END, n::text,
    'An article about number ' || n, 'somebody', 'http://127.0.0.1:9/article/' || n || '/',
    repeat('A short text that a child wrote. ', 10), s.status,
    CASE WHEN s.status IN ('generated', 'posted') THEN
        '[Dieser Kommentar stammt von einem KI-ChatBot.] What a fine text number ' || n END,
    CASE WHEN s.status IN ('generated', 'posted') THEN now() - (CAST(:last AS int) - n) * interval '1 second' END,
    CASE WHEN s.status = 'posted' THEN now() - (CAST(:last AS int) - n) * interval '1 second' END,
    CASE WHEN s.status = 'posted' THEN n::text END,
    CASE WHEN s.status = 'failed' THEN 'The site took longer than 30 s to answer' END,
    CASE WHEN s.status = 'failed' THEN now() - (CAST(:last AS int) - n) * interval '1 second' END,
    CASE WHEN s.status = 'failed' THEN 'prepared' END
FROM generate_series(CAST(:first AS int), CAST(:until AS int)) n
JOIN (
    SELECT p.*, l.mymoment_login_id AS login_id, t.prompt_template_id AS template_id,
        row_number() OVER (ORDER BY p.id) - 1 AS place
    FROM monitoring_processes p
    JOIN monitoring_process_logins l ON l.monitoring_process_id = p.id
    JOIN monitoring_process_templates t ON t.monitoring_process_id = p.id
) p ON p.place = n % CAST(:processes AS int),
LATERAL (SELECT CASE
    WHEN n > CAST(:last AS int) - CAST(:waiting AS int) THEN
        (ARRAY['discovered', 'prepared', 'generated'])[n / CAST(:processes AS int) % 3 + 1]
    WHEN n / CAST(:processes AS int) % CAST(:failed AS int) = 0 THEN 'failed' ELSE 'posted' END AS status) s"""
OVER = """UPDATE ai_comments SET status = 'posted', posted_at = now(), mymoment_comment_id = mymoment_article_id,
    claim_token = NULL, lease_expires_at = NULL WHERE status IN ('discovered', 'prepared', 'generated')"""
INDEXES = """SELECT indexname, indexdef FROM pg_indexes i WHERE tablename = 'ai_comments' AND NOT EXISTS (
    SELECT FROM pg_constraint c WHERE c.conname = i.indexname)"""


@dataclass(frozen=True)
class Parts:
    """What every process is made of."""

    logins: tuple[UUID, ...]
    template: UUID
    provider: UUID


async def parts(world: World, max_concurrency: int | None = None) -> Parts:
    """Logins, a template and a provider whose secrets can be opened."""
    logins = [await world.login(f"login {number}", f"ki-bot-{number + 2}") for number in range(LOGINS)]
    return Parts(tuple(logins), await world.template(), await world.provider(max_concurrency=max_concurrency))


async def add_processes(database: Database, number: int) -> list[UUID]:
    """Running and idle ones until there are so many; return all, in their order."""
    async with database.session() as session:
        there = int(await session.scalar(text("SELECT count(*) FROM monitoring_processes")) or 0)
        await session.execute(text(PROCESSES), {"first": there + 1, "last": number})
        for statement in PARTS:
            await session.execute(text(statement))
    await _tidy(database)
    async with database.session() as session:
        return list(await session.scalars(text("SELECT id FROM monitoring_processes ORDER BY id")))


async def add_comments(database: Database, number: int, waiting: int) -> None:
    """Until there are so many, of which the newest wait; those that waited before are over."""
    async with database.session() as session:
        there = int(await session.scalar(text("SELECT count(*) FROM ai_comments")) or 0)
        processes = int(await session.scalar(text("SELECT count(*) FROM monitoring_processes")) or 0)
    given = {"last": number, "waiting": waiting, "processes": processes, "failed": FAILED_EACH}
    async with _bare(database, many=number - there > IN_A_STATEMENT):
        for first in range(there + 1, number + 1, IN_A_STATEMENT):
            until = min(number, first + IN_A_STATEMENT - 1)
            async with database.session() as session:
                # No trigger and no foreign key: what they would look at is made here.
                await session.execute(text("SET LOCAL session_replication_role = replica"))
                if first == there + 1:
                    await session.execute(text(OVER))
                await session.execute(text(COMMENTS), given | {"first": first, "until": until})
    await _tidy(database)


@asynccontextmanager
async def _bare(database: Database, *, many: bool) -> AsyncIterator[None]:
    """Without the indexes meanwhile, where building them anew is faster than keeping them."""
    if not many:
        yield
        return
    async with database.session() as session:
        found = [(row.indexname, row.indexdef) for row in await session.execute(text(INDEXES))]
        for name, _ in found:
            await session.execute(text(f"DROP INDEX {name}"))
    yield
    async with database.session() as session:
        await session.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        for _, definition in found:
            await session.execute(text(definition))


async def _tidy(database: Database) -> None:
    async with database.alone() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
