"""One record of a task: what it was, how it went, what it belongs to, and what failed alike."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.desk import task_sheets
from console.pages import prefect
from console.pages import task_words as say
from console.pages.language import Language, language_of
from console.pages.rendering import render
from console.pages.tasks import row
from console.record import Record
from console.security.actor import Viewer, visit_of
from lib.taskwatch.store.history import TaskItem

router = APIRouter(prefix="/tasks")


@router.get("/{record_id}")
async def task(request: Request, actor: Viewer, record_id: UUID) -> Response:
    spoken = language_of(request)
    found = await task_sheets.one(visit_of(request, actor), record_id)
    record = found["record"]
    name = say.task_name(spoken, record.task_name)
    return render(
        request,
        "task.html",
        record=record,
        words=record.run_name or name,
        more=name if record.run_name else None,
        task_words=name,
        failed=record.status in say.FAILED,
        took=say.duration(spoken, record.duration_ms),
        like=urlencode({"task": record.task_name}),
        kind=urlencode({"fingerprint": record.fingerprint}) if record.fingerprint else None,
        others=_lines(spoken, found["others"][: task_sheets.OTHERS]),
        more_others=len(found["others"]) > task_sheets.OTHERS,
        parent=_lines(spoken, [found["parent"]])[0] if found["parent"] else None,
        children=_lines(spoken, record.children),
        parameters=_readable(record.parameters),
        run_page=prefect.page_of(record.flow_run_id),
        process=found["process"],
        comment_id=found["comment_id"],
        status_classes=say.CLASSES,
        status_words=say.WORDS,
        unit=say.KINDS[record.kind],
    )


def _lines(spoken: Language, items: Any) -> list[Record]:
    found: list[TaskItem] = list(items)
    return [row(spoken, each, {}) for each in found]


def _readable(parameters: Any) -> str:
    return json.dumps(parameters, ensure_ascii=False, indent=2) if parameters else ""
