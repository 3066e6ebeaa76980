"""`pressroom tasks`: what every task did, how it does, what went wrong, and getting rid of old records."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from console.cli.options import ProcessName
from console.cli.output import AsJson, cut, line, show, table, when
from console.record import Record

app = typer.Typer(no_args_is_help=True, help="Tasks: what each one did, how they do, and what went wrong.")

Status = Literal["pending", "running", "success", "failed", "abandoned"]
_SECOND, _MINUTE = 1000, 60_000

TaskName = Annotated[
    str | None, typer.Option("--task", help="Only this task, such as prepare_article.", show_default=False)
]
Text = Annotated[
    str | None,
    typer.Option("--text", help="Only with these words in the parameters or the error.", show_default=False),
]


@app.command("list")
def list_(
    task: TaskName = None,
    status: Annotated[Status | None, typer.Option(help="Only in this status.", show_default=False)] = None,
    process: ProcessName = None,
    text: Text = None,
    hours: Annotated[
        int | None, typer.Option(min=1, help="Only of the last so many hours.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=10, max=100, help="How many.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="From behind the page before on.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, newest first."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import tasks  # noqa: PLC0415

    start = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    asked = tasks.Asked(task_name=task, status=status, process=process, text=text, start=start)
    found = visiting(lambda visit: tasks.history(visit, asked, page_size=limit, cursor=after))

    def human() -> None:
        columns = ("When", "Task", "Status", "Took", "What", "Error")
        table(columns, [_row(row) for row in found["items"]], "Nothing.")
        if found["next_cursor"]:
            line(f"{found['total_text']} in all. More: --after {found['next_cursor']}")

    show(found, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    what = cut(row["run_name"], 50)
    return (when(row["created_at"]), row["task_name"], row["status"], _took(row["duration_ms"]), what,
            cut(row["error_message"]))  # fmt: skip


@app.command()
def metrics(
    hours: Annotated[int, typer.Option(min=1, max=168, help="Over the last so many hours.")] = 24,
    as_json: AsJson = False,
) -> None:
    """How each task does: counts, times, and what waits."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import tasks  # noqa: PLC0415

    found = visiting(lambda visit: tasks.metrics(visit, hours))

    def human() -> None:
        columns = ("Task", "Total", "Waiting", "Running", "Well", "Failed", "Abandoned", "p50", "p95", "p99", "%")
        table(columns, [_figures(row) for row in found["metrics"]], f"Nothing in the last {hours} h.")

    show(found, human, as_json=as_json)


def _figures(row: Record) -> tuple[object, ...]:
    counts = (row[name] for name in ("total", "pending", "running", "success", "failed", "abandoned"))
    times = (_took(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms"))
    rate = row["success_rate"]
    return (row["task_name"], *counts, *times, "" if rate is None else f"{rate:.1f}")


@app.command()
def failures(
    task: TaskName = None,
    process: ProcessName = None,
    text: Text = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What went wrong, the same failures together, the most recent first."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import tasks  # noqa: PLC0415

    asked = tasks.Asked(task_name=task, process=process, text=text)
    found = visiting(lambda visit: tasks.failures(visit, asked, limit))

    def human() -> None:
        columns = ("Last", "Count", "Tasks", "Type", "Message", "Where")
        table(columns, [_group(row) for row in found], "Nothing went wrong.")

    show({"failures": found}, human, as_json=as_json)


def _group(row: Record) -> tuple[object, ...]:
    names = ", ".join(row["task_names"])
    return (when(row["last_seen"]), row["count"], names, row["error_type"], cut(row["message"], 80), row["place"])


@app.command()
def prune(
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many days, instead of TASK_LOG_RETENTION_DAYS.", show_default=False),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write what leaves here first, instead of TASK_LOG_EXPORT_DIR.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop everybody's records of days that are too old, as every night. Who works now does not wait for it."""
    from console.cli.visit import connected_settings  # noqa: PLC0415 - quick start

    have = connected_settings()
    keep = have.task_log_retention_days if days is None else days
    if keep < have.task_log_retention_days and not yes:
        typer.confirm(f"Keep only {keep} of {have.task_log_retention_days} days?", abort=True, err=True)
    dropped = _prune(keep, export or have.task_log_export_dir)

    def human() -> None:
        line(f"Dropped {_number(dropped['records'], 'record')} of {_number(dropped['days'], 'day')}.")
        for file in dropped["files"]:
            line(file)

    show(dropped, human, as_json=as_json)


def _prune(days: int, export: Path | None) -> dict[str, Any]:
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.taskwatch.store import retention  # noqa: PLC0415

    done = visiting(lambda visit: retention.drop_expired(visit.database, days, export))
    return {"days": done.partitions, "records": done.records, "files": [str(file) for file in done.files]}


def _took(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < _SECOND:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / _SECOND:.1f} s" if milliseconds < _MINUTE else f"{milliseconds / _MINUTE:.0f} min"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
