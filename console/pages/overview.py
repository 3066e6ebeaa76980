"""The overview: every process at a glance, what is wrong right now, and one button that stops everything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.desk import overview as desk
from console.desk import processes, sheets
from console.desk.given import version_of
from console.pages import troubles
from console.pages.charts import Segment, bar, chart
from console.pages.language import Language, language_of
from console.pages.rendering import redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Transient
from lib.monitoring.stages import Stage

router = APIRouter()

# From so many on, a process is a line.
MANY = 9
SMALL = 1000
KINDS = ("waiting", "working", "done", "failed")
# What is fetched anew, each by itself.
PARTS = ("processes", "hours", "wrong")


@dataclass(frozen=True)
class StageBar:
    """A stage's comments as a bar, and as words for who does not see it."""

    stage: Stage
    running: bool
    said: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Row:
    """A process as the overview shows it, of nothing else."""

    id: UUID
    name: str
    status: str
    posts: bool
    owner: str | None
    minutes_left: int | None
    undecided: int
    bars: tuple[StageBar, ...]


def stage_bar(spoken: Language, stage: Record) -> StageBar:
    numbers = {kind: stage["in_work" if kind == "working" else kind] for kind in KINDS}
    return StageBar(stage["stage"], stage["running"], _said(spoken, numbers), bar(numbers))


def _said(spoken: Language, numbers: Mapping[str, int]) -> str:
    """Made here, not by the template: there are hundreds of them on a page."""
    _ = spoken.gettext
    words = {
        "waiting": _("%(count)s waiting"),
        "working": _("%(count)s in work"),
        "done": _("%(count)s done"),
        "failed": _("%(count)s failed"),
    }
    there = [words[kind] % {"count": _plain(spoken, number)} for kind, number in numbers.items() if number]
    return ", ".join(there) or _("nothing yet")


def _plain(spoken: Language, number: int) -> str:
    """A small number is the same in every language, and quicker."""
    return str(number) if number < SMALL else spoken.number(number)


def minutes_left(process: Record) -> int | None:
    seconds = process["seconds_left"]
    return None if seconds is None else -(-seconds // 60)


def _rows(spoken: Language, found: list[Record], actor: Actor) -> tuple[Row, ...]:
    """Those that run first, each group by name. Whose it is matters only where others' are seen too."""
    several = len({process["owner"] for process in found}) > 1
    rows = [
        Row(
            process["id"],
            process["name"],
            process["status"],
            process["posts"],
            process["owner"] if several and process["owner"] != actor.name else None,
            minutes_left(process),
            process["comments"]["undecided"],
            tuple(stage_bar(spoken, stage) for stage in process["stages"]),
        )
        for process in found
    ]
    return tuple(sorted(rows, key=lambda row: row.status != "running"))


async def _context(request: Request, actor: Actor) -> dict[str, Any]:
    visit = visit_of(request, actor)
    spoken = language_of(request)
    found = await desk.overview(visit)
    rows = _rows(spoken, found["processes"], actor)
    hours = chart(found["posted_per_hour"])
    wrong = troubles.told(spoken, found["wrong"])
    return {
        "rows": rows,
        "many": len(rows) >= MANY,
        "running": sum(row.status == "running" for row in rows),
        "undecided": sum(row.undecided for row in rows),
        "chart": hours,
        "wrong": wrong,
        "new": (),
        "steps": None if rows or not actor.may("operator") else await sheets.first_steps(visit),
        "seen": {
            "processes": version_of(rows),
            "hours": version_of(hours),
            "wrong": version_of(wrong),
            "known": ".".join(each.key for each in wrong),
        },
    }


@router.get("/")
async def overview(request: Request, actor: Viewer) -> Response:
    return render(request, "overview.html", **await _context(request, actor))


@router.get("/overview/live")
async def live(request: Request, actor: Viewer, known: str = "") -> Response:
    """The parts that are not as this reader saw them; of what is wrong, only what is new is said aloud."""
    context = await _context(request, actor)
    seen: Mapping[str, str] = context["seen"]
    changed = {part: seen[part] != request.query_params.get(part) for part in PARTS}
    if not any(changed.values()):
        return Response(status_code=204)
    told = known.split(".")
    new = tuple(each for each in context["wrong"] if each.key not in told)
    return render(request, "overview_live.html", **(context | {"changed": changed, "new": new}))


@router.get("/stop-everything")
async def ask_to_stop(request: Request, actor: Operator) -> Response:
    listed = await processes.listed(visit_of(request, actor))
    running = [each for each in listed if each["status"] == "running"]
    posting_on = [each for each in listed if each["posting_on"]]
    return render(request, "stop_everything.html", running=running, posting_on=posting_on)


@router.post("/stop-everything")
async def stop_everything(request: Request, actor: Operator) -> Response:
    """Returns when nothing more can be posted."""
    spoken = language_of(request)
    try:
        done = (await processes.stop_all(visit_of(request, actor)))["stopped"]
    except Transient as error:
        return redirect(request, "/", spoken.sentence(error), "warning")
    if not done:
        return redirect(request, "/", spoken.gettext("Nothing was running, and nothing more is posted."))
    words = spoken.ngettext(
        "%(num)s process is stopped. Nothing more is posted.",
        "%(num)s processes are stopped. Nothing more is posted.",
        len(done),
    )
    return redirect(request, "/", words % {"num": len(done)})
