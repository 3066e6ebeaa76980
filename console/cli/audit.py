"""`pressroom audit`: who changed what, and when."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from console.cli.output import AsJson, cut, line, show, table, when
from console.record import Record

if TYPE_CHECKING:
    from console.desk.visit import Visit


def audit(
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what they did, by name or id.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only of this kind: process, comment, login, user, …", show_default=False)
    ] = None,
    subject: Annotated[str | None, typer.Option(metavar="ID", help="Only of this thing.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    after: Annotated[
        UUID | None, typer.Option(metavar="ID", help="From behind this entry on.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Who changed what, newest first, signing in included."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members  # noqa: PLC0415
    from lib.people.store import trail  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        who = None if person is None else (await members.find(visit.database, person)).id
        async with visit.database.session() as session:
            found = await trail.entries(
                session,
                before=after,
                limit=limit + 1,
                actor_user_id=who,
                subject_kind=kind,
                subject_id=subject,
            )
        entries = [_record(entry) for entry in found[:limit]]
        return {"entries": entries, "next": entries[-1]["id"] if len(found) > limit else None}

    found = visiting(do)

    def human() -> None:
        table(("When", "Who", "By", "What", "Which", "More"), [_row(row) for row in found["entries"]], "Nothing.")
        if found["next"]:
            line(f"More: --after {found['next']}")

    show(found, human, as_json=as_json)


def _record(entry: Any) -> Record:
    names = ("id", "at", "actor_user_id", "actor_name", "via", "action", "subject_kind", "subject_id", "details")
    return {name: getattr(entry, name) for name in (*names, "address")}


def _row(row: Record) -> tuple[object, ...]:
    details: Mapping[str, Any] = row["details"]
    more = ", ".join(f"{name}: {value}" for name, value in details.items() if name != "name")
    which = details.get("name") or row["subject_id"]
    return (when(row["at"]), row["actor_name"], row["via"], row["action"], cut(str(which or ""), 40), cut(more, 80))
