"""How a process is shown."""

from datetime import UTC, datetime

from console.desk.given import version_of
from console.record import Record
from lib.monitoring import lifecycle
from lib.monitoring.models import MonitoringProcess
from lib.monitoring.stages import TAKES, Stage
from lib.monitoring.store.overview import NOTHING, Counts, StageState
from lib.monitoring.store.processes import ProcessParts

COUNTERS = ("articles_discovered", "articles_prepared", "comments_generated", "comments_posted")
ERRORS = ("discovery", "preparation", "generation", "posting")
STATUSES = ("discovered", "prepared", "generated", "posted", "failed")


def record(row: MonitoringProcess) -> Record:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "posts": not row.generate_only,
        "hide_comments": row.hide_comments,
        "tab": row.tab_filter,
        "category": row.category_filter,
        "task": row.task_filter,
        "search": row.search_filter,
        "state": row.state_filter,
        "limit": row.article_limit,
        "max_minutes": row.max_duration_minutes,
        "budget_tokens": row.budget_tokens,
        "budget_money": row.budget_money,
        "seconds_left": seconds_left(row),
        "started_at": row.started_at,
        "expires_at": row.expires_at,
        "stopped_at": row.stopped_at,
        "stop_reason": row.stop_reason,
        "error": row.error_message,
        "counters": {name: getattr(row, name) for name in COUNTERS},
        "errors": {stage: getattr(row, f"errors_encountered_in_{stage}") for stage in ERRORS},
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def seconds_left(row: MonitoringProcess) -> int | None:
    """None while it does not run."""
    if row.status != "running" or row.expires_at is None:
        return None
    return max(0, round((row.expires_at - datetime.now(UTC)).total_seconds()))


SETTINGS = (
    "name",
    "description",
    "llm_provider_id",
    "fallback_provider_id",
    "budget_tokens",
    "budget_money",
    "tab_filter",
    "category_filter",
    "task_filter",
    "search_filter",
    "state_filter",
    "article_limit",
    "generate_only",
    "hide_comments",
    "max_duration_minutes",
)


def version(row: MonitoringProcess, parts: ProcessParts) -> str:
    """Of its settings and parts, whatever it does."""
    ids = [sorted(str(part.id) for part in some) for some in (parts.logins, parts.templates)]
    return version_of(*(getattr(row, name) for name in SETTINGS), *ids)


def with_parts(row: MonitoringProcess, parts: ProcessParts) -> Record:
    return record(row) | {
        "version": version(row, parts),
        "logins": [login.name for login in parts.logins],
        "templates": [template.name for template in parts.templates],
        "provider": parts.provider.name if parts.provider else None,
        "part_ids": {
            "logins": [login.id for login in parts.logins],
            "templates": [template.id for template in parts.templates],
            "provider": row.llm_provider_id,
            "fallback": row.fallback_provider_id,
        },
        "sites": sorted({login.base_url for login in parts.logins}),
        "missing": lifecycle.missing(row, parts),
    }


def comment_counts(counts: Counts | None) -> dict[str, int]:
    found = counts or NOTHING
    return {status: found.by_status.get(status, 0) for status in STATUSES} | {"undecided": found.undecided}


def stage_record(state: StageState, process: MonitoringProcess, counts: Counts) -> Record:
    """A stage's last run, and how many of the process's comments stand before it, in it and behind it."""
    row = state.row
    stage: Stage = row.stage  # type: ignore[assignment] # the database allows no other
    return {
        "stage": stage,
        "running": state.held,
        **_bars(stage, process, counts),
        "last_started_at": row.last_started_at,
        "last_success_at": row.last_success_at,
        "last_report": row.last_report,
        "last_error": row.last_error,
        "next_due_at": row.next_due_at,
        "flow_run_id": row.flow_run_id,
    }


def _bars(stage: Stage, process: MonitoringProcess, counts: Counts) -> dict[str, int]:
    """`later`: those of the waiting whose time has not come, or that wait for a person's approval."""
    if stage == "discovery":
        failed = process.errors_encountered_in_discovery
        return {"waiting": 0, "later": 0, "in_work": 0, "done": counts.total, "failed": failed}
    status = TAKES[stage]
    past = STATUSES[STATUSES.index(status) + 1 : STATUSES.index("failed")]
    in_work = counts.held.get(status, 0)
    rejected = counts.rejected if stage == "posting" else 0
    waiting = max(0, counts.by_status.get(status, 0) - in_work - rejected)
    asks = counts.undecided if stage == "posting" and process.generate_only else 0
    return {
        "waiting": waiting,
        "later": min(waiting, counts.later.get(status, 0) + asks),
        "in_work": in_work,
        "done": sum(counts.by_status.get(each, 0) for each in past) + sum(counts.failed.get(each, 0) for each in past),
        "failed": counts.failed.get(status, 0),
    }
