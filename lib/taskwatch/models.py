"""The tables of the task monitoring: a record of every unit of work, who writes them, and what is counted of them.

No foreign keys: a record outlives what it tells of. `lib/migrations/task_records.py` has the triggers that count.
"""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from lib.work import Base

TaskStatus = Literal["pending", "running", "success", "failed", "abandoned"]
STATUSES: tuple[TaskStatus, ...] = get_args(TaskStatus)
# Stands for “no owner” where a key cannot do without one.
NOBODY = UUID(int=0)
# Stands for “all owners together” in the bins of hours and days.
EVERYBODY = UUID(int=(1 << 128) - 1)
TABLE = "task_execution_logs"

_TIME = DateTime(timezone=True)
WORDS = (
    "task_words(created_at, task_name, status, process_id, owner_id, run_name, parameters, error_type, error_message)"
)


def is_partition(name: str | None) -> bool:
    """Whether a table is one day of the records: no model has it."""
    return name is not None and name.startswith(f"{TABLE}_") and name[len(TABLE) + 1 :].isdigit()


class TaskExecutionLog(Base):
    """One unit of work. Partitioned by the UTC day of `created_at`; a row is found by both parts of its key.

    `kind`: flow, stage, item or step. `cause`: the error's message without what varies; `place`: where it was raised.
    """

    __tablename__ = TABLE
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(each) for each in STATUSES)})", name="task_status"),
        Index("task_logs_by_name", "task_name", "status", "created_at", "id"),
        Index("task_logs_by_owner", "owner_id", "task_name", "status", "created_at", "id"),
        Index(
            "task_logs_by_process",
            "process_id",
            "task_name",
            "status",
            "created_at",
            "id",
            postgresql_include=["owner_id"],
            postgresql_where=text("process_id IS NOT NULL"),
        ),
        Index(
            "task_logs_active",
            "task_name",
            "owner_id",
            "status",
            "created_at",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
        Index(
            "task_logs_by_fingerprint",
            "fingerprint",
            "created_at",
            "id",
            postgresql_where=text("fingerprint IS NOT NULL"),
        ),
        Index("task_logs_by_item", "item_id", "created_at", "id", postgresql_where=text("item_id IS NOT NULL")),
        Index("task_logs_by_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("task_logs_words", text(WORDS), postgresql_using="gin"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    created_at: Mapped[datetime] = mapped_column(_TIME, primary_key=True)
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    task_name: Mapped[str] = mapped_column(Text)
    run_name: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    task_id: Mapped[str | None] = mapped_column(Text)
    parameters: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    started_at: Mapped[datetime | None] = mapped_column(_TIME)
    completed_at: Mapped[datetime | None] = mapped_column(_TIME)
    duration_ms: Mapped[float | None] = mapped_column(Double)
    error_type: Mapped[str | None] = mapped_column(Text)
    error_message: Mapped[str | None] = mapped_column(Text)
    error_traceback: Mapped[str | None] = mapped_column(Text)
    place: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int | None] = mapped_column(Integer)
    process_id: Mapped[UUID | None] = mapped_column(Uuid)
    owner_id: Mapped[UUID | None] = mapped_column(Uuid)
    flow_run_id: Mapped[UUID | None] = mapped_column(Uuid)
    item_id: Mapped[UUID | None] = mapped_column(Uuid)
    parent_id: Mapped[UUID | None] = mapped_column(Uuid)
    recorder_id: Mapped[UUID | None] = mapped_column(Uuid)
    updated_at: Mapped[datetime] = mapped_column(_TIME, server_default=func.now())


class TaskRecorder(Base):
    """What writes records in one worker process; `seen_at` is by the database's clock."""

    __tablename__ = "task_recorders"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(_TIME, server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(_TIME, server_default=func.now())
    dropped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    waiting: Mapped[int] = mapped_column(BigInteger, server_default="0")
    spilled: Mapped[int] = mapped_column(BigInteger, server_default="0")


class TaskName(Base):
    """Every name that a task ever had."""

    __tablename__ = "task_names"

    task_name: Mapped[str] = mapped_column(Text, primary_key=True)


class TaskEvent(Base):
    """One event of the live feed. Numbers have no holes, and follow the order of commits."""

    __tablename__ = "task_events"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(_TIME)
    owner_id: Mapped[UUID | None] = mapped_column(Uuid)
    event: Mapped[dict[str, Any]] = mapped_column(JSONB)


class TaskEventCounter(Base):
    """The number of the newest event, in the only row."""

    __tablename__ = "task_event_counter"

    only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    newest: Mapped[int] = mapped_column(BigInteger, server_default="0")


class _Counted:
    """What ended in a minute or an hour. `duration_ms`: the sum over those that succeeded."""

    at: Mapped[datetime] = mapped_column(_TIME, primary_key=True)
    task_name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    success: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    abandoned: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[float] = mapped_column(Double)


class TaskMinute(_Counted, Base):
    __tablename__ = "task_minutes"


class TaskHour(_Counted, Base):
    __tablename__ = "task_hours"


class TaskMinuteBin(Base):
    """How many succeeded in a minute with a duration in this bin: `task_bin()` of their milliseconds.

    `store/folding.py` moves them to their hour and day, after a while.
    """

    __tablename__ = "task_minute_bins"

    at: Mapped[datetime] = mapped_column(_TIME, primary_key=True)
    task_name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bin: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)


class _Folded:
    """The same for longer times, of each owner and of EVERYBODY."""

    owner_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(_TIME, primary_key=True)
    task_name: Mapped[str] = mapped_column(Text, primary_key=True)
    bin: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)


class TaskHourBin(_Folded, Base):
    __tablename__ = "task_hour_bins"


class TaskDayBin(_Folded, Base):
    __tablename__ = "task_day_bins"


class TaskFailure(Base):
    """Failures that are the same: one fingerprint of one task and owner."""

    __tablename__ = "task_failures"

    fingerprint: Mapped[str] = mapped_column(Text, primary_key=True)
    task_name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    error_type: Mapped[str | None] = mapped_column(Text)
    place: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    first_seen: Mapped[datetime] = mapped_column(_TIME)
    last_seen: Mapped[datetime] = mapped_column(_TIME, index=True)
    count: Mapped[int] = mapped_column(BigInteger)
    last_record_id: Mapped[UUID] = mapped_column(Uuid)
    last_record_at: Mapped[datetime] = mapped_column(_TIME)
