"""What the API says about tasks, and what it is asked."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from console.api.moments import End, Start
from console.api.schemas import Given, Line, Name, Told
from console.desk.task_retries import MOST_CHOSEN
from console.desk.tasks import LEAST_ON_A_PAGE, MOST_COUNTED, MOST_GROUPS, MOST_HOURS, MOST_ON_A_PAGE, Asked
from lib.taskwatch.models import TaskStatus

Words = Annotated[Line, StringConstraints(min_length=1, max_length=200)]
Mark = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]


class TaskMetrics(Told):
    """One kind of task. Times and the rate are over what ended within the window; null where nothing did.

    The average and the percentiles are those of what succeeded. `queue_depth` and `oldest_waiting_seconds` are of now,
    null for a task whose items wait nowhere.
    """

    task_name: str
    total_executions: int = Field(validation_alias="total")
    pending: int
    running: int
    success: int
    failed: int
    abandoned: int = Field(description="Their process died.")
    avg_duration_ms: float | None
    p50_duration_ms: float | None = Field(validation_alias="p50_ms")
    p95_duration_ms: float | None = Field(validation_alias="p95_ms")
    p99_duration_ms: float | None = Field(validation_alias="p99_ms")
    success_rate: float | None = Field(description="Percent of what ended.")
    queue_depth: int | None
    oldest_waiting_seconds: float | None


class Recorder(Told):
    """What writes the records of one worker process. Records: those that wait in its memory, in its file, and the lost.

    Its host and number are for administrators.
    """

    id: UUID
    host: str | None
    pid: int | None
    started_at: datetime
    seen_at: datetime
    is_alive: bool
    dropped: int
    waiting: int
    spilled: int


class Metrics(Told):
    """How each kind of task did within the window."""

    time_window_hours: int
    generated_at: datetime
    metrics: list[TaskMetrics]
    recorders: list[Recorder]


class TaskLine(Told):
    """One unit of work. `params` without secrets, long texts cut; `task_id` is the run's in Prefect if it has one."""

    id: UUID
    task_name: str
    run_name: str | None
    kind: str
    status: TaskStatus
    task_id: str | None
    params: dict[str, Any] | None = Field(validation_alias="parameters")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    attempt: int | None
    process_id: UUID | None
    owner_id: UUID | None
    flow_run_id: UUID | None
    item_id: UUID | None
    parent_id: UUID | None


class TaskEntry(TaskLine):
    """The same with its traceback."""

    error_traceback: str | None


class TaskDocument(TaskEntry):
    """All of it. `place`: where it was raised; `cause`: the message without what varies; `children`: what it did."""

    place: str | None
    cause: str | None
    updated_at: datetime
    children: list[TaskLine]


class History(Told):
    """A page of records, the newest first. `total_count` is exact unless `total_is_capped`: then more are likely."""

    total_count: int
    total_is_capped: bool
    total_text: str = Field(description="For people: such as “10,000+”.")
    page: int
    page_size: int
    total_pages: int
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null on the last.")
    items: list[TaskEntry]


class FailureGroup(Told):
    """The same failure: one fingerprint. `message` is without what varies."""

    fingerprint: str
    task_names: list[str]
    error_type: str | None
    place: str | None
    message: str | None
    first_seen: datetime
    last_seen: datetime
    count: int
    last_record_id: UUID
    last_record_at: datetime


class FailureGroups(Told):
    """The one seen last first."""

    failures: list[FailureGroup]


class Wanted(Given):
    """Which records. A day as `end_date` is all of that day."""

    task_name: Name | None = None
    status: TaskStatus | None = None
    start_date: Start | None = Field(None, description="Made from then on.")
    end_date: End | None = Field(None, description="Made before that.")
    process: Name | None = Field(None, description="Of this process, by name or id.")
    text: Words | None = Field(None, description="Words in the run's name, the parameters or the error.")
    fingerprint: Mark | None = None
    item: UUID | None = None

    @property
    def asked(self) -> Asked:
        return Asked(
            task_name=self.task_name,
            status=self.status,
            start=self.start_date,
            end=self.end_date,
            process=self.process,
            text=self.text,
            fingerprint=self.fingerprint,
            item_id=self.item,
        )


class MetricsQuery(Given):
    """Over how many hours."""

    time_window: int = Field(24, ge=1, le=MOST_HOURS, description="Hours until now.")


class HistoryQuery(Wanted):
    """Which records, and which page of them."""

    page: int = Field(1, ge=1, description=f"Beyond {MOST_COUNTED:,} records take the cursor.")
    page_size: int = Field(50, ge=LEAST_ON_A_PAGE, le=MOST_ON_A_PAGE)
    cursor: Mark | None = Field(None, description="`next_cursor` of the page before, instead of `page`.")


class FailuresQuery(Wanted):
    """Failures of which records."""

    limit: int = Field(50, ge=1, le=MOST_GROUPS)


class TaskRetry(Given):
    """Which failed records: these, or all that match. `expected_count`: how many you think that these are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"task_name": "prepare_article"}, "expected_count": 3}]}
    )

    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST_CHOSEN)
    filter: Wanted | None = None
    expected_count: int = Field(ge=0, le=MOST_COUNTED)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give either ids or a filter")
        return self


class LeftAlone(Told):
    """How many of the records cannot be tried again, and why."""

    reason: Literal["posted", "in_work", "waits", "gone", "no_item"]
    number: int
    why: str


class RetriedTasks(Told):
    """What became of the records. Nothing goes out by this alone: what they worked on waits for its next turn.

    `matched`: failed records; several may be of one item. `retried`: items that wait again; `read_back_first`: those of
    them that may have gone out before: they are looked for on the site first, so that nothing is posted twice.
    `stages_run`: stages that failed as a whole and were asked to run; `stages_refused`: why some were not.
    """

    matched: int
    retried: int
    read_back_first: int
    stages_run: int
    stages_refused: list[str]
    left_alone: list[LeftAlone]
