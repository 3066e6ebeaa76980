"""Failures: what went wrong, grouped by cause, and trying it again."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from console.api.failures import Key
from console.desk import choices, failures
from console.desk.given import version_of
from console.pages.language import language_of
from console.pages.rendering import fragment, redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Invalid, NotFound

router = APIRouter(prefix="/failures")

Text = Annotated[str, Form()]
How = Literal["one", "some", "all"]
MOST_DIGITS = 9


def _seen(found: Record) -> str:
    return version_of([(each["key"], each["number"], each["sent"]) for each in found["failed"] + found["waiting"]])


async def _page(request: Request, actor: Actor, process: str, status_code: int = 200, **more: Any) -> Response:
    visit = visit_of(request, actor)
    found = await failures.groups(visit, process=process or None)
    context: dict[str, Any] = {
        "process": process,
        "query": urlencode({"process": process}),
        "processes": await choices.processes(visit),
        "sums": {state: sum(each["number"] for each in found[state]) for state in ("failed", "waiting")},
        "seen": _seen(found),
        "changed": False,
        "typed": {},
        **found,
    }
    return render(request, "failures.html", status_code=status_code, **(context | more))


@router.get("")
async def all_groups(request: Request, actor: Viewer, process: str = "") -> Response:
    return await _page(request, actor, process)


@router.get("/changes")
async def changes(request: Request, actor: Viewer, process: str = "", seen: str = "") -> Response:
    """Says that there is something new; the forms that somebody is about to use stay as they are."""
    found = await failures.groups(visit_of(request, actor), process=process or None)
    if _seen(found) == seen:
        return Response(status_code=204)
    query = urlencode({"process": process})
    return fragment(request, "failures.html", "changes", query=query, seen=seen, changed=True)


@router.post("/{key}/retry")
async def retry(
    request: Request,
    actor: Operator,
    key: Key,
    how: Annotated[How, Form()] = "all",
    number: Text = "",
    process: str = "",
) -> Response:
    """`how`: one of the group, some (`number`), or all."""
    spoken = language_of(request)
    try:
        done = await failures.retry_group(
            visit_of(request, actor), key, limit=_limit(how, number), process=process or None
        )
    except NotFound as error:
        return redirect(request, _address(process), spoken.sentence(error), "warning")
    except Invalid as error:
        errors = {key: spoken.sentence(error)}
        return await _page(request, actor, process, 422, errors=errors, typed={key: number[:20]})
    words = spoken.ngettext("%(num)s comment is tried again.", "%(num)s comments are tried again.", done["retried"])
    said = words % {"num": done["retried"]}
    if done["sent_before"]:
        more = spoken.ngettext(
            "%(num)s of them was sent before: it is looked for on the site first.",
            "%(num)s of them were sent before: they are looked for on the site first.",
            done["sent_before"],
        )
        said += " " + more % {"num": done["sent_before"]}
    return redirect(request, _address(process), said)


def _address(process: str) -> str:
    return "/failures" + (f"?{urlencode({'process': process})}" if process else "")


def _limit(how: How, number: str) -> int | None:
    """How many of a group; None is all. Raise Invalid for what is no number of comments."""
    if how != "some":
        return 1 if how == "one" else None
    clean = number.strip()
    if not (clean.isascii() and clean.isdigit() and len(clean) <= MOST_DIGITS and int(clean)):
        raise Invalid("Give a whole number from 1 on")
    return int(clean)
