"""Who I am, and the users, for administrators."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from console.api import problems
from console.desk import people as desk
from console.security.actor import Admin, Viewer, doer_of, visit_of
from console.security.state import console_of
from lib.people import members
from lib.people.members import Invitation
from lib.people.roles import Role
from lib.people.store.accounts import Person

router = APIRouter(tags=["people"])

Name = Annotated[str, Field(min_length=1, max_length=100, description="What they sign in with.")]


class Me(BaseModel):
    """Who asks, and what they may do with these credentials."""

    id: UUID
    name: str
    role: Role
    scopes: list[str] | None = Field(description="Of the API token; null for a browser's session.")
    via: Literal["session", "token"]


class UserDocument(BaseModel):
    """A user; without a role one who only uses the command line."""

    id: UUID
    name: str
    role: Role | None
    is_active: bool
    has_password: bool
    last_login_at: datetime | None
    created_at: datetime


class ChangedUserDocument(UserDocument):
    """A user as they are now. `processes_stopped`: those of theirs that were stopped because they were deactivated."""

    processes_stopped: list[str]


class UserList(BaseModel):
    users: list[UserDocument]


class InvitationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role = "viewer"


class UserChange(BaseModel):
    """What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    is_active: bool | None = None


class LinkDocument(BaseModel):
    """Where the person sets their password. It is shown this once."""

    user: UserDocument
    path: str = Field(description="Below the console's address. Whoever has it can become this user.")
    expires_at: datetime


def document(person: Person) -> UserDocument:
    return UserDocument.model_validate(asdict(person))


def _link(invitation: Invitation) -> LinkDocument:
    return LinkDocument(user=document(invitation.person), path=invitation.path, expires_at=invitation.expires_at)


@router.get("/me")
async def me(actor: Viewer) -> Me:
    """Who I am."""
    scopes = None if actor.scopes is None else sorted(actor.scopes)
    return Me(id=actor.user_id, name=actor.name, role=actor.role, scopes=scopes, via=actor.via)


@router.get("/users")
async def users(request: Request, actor: Admin) -> UserList:
    """Everybody."""
    del actor
    found = await members.everybody(console_of(request).database)
    return UserList(users=[document(person) for person in found])


@router.post("/users", status_code=201)
async def invite(request: Request, actor: Admin, wanted: InvitationRequest) -> LinkDocument:
    """Invite somebody; give them the link yourself."""
    database = console_of(request).database
    return _link(await members.invite(database, doer_of(request, actor), wanted.name, wanted.role))


@router.get("/users/{user_id}")
async def user(request: Request, actor: Admin, user_id: UUID) -> UserDocument:
    """One user."""
    del actor
    return document(await members.find(console_of(request).database, str(user_id)))


@router.patch("/users/{user_id}", responses=problems.said(404, 409, 424))
async def change(request: Request, actor: Admin, user_id: UUID, wanted: UserChange) -> ChangedUserDocument:
    """Change a role, deactivate or activate. The last active administrator stays one.

    The processes of who is deactivated are stopped; the answer comes when nothing more can be posted for them.
    """
    visit, by = visit_of(request, actor), doer_of(request, actor)
    done = await desk.change(visit, by, user_id, role=wanted.role, is_active=wanted.is_active)
    return ChangedUserDocument.model_validate(asdict(done.person) | {"processes_stopped": list(done.stopped)})


@router.post("/users/{user_id}/link", status_code=201)
async def link(request: Request, actor: Admin, user_id: UUID) -> LinkDocument:
    """A link by which they set their password anew. The present password stays until it is used."""
    return _link(await members.new_link(console_of(request).database, doer_of(request, actor), user_id))
