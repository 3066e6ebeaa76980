"""The audit log, for administrators."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from console.api.paging import Limit, Page
from console.security.actor import Admin
from console.security.state import console_of
from lib.people.store import trail

router = APIRouter(tags=["audit"])

Text = Annotated[str | None, Query(max_length=150)]


class EntryDocument(BaseModel):
    """Who changed what, and how they came. `actor_name` is as it was then."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    actor_user_id: UUID | None
    actor_name: str | None
    via: str
    action: str
    subject_kind: str
    subject_id: str | None
    details: dict[str, Any]
    address: str | None


@router.get("/audit")
async def entries(
    request: Request,
    actor: Admin,
    limit: Limit = 50,
    after: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    actor_user_id: UUID | None = None,
    subject_kind: Text = None,
    subject_id: Text = None,
) -> Page[EntryDocument]:
    """What was changed, the newest first."""
    del actor
    async with console_of(request).database.session() as session:
        found = await trail.entries(
            session,
            before=after,
            limit=limit + 1,
            actor_user_id=actor_user_id,
            subject_kind=subject_kind,
            subject_id=subject_id,
        )
    items = [EntryDocument.model_validate(entry) for entry in found[:limit]]
    return Page(items=items, next=str(items[-1].id) if len(found) > limit else None)
