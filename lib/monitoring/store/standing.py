"""How comments stand that cannot be tried again."""

from collections.abc import Collection
from typing import Literal
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, case, select
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.monitoring.models import AIComment
from lib.monitoring.store.scope import seen

Standing = Literal["posted", "in_work", "waits"]


async def standing(session: AsyncSession, sees: UUID | None, ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Of those that there are. `waits`: for its turn, or for what it sent to arrive."""
    if not ids:
        return {}
    how = case((AIComment.status == "posted", "posted"), (work.held(AIComment), "in_work"), else_="waits").label("how")
    one_of = AIComment.id == any_(bindparam("comments", list(ids), ARRAY(Uuid), unique=True))
    found = await session.execute(select(AIComment.id, how).where(one_of, seen(AIComment.user_id, sees)))
    return {row.id: row.how for row in found}
