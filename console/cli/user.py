"""`pressroom user`: who may use the console, and as what."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli import token
from console.cli.output import AsJson, facts, line, note, show, table, when
from console.record import Record

if TYPE_CHECKING:
    from console.desk.visit import Visit
    from lib.people.members import Doer, Invitation
    from lib.people.store.accounts import Person

app = typer.Typer(no_args_is_help=True, help="People: invite them to the console, change what they may do.")
app.add_typer(token.app, name="token")

Who = Annotated[str, typer.Argument(metavar="NAME", help="Their name or id.", show_default=False)]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator or admin.", show_default=False)]


def _record(person: "Person") -> Record:
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "is_active": person.is_active,
        "has_password": person.has_password,
        "last_login_at": person.last_login_at,
        "created_at": person.created_at,
    }


def _link_record(visit: "Visit", made: "Invitation") -> Record:
    address = visit.settings.console_address + made.path
    return {"user": _record(made.person), "address": address, "expires_at": made.expires_at}


def _by(visit: "Visit") -> "Doer":
    from lib.people.members import Doer  # noqa: PLC0415 - quick start

    return Doer(visit.user_id, visit.via)


def _say_link(found: Record) -> None:
    line("It works once. Whoever has it can become this user:")
    facts([("Address", found["address"]), ("Expires", found["expires_at"])])


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List everybody."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members  # noqa: PLC0415

    found = [_record(person) for person in visiting(lambda visit: members.everybody(visit.database))]

    def human() -> None:
        rows = [
            (row["name"], row["role"] or "command line only", _state(row), when(row["last_login_at"])) for row in found
        ]
        table(("Name", "Role", "State", "Last sign-in"), rows, "Nobody yet.")

    show({"users": found}, human, as_json=as_json)


def _state(row: Record) -> str:
    if not row["is_active"]:
        return "deactivated"
    if row["role"] is None:
        return "no account"
    return "active" if row["has_password"] else "invited"


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="What they sign in with.", show_default=False)],
    role: Annotated[str, typer.Option(metavar="ROLE", help="viewer, operator or admin.")] = "viewer",
    as_json: AsJson = False,
) -> None:
    """Make an account, and print a one-time link by which they set their password."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members, roles  # noqa: PLC0415

    wanted = roles.role(role)

    async def do(visit: "Visit") -> Record:
        return _link_record(visit, await members.invite(visit.database, _by(visit), name, wanted))

    found = visiting(do)

    def human() -> None:
        line(f"Invited “{found['user']['name']}” as {wanted}. Give them this link yourself.")
        _say_link(found)

    show(found, human, as_json=as_json)


@app.command("reset-link")
def reset_link(who: Who, as_json: AsJson = False) -> None:
    """Print a one-time link by which they set their password anew; until then the present one stays."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        person = await members.find(visit.database, who)
        return _link_record(visit, await members.new_link(visit.database, _by(visit), person.id))

    found = visiting(do)
    show(found, lambda: _say_link(found), as_json=as_json)


@app.command("role")
def role_(who: Who, role: RoleName, as_json: AsJson = False) -> None:
    """Change what they may do. The last administrator stays one."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.people import members, roles  # noqa: PLC0415

    wanted = roles.role(role)

    async def do(visit: "Visit") -> Record:
        person = await members.find(visit.database, who)
        return _record(await members.change(visit.database, _by(visit), person.id, role=wanted))

    found = visiting(do)
    show(found, lambda: line(f"“{found['name']}” has the role {found['role']}."), as_json=as_json)


@app.command()
def deactivate(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign them out everywhere, let them in no more, and stop their processes; what they own stays."""
    if sys.stdin.isatty() and not yes:
        _ask_about_running(who)
    found = _set_active(who, active=False)

    def human() -> None:
        line(f"Deactivated “{found['name']}”.")
        if found["processes_stopped"]:
            line(f"Stopped {', '.join(found['processes_stopped'])}; nothing more is posted for them.")

    show(found, human, as_json=as_json)


def _ask_about_running(who: str) -> None:
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import people  # noqa: PLC0415
    from lib.people import members  # noqa: PLC0415

    async def count(visit: "Visit") -> int:
        person = await members.find(visit.database, who)
        return (await people.running(visit)).get(person.id, 0)

    if number := visiting(count):
        note(f"“{who}” has {number} process{'' if number == 1 else 'es'} that run; deactivating stops them.")
        typer.confirm("Deactivate?", abort=True, err=True)


@app.command()
def activate(who: Who, as_json: AsJson = False) -> None:
    """Let somebody in again who was deactivated."""
    found = _set_active(who, active=True)
    show(found, lambda: line(f"Activated “{found['name']}”."), as_json=as_json)


def _set_active(who: str, *, active: bool) -> Record:
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import people  # noqa: PLC0415
    from lib.people import members  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        person = await members.find(visit.database, who)
        done = await people.change(visit, _by(visit), person.id, is_active=active)
        return _record(done.person) | {"processes_stopped": list(done.stopped)}

    return visiting(do)
