"""Providers: models behind an OpenAI-compatible endpoint. Their keys are written and never read."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.api import etags, problems
from console.api.etags import IfMatch, IfNoneMatch
from console.api.idempotency import IdempotencyKey, once
from console.api.paging import After, Limit, Page, page_of
from console.api.provider_documents import (
    PresetDocument,
    Presets,
    ProviderDocument,
    ProviderPatch,
    ProviderRequest,
    ProviderWorks,
)
from console.api.schemas import Removed
from console.desk import holdings, providers
from console.desk.visit import Visit
from console.security.actor import Operator, Viewer, visit_of
from lib.monitoring.presets import PRESETS

router = APIRouter(prefix="/providers", tags=["providers"])


async def _answer(visit: Visit, provider_id: UUID, status: int = 200) -> Response:
    document = await _read(visit, provider_id)
    location = f"/api/v1/providers/{provider_id}" if status == 201 else None  # noqa: PLR2004 - created
    return etags.answer(document, document.version, status=status, location=location)


async def _read(visit: Visit, provider_id: UUID) -> ProviderDocument:
    return ProviderDocument.model_validate(await holdings.provider(visit, provider_id))


@router.get("")
async def listed(request: Request, actor: Viewer, limit: Limit = 50, after: After = None) -> Page[ProviderDocument]:
    """The providers, in the order of their making."""
    found = await holdings.providers(visit_of(request, actor))
    return page_of([ProviderDocument.model_validate(each) for each in found], limit, after)


@router.get("/presets")
async def presets(actor: Viewer) -> Presets:
    """The services that are known."""
    del actor
    return Presets(presets=[PresetDocument.model_validate(each) for each in PRESETS.values()])


@router.post("", status_code=201, response_model=ProviderDocument, responses=problems.said(409, 424))
async def create(request: Request, actor: Operator, wanted: ProviderRequest, key: IdempotencyKey = None) -> Response:
    """Add a provider."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        secret = None if wanted.key is None else wanted.key.get_secret_value
        made = await providers.add(visit, wanted.name, wanted.wanted(), secret, test=wanted.test)
        return await _answer(visit, made["id"], 201)

    return await once(request, actor, key, do)


@router.get("/{provider_id}", response_model=ProviderDocument, responses={304: {}, **problems.said(404)})
async def read(request: Request, actor: Viewer, provider_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """One provider, with what was used of it and of its budgets today."""
    del if_none_match  # read from the request
    document = await _read(visit_of(request, actor), provider_id)
    return etags.read(request, document, document.version)


@router.patch("/{provider_id}", response_model=ProviderDocument, responses=problems.said(404, 409, 412, 428))
async def change(
    request: Request, actor: Operator, provider_id: UUID, wanted: ProviderPatch, if_match: IfMatch = None
) -> Response:
    """Change a provider. What waited for it is tried again."""
    visit = visit_of(request, actor)
    await providers.change(visit, str(provider_id), wanted.wanted(), etags.seen(if_match))
    return await _answer(visit, provider_id)


@router.delete("/{provider_id}", responses=problems.said(404, 409, 412, 428))
async def remove(request: Request, actor: Operator, provider_id: UUID, if_match: IfMatch = None) -> Removed:
    """Delete a provider that no process and no comment refers to."""
    gone = await providers.remove(visit_of(request, actor), str(provider_id), etags.seen(if_match))
    return Removed.model_validate(gone)


@router.post("/{provider_id}/test", responses=problems.said(404, 424))
async def test(request: Request, actor: Operator, provider_id: UUID) -> ProviderWorks:
    """Ask the model for one token. Whatever keeps it from that is answered 424."""
    return ProviderWorks.model_validate(await providers.test(visit_of(request, actor), str(provider_id)))
