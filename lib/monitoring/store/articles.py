"""Articles as they were read, for trying prompts on."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.models import AIComment, MyMomentLogin
from lib.monitoring.prompt import ArticleFacts
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store.choosing import Wanted, chosen
from lib.monitoring.store.scope import seen

READ: tuple[CommentStatus, ...] = ("prepared", "generated", "posted")
# An article may have a comment of each login with each template.
COMMENTS_AN_ARTICLE = 5


async def latest(session: AsyncSession, sees: UUID | None, limit: int) -> list[tuple[UUID, str]]:
    """The newest articles that were read, each by its newest comment: that comment's id, and the title."""
    each = [chosen(sees, Wanted(status=status), limit * COMMENTS_AN_ARTICLE).subquery() for status in READ]
    newest = union_all(*(select(some.c.id) for some in each)).subquery()
    statement = (
        select(AIComment.article_url, AIComment.id, AIComment.article_title)
        .where(AIComment.id.in_(select(newest.c.id)), AIComment.article_content.is_not(None))
        .order_by(AIComment.id.desc())
    )
    found: dict[str, tuple[UUID, str]] = {}
    for url, id_, title in await session.execute(statement):
        found.setdefault(url, (id_, title))
    return list(found.values())[:limit]


async def article(session: AsyncSession, sees: UUID | None, comment_id: UUID | None) -> ArticleFacts | None:
    """What a template may name of this comment's article, else of the newest that was read; None if there is none.

    The login's own name stands for that of its account.
    """
    read = AIComment.article_content.is_not(None)
    which: ColumnElement[bool]
    if comment_id is None:
        each = [chosen(sees, Wanted(status=status), 1).subquery() for status in READ]
        newest = union_all(*(select(some.c.id) for some in each)).subquery()
        which = AIComment.id.in_(select(newest.c.id).order_by(newest.c.id.desc()).limit(1))
    else:
        which = and_(AIComment.id == comment_id, seen(AIComment.user_id, sees))
    statement = select(AIComment, MyMomentLogin.name).join(MyMomentLogin).where(which, read)
    found = (await session.execute(statement)).first()
    if found is None:
        return None
    row, login = found
    return ArticleFacts(
        title=row.article_title,
        content=row.article_content,
        author=row.article_author,
        category=row.article_category,
        published_at=row.article_published_at,
        url=row.article_url,
        raw_html=row.article_raw_html or "",
        username=login,
    )
