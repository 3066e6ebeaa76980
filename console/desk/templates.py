"""Templates: the prompts that a model is given."""

import secrets

from console.desk import given, removal, trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict
from lib.monitoring import fields, prompt
from lib.monitoring.models import PromptTemplate
from lib.monitoring.store import articles, catalog, review

EXAMPLE = prompt.ArticleFacts(
    title="Mein Hund",
    content="Ich habe einen Hund. Er heisst Bello und schläft gern auf meinem Bett.",
    author="Mia",
    category="Berichten",
    published_at=None,
    url="https://www.example.org/article/1/",
    raw_html="<p>Ich habe einen Hund. Er heisst Bello und schläft gern auf meinem Bett.</p>",
    username="bot",
)


def record(row: PromptTemplate) -> Record:
    return {
        "id": row.id,
        "owner_id": row.user_id,
        "version": version(row),
        "name": row.name,
        "is_active": row.is_active,
        "of_system": row.user_id is None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def version(row: PromptTemplate) -> str:
    return given.version_of(row.name, row.system_prompt, row.user_prompt_template, row.is_active)


def _prompts(row: PromptTemplate) -> Record:
    return {"system_prompt": row.system_prompt, "user_prompt": row.user_prompt_template}


def _apply(row: PromptTemplate, system: str | None, user: str | None) -> None:
    if system is not None:
        with given.field("system_prompt"):
            row.system_prompt = fields.prompt(system, "The system prompt")
    if user is not None:
        with given.field("user_prompt"):
            prompt.validate_template(fields.prompt(user, "The user prompt"))
        row.user_prompt_template = user


async def add(visit: Visit, name: str, system: str, user: str) -> Record:
    row = PromptTemplate(user_id=visit.user_id, name=given.new_name(name, "A template's name"))
    _apply(row, system, user)
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await trail.note(session, visit, "template.add", row.id, {"name": row.name})
        await session.refresh(row)
        return record(row)


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, PromptTemplate, visit.sees)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, PromptTemplate, visit.sees, name)
        return record(row) | _prompts(row) | {"processes": await catalog.used_by(session, row, visit.sees)}


async def change(
    visit: Visit,
    name: str,
    system: str | None,
    user: str | None,
    is_active: bool | None,
    *,
    new_name: str | None = None,
    seen: str | None = None,
) -> Record:
    """Raise Conflict for a template of the system, or one that is not as it was seen."""
    async with visit.database.session() as session:
        row = await catalog.locked(session, PromptTemplate, visit.sees, name)
        if row.user_id is None:
            raise Conflict(f"The template “{row.name}” belongs to the system and stays as it is; add one of your own")
        given.as_seen(f"The template “{row.name}”", version(row), seen)
        _apply(row, system, user)
        if new_name is not None:
            row.name = given.new_name(new_name, "A template's name")
        if is_active is not None:
            row.is_active = is_active
        details = {"name": row.name, "changed": trail.changes(row)}
        await catalog.write(session, row)
        await trail.note(session, visit, "template.change", row.id, details)
        return record(row)


async def remove(visit: Visit, name: str, seen: str | None = None) -> Record:
    return await removal.remove(visit, PromptTemplate, name, version, seen)


async def test(visit: Visit, name: str, *, comment: str | None) -> Record:
    """The prompt as a model would get it, on the article of a comment, else on the newest one that there is.

    `example`: there is no article yet, so that it is one of ours. The account's name is not shown: it is a secret.
    """
    async with visit.database.session() as session:
        row = await catalog.by_name(session, PromptTemplate, visit.sees, name)
        comment_id = None if comment is None else await review.resolve(session, visit.sees, comment)
        owner = visit.user_id if row.user_id is None else row.user_id
        article = await articles.article(session, visit.sees if comment_id else owner, comment_id)
    return {"name": row.name} | _rendered(visit, row, article)


async def preview(visit: Visit, system: str, user: str, *, comment: str | None) -> Record:
    """The same with prompts that are not saved. Raise Invalid for what could not be saved either."""
    row = PromptTemplate(name="")
    _apply(row, system, user)
    async with visit.database.session() as session:
        comment_id = None if comment is None else await review.resolve(session, visit.sees, comment)
        article = await articles.article(session, visit.sees if comment_id else visit.user_id, comment_id)
    return _rendered(visit, row, article)


def _rendered(visit: Visit, row: PromptTemplate, article: prompt.ArticleFacts | None) -> Record:
    facts = EXAMPLE if article is None else article
    asked = prompt.render(
        row.system_prompt,
        row.user_prompt_template,
        facts,
        boundary=secrets.token_hex(6),
        raw_html_chars=visit.settings.raw_html_prompt_chars,
    )
    return {
        "article_title": facts.title,
        "article_url": facts.url,
        "example": article is None,
        "system": asked.system,
        "user": asked.user,
        "characters": len(asked.system) + len(asked.user),
    }
