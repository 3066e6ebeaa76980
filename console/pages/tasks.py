"""Tasks: how each kind of them does, what happens right now, and what happened before."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.desk import task_sheets
from console.desk.given import version_of
from console.desk.task_sheets import Part
from console.pages import task_words as say
from console.pages.charts import stacked
from console.pages.language import Language, language_of
from console.pages.rendering import fragment, render
from console.pages.task_filter import WINDOWS, Asked, InAddress, cursor_text
from console.record import Record
from console.security.actor import Actor, Viewer, visit_of
from lib.taskwatch.hub import Hub
from lib.taskwatch.store.history import TaskItem

router = APIRouter(prefix="/tasks")

PARTS = ("cards", "list")


@router.get("")
async def tasks(request: Request, actor: Viewer, asked: InAddress) -> Response:
    context = await _context(request, actor, asked)
    spoken = language_of(request)
    more = {
        "windows": [(hours, _window(spoken, hours)) for hours in WINDOWS],
        "statuses": tuple(say.WORDS.items()),
        "zone": asked.zone,
        "feed": _feed(request, spoken, asked, dict(context["tasks"])),
    }
    return render(request, "tasks.html", **(context | more))


@router.get("/live")
async def live(request: Request, actor: Viewer, asked: InAddress, hold: str = "") -> Response:
    """The parts that are not as this reader saw them. `hold=list` leaves the list out: they select from it."""
    held = hold == "list"
    context = await _context(request, actor, asked, with_list=not held)
    seen: dict[str, str] = context["seen"]
    changed = {part: seen[part] != request.query_params.get(part) for part in PARTS}
    if held:
        changed["list"] = False
        seen["list"] = request.query_params.get("list", "")[:40]
    if not any(changed.values()):
        return Response(status_code=204)
    return render(request, "tasks_live.html", **(context | {"changed": changed}))


@router.get("/total")
async def total(request: Request, actor: Viewer, asked: InAddress) -> Response:
    """How many records match. It is asked for by itself, as the page need not wait for it."""
    number, capped = await task_sheets.total(visit_of(request, actor), asked.filter)
    told = _total(language_of(request), number, capped=capped)
    return fragment(request, "tasks.html", "total", asked=asked, total=told)


async def _context(request: Request, actor: Actor, asked: Asked, *, with_list: bool = True) -> dict[str, Any]:
    spoken = language_of(request)
    part = Part(asked.filter, asked.view == "failures", asked.cursor) if with_list else None
    found = await task_sheets.dashboard(visit_of(request, actor), asked.hours, part)
    names = sorted({each["task_name"] for each in found["metrics"]} | ({asked.task} if asked.task else set()))
    cards = [_card(spoken, asked, each, found["sparklines"]) for each in found["metrics"]]
    cards.sort(key=lambda card: say.WORST_FIRST.index(card["health"]))
    troubles = {name: sum(each[name] for each in found["recorders"]) for name in ("dropped", "waiting", "spilled")}
    listed = _listed(spoken, asked, found) if with_list else {}
    return {
        "asked": asked,
        "cards": cards,
        "troubles": troubles,
        "tasks": [(name, say.task_name(spoken, name)) for name in names],
        "processes": [{"id": id_, "name": name} for id_, name in found["processes"].items()],
        "status_classes": say.CLASSES,
        "status_words": say.WORDS,
        "seen": {"cards": version_of(cards, troubles), "list": version_of(listed)},
        **listed,
    }


def _window(spoken: Language, hours: int) -> str:
    _ = spoken.gettext
    return {1: _("1 hour"), 6: _("6 hours"), 24: _("24 hours"), 168: _("7 days")}[hours]


def _card(spoken: Language, asked: Asked, found: Record, sparklines: Mapping[str, list[tuple[int, int]]]) -> Record:
    name = found["task_name"]
    health = say.health(found["success_rate"], found["pending"] + found["running"])
    rate, oldest = found["success_rate"], found["oldest_waiting_seconds"]
    return {
        "name": name,
        "words": say.task_name(spoken, name),
        "query": asked.with_(task=name),
        "health": health,
        "health_words": say.HEALTH_WORDS[health],
        "health_class": say.HEALTH_CLASSES[health],
        "bars": stacked(sparklines.get(name, ())),
        "total": found["total"],
        "running": found["running"],
        "pending": found["pending"],
        "failed": found["failed"] + found["abandoned"],
        "success": None if rate is None else say.percent(spoken, rate),
        "average": say.duration(spoken, found["avg_duration_ms"]),
        "p95": say.duration(spoken, found["p95_ms"]),
        "queue": found["queue_depth"],
        "oldest": None if oldest is None else say.age(spoken, oldest),
    }


def _listed(spoken: Language, asked: Asked, found: Record) -> dict[str, Any]:
    if asked.view == "failures":
        return {"groups": [_group(spoken, asked, each) for each in found["groups"]]}
    records = [row(spoken, each, found["processes"]) for each in found["records"]]
    older = found["older"]
    return {
        "records": records,
        "total": None if found["total"] is None else _total(spoken, found["total"]),
        "retryable": any(each["failed"] for each in records),
        "older": None if older is None else asked.with_(after=cursor_text(older), trail=asked.longer_trail),
        "newer": asked.newer if asked.after else None,
    }


def _total(spoken: Language, number: int, *, capped: bool = False) -> str:
    words = spoken.ngettext("%(count)s record", "%(count)s records", number)
    return words % {"count": spoken.number(number) + ("+" if capped else "")}


def row(spoken: Language, item: TaskItem, processes: Mapping[UUID, str]) -> Record:
    """A record as a line: what a person recognises first."""
    name = say.task_name(spoken, item.task_name)
    return {
        "id": item.id,
        "words": item.run_name or name,
        "more": name if item.run_name else None,
        "status": item.status,
        "failed": item.status in say.FAILED,
        "error": item.error_message or item.error_type if item.status in say.FAILED else None,
        "attempt": item.attempt,
        "process_id": item.process_id,
        "process": processes.get(item.process_id) if item.process_id else None,
        "began": item.started_at or item.created_at,
        "took": say.duration(spoken, item.duration_ms),
    }


def _group(spoken: Language, asked: Asked, group: Record) -> Record:
    names = ", ".join(say.task_name(spoken, name) for name in group["task_names"])
    query = asked.with_(view="records", fingerprint=group["fingerprint"])
    return group | {"words": names, "query": query}


def _feed(request: Request, spoken: Language, asked: Asked, names: Mapping[str, str]) -> Record:
    """What tasks.js needs: where to begin, every word that it says, and the page's own filter.

    `newest`: the number of the newest event, where the hub knows it; else tasks.js learns it when it connects.
    """
    hub: Hub = request.app.state.hub
    given = asked.conditions
    wanted = ("task", "status", "process", "text", "fingerprint", "item")
    return {
        "newest": hub.seq if hub.ready.is_set() else "",
        "words": say.feed(spoken) | {"names": names, "classes": say.CLASSES},
        "filter": {name: given.get(name, "") for name in wanted},
    }
