"""`pressroom run`: one tick of a stage, now and here, with a progress bar."""

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.edge import FAILED
from console.cli.options import ProcessName
from console.cli.output import AsJson, complain, cut, line, show, table
from console.record import Record
from lib.monitoring.stages import Stage

if TYPE_CHECKING:
    from uuid import UUID

    from lib.monitoring.items import TickReport

# By their entrypoints: the console knows the flows' names alone.
FLOWS: dict[Stage, str] = {
    "discovery": "discover_articles",
    "preparation": "prepare_content_of_articles",
    "generation": "generate_comments_for_articles",
    "posting": "post_comments_for_articles",
}
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}


def run(
    stage: Annotated[Stage, typer.Argument(help="The stage to run.", show_default=False)],
    process: ProcessName = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run one tick of a stage in the foreground; exit status 1 when something failed."""
    from console.cli.prefect_api import need_prefect  # noqa: PLC0415
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk.processes import process_id_to_run  # noqa: PLC0415

    process_id = visiting(lambda visit: process_id_to_run(visit, process))
    need_prefect()
    if not verbose:
        os.environ.update(QUIET)
    report = asyncio.run(_tick(stage, process_id, bar=sys.stderr.isatty()))
    show(_document(report), lambda: _say(report), as_json=as_json)
    troubles = [f"{each.process}: {error}" for each in report.reports for error in each.errors[:1]]
    if report.failed or troubles:
        complain("; ".join(troubles) or f"{report.failed} items failed")
        raise typer.Exit(FAILED)


async def _tick(stage: Stage, process_id: "UUID | None", *, bar: bool) -> "TickReport":
    name = FLOWS[stage]
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    with _progress(stage, bar=bar):
        report: TickReport = await flow(process_id)
    return report


@contextmanager
def _progress(stage: Stage, *, bar: bool) -> Iterator[None]:
    """A bar on stderr, fed by the run."""
    if not bar:
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - quick start
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from lib.monitoring import runtime  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(stage, total=None)
        total = 0

        def more(number: int) -> None:
            nonlocal total
            total += number
            shown.update(task, total=total)

        before = runtime.progress.set(runtime.Progress(more, lambda: shown.advance(task)))
        try:
            yield
        finally:
            runtime.progress.reset(before)


def _document(report: "TickReport") -> Record:
    return {
        "stage": report.stage,
        "done": report.done,
        "failed": report.failed,
        "processes": [
            {
                "name": each.process,
                "done": each.done,
                "failed": each.failed,
                "again_later": each.retried,
                "seconds": round(each.seconds, 3),
                "note": each.note,
                "errors": each.errors,
            }
            for each in report.reports
        ],
        "skipped": [{"name": each.name, "why": each.skipped} for each in report.skipped],
    }


def _say(report: "TickReport") -> None:
    rows: list[tuple[Any, ...]] = [
        (each.process, each.done, each.failed, each.retried, f"{each.seconds:.1f}", cut(each.note, 100))
        for each in report.reports
    ]
    rows += [(each.name, "", "", "", "", f"skipped: {each.skipped}") for each in report.skipped]
    empty = f"Nothing was due for {report.stage}."
    table(("Process", "Done", "Failed", "Again later", "Seconds", "Note"), rows, empty)
    if rows:
        line(f"{report.stage}: {report.done} done, {report.failed} failed or to be tried again.")
