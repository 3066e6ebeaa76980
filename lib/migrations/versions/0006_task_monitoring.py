"""task monitoring: a record of every unit of work, by day, with what is counted of them and the live feed"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from lib.migrations import task_records

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WORDS = (
    "task_words(created_at, task_name, status, process_id, owner_id, run_name, parameters, error_type, error_message)"
)


def _time(name: str, *, nullable: bool = False, by_itself: bool = False) -> "sa.Column[Any]":
    default = sa.text("now()") if by_itself else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def _number(name: str, default: str | None = None) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), server_default=default, nullable=False)


def _text(name: str, *, nullable: bool = True) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=nullable)


def _id(name: str, *, nullable: bool = True) -> "sa.Column[Any]":
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _records() -> None:
    op.create_table(
        "task_execution_logs",
        _time("created_at"),
        _id("id", nullable=False),
        _text("task_name", nullable=False),
        _text("run_name"),
        _text("kind", nullable=False),
        _text("status", nullable=False),
        _text("task_id"),
        sa.Column("parameters", postgresql.JSONB(), nullable=True),
        _time("started_at", nullable=True),
        _time("completed_at", nullable=True),
        sa.Column("duration_ms", sa.Double(), nullable=True),
        _text("error_type"),
        _text("error_message"),
        _text("error_traceback"),
        _text("place"),
        _text("cause"),
        _text("fingerprint"),
        sa.Column("attempt", sa.Integer(), nullable=True),
        *map(_id, ("process_id", "owner_id", "flow_run_id", "item_id", "parent_id", "recorder_id")),
        _time("updated_at", by_itself=True),
        sa.CheckConstraint("status IN ('pending', 'running', 'success', 'failed', 'abandoned')", name="task_status"),
        sa.PrimaryKeyConstraint("created_at", "id"),
        postgresql_partition_by="RANGE (created_at)",
    )


def _indexes() -> None:
    table = "task_execution_logs"
    op.create_index("task_logs_by_name", table, ["task_name", "status", "created_at", "id"])
    op.create_index("task_logs_by_owner", table, ["owner_id", "task_name", "status", "created_at", "id"])
    op.create_index(
        "task_logs_by_process",
        table,
        ["process_id", "task_name", "status", "created_at", "id"],
        postgresql_include=["owner_id"],
        postgresql_where=sa.text("process_id IS NOT NULL"),
    )
    op.create_index(
        "task_logs_active",
        table,
        ["task_name", "owner_id", "status", "created_at"],
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    for name, column in (("fingerprint", "fingerprint"), ("item", "item_id")):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"task_logs_by_{name}", table, [column, "created_at", "id"], postgresql_where=there)
    op.create_index("task_logs_by_parent", table, ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL"))
    # What waits to be sorted in is read by each search: little of it, so that none is slow.
    op.create_index(
        "task_logs_words",
        table,
        [sa.text(WORDS)],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 64},
    )


def _counts() -> None:
    key = ("at", "task_name", "owner_id")
    for unit in ("minute", "hour"):
        op.create_table(
            f"task_{unit}s",
            _time("at"),
            _text("task_name", nullable=False),
            _id("owner_id", nullable=False),
            *map(_number, ("success", "failed", "abandoned")),
            sa.Column("duration_ms", sa.Double(), nullable=False),
            sa.PrimaryKeyConstraint(*key),
        )
    for unit in ("minute", "hour", "day"):
        op.create_table(
            f"task_{unit}_bins",
            _time("at"),
            _text("task_name", nullable=False),
            _id("owner_id", nullable=False),
            sa.Column("bin", sa.SmallInteger(), nullable=False),
            _number("count"),
            sa.PrimaryKeyConstraint(*(key if unit == "minute" else ("owner_id", "at", "task_name")), "bin"),
        )


def _failures() -> None:
    op.create_table(
        "task_failures",
        _text("fingerprint", nullable=False),
        _text("task_name", nullable=False),
        _id("owner_id", nullable=False),
        *map(_text, ("error_type", "place", "message")),
        *map(_time, ("first_seen", "last_seen")),
        _number("count"),
        _id("last_record_id", nullable=False),
        _time("last_record_at"),
        sa.PrimaryKeyConstraint("fingerprint", "task_name", "owner_id"),
    )
    op.create_index("ix_task_failures_last_seen", "task_failures", ["last_seen"])


def _feed() -> None:
    op.create_table(
        "task_recorders",
        _id("id", nullable=False),
        _text("host", nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        _time("started_at", by_itself=True),
        _time("seen_at", by_itself=True),
        *(_number(name, "0") for name in ("dropped", "waiting", "spilled")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table("task_names", _text("task_name", nullable=False), sa.PrimaryKeyConstraint("task_name"))
    op.create_table(
        "task_events",
        _number("seq"),
        _time("at"),
        _id("owner_id"),
        sa.Column("event", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "task_event_counter",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _number("newest", "0"),
        sa.PrimaryKeyConstraint("only"),
    )
    op.execute("INSERT INTO task_event_counter DEFAULT VALUES")


def upgrade() -> None:
    _records()
    op.execute(task_records.HALF_HOUR)
    op.execute(task_records.WORDS)
    _indexes()
    _counts()
    _failures()
    _feed()
    for statement in (*task_records.FUNCTIONS, *task_records.TRIGGERS):
        if statement not in (task_records.HALF_HOUR, task_records.WORDS):
            op.execute(statement)
    today = "(now() AT TIME ZONE 'UTC')::date"
    op.execute(f"SELECT ensure_task_partitions({today} - 1, {today} + 7)")


def downgrade() -> None:
    for table in (
        "task_event_counter",
        "task_events",
        "task_names",
        "task_recorders",
        "task_failures",
        "task_day_bins",
        "task_hour_bins",
        "task_minute_bins",
        "task_hours",
        "task_minutes",
        "task_execution_logs",
    ):
        op.drop_table(table)
    for function in task_records.DROPPED:
        op.execute(f"DROP FUNCTION {function}")
