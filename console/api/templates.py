"""Templates: the prompts that a model is given."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, JsonValue

from console.api import etags, problems
from console.api.etags import IfMatch, IfNoneMatch
from console.api.idempotency import IdempotencyKey, once
from console.api.logins import Use
from console.api.paging import After, Limit, Page, page_of
from console.api.schemas import Given, Kept, Name, Prompt, Removed, Told
from console.desk import holdings, templates
from console.desk.visit import Visit
from console.security.actor import Operator, Viewer, visit_of

router = APIRouter(prefix="/templates", tags=["templates"])

_EXAMPLE: dict[str, JsonValue] = {
    "name": "friendly",
    "system_prompt": "You are a kind reader who writes to pupils.",
    "user_prompt": "What do you say about “{article_title}”?\n\n{article_content}",
}


class TemplateLine(Told):
    """A template in a list. One of the system is everybody's, and stays as it is."""

    id: UUID
    version: str
    name: str
    owner: str | None
    is_active: bool
    of_system: bool
    created_at: datetime
    updated_at: datetime
    processes: list[Use]


class TemplateDocument(TemplateLine):
    """A template with its prompts."""

    system_prompt: str
    user_prompt: str


class TemplateRequest(Given):
    """A new template. `user_prompt` has placeholders such as {article_title}; a brace of its own is doubled."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Name
    system_prompt: Prompt
    user_prompt: Prompt


class TemplatePatch(Given):
    """What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})

    name: Kept[Name] = None
    system_prompt: Kept[Prompt] = None
    user_prompt: Kept[Prompt] = None
    is_active: Kept[bool] = None


class PreviewRequest(Given):
    """Prompts that need not be saved."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{name: text for name, text in _EXAMPLE.items() if name != "name"}]}
    )

    system_prompt: Prompt
    user_prompt: Prompt
    comment: UUID | None = None


class Preview(Told):
    """The prompt as a model gets it. `example`: there is no article yet, so it is one of ours."""

    article_title: str
    article_url: str
    example: bool
    system: str
    user: str
    characters: int


OnComment = Annotated[UUID | None, Query(description="On the article of this comment, else on the newest.")]


async def _answer(visit: Visit, template_id: UUID, status: int = 200) -> Response:
    document = await _read(visit, template_id)
    location = f"/api/v1/templates/{template_id}" if status == 201 else None  # noqa: PLR2004 - created
    return etags.answer(document, document.version, status=status, location=location)


async def _read(visit: Visit, template_id: UUID) -> TemplateDocument:
    return TemplateDocument.model_validate(await holdings.template(visit, template_id))


@router.get("")
async def listed(request: Request, actor: Viewer, limit: Limit = 50, after: After = None) -> Page[TemplateLine]:
    """The templates, in the order of their making."""
    found = await holdings.templates(visit_of(request, actor))
    return page_of([TemplateLine.model_validate(each) for each in found], limit, after)


@router.post("", status_code=201, response_model=TemplateDocument, responses=problems.said(409))
async def create(request: Request, actor: Operator, wanted: TemplateRequest, key: IdempotencyKey = None) -> Response:
    """Add a template."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        made = await templates.add(visit, wanted.name, wanted.system_prompt, wanted.user_prompt)
        return await _answer(visit, made["id"], 201)

    return await once(request, actor, key, do)


@router.post("/preview", responses=problems.said(404))
async def preview_unsaved(request: Request, actor: Operator, wanted: PreviewRequest) -> Preview:
    """Fill prompts in with a real article, without saving them."""
    comment = None if wanted.comment is None else str(wanted.comment)
    made = await templates.preview(visit_of(request, actor), wanted.system_prompt, wanted.user_prompt, comment=comment)
    return Preview.model_validate(made)


@router.get("/{template_id}", response_model=TemplateDocument, responses={304: {}, **problems.said(404)})
async def read(request: Request, actor: Viewer, template_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One template with its prompts."""
    del if_none_match  # read from the request
    document = await _read(visit_of(request, actor), template_id)
    return etags.read(request, document, document.version)


@router.patch("/{template_id}", response_model=TemplateDocument, responses=problems.said(404, 409, 412, 428))
async def change(
    request: Request, actor: Operator, template_id: UUID, wanted: TemplatePatch, if_match: IfMatch = None
) -> Response:
    """Change a template of yours; what is generated from now on is asked for with it."""
    visit, seen = visit_of(request, actor), etags.seen(if_match)
    prompts = (wanted.system_prompt, wanted.user_prompt)
    await templates.change(visit, str(template_id), *prompts, wanted.is_active, new_name=wanted.name, seen=seen)
    return await _answer(visit, template_id)


@router.delete("/{template_id}", responses=problems.said(404, 409, 412, 428))
async def remove(request: Request, actor: Operator, template_id: UUID, if_match: IfMatch = None) -> Removed:
    """Delete a template that no process and no comment refers to."""
    gone = await templates.remove(visit_of(request, actor), str(template_id), etags.seen(if_match))
    return Removed.model_validate(gone)


@router.get("/{template_id}/preview", responses=problems.said(404))
async def preview(request: Request, actor: Viewer, template_id: UUID, comment: OnComment = None) -> Preview:
    """The template filled in with a real article."""
    named = None if comment is None else str(comment)
    return Preview.model_validate(await templates.test(visit_of(request, actor), str(template_id), comment=named))
