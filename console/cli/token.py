"""`pressroom user token`: what programs of somebody sign in with."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from console.cli.output import AsJson, facts, line, show, table, when
from console.record import Record

if TYPE_CHECKING:
    from console.desk.visit import Visit

app = typer.Typer(no_args_is_help=True, help="API tokens of a user: list them, make one, revoke one.")

Who = Annotated[str, typer.Argument(metavar="NAME", help="Whose, by name or id.", show_default=False)]


@app.command("list")
def list_(who: Who, as_json: AsJson = False) -> None:
    """List those that were not revoked, newest first."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members, own  # noqa: PLC0415

    async def do(visit: "Visit") -> list[Record]:
        person = await members.find(visit.database, who)
        return [asdict(token) for token in await own.my_tokens(visit.database, person.id)]

    found = visiting(do)

    def human() -> None:
        rows = [_row(row) for row in found]
        table(("Id", "Name", "Begins", "Scopes", "Expires", "Last used"), rows, "No tokens.")

    show({"tokens": found}, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    scopes = ", ".join(row["scopes"])
    used = when(row["last_used_at"]) or "never"
    return (row["id"], row["name"], f"{row['prefix']}…", scopes, when(row["expires_at"]), used)


@app.command()
def make(
    who: Who,
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="What to call it.", show_default=False)],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; each includes the lower ones.")] = None,
    days: Annotated[int, typer.Option(help="How long it lives.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make a token, with scopes that their role has, and print it this once."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.errors import Conflict  # noqa: PLC0415
    from lib.people import members, own, roles  # noqa: PLC0415
    from lib.people.members import Doer  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        person = await members.find(visit.database, who)
        if person.role is None or not person.is_active:
            raise Conflict(f"“{person.name}” has no active account")
        by, most = Doer(visit.user_id, visit.via), roles.scopes_of(person.role)
        made = await own.make_token(visit.database, by, person.id, name, scope or ["read"], days, most)
        return {"token": made.text, "record": asdict(made.record)}

    found = visiting(do)

    def human() -> None:
        line("It is shown only now. Whoever has it can do what its scopes say:")
        facts([("Token", found["token"]), ("Expires", found["record"]["expires_at"])])

    show(found, human, as_json=as_json)


@app.command()
def revoke(
    who: Who,
    id_: Annotated[UUID, typer.Argument(metavar="ID", help="The token's id.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """End a token at once."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members, own  # noqa: PLC0415
    from lib.people.members import Doer  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        person = await members.find(visit.database, who)
        return asdict(await own.revoke_token(visit.database, Doer(visit.user_id, visit.via), person.id, id_))

    found = visiting(do)
    show({"revoked": found}, lambda: line(f"Revoked “{found['name']}”."), as_json=as_json)
