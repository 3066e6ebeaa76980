"""`pressroom template`: the prompts that a model is given."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli import given
from console.cli.options import Active, Name
from console.cli.output import AsJson, facts, line, show, table, when
from console.record import Record

app = typer.Typer(no_args_is_help=True, help="Prompts, with placeholders such as {article_title}.")

UserPrompt = Annotated[
    Path, typer.Option(metavar="FILE", help="What to ask, with placeholders; - is stdin.", show_default=False)
]
NewUserPrompt = Annotated[Path | None, typer.Option(metavar="FILE", help="Another question.", show_default=False)]
SystemPrompt = Annotated[
    Path, typer.Option(metavar="FILE", help="Who the model is to be; it has no placeholders.", show_default=False)
]
NewSystemPrompt = Annotated[Path | None, typer.Option(metavar="FILE", help="Another role.", show_default=False)]


def _say_all(found: Record) -> None:
    owner = "the system" if found["of_system"] else None
    facts(
        [
            ("Template", found["name"]),
            ("Of", owner),
            ("Active", found["is_active"]),
            ("Changed", found["updated_at"]),
            ("Processes", found["processes"]),
        ]
    )
    line(f"\nSystem prompt\n{found['system_prompt']}\n\nUser prompt\n{found['user_prompt']}")


@app.command()
def add(name: Name, user_prompt: UserPrompt, system_prompt: SystemPrompt, as_json: AsJson = False) -> None:
    """Add a template from two UTF-8 files.

    Placeholders of the user prompt: {article_title}, {article_content}, {article_author}, {article_category},
    {article_published_at}, {article_url}, {article_raw_html}, {mymoment_username}.
    """
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import templates  # noqa: PLC0415

    user = given.text_file(user_prompt, "The user prompt")
    system = given.text_file(system_prompt, "The system prompt")
    found = visiting(lambda visit: templates.add(visit, name, system, user))
    show(found, lambda: line(f"Added template “{found['name']}”."), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the templates, those of the system too."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import templates  # noqa: PLC0415

    found = visiting(templates.listed)

    def human() -> None:
        rows = [
            (
                row["name"],
                "system" if row["of_system"] else "you",
                "yes" if row["is_active"] else "no",
                when(row["updated_at"]),
            )
            for row in found
        ]
        table(("Template", "Of", "Active", "Changed"), rows, "No templates yet: `pressroom template add`.")

    show({"templates": found}, human, as_json=as_json)


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """Show one template with its prompts."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import templates  # noqa: PLC0415

    found = visiting(lambda visit: templates.show(visit, name))
    show(found, lambda: _say_all(found), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    user_prompt: NewUserPrompt = None,
    system_prompt: NewSystemPrompt = None,
    active: Active = None,
    as_json: AsJson = False,
) -> None:
    """Change a template; comments that are generated from now on use it."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import templates  # noqa: PLC0415

    user = None if user_prompt is None else given.text_file(user_prompt, "The user prompt")
    system = None if system_prompt is None else given.text_file(system_prompt, "The system prompt")
    found = visiting(lambda visit: templates.change(visit, name, system, user, active))
    show(found, lambda: line(f"Changed template “{found['name']}”."), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove a template that no process uses."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import templates  # noqa: PLC0415

    found = visiting(lambda visit: templates.remove(visit, name))
    show(found, lambda: line(f"Removed template “{name}”."), as_json=as_json)
