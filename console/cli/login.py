"""`pressroom login`: accounts on a site."""

from typing import Annotated

import typer

from console.cli import given
from console.cli.options import Active, Name, Test
from console.cli.output import AsJson, facts, line, show, table, when
from console.record import Record

app = typer.Typer(no_args_is_help=True, help="Accounts on the site that is watched.")

VARIABLE = "PRESSROOM_LOGIN_PASSWORD"
BaseUrl = Annotated[str, typer.Option(help="The site, such as https://www.mymoment.ch.", show_default=False)]
NewBaseUrl = Annotated[
    str | None, typer.Option(help="Another address of the site; takes username and password anew.", show_default=False)
]
Username = Annotated[str, typer.Option(help="The account's name on the site.", show_default=False)]
NewUsername = Annotated[str | None, typer.Option(help="Another account.", show_default=False)]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]


def _facts(found: Record) -> None:
    facts(
        [
            ("Login", found["name"]),
            ("Site", found["base_url"]),
            ("Active", found["is_active"]),
            ("Last used", found["last_used_at"]),
            ("Processes", found.get("processes")),
            ("Last error", found["error"]),
            ("Tried again", found["next_login_at"] if found["error"] else None),
        ]
    )


@app.command()
def add(
    name: Name,
    base_url: BaseUrl,
    username: Username,
    password_stdin: PasswordStdin = False,
    test: Test = True,
    as_json: AsJson = False,
) -> None:
    """Add a login.

    The password comes from a hidden prompt, from stdin with --password-stdin, or from PRESSROOM_LOGIN_PASSWORD.
    """
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    password = given.secret("Password", VARIABLE, "--password-stdin", from_stdin=password_stdin)
    with given.tested():
        found = visiting(lambda visit: logins.add(visit, name, base_url, username, password, test=test))
    how = "the site accepts it" if test else "not tested"
    show(found, lambda: line(f"Added login “{found['name']}” on {found['base_url']}; {how}."), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the logins."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    found = visiting(logins.listed)

    def human() -> None:
        rows = [
            (row["name"], row["base_url"], "yes" if row["is_active"] else "no", when(row["last_used_at"]), row["error"])
            for row in found
        ]
        table(("Login", "Site", "Active", "Last used", "Last error"), rows, "No logins yet: `pressroom login add`.")

    show({"logins": found}, human, as_json=as_json)


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """Show one login, without its secrets."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    found = visiting(lambda visit: logins.show(visit, name))
    show(found, lambda: _facts(found), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    base_url: NewBaseUrl = None,
    username: NewUsername = None,
    new_password: Annotated[bool, typer.Option("--new-password", help="Ask for a new password.")] = False,
    password_stdin: PasswordStdin = False,
    active: Active = None,
    as_json: AsJson = False,
) -> None:
    """Change a login; what waited because it was refused goes on at once."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    wants = new_password or password_stdin
    password = given.secret("Password", VARIABLE, "--password-stdin", from_stdin=password_stdin) if wants else None
    wanted = logins.LoginChange(base_url, username, password, active)
    found = visiting(lambda visit: logins.change(visit, name, wanted))
    show(found, lambda: _facts(found), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove a login that no process uses."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    found = visiting(lambda visit: logins.remove(visit, name))
    show(found, lambda: line(f"Removed login “{name}”."), as_json=as_json)


@app.command("test")
def try_out(name: Name, as_json: AsJson = False) -> None:
    """Log in for real, once."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import logins  # noqa: PLC0415

    found = visiting(lambda visit: logins.test(visit, name))
    show(found, lambda: line(f"The site accepts login “{name}”."), as_json=as_json)
