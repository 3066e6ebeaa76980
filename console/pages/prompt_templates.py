"""Templates: the prompts that a model is given, and how one looks when it is filled in with a real article."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel

from console.desk import holdings
from console.desk import templates as desk
from console.desk.visit import Visit
from console.pages.language import language_of
from console.pages.rendering import fragment, is_htmx, redirect, render
from console.pages.typed import errors_of, id_of, lines, status_of
from console.record import Record
from console.security.actor import Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring.fields import NAME_CHARS

router = APIRouter(prefix="/templates")

FORM = "prompt_template_form.html"
# For a new one: a person who has never written a prompt changes two sentences of it.
FIRST_SYSTEM = (
    "Du bist eine freundliche Leserin und schreibst Kindern auf Deutsch kurze, ermutigende Rückmeldungen zu ihren "
    "Texten. Du duzt sie, lobst etwas Bestimmtes und stellst höchstens eine Frage."
)
FIRST_USER = (
    "Schreibe zwei bis drei Sätze zu diesem Text.\n\nTitel: {article_title}\n"
    "Von: {article_author}\n\n{article_content}\n"
)
# What each placeholder becomes; the words are translated where they are shown.
PLACEHOLDERS = (
    ("article_title", "The title, in one line", True),
    ("article_content", "The text, 20,000 characters at most", True),
    ("article_author", "Who wrote it", True),
    ("article_category", "The category on the site", True),
    ("article_published_at", "Day and time of its publication, as in 04.02.2026 18:04", False),
    ("article_url", "Its address", False),
    ("article_raw_html", "The page’s own HTML, 5,000 characters at most", True),
    ("mymoment_username", "The account that will post the comment", False),
)


class TemplateForm(BaseModel):
    """As it was typed. `article`: of which comment the test takes the article; none is the newest."""

    name: str = ""
    system_prompt: str = ""
    user_prompt: str = ""
    is_active: bool = False
    version: str = ""
    article: str = ""

    def shown(self) -> Record:
        return self.model_dump() | {"system_prompt": self.system, "user_prompt": self.user}

    @property
    def system(self) -> str:
        return lines(self.system_prompt)

    @property
    def user(self) -> str:
        return lines(self.user_prompt)


Typed = Annotated[TemplateForm, Form()]


@router.get("")
async def listed(request: Request, actor: Viewer) -> Response:
    return render(request, "prompt_templates.html", templates=await holdings.templates(visit_of(request, actor)))


@router.get("/new")
async def new(request: Request, actor: Operator, copy_of: UUID | None = None) -> Response:
    """A copy is a form with the other's words: it is saved when the person says so."""
    visit = visit_of(request, actor)
    if copy_of is None:
        form = TemplateForm(system_prompt=FIRST_SYSTEM, user_prompt=FIRST_USER, is_active=True)
    else:
        there = await holdings.template(visit, copy_of)
        form = TemplateForm(
            name=_copy_name(request, there["name"]),
            system_prompt=there["system_prompt"],
            user_prompt=there["user_prompt"],
            is_active=True,
        )
    return await _form(request, visit, None, form.shown())


def _copy_name(request: Request, name: str) -> str:
    more = language_of(request).gettext("copy")
    return f"{name[: NAME_CHARS - len(more) - 3]} ({more})"


@router.post("/new")
async def add(request: Request, actor: Operator, form: Typed) -> Response:
    visit = visit_of(request, actor)
    try:
        made = await desk.add(visit, form.name, form.system, form.user)
    except Invalid as error:
        return await _form(request, visit, None, form.shown(), status_of(error), errors=errors_of(request, error))
    words = language_of(request).gettext("The template “%(name)s” is saved.") % {"name": made["name"]}
    return redirect(request, f"/templates/{made['id']}", words)


@router.post("/new/prompt")
async def preview_new(request: Request, actor: Operator, form: Typed) -> Response:
    return await _preview(request, visit_of(request, actor), None, form)


@router.get("/{template_id}")
async def one(request: Request, actor: Viewer, template_id: UUID) -> Response:
    return await _page(request, visit_of(request, actor), template_id)


@router.post("/{template_id}")
async def change(request: Request, actor: Operator, template_id: UUID, form: Typed) -> Response:
    visit = visit_of(request, actor)
    wanted = (form.system, form.user, form.is_active)
    try:
        done = await desk.change(visit, str(template_id), *wanted, new_name=form.name, seen=form.version)
    except NotFound:
        raise
    except Invalid as error:
        errors = errors_of(request, error)
        return await _page(request, visit, template_id, status_of(error), shown=form.shown(), errors=errors)
    words = language_of(request).gettext("The template “%(name)s” is saved.") % {"name": done["name"]}
    return redirect(request, f"/templates/{template_id}", words)


@router.get("/{template_id}/prompt")
async def prompt(request: Request, actor: Viewer, template_id: UUID, article: str = "") -> Response:
    """What is saved, filled in: for whoever may only look."""
    visit = visit_of(request, actor)
    chosen = id_of(article)
    found = await desk.test(visit, str(template_id), comment=_text(chosen))
    if is_htmx(request):
        return fragment(request, FORM, "result", prompt=found, prompt_asked=True)
    return await _page(request, visit, template_id, prompt=found, article=chosen)


@router.post("/{template_id}/prompt")
async def preview(request: Request, actor: Operator, template_id: UUID, form: Typed) -> Response:
    """What stands in the form, filled in; nothing is saved."""
    return await _preview(request, visit_of(request, actor), template_id, form)


@router.post("/{template_id}/remove")
async def remove(request: Request, actor: Operator, template_id: UUID) -> Response:
    visit = visit_of(request, actor)
    try:
        done = await desk.remove(visit, str(template_id))
    except Conflict as error:
        return await _page(request, visit, template_id, status_of(error), errors=errors_of(request, error))
    words = language_of(request).gettext("The template “%(name)s” is removed.") % {"name": done["removed"]}
    return redirect(request, "/templates", words)


async def _preview(request: Request, visit: Visit, template_id: UUID | None, form: TemplateForm) -> Response:
    found: Record | None = None
    errors: dict[str, str] = {}
    try:
        found = await desk.preview(visit, form.system, form.user, comment=_text(id_of(form.article)))
    except NotFound:
        raise
    except Invalid as error:
        errors = errors_of(request, error)
    status = 422 if errors else 200
    if is_htmx(request):
        return fragment(request, FORM, "result", status_code=status, prompt=found, errors=errors, prompt_asked=True)
    more: dict[str, Any] = {"prompt": found, "errors": errors, "article": id_of(form.article)}
    if template_id is None:
        return await _form(request, visit, None, form.shown(), status, **more)
    return await _page(request, visit, template_id, status, shown=form.shown(), **more)


def _text(article: UUID | None) -> str | None:
    return None if article is None else str(article)


async def _page(
    request: Request,
    visit: Visit,
    template_id: UUID,
    status_code: int = 200,
    *,
    shown: Record | None = None,
    **more: Any,
) -> Response:
    """`shown` takes the place of what is saved; the version stays the one that the person saw."""
    template = await holdings.template(visit, template_id)
    saved = {name: template[name] for name in ("name", "system_prompt", "user_prompt", "is_active", "version")}
    return await _form(request, visit, template, shown or saved, status_code, **more)


async def _form(
    request: Request, visit: Visit, template: Record | None, shown: Record, status_code: int = 200, **more: Any
) -> Response:
    spoken = language_of(request)
    context: dict[str, Any] = {
        "saved": template,
        "typed": shown,
        "placeholders": [(name, spoken.gettext(words), fenced) for name, words, fenced in PLACEHOLDERS],
        "articles": await holdings.articles(visit),
        "article": None,
        "prompt": None,
        # Beside their fields where there are some; a part of the page says them itself.
        "prompt_asked": False,
    }
    return render(request, FORM, status_code=status_code, **(context | more))
