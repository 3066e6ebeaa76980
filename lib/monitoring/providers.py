"""The providers and templates of one run: read once, their clients opened once."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from lib import http
from lib.database import Database
from lib.errors import Refused
from lib.llm import LLM
from lib.monitoring.store import catalog
from lib.settings import Settings
from lib.vault import Vault


@dataclass(frozen=True)
class Provider:
    """A provider as generation needs it."""

    id: UUID
    name: str
    llm: LLM
    max_tokens: int
    temperature: float | None
    limit: int
    # Bounds the calls of this run; the claim bounds those of all workers together.
    slots: asyncio.Semaphore


@dataclass(frozen=True)
class Template:
    """A prompt with placeholders."""

    id: UUID
    system_prompt: str
    user_prompt_template: str


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
                async with self._database.session() as session:
                    row = await catalog.template_by_id(session, template_id)
                self._templates[template_id] = Template(row.id, row.system_prompt, row.user_prompt_template)
            return self._templates[template_id]

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.llm.aclose()

    async def _read_provider(self, provider_id: UUID) -> Provider:
        async with self._database.session() as session:
            row = await catalog.provider_by_id(session, provider_id)
        if not row.is_active:
            raise Refused(f"Provider {row.name} is switched off")
        key = self._vault.decrypt(row.api_key_encrypted)
        # The client loads certificates and half a second of modules: not on the event loop.
        llm = await asyncio.to_thread(LLM, row.name, row.base_url, row.model_name, key, llm_limits(self._settings))
        limit = row.max_concurrency or self._settings.generation_concurrency
        return Provider(
            id=row.id,
            name=row.name,
            llm=llm,
            max_tokens=row.max_tokens or self._settings.llm_max_tokens,
            temperature=row.temperature,
            limit=limit,
            slots=asyncio.Semaphore(limit),
        )
