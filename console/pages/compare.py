"""Comparing templates: two of them over the same past articles, side by side, without posting."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from babel.numbers import format_decimal
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from console.desk import choices, comparisons
from console.desk.comparisons import NewComparison
from console.pages.language import Language, language_of
from console.pages.rendering import fragment, redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid, NotFound, PressroomError
from lib.monitoring.comparison import MOST_ARTICLES

router = APIRouter(prefix="/compare")

Text = Annotated[str, Form()]
WEB = ("http://", "https://")
MOST_DIGITS = 3


@dataclass(frozen=True)
class Typed:
    """The form as it was filled in."""

    template_a: str = ""
    template_b: str = ""
    provider: str = ""
    process: str = ""
    articles: str = "5"
    name: str = ""
    comments: tuple[str, ...] = ()

    @property
    def wanted(self) -> NewComparison:
        """Raise Invalid for a number that is none."""
        number = self.articles.strip()
        if not (number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS):
            raise Invalid(f"A comparison takes 1 to {MOST_ARTICLES} articles", "articles")
        return NewComparison(
            self.template_a,
            self.template_b,
            self.provider,
            self.process or None,
            self.comments,
            int(number),
            self.name,
        )


def _typed(
    template_a: Text = "",
    template_b: Text = "",
    provider: Text = "",
    process: Text = "",
    articles: Text = "5",
    name: Text = "",
    comment: Annotated[list[str] | None, Form()] = None,
) -> Typed:
    return Typed(
        template_a[:100],
        template_b[:100],
        provider[:100],
        process[:100],
        articles[:20],
        name[:300],
        tuple(comment or ()),
    )


Filled = Annotated[Typed, Depends(_typed)]


async def _page(
    request: Request, actor: Actor, typed: Typed, status_code: int = 200, *, picking: bool = False, **more: Any
) -> Response:
    visit = visit_of(request, actor)
    context: dict[str, Any] = {
        "typed": typed,
        "picking": picking or bool(typed.comments),
        "most": MOST_ARTICLES,
        "templates": await choices.templates(visit),
        "providers": await choices.providers(visit),
        "processes": await choices.processes(visit),
        "articles": await comparisons.past_articles(visit, typed.process or None),
        "comparisons": await comparisons.listed(visit),
    }
    return render(request, "compare.html", status_code=status_code, **(context | more))


@router.get("")
async def overview(request: Request, actor: Viewer) -> Response:
    return await _page(request, actor, Typed())


@router.get("/articles")
async def articles(request: Request, actor: Viewer, process: str = "") -> Response:
    """What there is to pick of a process."""
    found = await comparisons.past_articles(visit_of(request, actor), process or None)
    return fragment(
        request, "compare.html", "articles", articles=found, typed=Typed(process=process), most=MOST_ARTICLES
    )


@router.post("")
async def make(request: Request, actor: Operator, typed: Filled, look: Text = "") -> Response:
    """`look`: only show the articles of the process that is chosen."""
    if look:
        return await _page(request, actor, typed, picking=True)
    spoken = language_of(request)
    try:
        made = await comparisons.create(visit_of(request, actor), typed.wanted)
    except Invalid as error:
        errors = {error.field or "template_a": spoken.sentence(error)}
        return await _page(request, actor, typed, 422, errors=errors)
    return await _started(request, actor, made)


async def _started(request: Request, actor: Actor, comparison_id: UUID) -> Response:
    """To the comparison, which stays and can be started again when Prefect cannot be reached."""
    spoken, address = language_of(request), f"/compare/{comparison_id}"
    try:
        await comparisons.start(visit_of(request, actor), comparison_id)
    except NotFound:
        raise
    except Conflict as error:
        return redirect(request, address, spoken.sentence(error), "warning")
    except PressroomError as error:
        words = spoken.gettext("It is kept, but it could not be started: %(why)s") % {"why": spoken.sentence(error)}
        return redirect(request, address, words, "error")
    return redirect(request, address, spoken.gettext("It is started: the answers come in below. Nothing is posted."))


@router.get("/{comparison_id}")
async def comparison(request: Request, actor: Viewer, comparison_id: UUID) -> Response:
    found = await comparisons.show(visit_of(request, actor), comparison_id)
    return render(request, "comparison.html", **_shown(found, language_of(request)))


@router.get("/{comparison_id}/live")
async def live(request: Request, actor: Viewer, comparison_id: UUID, open: str = "") -> Response:  # noqa: A002
    """The progress and the sums, and of the articles those that were `open` still: the rest stays as it is read."""
    found = await comparisons.show(visit_of(request, actor), comparison_id)
    context = _shown(found, language_of(request))
    asked = set(open.split("."))
    context |= {"oob": True, "changed": [pair for pair in found["pairs"] if pair["comment_id"].hex in asked]}
    return render(request, "comparison_live.html", **context)


def _shown(found: Record, spoken: Language) -> Record:
    def money(amount: Decimal | None) -> str:
        if amount is None:
            return spoken.gettext("no price")
        return format_decimal(amount, format="#,##0.00####", locale=spoken.locale) + f" {found['currency']}"

    for pair in found["pairs"]:
        pair["link"] = pair["url"] if pair["url"].startswith(WEB) else None
    waiting = [pair for pair in found["pairs"] if "waiting" in (pair["a"]["status"], pair["b"]["status"])]
    return {
        "comparison": found,
        "money": money,
        "done": found["answers"] - found["left"],
        "open": ".".join(pair["comment_id"].hex for pair in waiting),
        "oob": False,
    }


@router.post("/{comparison_id}/start")
async def start(request: Request, actor: Operator, comparison_id: UUID) -> Response:
    return await _started(request, actor, comparison_id)


@router.post("/{comparison_id}/remove")
async def remove(request: Request, actor: Operator, comparison_id: UUID) -> Response:
    await comparisons.remove(visit_of(request, actor), comparison_id)
    return redirect(request, "/compare", language_of(request).gettext("The comparison is removed."))
