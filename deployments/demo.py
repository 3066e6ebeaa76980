"""What `--playground` begins with: a process that watches the playground's English class and posts there."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Database
from lib.errors import Conflict, NotFound
from lib.monitoring.models import (
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    PromptTemplate,
)
from lib.monitoring.store import catalog, processes
from lib.people.store.links import ensure_operator
from lib.settings import Settings
from lib.vault import Vault, open_vault

NAME = "demo"
# They open nothing but the playground.
ACCOUNT = ("ki-bot", "demo-ki-bot")
KEY = "playground-key"
MODEL = "smollm2-135m-instruct"
ENGLISH_CLASS = "102"
LONGEST = 1440
SYSTEM_PROMPT = "You are a friendly reader of stories that children wrote. You answer in simple English."
USER_PROMPT = """Here is a story with the title "{article_title}":

{article_content}

Write two or three short, kind sentences to its author. Say what you liked in the story."""


async def seed_demo(settings: Settings) -> str:
    """Make the demo process where it is missing, and let it run unless a person stopped it; say how it is."""
    if settings.database_url is None:
        raise RuntimeError("the demo needs a database")
    vault = open_vault(settings)
    async with Database(settings.database_url, pool_size=1) as database, database.session() as session:
        user_id = await ensure_operator(session)
        await processes.end_overdue(session)  # one whose time ended while nothing was up
        try:
            process = await processes.by_name(session, user_id, NAME)
        except NotFound:
            process = await _make(session, settings, vault, user_id)
        if process.status == "created" or process.stop_reason == "timeout":
            await processes.start(session, process.id)
            return "running"
        return process.status


async def _make(session: AsyncSession, settings: Settings, vault: Vault, user_id: UUID) -> MonitoringProcess:
    site = f"http://127.0.0.1:{settings.playground_port}"
    username, password = (vault.encrypt(each) for each in ACCOUNT)
    login = await _named(
        session,
        user_id,
        MyMomentLogin(
            user_id=user_id, name=NAME, base_url=site, username_encrypted=username, password_encrypted=password
        ),
    )
    provider = await _named(
        session,
        user_id,
        LLMProviderConfiguration(
            user_id=user_id,
            name="smollm2",
            base_url=f"{site}/llm/v1",
            model_name=MODEL,
            api_key_encrypted=vault.encrypt(KEY),
            max_tokens=120,
            max_concurrency=2,
        ),
    )
    template = await _named(
        session,
        user_id,
        PromptTemplate(user_id=user_id, name="friendly", system_prompt=SYSTEM_PROMPT, user_prompt_template=USER_PROMPT),
    )
    process = MonitoringProcess(
        user_id=user_id,
        name=NAME,
        description="Watches the English class of the playground and comments on what is new.",
        llm_provider_id=provider,
        tab_filter=ENGLISH_CLASS,
        generate_only=False,
        max_duration_minutes=LONGEST,
    )
    return await processes.add(session, process, [login], [template])


async def _named(session: AsyncSession, user_id: UUID, row: catalog.Owned) -> UUID:
    """The id of the row, or of the one of its name that is there already."""
    try:
        async with session.begin_nested():
            await catalog.add(session, row)
    except Conflict:
        found = await catalog.by_name(session, type(row), user_id, row.name)
        return found.id
    return row.id
