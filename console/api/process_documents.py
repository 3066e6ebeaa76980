"""Processes as documents."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from console.api.schemas import Cleared, Given, Kept, Money, Name, Reference, Tokens, Told, Word
from console.desk.processes import MOST_ARTICLES, MOST_MINUTES, ProcessChange
from lib.monitoring.stages import Stage

Status = Literal["created", "running", "stopped", "completed", "failed"]
State = Literal["publiziert", "entwurf", "lehrpersonenkontrolle", "any"]
Description = Annotated[str, Field(max_length=500)]
Number = Annotated[str, Field(pattern=r"^[0-9]{1,20}$", description="An id of the site, as its addresses show it.")]
Minutes = Annotated[int, Field(ge=1, le=MOST_MINUTES, description="It stops by itself after so many.")]
Articles = Annotated[int, Field(ge=1, le=MOST_ARTICLES)]
Tab = Annotated[Word, Field(max_length=100, description="The part of the index to watch.")]
Parts = Annotated[list[Reference], Field(max_length=50)]
# What the desk takes for “none”.
NONE: dict[str, Any] = dict.fromkeys(("description", "fallback", "tab", "category", "task", "search"), "")
NONE |= {"limit": 0, "budget_tokens": -1, "budget_money": Decimal(-1)}


class Budgeted(Told):
    """A budget and how much of it is used today. `reserved`: by calls at work."""

    owner: Literal["process", "provider"]
    id: UUID
    name: str
    unit: Literal["tokens", "money"]
    used: Decimal
    budget: Decimal
    share: Decimal = Field(description="1 is all of it; from 0.8 on people are warned.")
    state: Literal["fine", "warned", "used_up"]
    currency: str
    resumes_at: datetime


class Counts(Told):
    """Comments by status; `undecided` are among the generated."""

    discovered: int
    prepared: int
    generated: int
    posted: int
    failed: int
    undecided: int


class StageDocument(Told):
    """A stage of a process: its last run, and how many comments stand before it, in it and behind it.

    `later`: those of the waiting whose time has not come, or that wait for a person's approval.
    """

    stage: Stage
    running: bool
    waiting: int
    later: int
    in_work: int
    done: int
    failed: int
    last_started_at: datetime | None
    last_success_at: datetime | None
    last_report: dict[str, Any] | None
    last_error: str | None
    next_due_at: datetime | None
    flow_run_id: str | None


class ProcessSettings(Told):
    """What people set, and where it stands."""

    id: UUID
    name: str
    description: str | None
    status: Status
    posts: bool = Field(description="Whether it posts by itself; if not, it posts what a person approves.")
    hide_comments: bool
    tab: str | None
    category: str | None
    task: str | None
    search: str | None
    state: str
    limit: int | None
    max_minutes: int
    budget_tokens: int | None
    budget_money: Decimal | None
    seconds_left: int | None
    started_at: datetime | None
    expires_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None
    error: str | None
    counters: dict[str, int]
    errors: dict[str, int]
    created_at: datetime
    updated_at: datetime


class ProcessLine(ProcessSettings):
    """A process in a list."""

    owner: str
    comments: Counts


class PartIds(Told):
    """What it refers to, by id."""

    logins: list[UUID]
    templates: list[UUID]
    provider: UUID | None
    fallback: UUID | None


class ProcessDocument(ProcessSettings):
    """A process with all that there is to say of it. `missing`: what it lacks before it can start."""

    version: str
    owner: str
    logins: list[str]
    templates: list[str]
    provider: str | None
    fallback: str | None
    part_ids: PartIds
    sites: list[str]
    missing: list[str]
    comments: Counts
    stages: list[StageDocument]
    posted_per_hour: list[int] = Field(description="Of the last 24 hours, the oldest first.")
    budgets: list[Budgeted] = Field(description="Its own and its provider's, as they stand today.")


class PipelineStatus(Told):
    """How many comments stand where; `rejected` and `undecided` are among the generated."""

    process_id: UUID
    process: str
    status: Status
    discovered: int
    prepared: int
    generated: int
    posted: int
    failed: int
    undecided: int
    rejected: int
    total: int


class ProcessRequest(Given):
    """A new process. It needs a login, a template and a provider to start, and a tab to post."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "watch", "logins": ["bot"], "templates": ["friendly"], "provider": "model", "tab": "alle"}
            ]
        }
    )

    name: Name
    description: Description | None = None
    logins: Annotated[Parts, Field(default_factory=list)]
    templates: Annotated[Parts, Field(default_factory=list)]
    provider: Reference | None = None
    fallback: Annotated[Reference | None, Field(description="Asked while the provider is down.")] = None
    tab: Tab | None = None
    category: Number | None = None
    task: Number | None = None
    search: Word | None = None
    state: State = "publiziert"
    limit: Articles | None = None
    post: Annotated[bool, Field(description="Post without asking. Children read what is posted.")] = False
    hide_comments: bool = False
    max_minutes: Minutes = 60
    budget_tokens: Annotated[Tokens | None, Field(description="A day's.")] = None
    budget_money: Annotated[Money | None, Field(description="A day's, in the provider's currency.")] = None

    def wanted(self) -> ProcessChange:
        return ProcessChange(**self.model_dump(exclude={"name"}))


class ProcessPatch(Given):
    """What is left out stays as it is; null takes away what need not be there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"search": "Hund", "max_minutes": 120}]})

    name: Kept[Name] = None
    description: Cleared[Description] = None
    logins: Kept[Annotated[Parts, Field(min_length=1)]] = None
    templates: Kept[Annotated[Parts, Field(min_length=1)]] = None
    provider: Kept[Reference] = None
    fallback: Cleared[Reference] = None
    tab: Cleared[Tab] = None
    category: Cleared[Number] = None
    task: Cleared[Number] = None
    search: Cleared[Word] = None
    state: Kept[State] = None
    limit: Cleared[Articles] = None
    post: Kept[bool] = None
    hide_comments: Kept[bool] = None
    max_minutes: Kept[Minutes] = None
    budget_tokens: Cleared[Tokens] = None
    budget_money: Cleared[Money] = None

    def wanted(self) -> ProcessChange:
        said = self.model_dump(exclude_unset=True)
        return ProcessChange(**{name: NONE[name] if value is None else value for name, value in said.items()})


class StartRequest(Given):
    """How to start it."""

    check: Annotated[bool, Field(description="Log in and ask the model for one token first.")] = False


class StopRequest(Given):
    """How to stop it."""

    completed: Annotated[bool, Field(description="It is done for good; it cannot be started again.")] = False


class Stopped(Told):
    """The names of those that this stopped."""

    stopped: list[str]


class ProcessRemoved(Told):
    """What is gone, and how many records of comments went with it."""

    removed: str
    comments_forgotten: int
