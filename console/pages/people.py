"""People, for administrators: invite, change a role, deactivate, give a new link."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from console.desk import people as desk
from console.pages.language import Language, language_of
from console.pages.rendering import redirect, render
from console.security.actor import Actor, Admin, doer_of, visit_of
from console.security.state import console_of
from lib.errors import Conflict, Invalid, Transient
from lib.people import members, roles
from lib.people.members import Invitation

router = APIRouter(prefix="/people")

Text = Annotated[str, Form()]
NAMED = 5


async def _page(request: Request, actor: Actor, status_code: int = 200, **more: Any) -> Response:
    found = await members.everybody(console_of(request).database)
    context: dict[str, Any] = {"people": found, "roles": roles.ROLES, "invitation": None, "address": "", "name": ""}
    context |= {"running": await desk.running(visit_of(request, actor))}
    return render(request, "people.html", status_code=status_code, **(context | more))


def _with_link(request: Request, made: Invitation) -> dict[str, Any]:
    return {"invitation": made, "address": str(request.base_url).rstrip("/") + made.path}


@router.get("")
async def people(request: Request, actor: Admin) -> Response:
    return await _page(request, actor)


@router.post("")
async def invite(request: Request, actor: Admin, name: Text = "", role: Text = "viewer") -> Response:
    """Answered with the page itself: the link is nowhere else."""
    try:
        made = await members.invite(console_of(request).database, doer_of(request, actor), name, roles.role(role))
    except Invalid as error:
        errors = {error.field or "name": language_of(request).sentence(error)}
        return await _page(request, actor, 422, errors=errors, name=name[:200])
    return await _page(request, actor, 201, **_with_link(request, made))


@router.post("/{user_id}/link")
async def new_link(request: Request, actor: Admin, user_id: UUID) -> Response:
    made = await members.new_link(console_of(request).database, doer_of(request, actor), user_id)
    return await _page(request, actor, 201, **_with_link(request, made))


@router.post("/{user_id}/role")
async def change_role(request: Request, actor: Admin, user_id: UUID, role: Text) -> Response:
    wanted = roles.role(role)
    return await _changed(
        request, actor, user_id, language_of(request).gettext("“%(name)s” has the role %(role)s now."), role=wanted
    )


@router.post("/{user_id}/deactivate")
async def deactivate(request: Request, actor: Admin, user_id: UUID) -> Response:
    """Returns when nothing more can be posted for them."""
    words = language_of(request).gettext("“%(name)s” is deactivated and signed out.")
    return await _changed(request, actor, user_id, words, is_active=False)


@router.post("/{user_id}/activate")
async def activate(request: Request, actor: Admin, user_id: UUID) -> Response:
    return await _changed(
        request, actor, user_id, language_of(request).gettext("“%(name)s” is active again."), is_active=True
    )


async def _changed(request: Request, actor: Admin, user_id: UUID, words: str, **wanted: Any) -> Response:
    spoken = language_of(request)
    try:
        done = await desk.change(visit_of(request, actor), doer_of(request, actor), user_id, **wanted)
    except Conflict as error:
        return redirect(request, "/people", spoken.sentence(error), "error")
    except Transient as error:  # they are deactivated all the same
        name = (await members.find(console_of(request).database, str(user_id))).name
        said = f"{words % {'name': name}} {spoken.sentence(error)}"
        return redirect(request, "/people", said, "warning")
    role = spoken.gettext(done.person.role) if done.person.role else ""
    said = words % {"name": done.person.name, "role": role}
    if done.stopped:
        said += " " + spoken.ngettext(
            "%(num)s process of theirs was stopped: %(names)s.",
            "%(num)s processes of theirs were stopped: %(names)s.",
            len(done.stopped),
        ) % {"num": len(done.stopped), "names": _some(spoken, done.stopped)}
    return redirect(request, "/people", said)


def _some(spoken: Language, names: Sequence[str]) -> str:
    """The first few of them, and how many more."""
    more = len(names) - NAMED
    words = [spoken.ngettext("and %(num)s more", "and %(num)s more", more) % {"num": more}] if more > 0 else []
    return ", ".join([*names[:NAMED], *words])
