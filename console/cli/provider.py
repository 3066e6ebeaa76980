"""`pressroom provider`: models behind an OpenAI-compatible endpoint."""

from typing import Annotated

import typer

from console.cli import given
from console.cli.options import Active, Name, Test
from console.cli.output import AsJson, Record, facts, line, show, table

app = typer.Typer(no_args_is_help=True, help="Language models that write the comments.")

VARIABLE = "PRESSROOM_PROVIDER_KEY"
BaseUrl = Annotated[
    str, typer.Option(help="The endpoint before /chat/completions: https://api.example.com/v1.", show_default=False)
]
NewBaseUrl = Annotated[str | None, typer.Option(help="Another endpoint.", show_default=False)]
Model = Annotated[str, typer.Option(help="The model's name there.", show_default=False)]
NewModel = Annotated[str | None, typer.Option(help="Another model.", show_default=False)]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the key from stdin.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="The longest answer, in tokens.", show_default=False)
]
Temperature = Annotated[float | None, typer.Option(min=0, max=2, help="How freely it writes.", show_default=False)]
MaxConcurrency = Annotated[
    int | None, typer.Option(min=1, max=500, help="Calls at once, over all processes.", show_default=False)
]


def _facts(found: Record) -> None:
    facts(
        [
            ("Provider", found["name"]),
            ("Endpoint", found["base_url"]),
            ("Model", found["model"]),
            ("Longest answer", found["max_tokens"] and f"{found['max_tokens']} tokens"),
            ("Temperature", found["temperature"]),
            ("Calls at once", found["max_concurrency"]),
            ("Active", found["is_active"]),
            ("Processes", found.get("processes")),
        ]
    )


@app.command()
def add(
    name: Name,
    base_url: BaseUrl,
    model: Model,
    key_stdin: KeyStdin = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    max_concurrency: MaxConcurrency = None,
    test: Test = True,
    as_json: AsJson = False,
) -> None:
    """Add a provider.

    The key comes from a hidden prompt, from stdin with --key-stdin, or from PRESSROOM_PROVIDER_KEY.
    """
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    key = given.secret("Key", VARIABLE, "--key-stdin", from_stdin=key_stdin)
    wanted = providers.ProviderChange(base_url, model, None, max_tokens, temperature, max_concurrency)
    found = visiting(lambda visit: providers.add(visit, name, wanted, key, test=test))
    how = "it answers" if test else "not tested"
    show(found, lambda: line(f"Added provider “{found['name']}”: {found['model']}; {how}."), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the providers."""
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    found = visiting(providers.listed)

    def human() -> None:
        rows = [(row["name"], row["model"], row["base_url"], "yes" if row["is_active"] else "no") for row in found]
        table(("Provider", "Model", "Endpoint", "Active"), rows, "No providers yet: `pressroom provider add`.")

    show({"providers": found}, human, as_json=as_json)


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """Show one provider, without its key."""
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    found = visiting(lambda visit: providers.show(visit, name))
    show(found, lambda: _facts(found), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    base_url: NewBaseUrl = None,
    model: NewModel = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Ask for a new key.")] = False,
    key_stdin: KeyStdin = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    max_concurrency: MaxConcurrency = None,
    active: Active = None,
    as_json: AsJson = False,
) -> None:
    """Change a provider; what waited because it was refused goes on at once."""
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    wants = new_key or key_stdin
    key = given.secret("Key", VARIABLE, "--key-stdin", from_stdin=key_stdin) if wants else None
    wanted = providers.ProviderChange(base_url, model, key, max_tokens, temperature, max_concurrency, active)
    found = visiting(lambda visit: providers.change(visit, name, wanted))
    show(found, lambda: _facts(found), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove a provider that no process uses."""
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    found = visiting(lambda visit: providers.remove(visit, name))
    show(found, lambda: line(f"Removed provider “{name}”."), as_json=as_json)


@app.command("test")
def try_out(name: Name, as_json: AsJson = False) -> None:
    """Ask the model for one token."""
    from console.cli.desk import providers, visiting  # noqa: PLC0415 - quick start

    found = visiting(lambda visit: providers.test(visit, name))
    show(found, lambda: line(f"The model of “{name}” answers."), as_json=as_json)
