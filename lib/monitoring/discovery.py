"""Stage one: which articles of a site's index get a comment."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncSession

from lib.errors import Invalid, PressroomError
from lib.monitoring import nudges
from lib.monitoring.items import ProcessRef, StageReport, Watch
from lib.monitoring.pages import Index, IndexEntry
from lib.monitoring.runtime import Runtime, progress, runtime
from lib.monitoring.store import comments, stages
from lib.units import failed

NO_TAB = "no tab is set: discovery is skipped"

# By event loop, since a semaphore belongs to one.
_looking = WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]]()


def matching(entries: Iterable[IndexEntry], watch: Watch) -> list[IndexEntry]:
    """The entries in the wanted state whose title holds the search words, each article once, in the site's order."""
    wanted = (watch.search or "").casefold()
    found = {
        entry.article_id: entry
        for entry in entries
        if (entry.state in (watch.state, "") or watch.state == "any") and wanted in entry.title.casefold()
    }
    return list(found.values())


def next_look(quiet_looks: int, *, found: bool, shortest: float, longest: float) -> tuple[int, float]:
    """How many looks in a row found nothing, and seconds until the next: `shortest`, doubling to `longest`."""
    if found:
        return 0, shortest
    return quiet_looks + 1, min(shortest * 2 ** min(quiet_looks, 30), longest)


def new_comments(entries: Iterable[IndexEntry], watch: Watch) -> list[dict[str, Any]]:
    """One comment for each article and template."""
    return [
        {
            "user_id": watch.user_id,
            "monitoring_process_id": watch.process_id,
            "mymoment_login_id": watch.login_id,
            "prompt_template_id": template_id,
            "discovered_template_id": template_id,
            "mymoment_article_id": entry.article_id,
            "article_title": entry.title,
            "article_author": entry.author,
            "article_category": entry.category,
            "article_task": entry.task,
            "article_url": f"{watch.base_url}/article/{entry.article_id}/",
            "article_edited_at": entry.edited_at,
            "status": "discovered",
        }
        for entry in entries
        for template_id in watch.template_ids
    ]


def _slots(site: str, at_once: int) -> asyncio.Semaphore:
    """The looks that this worker takes at a site at once, in the order of asking, whichever tick they are of.

    So the first looks of many processes come before the second ones, and what they find is worked on meanwhile.
    """
    here = _looking.setdefault(asyncio.get_running_loop(), {})
    return here.setdefault(site, asyncio.Semaphore(at_once))


@dataclass(frozen=True)
class Look:
    """What one login's look at its index gave: entries, or the reason why there are none."""

    watch: Watch
    entries: Sequence[IndexEntry] = ()
    error: str | None = None


async def look(watch: Watch) -> Look:
    """Look at the index that the process watches with this login. An expected failure is a value.

    One request serves all processes of the run that ask for the same.
    """
    query = watch.query
    if query is None:
        raise Invalid(NO_TAB)
    run = runtime()

    async def ask() -> Index:
        slots = _slots(watch.base_url, run.settings.discovery_concurrency)
        look_at = query.tab, query.category, query.task
        return await run.sites.use(watch.login_id, lambda site: site.index(*look_at), slots)

    try:
        index = await run.shared.get(("index", watch.login_id, query), ask)
    except PressroomError as error:
        failed(error)
        return Look(watch, error=str(error))
    return Look(watch, matching(index.entries, watch))


async def save(process: ProcessRef, watches: Sequence[Watch], looks: Sequence[Look]) -> StageReport:
    """Insert what is new, in one batch, and set when each login is looked at next."""
    run = runtime()
    errors = tuple(look.error for look in looks if look.error)
    without_tab = [watch for watch in watches if watch.query is None]
    rows, found_by = await _new_rows(run, looks)

    def plan(*, new: bool) -> list[tuple[UUID, int, float]]:
        """When each login is looked at next."""
        nexts: list[tuple[UUID, int, float]] = [(watch.login_id, 0, run.settings.quiet_max) for watch in without_tab]
        shortest, longest = run.settings.quiet_min, run.settings.quiet_max
        for one in looks:
            login_id, quiet = one.watch.login_id, one.watch.quiet_looks
            found = new and bool(found_by.get(login_id))
            nexts.append((login_id, *next_look(quiet, found=found, shortest=shortest, longest=longest)))
        return nexts

    async def write(session: AsyncSession) -> int:
        new = await comments.insert_discovered(session, rows)
        await stages.settle_watches(session, process.id, plan(new=bool(new)))
        await comments.count_discovered(session, process.id, len(new))
        for _ in errors:
            await comments.count_error(session, "discovery", process.id)
        return len(new)

    inserted = 0
    if rows or errors:
        inserted = await run.database.run_transaction(write)
    else:
        quiet = plan(new=False)
        await run.database.run_statement(partial(stages.settle_watches, process_id=process.id, looks=quiet))
    if inserted:
        nudges.made("discovery", [process.id])
    progress.get().done()
    note = NO_TAB if without_tab else ""
    return StageReport(process.id, process.name, done=inserted, failed=len(errors), errors=errors, note=note)


async def _new_rows(run: Runtime, looks: Sequence[Look]) -> tuple[list[dict[str, Any]], dict[UUID, int]]:
    """The comments that are not known yet, and by login on how many articles."""
    rows: list[dict[str, Any]] = []
    found_by: dict[UUID, int] = {}
    for one in looks:
        if one.error or not one.entries:
            continue
        known = await run.database.run_statement(
            partial(
                comments.known_articles,
                login_id=one.watch.login_id,
                template_ids=one.watch.template_ids,
                article_ids=[entry.article_id for entry in one.entries],
            )
        )
        limit = one.watch.limit or run.settings.article_limit
        fresh = [entry for entry in one.entries if entry.article_id not in known][:limit]
        found_by[one.watch.login_id] = len(fresh)
        rows += new_comments(fresh, one.watch)
    return rows, found_by
