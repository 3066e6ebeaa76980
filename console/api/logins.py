"""Logins: accounts on a site. What opens them is written and never read."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from console.api import etags, problems
from console.api.etags import IfMatch, IfNoneMatch
from console.api.idempotency import IdempotencyKey, once
from console.api.paging import After, Limit, Page, page_of
from console.api.schemas import Address, Given, Kept, Line, Name, Removed, Secret, Told
from console.desk import holdings, logins, sites
from console.desk.logins import LoginChange
from console.desk.visit import Visit
from console.security.actor import Operator, Viewer, visit_of

router = APIRouter(prefix="/logins", tags=["logins"])

Username = Annotated[Line, Field(min_length=1, max_length=150, json_schema_extra={"writeOnly": True})]


class Use(Told):
    """A process that uses it."""

    process_id: UUID
    name: str
    status: str


class LoginDocument(Told):
    """A login, without its username and password. `owner` is named to administrators only."""

    id: UUID
    version: str
    name: str
    owner: str | None
    base_url: str
    is_active: bool
    last_used_at: datetime | None
    failed_logins: int
    next_login_at: datetime | None
    next_post_at: datetime | None
    error: str | None
    created_at: datetime
    processes: list[Use]


class LoginRequest(Given):
    """A new login."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "bot",
                    "base_url": "https://www.mymoment.ch",
                    "username": "ki-bot",
                    "password": "not-this-one",
                }
            ]
        }
    )

    name: Name
    base_url: Address
    username: Username
    password: Secret
    test: Annotated[bool, Field(description="Log in first, and save nothing if that fails.")] = False


class LoginPatch(Given):
    """What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})

    name: Kept[Name] = None
    base_url: Kept[Address] = None
    username: Kept[Username] = None
    password: Kept[Secret] = None
    is_active: Kept[bool] = None

    def wanted(self) -> LoginChange:
        said: dict[str, Any] = self.model_dump(exclude={"password"})
        password = self.password
        return LoginChange(**said, password=None if password is None else password.get_secret_value)


class Works(Told):
    """It was tried, and it works."""

    name: str
    works: bool


class Choice(Told):
    """Something that a process's index can be filtered by."""

    id: str
    name: str


class SiteChoices(Told):
    """What there is on the site. `tabs` is null where it cannot be read, and `reason` says why."""

    login: str
    site: str
    tabs: list[Choice] | None
    categories: list[Choice]
    tasks: list[Choice]
    reason: str | None


async def _answer(visit: Visit, login_id: UUID, status: int = 200) -> Response:
    document = await _read(visit, login_id)
    location = f"/api/v1/logins/{login_id}" if status == 201 else None  # noqa: PLR2004 - created
    return etags.answer(document, document.version, status=status, location=location)


async def _read(visit: Visit, login_id: UUID) -> LoginDocument:
    return LoginDocument.model_validate(await holdings.login(visit, login_id))


@router.get("")
async def listed(request: Request, actor: Viewer, limit: Limit = 50, after: After = None) -> Page[LoginDocument]:
    """The logins, in the order of their making."""
    found = await holdings.logins(visit_of(request, actor))
    return page_of([LoginDocument.model_validate(each) for each in found], limit, after)


@router.post("", status_code=201, response_model=LoginDocument, responses=problems.said(409, 424))
async def create(request: Request, actor: Operator, wanted: LoginRequest, key: IdempotencyKey = None) -> Response:
    """Add a login."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        secret = wanted.password.get_secret_value
        made = await logins.add(visit, wanted.name, wanted.base_url, wanted.username, secret, test=wanted.test)
        return await _answer(visit, made["id"], 201)

    return await once(request, actor, key, do)


@router.get("/{login_id}", response_model=LoginDocument, responses={304: {}, **problems.said(404)})
async def read(request: Request, actor: Viewer, login_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One login, and the processes that use it."""
    del if_none_match  # read from the request
    document = await _read(visit_of(request, actor), login_id)
    return etags.read(request, document, document.version)


@router.patch("/{login_id}", response_model=LoginDocument, responses=problems.said(404, 409, 412, 428))
async def change(
    request: Request, actor: Operator, login_id: UUID, wanted: LoginPatch, if_match: IfMatch = None
) -> Response:
    """Change a login. What waited for it is tried again."""
    visit = visit_of(request, actor)
    await logins.change(visit, str(login_id), wanted.wanted(), etags.seen(if_match))
    return await _answer(visit, login_id)


@router.delete("/{login_id}", responses=problems.said(404, 409, 412, 428))
async def remove(request: Request, actor: Operator, login_id: UUID, if_match: IfMatch = None) -> Removed:
    """Delete a login that no process and no comment refers to."""
    gone = await logins.remove(visit_of(request, actor), str(login_id), etags.seen(if_match))
    return Removed.model_validate(gone)


@router.post("/{login_id}/test", responses=problems.said(404, 424))
async def test(request: Request, actor: Operator, login_id: UUID) -> Works:
    """Log in for real, once. Whatever keeps it from that is answered 424."""
    return Works.model_validate(await logins.test(visit_of(request, actor), str(login_id)))


@router.get("/{login_id}/site-choices", responses=problems.said(404))
async def choices(request: Request, actor: Viewer, login_id: UUID) -> SiteChoices:
    """Tabs, categories and tasks to pick from, read from the site with the login and kept for five minutes."""
    return SiteChoices.model_validate(await sites.site_choices(visit_of(request, actor), str(login_id)))
