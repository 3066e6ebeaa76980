"""Stage four: post the comments that may be posted, each at most once."""

from uuid import UUID

from lib.monitoring.items import TickReport
from tasks.units import flow


@flow(name="post_comments_for_articles")
async def post_comments_for_articles(process_id: UUID | None = None) -> TickReport:
    """For every process that posts, and for every comment that a person approved, post what waits."""
    from tasks.posting import post_for_process
    from tasks.tick import tick

    async with tick("posting", process_id) as this:
        await this.each(post_for_process)
    return this.report
