"""Trying again what failed, from the history of the tasks: asked for first, with the numbers, and then done."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from console.desk import task_retries
from console.desk.task_retries import MOST, MOST_CHOSEN, Plan, Retried, Wanted
from console.pages.language import Language, language_of
from console.pages.rendering import redirect, render
from console.pages.task_filter import Asked, InAddress
from console.security.actor import Actor, Operator, visit_of
from lib.errors import Invalid, Stale

router = APIRouter(prefix="/tasks/retry")

Which = Literal["selected", "all"]
Ids = Annotated[list[UUID] | None, Query(alias="id")]


def _wanted(asked: Asked, which: Which, ids: list[UUID] | None) -> Wanted:
    """Raise Invalid for more than can be selected."""
    if which == "all":
        return Wanted(None, asked.filter)
    chosen = tuple(dict.fromkeys(ids or ()))
    if len(chosen) > MOST_CHOSEN:
        raise Invalid(f"At most {MOST_CHOSEN} records can be selected at once", "id")
    return Wanted(chosen, asked.filter)


@router.get("")
async def ask(
    request: Request, actor: Operator, asked: InAddress, which: Which = "selected", ids: Ids = None
) -> Response:
    if which == "selected" and not ids:
        words = language_of(request).gettext("Nothing is selected: tick the records that you mean.")
        return redirect(request, _back(asked, ids), words, "warning")
    return await _page(request, actor, asked, which, ids)


async def _page(
    request: Request, actor: Actor, asked: Asked, which: Which, ids: list[UUID] | None, status_code: int = 200
) -> Response:
    plan = await task_retries.plan(visit_of(request, actor), _wanted(asked, which, ids))
    spoken = language_of(request)
    return render(
        request,
        "task_retry.html",
        status_code=status_code,
        plan=plan,
        matching=_matching(spoken, plan),
        button=_button(spoken, plan),
        most=MOST,
        changed=status_code != 200,  # noqa: PLR2004 - asked again
        query=_query(asked, which, ids),
        back=_back(asked, ids),
    )


def _query(asked: Asked, which: Which, ids: list[UUID] | None) -> str:
    chosen = [("which", which), *(("id", str(id_)) for id_ in ids or ())]
    return urlencode(chosen) + (f"&{asked.query}" if asked.query else "")


def _back(asked: Asked, ids: list[UUID] | None) -> str:
    """One record's page, where the question came from there; else the list."""
    if ids is not None and len(ids) == 1 and not asked.query:
        return f"/tasks/{ids[0]}"
    return "/tasks" + (f"?{asked.query}" if asked.query else "") + "#records"


def _matching(spoken: Language, plan: Plan) -> str:
    words = spoken.ngettext("%(count)s record of a failure.", "%(count)s records of failures.", plan.records)
    return words % {"count": spoken.number(plan.records) + ("+" if plan.capped else "")}


def _button(spoken: Language, plan: Plan) -> str:
    number = plan.comments + len(plan.runs)
    return spoken.ngettext("Try this one again", "Try these %(count)s again", number) % {"count": spoken.number(number)}


@router.post("")
async def retry(
    request: Request,
    actor: Operator,
    asked: InAddress,
    which: Which = "selected",
    ids: Ids = None,
    confirmed: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """`confirmed`: the mark of the numbers that were agreed to; with others it is asked anew."""
    try:
        done = await task_retries.retry(visit_of(request, actor), _wanted(asked, which, ids), confirmed)
    except Stale:
        return await _page(request, actor, asked, which, ids, 409)
    spoken = language_of(request)
    return redirect(request, _back(asked, ids), _said(spoken, done), "warning" if done.refused else "success")


def _said(spoken: Language, done: Retried) -> str:
    told: list[tuple[str, str, int]] = [
        ("%(num)s comment is tried again.", "%(num)s comments are tried again.", done.comments),
        (
            "%(num)s of them was sent before: it is looked for on the site first.",
            "%(num)s of them were sent before: they are looked for on the site first.",
            done.sent,
        ),
        ("%(num)s stage runs now.", "%(num)s stages run now.", done.runs),
    ]
    said: list[Any] = [spoken.ngettext(one, many, number) % {"num": number} for one, many, number in told if number]
    return " ".join([*said, *(spoken.sentence(why) for why in done.refused)])
