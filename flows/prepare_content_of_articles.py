"""Stage two: fetch what the discovered articles say."""

from uuid import UUID

from lib.monitoring.items import TickReport
from tasks.units import flow


@flow(name="prepare_content_of_articles")
async def prepare_content_of_articles(process_id: UUID | None = None) -> TickReport:
    """For every running process, or the one named, fetch the pages of discovered articles."""
    from tasks.preparation import prepare_process
    from tasks.tick import tick

    async with tick("preparation", process_id) as this:
        await this.each(prepare_process)
    return this.report
