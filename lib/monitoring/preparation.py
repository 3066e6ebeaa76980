"""Stage two: what the article says."""

from uuid import UUID

from lib import work
from lib.monitoring.items import ArticleToPrepare
from lib.monitoring.runtime import runtime
from lib.monitoring.store import claims
from lib.monitoring.turns import Outcome, attempt, settle_done


async def take(process_id: UUID) -> ArticleToPrepare | None:
    run = runtime()
    return await run.database.run_statement(
        lambda connection: claims.claim_article(connection, process_id, work.new_id(), run.settings.item_lease)
    )


async def prepare(item: ArticleToPrepare) -> Outcome:
    """Fetch the page once, save it to every comment that waits for it."""

    async def do() -> Outcome:
        run = runtime()
        # Two processes that took their comments on the same page at the same moment share it all the same.
        page = await run.shared.get(
            ("page", item.login_id, item.article_id),
            lambda: run.sites.use(item.login_id, lambda site: site.article(item.article_id)),
        )
        return await settle_done(
            "preparation",
            item.comments,
            status="prepared",
            article_title=page.title or item.title,
            article_content=page.content,
            article_raw_html=page.raw_html,
            article_published_at=page.edited_at,
            now=["article_scraped_at"],
        )

    return await attempt("preparation", item.comments, do)
