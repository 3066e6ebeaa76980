"""Stage three: draft a comment on each prepared article, and check it."""

from uuid import UUID

from lib.monitoring.items import TickReport
from tasks.units import flow


@flow(name="generate_comments_for_articles")
async def generate_comments_for_articles(process_id: UUID | None = None) -> TickReport:
    """For every running process, or the one named, ask its model for the comments that wait."""
    from tasks.generation import generate_for_process
    from tasks.tick import tick

    async with tick("generation", process_id) as this:
        await this.each(generate_for_process)
    return this.report
