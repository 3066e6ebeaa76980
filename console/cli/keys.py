"""`pressroom keys`: what the secrets in the database are encrypted with."""

from typing import Annotated

import typer

from console.cli.edge import FAILED
from console.cli.output import AsJson, complain, line, show

app = typer.Typer(no_args_is_help=True, help="The keys that stored passwords and API keys are encrypted with.")


@app.command()
def generate(as_json: AsJson = False) -> None:
    """Make the key file, if there are no keys yet. Keep a copy: without it, no stored secret opens."""
    from lib.monitoring import secrets  # noqa: PLC0415 - quick start
    from lib.settings import Settings  # noqa: PLC0415

    file = secrets.generate(Settings())
    show({"file": file}, lambda: line(f"Made {file}. Keep a copy in a safe place."), as_json=as_json)


@app.command()
def rotate(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Then forget the old keys, when no run uses them any more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key and bring every stored secret under it; cut short, it can be run again."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from lib.monitoring import secrets  # noqa: PLC0415

    done = visiting(lambda visit: secrets.rotate(visit.settings, visit.database, drop_old=drop_old))

    def human() -> None:
        new = "A new key is first" if done.new_key else "The first key of PRESSROOM_ENCRYPTION_KEYS is used"
        line(f"{new}; {done.rotated} secrets were brought under it. Keys: {done.keys}.")
        if done.keys > 1:
            line("The old keys still open: `pressroom keys rotate --drop-old` forgets them.")

    document = {"rotated": done.rotated, "unopened": done.unopened, "keys": done.keys, "new_key": done.new_key}
    show(document, human, as_json=as_json)
    if done.unopened:
        complain(f"no present key opens the secrets of {', '.join(done.unopened)}; set them anew (`… set NAME`)")
        raise typer.Exit(FAILED)
