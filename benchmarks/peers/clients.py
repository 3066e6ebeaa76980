"""What the peers do with the product's clients, tables and rules; when and in which order is each design's own.

As the product does, they repeat what they ask of the database while it restarts.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from lib.database import Database
from lib.monitoring import guard, prompt
from lib.monitoring.discovery import matching, new_comments
from lib.monitoring.items import Watch
from lib.monitoring.models import AIComment, MonitoringProcess
from lib.monitoring.providers import Providers
from lib.monitoring.sites import Sites
from lib.monitoring.store import comments, stages
from lib.settings import Settings
from lib.settings import settings as read_settings
from lib.vault import open_vault


class UnusableError(Exception):
    """The model's answer cannot be posted."""


@dataclass(frozen=True)
class Tools:
    settings: Settings
    database: Database
    sites: Sites
    providers: Providers


@asynccontextmanager
async def tools(pool_size: int) -> AsyncIterator[Tools]:
    """Clients of the site and the model with what they share: stored sessions, read once, one log-in at a time."""
    settings = read_settings()
    assert settings.database_url
    vault = open_vault(settings)
    async with Database(settings.database_url, pool_size) as database:
        have = Tools(settings, database, Sites(settings, database, vault), Providers(settings, database, vault))
        try:
            yield have
        finally:
            await have.sites.aclose()
            await have.providers.aclose()


async def running_processes(database: Database) -> Sequence[UUID]:
    running = select(MonitoringProcess.id).where(MonitoringProcess.status == "running").order_by(MonitoringProcess.id)
    return list(await database.run_statement(lambda connection: connection.scalars(running)))


async def watches_of(database: Database, *process_ids: UUID) -> Sequence[Watch]:
    return await database.run_transaction(lambda session: stages.watches(session, process_ids, due=False))


async def look(have: Tools, watch: Watch) -> list[dict[str, Any]]:
    """Rows for the articles that the index shows to a login, known or not, as many as its process takes."""
    query = watch.query
    assert query
    index = await have.sites.use(watch.login_id, lambda site: site.index(query.tab, query.category, query.task))
    found = matching(index.entries, watch)
    rows = new_comments(found[: watch.limit or have.settings.article_limit], watch)
    return [row | {"llm_provider_id": watch.provider_id} for row in rows]


async def insert(database: Database, rows: Sequence[dict[str, Any]]) -> list[UUID]:
    """One batch; what is known stays. Return the ids of the new ones."""
    return await database.run_transaction(lambda session: comments.insert_discovered(session, rows))


async def read(database: Database, comment_id: UUID) -> AIComment:
    """In one round trip, as the product claims its own."""
    table = AIComment.__table__
    asked = select(table).where(table.c.id == comment_id)
    row = (await database.run_statement(lambda connection: connection.execute(asked))).one()
    return AIComment(**row._asdict())


async def write(database: Database, comment_id: UUID, **values: Any) -> None:
    """One short update of one comment."""
    changed = update(AIComment).where(AIComment.id == comment_id).values(**values)
    await database.run_statement(lambda connection: connection.execute(changed))


async def article(have: Tools, comment: AIComment) -> dict[str, Any]:
    """What preparation adds to a comment."""
    page = await have.sites.use(comment.mymoment_login_id, lambda site: site.article(comment.mymoment_article_id))
    return {
        "article_title": page.title or comment.article_title,
        "article_content": page.content,
        "article_raw_html": page.raw_html,
        "article_published_at": page.edited_at,
    }


async def answer(have: Tools, comment: AIComment) -> dict[str, Any]:
    """What generation adds to a comment. Raises UnusableError, and what the client raises."""
    assert comment.llm_provider_id
    provider = await have.providers.provider(comment.llm_provider_id)
    asked = await _prompt(have, comment)
    said = await provider.llm.complete(
        asked.system, asked.user, max_tokens=provider.max_tokens, temperature=provider.temperature
    )
    verdict = guard.examine(said.text, said.finish_reason, asked)
    if verdict.findings:
        raise UnusableError("; ".join(finding.detail for finding in verdict.findings))
    return {
        "comment_content": verdict.comment,
        "ai_model_name": said.model,
        "ai_provider_name": provider.name,
        "generation_tokens": said.tokens,
        "generation_time_ms": said.milliseconds,
    }


async def _prompt(have: Tools, comment: AIComment) -> prompt.Prompt:
    template = await have.providers.template(comment.prompt_template_id)
    facts = prompt.ArticleFacts(
        title=comment.article_title,
        content=comment.article_content or "",
        author=comment.article_author,
        category=comment.article_category,
        published_at=comment.article_published_at,
        url=comment.article_url,
        raw_html=comment.article_raw_html or "",
        username="",
    )
    return prompt.render(template.system_prompt, template.user_prompt_template, facts, boundary=secrets.token_hex(6))
