"""Comparisons: two templates over past articles, side by side and with their costs. Nothing of it is ever posted."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from console.api import etags, problems
from console.api.comment_documents import Finding
from console.api.idempotency import IdempotencyKey, once
from console.api.paging import After, Limit, Page, page_of
from console.api.schemas import Given, Name, Reference, Told
from console.desk import comparisons
from console.desk.comparisons import MOST_TO_PICK, NewComparison
from console.security.actor import Operator, Viewer, visit_of
from lib.monitoring.comparison import MOST_ARTICLES

router = APIRouter(prefix="/comparisons", tags=["comparisons"])


class ComparisonRequest(Given):
    """What to compare on which articles: those of these comments, else the newest of the process, or of all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"template_a": "friendly", "template_b": "short", "provider": "model", "articles": 5}]
        }
    )

    template_a: Reference
    template_b: Reference
    provider: Reference
    process: Reference | None = None
    comments: Annotated[list[UUID], Field(max_length=MOST_ARTICLES, default_factory=list)]
    articles: Annotated[int, Field(ge=1, le=MOST_ARTICLES)] = MOST_ARTICLES
    name: Name | None = None


class ComparisonLine(Told):
    """A comparison in a list. `left`: answers that still wait."""

    id: UUID
    name: str | None
    status: Literal["waiting", "running", "stopped", "done"]
    error: str | None
    template_a: str
    template_b: str
    provider: str
    currency: str
    created_at: datetime
    answers: int
    left: int


class SideDocument(Told):
    """What one template made of an article. `comment` is what would be posted, had the guard nothing against it."""

    status: Literal["waiting", "done", "failed"]
    prompt_system: str | None
    prompt_user: str | None
    answer: str | None
    comment: str | None
    findings: list[Finding]
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool
    cost: Decimal | None
    milliseconds: int | None
    model: str | None
    error: str | None


class PairDocument(Told):
    """One article, and what the two templates made of it."""

    comment_id: UUID
    title: str
    url: str
    content: str
    a: SideDocument
    b: SideDocument


class SumDocument(Told):
    """What one side took. `cost` is null where nothing has a price; `accepted`: answers that could be posted."""

    done: int
    accepted: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    milliseconds: int


class Sums(Told):
    """Of both sides."""

    a: SumDocument
    b: SumDocument


class ComparisonDocument(ComparisonLine):
    """A comparison with every answer so far."""

    pairs: list[PairDocument]
    sums: Sums


class ComparisonRun(Told):
    """The run in Prefect that gets the answers."""

    flow_run_id: UUID


class PastArticle(Told):
    """An article to compare on."""

    comment: UUID
    title: str


class PastArticles(Told):
    """The newest first."""

    articles: list[PastArticle]


class ComparisonRemoved(Told):
    """What is gone."""

    removed: UUID


@router.get("")
async def listed(request: Request, actor: Viewer, limit: Limit = 50, after: After = None) -> Page[ComparisonLine]:
    """The comparisons, the newest first."""
    found = await comparisons.listed(visit_of(request, actor))
    return page_of([ComparisonLine.model_validate(each) for each in found], limit, after, newest_first=True)


@router.post("", status_code=201, response_model=ComparisonDocument, responses=problems.said(404, 424))
async def create(request: Request, actor: Operator, wanted: ComparisonRequest, key: IdempotencyKey = None) -> Response:
    """Make a comparison and start it. When it cannot be started, none is made."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        asked = wanted.model_dump(exclude={"comments"})
        made = await comparisons.begin(visit, NewComparison(**asked, comments=[str(id_) for id_ in wanted.comments]))
        document = ComparisonDocument.model_validate(await comparisons.show(visit, made))
        return etags.plain(document, status=201, location=f"/api/v1/comparisons/{made}")

    return await once(request, actor, key, do)


@router.get("/articles", responses=problems.said(404))
async def articles(
    request: Request,
    actor: Viewer,
    process: Annotated[Name | None, Query(description="Of this process, by name or id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_TO_PICK, description="How many at most.")] = MOST_TO_PICK,
) -> PastArticles:
    """Past articles to choose from: give the ids of the comments as `comments` of a comparison."""
    found = await comparisons.past_articles(visit_of(request, actor), process, limit)
    return PastArticles(articles=[PastArticle.model_validate(each) for each in found])


@router.get("/{comparison_id}", responses=problems.said(404))
async def read(request: Request, actor: Viewer, comparison_id: UUID) -> ComparisonDocument:
    """One comparison with every answer so far, and what each side took."""
    return ComparisonDocument.model_validate(await comparisons.show(visit_of(request, actor), comparison_id))


@router.post(
    "/{comparison_id}/start", status_code=202, response_model=ComparisonRun, responses=problems.said(404, 409, 424)
)
async def start(request: Request, actor: Operator, comparison_id: UUID, key: IdempotencyKey = None) -> Response:
    """Go on with one that stopped. A second run shares the work with the first."""
    visit = visit_of(request, actor)

    async def do() -> Response:
        run = await comparisons.start(visit, comparison_id)
        return etags.plain(ComparisonRun(flow_run_id=UUID(run)), status=202)

    return await once(request, actor, key, do)


@router.delete("/{comparison_id}", responses=problems.said(404))
async def remove(request: Request, actor: Operator, comparison_id: UUID) -> ComparisonRemoved:
    """Delete a comparison, also one that runs."""
    return ComparisonRemoved.model_validate(await comparisons.remove(visit_of(request, actor), comparison_id))
