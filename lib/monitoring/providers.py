"""The providers and templates of one run: read once, their clients opened once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncSession

from lib import http
from lib.database import Database
from lib.errors import PressroomError, Refused
from lib.llm import LLM, Unreachable
from lib.monitoring import presets
from lib.monitoring.presets import Budget
from lib.monitoring.store import catalog
from lib.monitoring.store import providers as store
from lib.settings import Settings
from lib.vault import Vault

Row = TypeVar("Row")

# So many failures in a row, whatever was asked, are the provider's.
IN_A_ROW = 3
MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """Money per million tokens; None is unknown."""

    input: Decimal | None
    output: Decimal | None
    currency: str

    def of(self, input_tokens: int, output_tokens: int) -> Decimal | None:
        """What so many tokens cost; None where nothing has a price."""
        if self.input is None and self.output is None:
            return None
        return (input_tokens * (self.input or Decimal(0)) + output_tokens * (self.output or Decimal(0))) / MILLION


class Availability:
    """Whether a provider is worth asking, as this run knows it.

    `down`: seconds for which it is not; None when it works, 0 when it was down and may be tried again.
    """

    def __init__(self, down: float | None = None, reason: str | None = None) -> None:
        self._until = time.monotonic() + (down or 0)
        self._doubted = down is not None
        self._in_a_row = 0
        self.reason = reason or "It was down of late"

    @property
    def is_down(self) -> bool:
        return time.monotonic() < self._until

    def worked(self) -> bool:
        """Whether that is news."""
        news, self._doubted, self._in_a_row = self._doubted and not self.is_down, False, 0
        return news

    def failed(self, error: PressroomError) -> bool:
        """Whether it is to be left alone: it refuses, cannot be reached, failed in a row, or failed its trial."""
        self._in_a_row += 1
        at_once = isinstance(error, Refused | Unreachable) or self._doubted
        return self.is_down or at_once or self._in_a_row >= IN_A_ROW

    def rest(self, seconds: float, reason: str) -> None:
        """Do not ask it for so long."""
        self._until, self._doubted, self._in_a_row, self.reason = time.monotonic() + seconds, True, 0, reason


@dataclass(frozen=True)
class Provider:
    """A provider as generation needs it."""

    id: UUID
    name: str
    llm: LLM
    max_tokens: int
    temperature: float | None
    limit: int
    # Bounds the calls of this worker; the claim bounds those of all workers together.
    slots: asyncio.Semaphore
    prices: Prices
    budget: Budget
    availability: Availability


@dataclass(frozen=True)
class Template:
    """A prompt with placeholders."""

    id: UUID
    system_prompt: str
    user_prompt_template: str


Slots = WeakValueDictionary[tuple[UUID, int], asyncio.Semaphore]
_slots = WeakKeyDictionary[asyncio.AbstractEventLoop, Slots]()


def _slots_of(provider_id: UUID, limit: int) -> asyncio.Semaphore:
    """Of all runs beside each other: one that had its own would claim in vain what the others have taken."""
    here = _slots.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return here.setdefault((provider_id, limit), asyncio.Semaphore(limit))


def llm_limits(settings: Settings) -> http.Limits:
    return http.Limits(
        seconds=settings.llm_timeout,
        total_seconds=settings.llm_timeout,
        max_bytes=1_000_000,
        allow_private=settings.allow_private_addresses,
    )


class Providers:
    """A cache that lives as long as a run, so that a changed provider is used from the next tick on."""

    def __init__(self, settings: Settings, database: Database, vault: Vault) -> None:
        self._settings = settings
        self._database = database
        self._vault = vault
        self._providers: dict[UUID, Provider] = {}
        self._templates: dict[UUID, Template] = {}
        self._reading = asyncio.Lock()

    async def provider(self, provider_id: UUID) -> Provider:
        """Raise Refused when it is switched off or its key does not open."""
        async with self._reading:
            if provider_id not in self._providers:
                self._providers[provider_id] = await self._read_provider(provider_id)
            return self._providers[provider_id]

    async def template(self, template_id: UUID) -> Template:
        async with self._reading:
            if template_id not in self._templates:
                row = await self._found(catalog.template_by_id, template_id)
                self._templates[template_id] = Template(row.id, row.system_prompt, row.user_prompt_template)
            return self._templates[template_id]

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.llm.aclose()

    async def _found(self, read: Callable[[AsyncSession, UUID], Awaitable[Row]], id_: UUID) -> Row:
        return await self._database.run_transaction(lambda session: read(session, id_))

    async def _read_provider(self, provider_id: UUID) -> Provider:
        found = await self._found(store.read, provider_id)
        row = found.row
        if not row.is_active:
            raise Refused(f"Provider {row.name} is switched off")
        key = self._vault.decrypt(row.api_key_encrypted)
        dialect = presets.dialect_of(row.preset)
        # The client loads certificates and half a second of modules: not on the event loop.
        llm = await asyncio.to_thread(
            LLM, row.name, row.base_url, row.model_name, key, llm_limits(self._settings), dialect
        )
        limit = row.max_concurrency or self._settings.generation_concurrency
        return Provider(
            id=row.id,
            name=row.name,
            llm=llm,
            max_tokens=row.max_tokens or self._settings.llm_max_tokens,
            temperature=row.temperature,
            limit=limit,
            slots=_slots_of(provider_id, limit),
            prices=Prices(row.input_price, row.output_price, row.currency),
            budget=Budget(row.budget_tokens, row.budget_money),
            availability=Availability(found.down, row.down_reason),
        )
