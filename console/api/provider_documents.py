"""Providers as documents."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from console.api.logins import Use, Works
from console.api.process_documents import Budgeted
from console.api.schemas import Address, Cleared, Given, Kept, Line, Money, Name, Secret, Tokens, Told
from console.desk.providers import CLEARABLE, HOTTEST, MOST_AT_ONCE, MOST_TOKENS, ProviderChange

PresetName = Literal["openai", "anthropic", "mistral", "google", "ollama"]
Model = Annotated[Line, Field(min_length=1, max_length=200)]
MaxTokens = Annotated[int, Field(ge=1, le=MOST_TOKENS, description="The longest answer.")]
Temperature = Annotated[float, Field(ge=0, le=HOTTEST, allow_inf_nan=False)]
AtOnce = Annotated[int, Field(ge=1, le=MOST_AT_ONCE, description="Calls at the same time, over all workers.")]
Price = Annotated[Money, Field(description="For a million tokens.")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{3}$")]
NO_BUDGET: dict[str, Any] = {"budget_tokens": -1, "budget_money": Decimal(-1)}


class PresetDocument(Told):
    """A service that is known: with its name and a key a provider is complete."""

    name: PresetName
    label: str
    base_url: str
    model: str
    needs_key: bool
    max_tokens: int | None


class Presets(Told):
    """Those that there are."""

    presets: list[PresetDocument]


class Used(Told):
    """What was used of it today."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    currency: str


class ProviderDocument(Told):
    """A provider, without its key. Prices are for a million tokens; `owner` is named to administrators only."""

    id: UUID
    version: str
    name: str
    owner: str | None
    preset: str | None
    base_url: str
    model: str
    max_tokens: int | None
    temperature: float | None
    max_concurrency: int | None
    is_active: bool
    input_price: Decimal | None
    output_price: Decimal | None
    currency: str
    budget_tokens: int | None
    budget_money: Decimal | None
    down_until: datetime | None
    down_reason: str | None
    created_at: datetime
    processes: list[Use]
    used: Used | None = Field(description="Today; null when nothing was.")
    budgets: list[Budgeted] = Field(description="As they stand today.")


class ProviderRequest(Given):
    """A new provider: of a preset, or with an address and a model of its own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "model", "preset": "mistral", "key": "not-this-one", "budget_tokens": 1_000_000}]
        }
    )

    name: Name
    preset: PresetName | None = None
    base_url: Address | None = None
    model: Model | None = None
    key: Secret | None = None
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    max_concurrency: AtOnce | None = None
    is_active: bool = True
    input_price: Price | None = None
    output_price: Price | None = None
    currency: Currency | None = None
    budget_tokens: Tokens | None = None
    budget_money: Money | None = None
    test: Annotated[bool, Field(description="Ask for one token first, and save nothing if that fails.")] = False

    def wanted(self) -> ProviderChange:
        return ProviderChange(**self.model_dump(exclude={"name", "key", "test"}))


class ProviderPatch(Given):
    """What is left out stays as it is; null takes away what need not be there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_tokens": 400, "budget_money": "2.50"}]})

    name: Kept[Name] = None
    preset: Kept[PresetName] = None
    base_url: Kept[Address] = None
    model: Kept[Model] = None
    key: Kept[Secret] = None
    max_tokens: Cleared[MaxTokens] = None
    temperature: Cleared[Temperature] = None
    max_concurrency: Cleared[AtOnce] = None
    is_active: Kept[bool] = None
    input_price: Cleared[Price] = None
    output_price: Cleared[Price] = None
    currency: Kept[Currency] = None
    budget_tokens: Cleared[Tokens] = None
    budget_money: Cleared[Money] = None

    def wanted(self) -> ProviderChange:
        said: dict[str, Any] = self.model_dump(exclude_unset=True, exclude={"key"})
        taken = {name for name, value in said.items() if value is None}
        said |= {name: none for name, none in NO_BUDGET.items() if name in taken}
        key = None if self.key is None else self.key.get_secret_value
        return ProviderChange(**said, key=key, cleared=frozenset(taken & CLEARABLE))


class ProviderWorks(Works):
    """It was asked for one token, and answered."""

    milliseconds: int
    input_tokens: int | None
    output_tokens: int | None
    model: str | None
