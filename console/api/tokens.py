"""My API tokens."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from console.security.actor import Actor, Viewer, doer_of
from console.security.errors import Forbidden
from console.security.state import console_of
from lib.people import own, roles
from lib.people.own import LONGEST_DAYS
from lib.people.roles import Scope

router = APIRouter(tags=["tokens"])


class TokenDocument(BaseModel):
    """A token, without itself: `prefix` is how it begins."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class TokenList(BaseModel):
    tokens: list[TokenDocument]


class TokenRequest(BaseModel):
    """A scope includes the lower ones: admin, write, read."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS, description="How long it lives.")] = 90


class NewTokenDocument(BaseModel):
    """The token is shown this once."""

    token: str
    record: TokenDocument


def _may_manage(actor: Actor) -> None:
    """Everybody has tokens, viewers too; but a token that only reads does not make or revoke any."""
    if actor.scopes is not None and "write" not in actor.scopes:
        raise Forbidden("This takes a token with the scope write")


@router.get("/tokens")
async def listed(request: Request, actor: Viewer) -> TokenList:
    """Those that were not revoked, the newest first."""
    found = await own.my_tokens(console_of(request).database, actor.user_id)
    return TokenList(tokens=[TokenDocument.model_validate(asdict(each)) for each in found])


@router.post("/tokens", status_code=201)
async def make(request: Request, actor: Viewer, wanted: TokenRequest) -> NewTokenDocument:
    """Make a token, with scopes that you have yourself."""
    _may_manage(actor)
    most = roles.scopes_of(actor.role)
    made = await own.make_token(
        console_of(request).database,
        doer_of(request, actor),
        actor.user_id,
        wanted.name,
        wanted.scopes,
        wanted.days,
        most,
    )
    return NewTokenDocument(token=made.text, record=TokenDocument.model_validate(asdict(made.record)))


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke(request: Request, actor: Viewer, token_id: UUID) -> Response:
    """End a token at once."""
    _may_manage(actor)
    await own.revoke_token(console_of(request).database, doer_of(request, actor), actor.user_id, token_id)
    return Response(status_code=204)
