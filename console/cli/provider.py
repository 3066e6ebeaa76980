"""`pressroom provider`: models behind an OpenAI-compatible endpoint."""

import os
from typing import Annotated

import typer

from console.cli import given
from console.cli.options import Active, Name, Test
from console.cli.output import AsJson, facts, line, show, table, when
from console.record import Record

app = typer.Typer(no_args_is_help=True, help="Language models that write the comments.")

VARIABLE = "PRESSROOM_PROVIDER_KEY"
BaseUrl = Annotated[
    str | None,
    typer.Option(help="The endpoint before /chat/completions: https://api.example.com/v1.", show_default=False),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="A service that is known: openai, anthropic, mistral, google or ollama; fills in what is not given.",
        show_default=False,
    ),
]
NewBaseUrl = Annotated[
    str | None, typer.Option(help="Another endpoint; another server takes the key anew.", show_default=False)
]
Model = Annotated[str | None, typer.Option(help="The model's name there.", show_default=False)]
NewModel = Annotated[str | None, typer.Option(help="Another model.", show_default=False)]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the key from stdin.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="The longest answer, in tokens.", show_default=False)
]
Temperature = Annotated[float | None, typer.Option(min=0, max=2, help="How freely it writes.", show_default=False)]
MaxConcurrency = Annotated[
    int | None, typer.Option(min=1, max=500, help="Calls at once, over all processes.", show_default=False)
]
InputPrice = Annotated[
    str | None, typer.Option(help="Money for a million tokens of prompts: 0.25.", show_default=False)
]
OutputPrice = Annotated[str | None, typer.Option(help="Money for a million tokens of answers.", show_default=False)]
Currency = Annotated[str | None, typer.Option(help="Of prices and budgets: USD, CHF, EUR.", show_default=False)]
BudgetTokens = Annotated[
    int | None, typer.Option(help="Tokens a day over all processes; -1 takes the limit away.", show_default=False)
]
BudgetMoney = Annotated[
    str | None, typer.Option(help="Money a day over all processes; -1 takes the limit away.", show_default=False)
]


def _facts(found: Record) -> None:
    facts(
        [
            ("Provider", found["name"]),
            ("Endpoint", found["base_url"]),
            ("Service", found["preset"]),
            ("Model", found["model"]),
            ("Longest answer", found["max_tokens"] and f"{found['max_tokens']} tokens"),
            ("Temperature", found["temperature"]),
            ("Calls at once", found["max_concurrency"]),
            ("Per million tokens", _prices(found)),
            ("Daily budget", _budget(found)),
            ("Down until", found["down_until"] and when(found["down_until"])),
            ("Because", found["down_until"] and found["down_reason"]),
            ("Active", found["is_active"]),
            ("Processes", found.get("processes")),
        ]
    )


def _prices(found: Record) -> str | None:
    named = {"input": found["input_price"], "output": found["output_price"]}
    prices = ", ".join(f"{price} {found['currency']} {what}" for what, price in named.items() if price is not None)
    return prices or None


def _budget(found: Record) -> str | None:
    tokens, money = found["budget_tokens"], found["budget_money"]
    parts = [f"{tokens:,} tokens"] if tokens is not None else []
    parts += [f"{money} {found['currency']}"] if money is not None else []
    return ", ".join(parts) or None


@app.command()
def add(
    name: Name,
    base_url: BaseUrl = None,
    model: Model = None,
    preset: Preset = None,
    key_stdin: KeyStdin = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    max_concurrency: MaxConcurrency = None,
    input_price: InputPrice = None,
    output_price: OutputPrice = None,
    currency: Currency = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    test: Test = True,
    as_json: AsJson = False,
) -> None:
    """Add a provider: a service by its --preset, or any endpoint by its --base-url and --model.

    The key comes from a hidden prompt, from stdin with --key-stdin, or from PRESSROOM_PROVIDER_KEY.
    """
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415
    from lib.monitoring import presets  # noqa: PLC0415

    needs_key = preset is None or presets.named(preset).needs_key or key_stdin or VARIABLE in os.environ
    key = given.secret("Key", VARIABLE, "--key-stdin", from_stdin=key_stdin) if needs_key else None
    wanted = providers.ProviderChange(
        base_url, model, None, max_tokens, temperature, max_concurrency,
        preset=preset,
        input_price=presets.money(input_price, "--input-price"),
        output_price=presets.money(output_price, "--output-price"),
        currency=currency,
        budget_tokens=budget_tokens,
        budget_money=presets.money(budget_money, "--budget-money"),
    )  # fmt: skip
    with given.tested():
        found = visiting(lambda visit: providers.add(visit, name, wanted, key, test=test))
    how = "it answers" if test else "not tested"
    show(found, lambda: line(f"Added provider “{found['name']}”: {found['model']}; {how}."), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the providers."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415

    found = visiting(providers.listed)

    def human() -> None:
        rows = [(row["name"], row["model"], row["base_url"], "yes" if row["is_active"] else "no") for row in found]
        table(("Provider", "Model", "Endpoint", "Active"), rows, "No providers yet: `pressroom provider add`.")

    show({"providers": found}, human, as_json=as_json)


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """Show one provider, without its key."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415

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
    input_price: InputPrice = None,
    output_price: OutputPrice = None,
    currency: Currency = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    active: Active = None,
    as_json: AsJson = False,
) -> None:
    """Change a provider; what waited because it was refused goes on at once."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415
    from lib.monitoring import presets  # noqa: PLC0415

    wants = new_key or key_stdin
    key = given.secret("Key", VARIABLE, "--key-stdin", from_stdin=key_stdin) if wants else None
    wanted = providers.ProviderChange(
        base_url, model, key, max_tokens, temperature, max_concurrency, active,
        input_price=presets.money(input_price, "--input-price"),
        output_price=presets.money(output_price, "--output-price"),
        currency=currency,
        budget_tokens=budget_tokens,
        budget_money=presets.money(budget_money, "--budget-money"),
    )  # fmt: skip
    found = visiting(lambda visit: providers.change(visit, name, wanted))
    show(found, lambda: _facts(found), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove a provider that no process uses."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415

    found = visiting(lambda visit: providers.remove(visit, name))
    show(found, lambda: line(f"Removed provider “{name}”."), as_json=as_json)


@app.command("test")
def try_out(name: Name, as_json: AsJson = False) -> None:
    """Ask the model for one token."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import providers  # noqa: PLC0415

    found = visiting(lambda visit: providers.test(visit, name))
    show(found, lambda: line(f"The model of “{name}” answers."), as_json=as_json)
