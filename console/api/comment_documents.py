"""Comments as documents."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from console.api.schemas import Given, Part, Prompt, Reference, Told
from console.desk.comments import MOST_AT_ONCE
from console.desk.review import LONGEST_NOTE, Posting
from lib.monitoring.stages import CommentStatus

Approval = Literal["approved", "rejected"]
Version = Annotated[
    str, Field(pattern=r"^[0-9a-f]{1,16}$", description="`version` of the comment as you saw it; without it, any.")
]
_ID = "018f3c1e-7b2a-7c3d-8e4f-5a6b7c8d9e0f"


class CommentLine(Told):
    """A comment in a list."""

    id: UUID
    process: str
    login: str
    status: CommentStatus
    approval: Approval | None
    article_id: str
    article_title: str
    error: str | None
    created_at: datetime
    posted_at: datetime | None
    next_attempt_at: datetime | None


class Article(Told):
    """What it is about. `id` is the site's."""

    id: str
    title: str
    author: str
    category: str
    task: str
    url: str
    published_at: datetime | None
    content: str | None


class ProcessPart(Part):
    """The process that it belongs to."""

    status: str


class LoginPart(Part):
    """The account by which it is posted."""

    site: str


class PostingDocument(Told):
    """Whether it is posted, and not before when; without a time at the next tick of posting."""

    state: Posting
    after: datetime | None


class QueuedComment(Told):
    """A comment beside its article. `text` is what is posted; `body` is that without the disclosure before it."""

    id: UUID
    version: str
    status: CommentStatus
    approval: Approval | None
    approval_at: datetime | None
    approval_by: str | None
    process: ProcessPart
    owner: str
    login: LoginPart
    template: Part
    article: Article
    text: str | None
    body: str | None
    hidden: bool
    posting: PostingDocument
    model: str | None
    provider: str | None
    tokens: int | None
    milliseconds: int | None
    generated_at: datetime | None
    note: str | None
    sent: bool = Field(description="It went out to the site once: another attempt looks for it there first.")
    in_work: bool
    error: str | None
    created_at: datetime


class CommentDocument(QueuedComment):
    """A comment, and what became of it."""

    posted_at: datetime | None
    site_comment_id: str | None
    attempts: int
    retry_count: int
    next_attempt_at: datetime | None
    failed_at: datetime | None
    failed_from: str | None


class Finding(Told):
    """What the guard has against an answer."""

    rule: str
    detail: str


class StepDocument(Told):
    """Something moved it. `actor` is a person or a run; `seconds` since the step before."""

    what: Literal["step"]
    at: datetime
    kind: str
    from_status: str | None
    to_status: str
    attempt: int
    actor: str | None
    note: str | None
    seconds: float | None


class AttemptDocument(Told):
    """One call of a model: the prompt as sent, the answer as received."""

    what: Literal["attempt"]
    at: datetime
    attempt: int
    started_at: datetime
    provider: str
    model: str | None
    template: str | None
    prompt_system: str | None
    prompt_user: str | None
    answer: str | None
    finish_reason: str | None
    findings: list[Finding]
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool
    cost: Decimal | None
    outcome: str
    error: str | None
    flow_run_id: str | None
    seconds: float | None


class History(Told):
    """Everything that happened to a comment, in order."""

    id: UUID
    status: CommentStatus
    history: list[Annotated[StepDocument | AttemptDocument, Field(discriminator="what")]]


class EditRequest(Given):
    """Another text. The disclosure is put before it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Dein Hund ist bestimmt ein treuer Freund."}]})

    text: Prompt


class RegenerateRequest(Given):
    """How it is to be written anew."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "Shorter, and with a question at the end."}]})

    template: Reference | None = None
    note: Annotated[Prompt, Field(max_length=LONGEST_NOTE)] | None = None


class Chosen(Given):
    """A comment, and the state of it that was seen."""

    id: UUID
    version: Version | None = None


class DecisionRequest(Given):
    """Each is decided by itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"comments": [{"id": _ID}]}]})

    comments: Annotated[list[Chosen], Field(min_length=1, max_length=MOST_AT_ONCE)]


class RulingDocument(Told):
    """What a decision did to a comment: done, already so, changed meanwhile, refused by its state, or unknown."""

    id: UUID
    outcome: Literal["done", "already", "changed", "refused", "unknown"]
    message: str
    status: str
    approval: Approval | None
    by: str | None
    version: str | None
    sent: bool


class Rulings(Told):
    """One for each comment, in the order given."""

    results: list[RulingDocument]


class RetryRequest(Given):
    """Failed comments: all of these are tried again or, when one has not failed, none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"comments": [_ID]}]})

    comments: Annotated[list[UUID], Field(min_length=1, max_length=MOST_AT_ONCE)]


class Retried(Told):
    """How many are tried again; `sent_before`: how many of them are looked for on the site first."""

    retried: int
    sent_before: int
