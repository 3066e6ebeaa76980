"""Services whose models speak OpenAI's protocol, and what each wants: so that a name and a key are enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.errors import Invalid
from lib.llm import Dialect
from lib.monitoring.models import LLMProviderConfiguration

NO_KEY = "none"  # a client sends some key; a server that wants none does not look at it
MOST_MONEY = Decimal(99_999_999)
MOST_TOKENS = 10**15


@dataclass(frozen=True)
class Preset:
    """A service. `max_tokens`: the answer's bound where thinking counts into it; None leaves it to the setting."""

    name: str
    label: str
    base_url: str
    model: str
    needs_key: bool = True
    dialect: Dialect = field(default_factory=Dialect)
    max_tokens: int | None = None


# The models are those that are cheap and good enough for a few friendly sentences. Prices change: the user sets them.
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        # Models from o1 on refuse max_tokens, and the thinking ones any temperature but their own.
        Preset(
            "openai",
            "OpenAI",
            "https://api.openai.com/v1",
            "gpt-5-mini",
            dialect=Dialect("max_completion_tokens", temperature=False),
            max_tokens=4000,
        ),
        # Takes either parameter; temperatures above 1 count as 1.
        Preset("anthropic", "Anthropic", "https://api.anthropic.com/v1", "claude-haiku-4-5"),
        # Answers 422 to every parameter that it does not know, max_completion_tokens among them.
        Preset("mistral", "Mistral", "https://api.mistral.ai/v1", "mistral-small-latest"),
        Preset(
            "google",
            "Google Gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "gemini-flash-latest",
            max_tokens=4000,
        ),
        Preset("ollama", "Ollama", "http://127.0.0.1:11434/v1", "llama3.2", needs_key=False),
    )
}


def named(name: str) -> Preset:
    """Raise Invalid, naming what there is."""
    found = PRESETS.get(name.strip().lower())
    if found is None:
        raise Invalid(f"There is no preset “{name}”; there are: {', '.join(PRESETS)}")
    return found


def dialect_of(preset: str | None) -> Dialect:
    """How the service wants to be asked; the older way where nothing is known."""
    found = PRESETS.get(preset or "")
    return found.dialect if found else Dialect()


@dataclass(frozen=True)
class Budget:
    """What may be used in a day; None is no limit. Money is in the provider's currency."""

    tokens: int | None = None
    money: Decimal | None = None

    def __bool__(self) -> bool:
        return self.tokens is not None or self.money is not None


@dataclass(frozen=True)
class Terms:
    """What a provider costs and how much of it a day; None stays as it is, a budget below 0 is taken away."""

    input_price: Decimal | None = None
    output_price: Decimal | None = None
    currency: str | None = None
    budget_tokens: int | None = None
    budget_money: Decimal | None = None


def apply_preset(row: LLMProviderConfiguration, preset: Preset) -> None:
    """What the preset knows, where nothing was given. An endpoint of one's own keeps the service's dialect."""
    row.preset = preset.name
    row.base_url = row.base_url or preset.base_url
    row.model_name = row.model_name or preset.model
    row.max_tokens = row.max_tokens or preset.max_tokens


def apply_terms(row: LLMProviderConfiguration, terms: Terms) -> None:
    """Raise Invalid for what cannot be, and for a budget of money where nothing has a price."""
    if terms.currency is not None:
        row.currency = _currency(terms.currency)
    for column in ("input_price", "output_price"):
        if (price := getattr(terms, column)) is not None:
            setattr(row, column, _money(price, "A price", column))
    apply_budget(row, terms.budget_tokens, terms.budget_money)
    if row.budget_money is not None and row.input_price is None and row.output_price is None:
        why = f"Provider “{row.name}” has no prices, so a budget of money would never be used up"
        raise Invalid(why, "budget_money")


@dataclass(frozen=True)
class Priced:
    """A provider as far as a process's budget of money counts on it."""

    name: str
    currency: str
    has_prices: bool


def check_money(providers: Sequence[Priced]) -> None:
    """Raise Invalid where a process's budget of money could not be counted over these, its providers."""
    for each in providers:
        if not each.has_prices:
            why = f"Provider “{each.name}” has no prices, so a budget of money would never be used up"
            raise Invalid(why, "budget_money")
    if len({each.currency for each in providers}) > 1:
        listed = ", ".join(f"“{each.name}” in {each.currency}" for each in providers)
        raise Invalid(f"A budget of money is in one currency, but the providers' prices are: {listed}", "budget_money")


def apply_budget(row: Any, tokens: int | None, money: Decimal | None) -> None:
    """Set a process's or a provider's daily budget. None stays as it is; below 0 takes it away."""
    if tokens is not None:
        if tokens > MOST_TOKENS:
            why = f"A budget of {tokens:,} tokens is no budget; at most {MOST_TOKENS:,} are possible"
            raise Invalid(why, "budget_tokens")
        row.budget_tokens = None if tokens < 0 else tokens
    if money is not None:
        row.budget_money = None if money.is_finite() and money < 0 else _money(money, "A budget", "budget_money")


def money(text: str | None, what: str) -> Decimal | None:
    """An amount as people type it. Raise Invalid that names it."""
    if text is None:
        return None
    try:
        return Decimal(text.strip())
    except InvalidOperation as error:
        raise Invalid(f"{what} must be a number such as 0.25, not “{text}”") from error


def _money(amount: Decimal, what: str, field: str) -> Decimal:
    if not amount.is_finite() or not 0 <= amount <= MOST_MONEY:
        raise Invalid(f"{what} must be a number from 0 to {MOST_MONEY:,}", field)
    return round(amount, 4)


def _currency(text: str) -> str:
    clean = text.strip().upper()
    if len(clean) != 3 or not (clean.isascii() and clean.isalpha()):  # noqa: PLR2004 - as ISO 4217 has it
        raise Invalid(f"A currency is three letters such as CHF, not “{text}”", "currency")
    return clean
