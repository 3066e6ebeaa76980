"""Review: generated comments beside their articles; each decision is on the state that the person saw."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import given, trail
from console.desk.comments import MOST_AT_ONCE
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict, Invalid
from lib.monitoring import fields, guard, prompt
from lib.monitoring.guard import Finding
from lib.monitoring.models import PromptTemplate
from lib.monitoring.store import catalog, decisions, processes, queue
from lib.monitoring.store import review as store
from lib.monitoring.store.choosing import ApprovalFilter
from lib.monitoring.store.decisions import Ruling
from lib.monitoring.store.queue import Entry, Filter
from lib.monitoring.store.scope import as_id, moment_of, version_of

LONGEST_NOTE = 500
# Of a person's own words: neither where a sentence ends nor whether they repeat the prompt is for us to judge.
JUDGED = frozenset({"too_short", "too_long", "link", "contact", "html", "invisible"})

Posting = Literal[
    "posted", "failed", "not_yet", "rejected", "login_off", "asks", "needs_start", "held_by_stop", "waits", "now"
]


class Unfit(Invalid):
    """A text that cannot be posted."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("The comment cannot be saved: " + "; ".join(finding.detail for finding in findings), "text")
        self.findings = tuple(findings)


@dataclass(frozen=True)
class Choice:
    """A comment, and the version of it that the person saw; None decides whatever it is now."""

    comment: str
    version: str | None = None


def record(entry: Entry) -> Record:
    """A comment beside its article, with what would be posted, as whom, and when at the earliest."""
    row = entry.row
    return {
        "id": row.id,
        "version": version_of(row.updated_at),
        "status": row.status,
        "approval": row.approval,
        "approval_at": row.approval_at,
        "approval_by": entry.decided_by,
        "process": {"id": entry.process.id, "name": entry.process.name, "status": entry.process.status},
        "owner": entry.owner,
        "owner_id": row.user_id,
        "login": {"id": entry.login.id, "name": entry.login.name, "site": entry.login.base_url},
        "template": {"id": entry.template.id, "name": entry.template.name},
        "article": {
            "id": row.mymoment_article_id,
            "title": row.article_title,
            "author": row.article_author,
            "category": row.article_category,
            "task": row.article_task,
            "url": row.article_url,
            "published_at": row.article_published_at,
            "content": row.article_content,
        },
        "text": row.comment_content,
        "body": without_prefix(row.comment_content),
        "hidden": entry.process.hide_comments,
        "as": entry.login.name,
        "posting": _posting(entry),
        "model": row.ai_model_name,
        "provider": row.ai_provider_name,
        "tokens": row.generation_tokens,
        "milliseconds": row.generation_time_ms,
        "generated_at": row.generated_at,
        "note": row.generation_note,
        "sent": row.post_sent_at is not None,
        "in_work": entry.in_work,
        "error": row.error_message,
        "created_at": row.created_at,
    }


def without_prefix(text: str | None) -> str | None:
    """The comment's own words, as people edit them."""
    return None if text is None else guard.clean(text)


def _posting(entry: Entry) -> Record:
    """Whether and when it is posted. `after`: not before this time; None is at the next tick of posting."""
    now = datetime.now(UTC)
    times = (entry.login.next_post_at, entry.row.next_attempt_at, entry.next_due_at)
    waits = [moment for moment in times if moment is not None and moment > now]
    return {"state": _posting_state(entry), "after": max(waits, default=None)}


def _posting_state(entry: Entry) -> Posting:  # noqa: PLR0911 - one return a state
    row, process = entry.row, entry.process
    if row.status != "generated":
        return "posted" if row.status == "posted" else "failed" if row.status == "failed" else "not_yet"
    if entry.in_work:
        return "now"
    if row.approval == "rejected":
        return "rejected"
    if not entry.login.is_active:
        return "login_off"
    if entry.running:
        return "asks" if process.generate_only and row.approval is None else "waits"
    if process.status in ("created", "running"):
        return "needs_start"
    if row.approval is None:
        return "asks"
    return "held_by_stop" if entry.held_by_stop else "waits"


async def listed(
    visit: Visit,
    *,
    process: str | None = None,
    approval: ApprovalFilter | None = "none",
    limit: int = 20,
    after: str | None = None,
) -> Record:
    """The queue from behind `after` on, the oldest first. `total`: how many there are in all."""
    if not 1 <= limit <= MOST_AT_ONCE:
        raise Invalid(f"The limit must be from 1 to {MOST_AT_ONCE:,}", "limit")
    async with visit.database.session() as session:
        wanted = await _filter(session, visit, process, approval)
        behind = await store.resolve(session, visit.sees, after) if after is not None else None
        entries, following = await queue.page(session, visit.sees, wanted, limit, behind)
        total = await queue.total(session, visit.sees, wanted)
    return {"comments": [record(entry) for entry in entries], "next": following, "total": total}


async def _filter(session: AsyncSession, visit: Visit, process: str | None, approval: ApprovalFilter | None) -> Filter:
    given.one_of(approval, "The approval", ("approved", "rejected", "none"), name="approval")
    process_id = None if process is None else (await processes.by_name(session, visit.sees, process)).id
    return Filter(process_id, approval)


async def one(
    visit: Visit, comment: str, *, process: str | None = None, approval: ApprovalFilter | None = "none"
) -> Record:
    """A comment with its neighbours in the queue of this filter."""
    async with visit.database.session() as session:
        wanted = await _filter(session, visit, process, approval)
        comment_id = await store.resolve(session, visit.sees, comment)
        entry = await queue.one(session, visit.sees, comment_id)
        place = await queue.place(session, visit.sees, wanted, comment_id)
    there = {"previous": place.previous, "next": place.next, "before": place.before, "total": place.total}
    return record(entry) | {"place": there}


async def approve(visit: Visit, choices: Sequence[Choice]) -> list[Record]:
    """Let each be posted that is as it was seen; what became of each, in the order given."""
    return await _decide(visit, "approve", choices)


async def reject(visit: Visit, choices: Sequence[Choice]) -> list[Record]:
    """Keep each from being posted that is as it was seen; what became of each, in the order given."""
    return await _decide(visit, "reject", choices)


async def _decide(visit: Visit, decision: Literal["approve", "reject"], choices: Sequence[Choice]) -> list[Record]:
    if not 1 <= len(choices) <= MOST_AT_ONCE:
        raise Invalid(f"Name from 1 to {MOST_AT_ONCE:,} comments")
    async with visit.database.session() as session:
        seen = {
            await _id(session, visit, choice.comment): None if choice.version is None else moment_of(choice.version)
            for choice in choices
        }
        await decisions.act_as(session, visit.user_id)
        rule = decisions.approve if decision == "approve" else decisions.reject
        rulings = await rule(session, visit.sees, visit.user_id, seen)
        for ruling in rulings:
            if ruling.outcome == "done":
                await trail.note(session, visit, f"comment.{decision}", ruling.id, {})
    return [_ruled(ruling, decision) for ruling in rulings]


async def _id(session: AsyncSession, visit: Visit, text: str) -> UUID:
    """A whole id need not be looked for."""
    return as_id(text) or await store.resolve(session, visit.sees, text)


def _ruled(ruling: Ruling, decision: str) -> Record:
    done = {"approve": "approved", "reject": "rejected"}[decision]
    words = {
        "done": f"It is {done}",
        "already": f"It was already {done} by {ruling.by or 'somebody'}",
        "changed": "It changed since you looked; read it again",
        "refused": f"It is being posted right now, so that it cannot be {done}"
        if ruling.in_work
        else f"It is {ruling.status}; only a generated comment can be {done}",
        "unknown": "There is no such comment",
    }
    return {
        "id": ruling.id,
        "title": ruling.title,
        "outcome": ruling.outcome,
        "message": words[ruling.outcome],
        "status": ruling.status,
        "approval": ruling.approval,
        "by": ruling.by,
        "version": None if ruling.changed_at is None else version_of(ruling.changed_at),
        "sent": ruling.sent,
    }


async def edit(visit: Visit, comment: str, text: str, version: str) -> Record:
    """Give it another text, with the disclosure before it; an approval is taken back.

    Raise Unfit for a text that cannot be posted, Conflict when the comment is not as it was seen.
    """
    said = fit(visit, text)
    async with visit.database.session() as session:
        comment_id = await _id(session, visit, comment)
        await decisions.act_as(session, visit.user_id)
        await decisions.edit(session, visit.sees, comment_id, moment_of(version), guard.with_prefix(said))
        await trail.note(session, visit, "comment.edit", comment_id, {"characters": len(said)})
    return await one(visit, str(comment_id))


def fit(visit: Visit, text: str) -> str:
    """The text without invisible characters and a disclosure of its own. Raise Unfit."""
    have = visit.settings
    if len(text) > have.comment_max_chars * guard.ABSURD:
        raise Unfit([Finding("too_long", f"it has {len(text):,} characters, more than {have.comment_max_chars:,}")])
    said = guard.clean(text)
    nothing_asked = prompt.Prompt(system="", user="", template="", boundary=secrets.token_hex(6))
    findings = guard.check(
        said,
        finish_reason="stop",
        prompt=nothing_asked,
        minimum=have.comment_min_chars,
        maximum=have.comment_max_chars,
    )
    if against := [finding for finding in findings if finding.rule in JUDGED]:
        raise Unfit(against)
    return said


async def regenerate(
    visit: Visit, comment: str, *, template: str | None = None, note: str | None = None, version: str | None = None
) -> Record:
    """Back to the model, with another template of its owner's or a note. Raise Conflict.

    It waits for the next tick of generation, and for its process to run.
    """
    with given.field("note"):
        words = fields.word(" ".join((note or "").split()), "The note", LONGEST_NOTE)
    async with visit.database.session() as session:
        entry = await queue.one(session, visit.sees, await _id(session, visit, comment))
        template_id = await _template(session, entry, template)
        await decisions.act_as(session, visit.user_id)
        moment = None if version is None else moment_of(version)
        await decisions.regenerate(session, visit.sees, entry.row.id, moment, template_id, words)
        details = {"template": template or entry.template.name, "note": words}
        await trail.note(session, visit, "comment.regenerate", entry.row.id, details)
    return await one(visit, str(entry.row.id))


async def _template(session: AsyncSession, entry: Entry, name: str | None) -> UUID | None:
    if name is None:
        return None
    with given.field("template"):
        row = await catalog.by_name(session, PromptTemplate, entry.row.user_id, name)
    if not row.is_active:
        raise Conflict(f"The template “{row.name}” is switched off", "template")
    return row.id
