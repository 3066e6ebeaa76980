"""What the stages work on: one frozen snapshot a stage, taken by its claim."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from lib.monitoring.stages import Stage


@dataclass(frozen=True)
class ProcessRef:
    """A process that a tick serves, or skips for the reason given."""

    id: UUID
    name: str
    skipped: str | None = None
    owner_id: UUID | None = None
    claimed_at: datetime | None = None
    """By the database's clock."""

    @property
    def process_id(self) -> UUID:
        return self.id


@dataclass(frozen=True)
class IndexQuery:
    """What a site's index can be asked for."""

    tab: str
    category: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Watch:
    """One login of one process whose turn it is to look for articles."""

    process_id: UUID
    user_id: UUID
    provider_id: UUID | None
    login_id: UUID
    base_url: str
    query: IndexQuery | None
    search: str | None
    state: str
    limit: int | None
    quiet_looks: int
    template_ids: tuple[UUID, ...]

    @property
    def owner_id(self) -> UUID:
        return self.user_id


@dataclass(frozen=True)
class Claimed:
    """What every claimed comment carries: `token` proves the claim; it is the `attempts`-th, after `failures`."""

    id: UUID
    process_id: UUID
    token: UUID
    attempts: int
    failures: int


class _OfComment:
    """An item is its comment; one of several is its first one's."""

    @property
    def claimed(self) -> Claimed:
        raise NotImplementedError

    @property
    def item_id(self) -> UUID:
        return self.claimed.id

    @property
    def process_id(self) -> UUID:
        return self.claimed.process_id

    @property
    def attempt(self) -> int:
        return self.claimed.attempts


@dataclass(frozen=True)
class ArticleToPrepare(_OfComment):
    """An article page to fetch once for all the comments that wait for it."""

    comments: tuple[Claimed, ...]
    login_id: UUID
    article_id: str
    title: str
    # Nothing else waited in the process when it was taken.
    is_last: bool = False

    @property
    def token(self) -> UUID:
        return self.claimed.token

    @property
    def claimed(self) -> Claimed:
        return self.comments[0]


@dataclass(frozen=True)
class CommentToGenerate(_OfComment):
    """An article's facts to comment on."""

    claim: Claimed
    login_id: UUID
    provider_id: UUID
    template_id: UUID
    title: str
    author: str
    category: str
    url: str
    published_at: datetime | None
    content: str
    raw_html: str
    note: str | None = None
    # Who writes instead when the provider is down.
    fallback_id: UUID | None = None
    is_last: bool = False

    @property
    def claimed(self) -> Claimed:
        return self.claim


@dataclass(frozen=True)
class KeptAnswer:
    """What one call of a model gave, as it is kept: texts bounded and without what a database cannot hold.

    `cost`: in `currency`, None where the provider has no prices. `findings`: the guard's, each with rule and detail.
    The prompts are None where the provider's trouble left no answer.
    """

    provider_id: UUID
    provider_name: str
    currency: str
    outcome: Literal["accepted", "rejected", "error"]
    error: str | None
    model_name: str | None
    prompt_system: str | None
    prompt_user: str | None
    answer: str | None
    finish_reason: str | None
    findings: tuple[dict[str, str], ...]
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool
    cost: Decimal | None
    milliseconds: int


@dataclass(frozen=True)
class CommentToPost(_OfComment):
    """A checked text to post.

    `sent_ago`: seconds since an earlier attempt was sent, which may have arrived; None if none was.
    `is_last`: no other of the process waited for the login.
    """

    claim: Claimed
    login_id: UUID
    article_id: str
    title: str
    text: str
    hidden: bool
    sent_ago: float | None
    known_ids: frozenset[str]
    is_last: bool = False

    @property
    def claimed(self) -> Claimed:
        return self.claim

    @property
    def sent(self) -> bool:
        return self.sent_ago is not None


@dataclass(frozen=True)
class Wait:
    """Nothing to take now; look again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class StageReport:
    """What one stage did for one process in one tick. `seconds` is wall time."""

    process_id: UUID
    process: str
    done: int = 0
    failed: int = 0
    retried: int = 0
    note: str = ""
    seconds: float = 0.0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class TickReport:
    """What one tick of a stage did over all processes."""

    stage: Stage
    reports: tuple[StageReport, ...]
    skipped: tuple[ProcessRef, ...] = ()

    @property
    def done(self) -> int:
        return sum(report.done for report in self.reports)

    @property
    def failed(self) -> int:
        return sum(report.failed + report.retried for report in self.reports)
