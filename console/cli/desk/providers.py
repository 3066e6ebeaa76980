"""Providers: models behind an OpenAI-compatible endpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from console.cli.output import Record
from console.cli.visit import Visit
from lib.errors import Conflict, Invalid, PressroomError
from lib.monitoring import fields, lifecycle
from lib.monitoring.models import LLMProviderConfiguration
from lib.monitoring.store import catalog


@dataclass(frozen=True)
class ProviderChange:
    """What a provider is to be; None stays as it is, or is the setting's default for a new one."""

    base_url: str | None = None
    model: str | None = None
    key: Callable[[], str] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    max_concurrency: int | None = None
    is_active: bool | None = None


def record(row: LLMProviderConfiguration) -> Record:
    """Without the key."""
    return {
        "id": row.id,
        "name": row.name,
        "base_url": row.base_url,
        "model": row.model_name,
        "max_tokens": row.max_tokens,
        "temperature": row.temperature,
        "max_concurrency": row.max_concurrency,
        "is_active": row.is_active,
        "created_at": row.created_at,
    }


def _apply(row: LLMProviderConfiguration, wanted: ProviderChange) -> None:
    if wanted.base_url is not None:
        row.base_url = fields.endpoint(wanted.base_url)
    if wanted.model is not None:
        row.model_name = fields.name(wanted.model, "The model's name", 200)
    if wanted.temperature is not None and not math.isfinite(wanted.temperature):
        raise Invalid("The temperature must be a number from 0 to 2")
    for column in ("max_tokens", "temperature", "max_concurrency", "is_active"):
        value = getattr(wanted, column)
        if value is not None:
            setattr(row, column, value)


async def add(visit: Visit, name: str, wanted: ProviderChange, key: Callable[[], str], *, test: bool) -> Record:
    """Raises what a call of the model raises, with nothing saved."""
    desk = visit.desk()
    row = LLMProviderConfiguration(user_id=visit.user_id, name=fields.name(name, "A provider's name"))
    _apply(row, wanted)
    async with visit.database.session() as session:
        if any(o.name == row.name for o in await catalog.listed(session, LLMProviderConfiguration, visit.user_id)):
            raise Conflict(f"There is a provider “{row.name}” already")
    row.api_key_encrypted = desk.vault.encrypt(_clean_key(key()))
    if test:
        await _try_out(desk, row, "; nothing was saved (--no-test saves it untested)")
    async with visit.database.session() as session:
        await catalog.add(session, row)
        await session.refresh(row)
        return record(row) | {"tested": test}


def _clean_key(key: str) -> str:
    """It goes into a header, which takes ASCII alone."""
    clean = fields.secret(key.strip(), "The key")
    if not clean.isascii():
        raise Invalid("The key holds characters that no key has")
    return clean


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        return [record(row) for row in await catalog.listed(session, LLMProviderConfiguration, visit.user_id)]


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.user_id, name)
        return record(row) | {"processes": await catalog.used_by(session, row)}


async def change(visit: Visit, name: str, wanted: ProviderChange) -> Record:
    """What waited for the provider is woken."""
    vault = visit.desk().vault
    async with visit.database.session() as session:
        await catalog.by_name(session, LLMProviderConfiguration, visit.user_id, name)
    key = None if wanted.key is None else _clean_key(wanted.key())
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.user_id, name)
        _apply(row, wanted)
        if key is not None:
            row.api_key_encrypted = vault.encrypt(key)
        await session.flush()
        await catalog.wake_waiting(session, provider_id=row.id)
        await session.refresh(row)
        return record(row)


async def remove(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        await catalog.remove(session, LLMProviderConfiguration, visit.user_id, name)
    return {"removed": name}


async def test(visit: Visit, name: str) -> Record:
    """Ask the model for one token."""
    desk = visit.desk()
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.user_id, name)
    await _try_out(desk, row, "")
    return {"name": row.name, "works": True}


async def _try_out(desk: lifecycle.Desk, row: LLMProviderConfiguration, but: str) -> None:
    try:
        await lifecycle.test_provider(desk, row)
    except PressroomError as error:
        raise type(error)(f"{error}{but}") from error
