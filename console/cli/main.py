"""`pressroom`: everything that the console does, from a terminal."""

import typer

from console.cli import alerts, comment, compare, keys, login, process, provider, system, tasks, template, user
from console.cli.audit import audit
from console.cli.edge import Edge
from console.cli.run import run as run_stage

INTRODUCTION = """Watch places where people write, draft comments with a language model, check them, publish them.

Start with `pressroom up --playground`: a local site, a model and a process that posts there.
On a real site: `login add`, `provider add`, `template add`, `process add`, `process start`; then `comment list` and
`comment approve`. A process only generates until you approve a comment or add it with --post.
"""


app = typer.Typer(
    name="pressroom",
    cls=Edge,
    help=INTRODUCTION,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # their tables of variables would show secrets
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(system.up)
app.command()(system.deploy)
app.command()(system.health)
app.add_typer(login.app, name="login")
app.add_typer(provider.app, name="provider")
app.add_typer(template.app, name="template")
app.add_typer(process.app, name="process")
app.add_typer(comment.app, name="comment")
app.add_typer(tasks.app, name="tasks")
app.add_typer(compare.app, name="compare")
app.add_typer(alerts.app, name="alerts")
app.add_typer(user.app, name="user")
app.command()(audit)
app.command("run")(run_stage)
app.add_typer(keys.app, name="keys")
app.add_typer(system.db, name="db")


def run() -> None:
    """The console script; ends the interpreter with the command's status."""
    app()


if __name__ == "__main__":
    run()
