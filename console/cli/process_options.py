"""What a process can be given, as options of `pressroom process add` and `set`."""

from typing import Annotated, Literal

import typer

from console.cli.options import name_callback, names_callback

State = Literal["publiziert", "entwurf", "lehrpersonenkontrolle", "any"]

Logins = Annotated[
    list[str] | None,
    typer.Option("--login", help="A login that looks and comments. Repeatable.", callback=names_callback),
]
Templates = Annotated[
    list[str] | None,
    typer.Option("--template", help="A prompt; one comment each. Repeatable.", callback=names_callback),
]
Provider = Annotated[
    str | None, typer.Option(help="The model that writes.", callback=name_callback, show_default=False)
]
Fallback = Annotated[
    str | None,
    typer.Option(help="The provider that writes while the first is down; “” for none.", show_default=False),
]
BudgetTokens = Annotated[
    int | None, typer.Option(help="Tokens that it may use a day; -1 takes the limit away.", show_default=False)
]
BudgetMoney = Annotated[
    str | None,
    typer.Option(help="Money that it may use a day, in its provider's currency; -1 for no limit.", show_default=False),
]
Description = Annotated[str | None, typer.Option(help="What it is for.", show_default=False)]
Tab = Annotated[
    str | None, typer.Option(help="The tab of the index: alle, home, or a class's number.", show_default=False)
]
Category = Annotated[str | None, typer.Option(help="Only this category, by number.", show_default=False)]
Task = Annotated[str | None, typer.Option(help="Only this task, by number.", show_default=False)]
Search = Annotated[str | None, typer.Option(help="Only titles that hold these words.", show_default=False)]
NewState = Annotated[State | None, typer.Option("--state", help="Only articles in this state.", show_default=False)]
Limit = Annotated[
    int | None, typer.Option(min=1, max=1000, help="New articles to take from one look.", show_default=False)
]
Post = Annotated[
    bool | None,
    typer.Option(
        "--post/--generate-only",
        help="Post publicly without asking, or wait for approval of each comment (the default).",
        show_default=False,
    ),
]
Hide = Annotated[
    bool | None,
    typer.Option("--hide-comments/--show-comments", help="Whether the site hides what is posted.", show_default=False),
]
MaxMinutes = Annotated[
    int | None,
    typer.Option(min=1, max=1440, help="How long it runs before it stops by itself (60).", show_default=False),
]
