"""Arguments and options that several commands have."""

from typing import Annotated

import typer

from lib.monitoring import fields


def name_callback(text: str | None) -> str | None:
    return None if text is None else fields.name(text, "The name")


def names_callback(texts: list[str] | None) -> list[str]:
    return [fields.name(text, "The name") for text in texts or []]


Name = Annotated[str, typer.Argument(help="Its name.", callback=name_callback, show_default=False)]
Test = Annotated[bool, typer.Option("--test/--no-test", help="Try it for real before it is saved.")]
Active = Annotated[bool | None, typer.Option("--active/--inactive", help="Whether it may be used.", show_default=False)]
ProcessName = Annotated[
    str | None, typer.Option("--process", help="Only this process.", callback=name_callback, show_default=False)
]
