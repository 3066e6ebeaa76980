"""Stage one: find articles that deserve a comment."""

from functools import partial
from uuid import UUID

from lib.monitoring.items import TickReport
from tasks.units import flow


@flow(name="discover_articles")
async def discover_articles(process_id: UUID | None = None) -> TickReport:
    """For every running process look at the indexes whose turn it is, for one by its id at all of its own."""
    from tasks.discovery import discover_process, read_watches
    from tasks.tick import tick

    async with tick("discovery", process_id) as this:
        await this.each(discover_process, partial(read_watches, due=process_id is None))
    return this.report
