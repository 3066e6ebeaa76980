"""Lists come in pages: what is behind the last item is asked for with `?after=`, however the list grows meanwhile."""

from collections.abc import Sequence
from typing import Annotated, Generic, Protocol, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
After = Annotated[UUID | None, Query(description="`next` of the page before.")]


class Page(BaseModel, Generic[T]):
    """`next` is what `after` is to be for the page behind this one; null on the last."""

    items: list[T]
    next: str | None = Field(None, description="Give it as `after` to get the next page.")


class _Identified(Protocol):
    id: UUID


Item = TypeVar("Item", bound=_Identified)


def page_of(items: Sequence[Item], limit: int, after: UUID | None, *, newest_first: bool = False) -> "Page[Item]":
    """Of a list that is short enough to be there as a whole, in the order of the items' making."""
    ordered = sorted(items, key=lambda each: each.id, reverse=newest_first)
    behind = [each for each in ordered if after is None or (each.id < after if newest_first else each.id > after)]
    shown = behind[:limit]
    return Page(items=shown, next=str(shown[-1].id) if len(behind) > limit else None)
