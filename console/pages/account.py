"""One's own account: password, sessions, API tokens."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from console.pages.language import language_of
from console.pages.rendering import redirect, render
from console.security import sessions
from console.security.actor import Actor, Viewer, doer_of
from console.security.state import console_of
from lib.errors import Invalid
from lib.people import own, passwords, roles

router = APIRouter(prefix="/account")

Text = Annotated[str, Form()]
LIFETIMES = (7, 30, 90, 365)


async def _page(request: Request, actor: Actor, status_code: int = 200, **more: Any) -> Response:
    found = await own.my_tokens(console_of(request).database, actor.user_id)
    context: dict[str, Any] = {
        "tokens": found,
        "scopes": [each for each in roles.SCOPES if each in roles.scopes_of(actor.role)],
        "lifetimes": LIFETIMES,
        "shortest": passwords.SHORTEST,
        "new_token": None,
        "token_name": "",
    }
    return render(request, "account.html", status_code=status_code, **(context | more))


async def _wrong(request: Request, actor: Actor, error: Invalid, otherwise: str, **more: Any) -> Response:
    errors = {error.field or otherwise: language_of(request).sentence(error)}
    return await _page(request, actor, 422, errors=errors, **more)


@router.get("")
async def account(request: Request, actor: Viewer) -> Response:
    return await _page(request, actor)


@router.post("/password")
async def change_password(
    request: Request, actor: Viewer, old_password: Text = "", password: Text = "", repeated: Text = ""
) -> Response:
    try:
        passwords.check_repeated(password, repeated)
        by = doer_of(request, actor)
        epoch = await own.change_password(console_of(request).database, by, actor.user_id, old_password, password)
    except Invalid as error:
        return await _wrong(request, actor, error, "password")
    sessions.start(request, actor.user_id, epoch)
    return redirect(request, "/account", language_of(request).gettext("Your password is changed."))


@router.post("/log-out-everywhere")
async def log_out_everywhere(request: Request, actor: Viewer) -> Response:
    await own.log_out_everywhere(console_of(request).database, doer_of(request, actor), actor.user_id)
    sessions.drop(request)
    return redirect(request, "/login", language_of(request).gettext("You are signed out everywhere."))


@router.post("/tokens")
async def make_token(
    request: Request, actor: Viewer, token_name: Text = "", scope: Text = "read", days: Annotated[int, Form()] = 90
) -> Response:
    """Answered with the page itself: the token is nowhere else."""
    most = roles.scopes_of(actor.role)
    database = console_of(request).database
    try:
        made = await own.make_token(database, doer_of(request, actor), actor.user_id, token_name, [scope], days, most)
    except Invalid as error:
        at = Invalid(str(error), "token_name" if error.field in (None, "name") else error.field)
        return await _wrong(request, actor, at, "token_name", token_name=token_name[:200])
    return await _page(request, actor, 201, new_token=made)


@router.post("/tokens/{token_id}/revoke")
async def revoke_token(request: Request, actor: Viewer, token_id: UUID) -> Response:
    done = await own.revoke_token(console_of(request).database, doer_of(request, actor), actor.user_id, token_id)
    words = language_of(request).gettext("The token “%(name)s” is revoked.") % {"name": done.name}
    return redirect(request, "/account", words)
