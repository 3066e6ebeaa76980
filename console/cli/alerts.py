"""`pressroom alerts`: what was found wrong, and whether anybody was told."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from console.cli.output import AsJson, cut, facts, line, show, table, when
from console.record import Record

if TYPE_CHECKING:
    from console.desk.visit import Visit
    from lib.people.members import Doer

app = typer.Typer(no_args_is_help=True, help="Alerts: what was found wrong, whether it is over, and who was told.")

Id = Annotated[UUID, typer.Argument(metavar="ID", help="Its id.", show_default=False)]


def _by(visit: "Visit") -> "Doer":
    from lib.people.members import Doer  # noqa: PLC0415 - quick start

    return Doer(visit.user_id, visit.via)


@app.command("list")
def list_(
    only_open: Annotated[bool, typer.Option("--open", help="Only what is not over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    after: Annotated[
        UUID | None, typer.Option(metavar="ID", help="From behind this one on.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List alerts, newest first."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import alerts  # noqa: PLC0415

    found = visiting(lambda visit: alerts.listed(visit, limit=limit, after=after, only_open=only_open))

    def human() -> None:
        table(("Id", "Since", "Seen", "Over", "Told", "What"), [_row(row) for row in found["alerts"]], "Nothing.")
        if found["next"]:
            line(f"More: --after {found['next']}")

    show(found, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    over = when(row["resolved_at"]) or "no"
    return (row["id"], when(row["first_seen_at"]), row["seen_count"], over, row["status"], cut(row["title"], 80))


@app.command("show")
def show_(id_: Id, as_json: AsJson = False) -> None:
    """Show one alert, and each attempt to tell it."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import alerts  # noqa: PLC0415

    found = visiting(lambda visit: alerts.show(visit, id_))
    show(found, lambda: _say(found), as_json=as_json)


def _say(found: Record) -> None:
    facts(
        [
            ("Alert", found["id"]),
            ("Kind", found["kind"]),
            ("What", found["title"]),
            ("Since", found["first_seen_at"]),
            ("Seen", f"{found['seen_count']} times, last {when(found['last_seen_at'])}"),
            ("Over", found["resolved_at"]),
            ("Told", found["status"]),
            ("Again", found["next_attempt_at"] if found["status"] == "pending" else None),
            ("Error", found["error_message"]),
        ]
    )
    line("")
    rows = [(when(row["started_at"]), row["http_status"], cut(row["error_message"])) for row in found["attempted"]]
    table(("Attempt", "Answer", "Error"), rows, "Nobody was told.")


@app.command()
def send(id_: Id, as_json: AsJson = False) -> None:
    """Send one again that is dead or was only recorded; the receiver sees the same webhook-id as before."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import alerts  # noqa: PLC0415

    found = visiting(lambda visit: alerts.send(visit, _by(visit), id_))
    show(found, lambda: line("The alert is sent with the next deliveries."), as_json=as_json)


@app.command()
def webhook(
    resume: Annotated[bool, typer.Option("--resume", help="Send there again although it answered 410.")] = False,
    as_json: AsJson = False,
) -> None:
    """Where alerts go, and whether they do."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import alerts  # noqa: PLC0415

    found = visiting(lambda visit: alerts.resume(visit, _by(visit)) if resume else alerts.webhook(visit))

    def human() -> None:
        if found["stopped"]:
            line(f"Nothing is sent: {found['stopped']}.")
        else:
            line(f"Alerts go to {found['host']}.")

    show(found, human, as_json=as_json)
