"""Providers: models behind an OpenAI-compatible endpoint."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import given, removal, trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict, Invalid, PressroomError
from lib.llm import Completion
from lib.monitoring import fields, lifecycle, presets
from lib.monitoring.models import LLMProviderConfiguration
from lib.monitoring.presets import NO_KEY, Priced, Terms
from lib.monitoring.store import budgets, catalog

MOST_TOKENS = 100_000
MOST_AT_ONCE = 500
HOTTEST = 2
TERMS = ("input_price", "output_price", "currency", "budget_tokens", "budget_money")
CLEARABLE = frozenset({"max_tokens", "temperature", "max_concurrency", "input_price", "output_price"})


@dataclass(frozen=True)
class ProviderChange:
    """What a provider is to be; None stays as it is, or is the setting's default for a new one.

    `preset`: a service of `lib.monitoring.presets`, which fills in what is not given. Prices: per million tokens.
    Budgets: a day's; below 0 takes one away.
    """

    base_url: str | None = None
    model: str | None = None
    key: Callable[[], str] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    max_concurrency: int | None = None
    is_active: bool | None = None
    name: str | None = None
    preset: str | None = None
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    currency: str | None = None
    budget_tokens: int | None = None
    budget_money: Decimal | None = None
    cleared: frozenset[str] = frozenset()
    """Which of `CLEARABLE` are to have no value any more."""

    @property
    def terms(self) -> Terms:
        return Terms(self.input_price, self.output_price, self.currency, self.budget_tokens, self.budget_money)


def record(row: LLMProviderConfiguration) -> Record:
    """Without the key."""
    return {
        "id": row.id,
        "owner_id": row.user_id,
        "version": version(row),
        "name": row.name,
        "preset": row.preset,
        "base_url": row.base_url,
        "model": row.model_name,
        "max_tokens": row.max_tokens,
        "temperature": row.temperature,
        "max_concurrency": row.max_concurrency,
        "is_active": row.is_active,
        **{name: getattr(row, name) for name in TERMS},
        "down_until": row.down_until,
        "down_reason": row.down_reason,
        "created_at": row.created_at,
    }


def version(row: LLMProviderConfiguration) -> str:
    return given.version_of(
        row.name,
        row.preset,
        row.base_url,
        row.model_name,
        row.max_tokens,
        row.temperature,
        row.max_concurrency,
        row.is_active,
        *(getattr(row, name) for name in TERMS),
        row.api_key_encrypted,
    )


def _apply(row: LLMProviderConfiguration, wanted: ProviderChange) -> None:
    if wanted.name is not None:
        row.name = given.new_name(wanted.name, "A provider's name")
    if wanted.base_url is not None:
        with given.field("base_url"):
            row.base_url = fields.endpoint(wanted.base_url)
    if wanted.model is not None:
        with given.field("model"):
            row.model_name = fields.name(wanted.model, "The model's name", 200)
    if wanted.temperature is not None and not (
        math.isfinite(wanted.temperature) and 0 <= wanted.temperature <= HOTTEST
    ):
        raise Invalid("The temperature must be a number from 0 to 2", "temperature")
    given.number(wanted.max_tokens, "The longest answer", 1, MOST_TOKENS, name="max_tokens")
    given.number(wanted.max_concurrency, "The number of calls at once", 1, MOST_AT_ONCE, name="max_concurrency")
    for column in ("max_tokens", "temperature", "max_concurrency", "is_active"):
        value = getattr(wanted, column)
        if value is not None:
            setattr(row, column, value)
    if wanted.preset is not None:
        with given.field("preset"):
            presets.apply_preset(row, presets.named(wanted.preset))
    for column in wanted.cleared & CLEARABLE:
        setattr(row, column, None)
    if any(getattr(wanted, name) is not None or name in wanted.cleared for name in TERMS):
        presets.apply_terms(row, wanted.terms)


def _priced(row: LLMProviderConfiguration) -> Priced:
    return Priced(row.name, row.currency, (row.input_price, row.output_price) != (None, None))


async def _keep_budgets(session: AsyncSession, row: LLMProviderConfiguration, was: Priced) -> None:
    """Raise Invalid, naming the processes, where their budgets of money would count nothing, or two currencies."""
    now = _priced(row)
    if now == was:
        return
    with session.no_autoflush:
        counting = await budgets.counting_on(session, row.id)
    if counting and was.has_prices and not now.has_prices:
        why = f"Without prices the budget of money of {_quoted(counting)} would never be used up; take that away first"
        raise Invalid(why, "input_price")
    mixed = [name for name, others in counting.items() if any(other.currency != now.currency for other in others)]
    if mixed and now.currency != was.currency:
        why = f"The budget of money of {_quoted(mixed)} would count two currencies; take that away first"
        raise Invalid(why, "currency")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)


def _complete(row: LLMProviderConfiguration) -> None:
    """Raise Invalid for a new one that neither a preset nor the person gave what it takes."""
    if not row.base_url:
        raise Invalid("A provider needs a base URL, or a preset that knows it", "base_url")
    if not row.model_name:
        raise Invalid("A provider needs a model, or a preset that knows one", "model")


def _key_of(row: LLMProviderConfiguration, key: Callable[[], str] | None) -> str:
    """None is asked for where the preset's service wants none."""
    needs = row.preset is None or presets.named(row.preset).needs_key
    if key is None:
        if needs:
            raise Invalid("A provider needs a key", "key")
        return NO_KEY
    return _clean_key(key())


async def add(visit: Visit, name: str, wanted: ProviderChange, key: Callable[[], str] | None, *, test: bool) -> Record:
    """Raises what a call of the model raises, with nothing saved."""
    desk = visit.desk()
    row = LLMProviderConfiguration(user_id=visit.user_id, name=given.new_name(name, "A provider's name"))
    _apply(row, wanted)
    _complete(row)
    async with visit.database.session() as session:
        if any(o.name == row.name for o in await catalog.listed(session, LLMProviderConfiguration, visit.user_id)):
            raise Conflict(f"There is a provider “{row.name}” already", "name")
    row.api_key_encrypted = desk.vault.encrypt(_key_of(row, key))
    if test:
        await _try_out(desk, row, given.NOT_SAVED)
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await session.refresh(row)
        details = {"name": row.name, "base_url": row.base_url, "model": row.model_name, "tested": test}
        await trail.note(session, visit, "provider.add", row.id, details)
        return record(row) | {"tested": test}


def _clean_key(key: str) -> str:
    """It goes into a header, which takes ASCII alone."""
    with given.field("key"):
        clean = fields.secret(key.strip(), "The key")
        if not clean.isascii():
            raise Invalid("The key holds characters that no key has")
    return clean


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, LLMProviderConfiguration, visit.sees)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.sees, name)
        return record(row) | {"processes": await catalog.used_by(session, row)}


async def change(visit: Visit, name: str, wanted: ProviderChange, seen: str | None = None) -> Record:
    """What waited for the provider is woken. Raise Conflict when it is not as it was seen.

    Raise Invalid for another server without a key: the one that is there was not meant for it.
    """
    vault = visit.desk().vault
    async with visit.database.session() as session:
        await catalog.by_name(session, LLMProviderConfiguration, visit.sees, name)
    key = None if wanted.key is None else _clean_key(wanted.key())
    async with visit.database.session() as session:
        row = await catalog.locked(session, LLMProviderConfiguration, visit.sees, name)
        given.as_seen(f"The provider “{row.name}”", version(row), seen)
        before = _origin(row.base_url)
        was = _priced(row)
        _apply(row, wanted)
        await _keep_budgets(session, row, was)
        if key is None and _origin(row.base_url) != before and vault.decrypt(row.api_key_encrypted) != NO_KEY:
            raise Invalid("Another server takes the key anew", "key")
        if key is not None:
            row.api_key_encrypted = vault.encrypt(key)
        row.down_until = row.down_reason = None
        details = {"name": row.name, "changed": trail.changes(row)}
        await catalog.write(session, row)
        await catalog.wake_waiting(session, provider_id=row.id)
        await trail.note(session, visit, "provider.change", row.id, details)
        return record(row)


def _origin(base_url: str) -> tuple[str, str | None, int | None]:
    """Who is asked: a change of the path alone stays with the same server."""
    parts = urlsplit(base_url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def remove(visit: Visit, name: str, seen: str | None = None) -> Record:
    return await removal.remove(visit, LLMProviderConfiguration, name, version, seen)


async def test(visit: Visit, name: str) -> Record:
    """Ask the model for one token."""
    desk = visit.desk()
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.sees, name)
    began = time.perf_counter()
    answered = await _try_out(desk, row, "")
    return {
        "name": row.name,
        "works": True,
        "milliseconds": round((time.perf_counter() - began) * 1000),
        "input_tokens": answered.input_tokens if answered else None,
        "output_tokens": answered.output_tokens if answered else None,
        "model": answered.model if answered else row.model_name,
    }


async def _try_out(desk: lifecycle.Desk, row: LLMProviderConfiguration, but: str) -> Completion | None:
    try:
        return await lifecycle.test_provider(desk, row)
    except PressroomError as error:
        raise type(error)(f"{error}{but}") from error
