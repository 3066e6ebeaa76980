"""What a test needs to exist: a user with a login, a provider, a template and a process."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update

from lib import vault
from lib.database import Database
from lib.monitoring import lifecycle
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, MyMomentLogin, PromptTemplate
from lib.monitoring.store import catalog, comments, processes
from lib.settings import Settings


@dataclass(frozen=True)
class World:
    """Makes records as the CLI would, and reads them as a test asserts them."""

    settings: Settings
    database: Database
    site: str = "http://127.0.0.1:9"

    async def user(self) -> UUID:
        async with self.database.session() as session:
            return await catalog.ensure_user(session, "operator")

    async def login(self, name: str = "bot", username: str = "ki-bot", password: str | None = None) -> UUID:
        box = vault.open_vault(self.settings)
        row = MyMomentLogin(
            user_id=await self.user(),
            name=name,
            base_url=self.site,
            username_encrypted=box.encrypt(username),
            password_encrypted=box.encrypt(password or f"demo-{username}"),
        )
        async with self.database.session() as session:
            return (await catalog.add(session, row)).id

    async def provider(self, name: str = "model", key: str = "playground-key", **more: Any) -> UUID:
        row = LLMProviderConfiguration(
            user_id=await self.user(),
            name=name,
            base_url=more.pop("base_url", f"{self.site}/llm/v1"),
            model_name="smollm2-135m-instruct",
            api_key_encrypted=vault.open_vault(self.settings).encrypt(key),
            **more,
        )
        async with self.database.session() as session:
            return (await catalog.add(session, row)).id

    async def template(self, name: str = "friendly", user_prompt: str = "{article_title}\n{article_content}") -> UUID:
        row = PromptTemplate(
            user_id=await self.user(),
            name=name,
            system_prompt="You are a kind reader who writes to pupils.",
            user_prompt_template=user_prompt,
        )
        async with self.database.session() as session:
            return (await catalog.add(session, row)).id

    async def process(
        self,
        name: str = "watch",
        *,
        logins: list[UUID] | None = None,
        templates: list[UUID] | None = None,
        provider: UUID | None = None,
        start: bool = True,
        **fields: Any,
    ) -> UUID:
        """A process with one login, template and provider unless they are given; started."""
        row = MonitoringProcess(
            user_id=await self.user(),
            name=name,
            llm_provider_id=provider or await self.provider(f"model of {name}"),
            **({"tab_filter": "102", "generate_only": False} | fields),
        )
        login_ids = [await self.login(f"bot of {name}")] if logins is None else logins
        template_ids = [await self.template(f"friendly of {name}")] if templates is None else templates
        async with self.database.session() as session:
            process_id = (await processes.add(session, row, login_ids, template_ids)).id
            if start:
                await processes.start(session, process_id)
        return process_id

    async def desk(self) -> lifecycle.Desk:
        return lifecycle.Desk(self.settings, self.database, vault.open_vault(self.settings), await self.user())

    async def comments(
        self, process_id: UUID, number: int, status: str = "discovered", *, first: int = 1, **fields: Any
    ) -> list[UUID]:
        """Comments on so many articles, from the id `first` on, with the process's first login and template."""
        async with self.database.session() as session:
            process = (await session.scalars(select(MonitoringProcess).where(MonitoringProcess.id == process_id))).one()
            parts = await processes.parts(session, process)
            rows = [
                {
                    "user_id": process.user_id,
                    "monitoring_process_id": process_id,
                    "mymoment_login_id": parts.logins[0].id,
                    "llm_provider_id": None if status in ("discovered", "prepared") else process.llm_provider_id,
                    "prompt_template_id": template.id,
                    "discovered_template_id": template.id,
                    "mymoment_article_id": str(article),
                    "article_title": f"Article {article}",
                    "article_url": f"{self.site}/article/{article}/",
                    "status": status,
                    **fields,
                }
                for article in range(first, first + number)
                for template in parts.templates
            ]
            return await comments.insert_discovered(session, rows)

    async def all_comments(self) -> list[AIComment]:
        async with self.database.session() as session:
            return list(await session.scalars(select(AIComment).order_by(AIComment.id)))

    async def get_process(self, process_id: UUID) -> MonitoringProcess:
        async with self.database.session() as session:
            return (await session.scalars(select(MonitoringProcess).where(MonitoringProcess.id == process_id))).one()

    async def expire_leases(self) -> None:
        """As if every worker had died long ago."""
        async with self.database.session() as session:
            past = "now() - interval '1 second'"
            for table in ("ai_comments", "monitoring_process_stages", "mymoment_logins"):
                await session.execute(
                    text(f"UPDATE {table} SET lease_expires_at = {past} WHERE claim_token IS NOT NULL")
                )
            await session.execute(
                text(f"UPDATE mymoment_logins SET posting_lease_expires_at = {past} WHERE posting_token IS NOT NULL")
            )

    async def look_again(self) -> None:
        """As if every wait were over."""
        async with self.database.session() as session:
            await session.execute(text("UPDATE monitoring_process_logins SET next_look_at = now()"))
            await session.execute(update(AIComment).values(next_attempt_at=None))
