"""The life of a process: created, running, then stopped, completed or failed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import Database
from lib.errors import Conflict, Invalid, PressroomError, Transient
from lib.llm import LLM, Completion, NoText
from lib.monitoring import presets
from lib.monitoring.models import LLMProviderConfiguration, MonitoringProcess, MyMomentLogin
from lib.monitoring.mymoment import MyMoment, throttle_for
from lib.monitoring.providers import llm_limits
from lib.monitoring.sites import site_limits
from lib.monitoring.store import processes
from lib.monitoring.store.processes import ProcessParts
from lib.settings import Settings
from lib.vault import Vault


@dataclass(frozen=True)
class Desk:
    """What the people's side of Pressroom works with. `sees`: whose processes; None is everybody's."""

    settings: Settings
    database: Database
    vault: Vault
    sees: UUID | None


# What else is to be written in the transaction that changes a process, such as who did it.
Also = Callable[[AsyncSession, MonitoringProcess], Awaitable[None]]


async def _nothing_else(_session: AsyncSession, _process: MonitoringProcess) -> None:
    """For callers that have nothing to add."""


def missing(process: MonitoringProcess, parts: ProcessParts) -> list[str]:
    """What the process lacks before it can start; empty when it lacks nothing."""
    lacks = []
    if not parts.logins:
        lacks.append("a login")
    lacks += [f"login “{login.name}” is switched off" for login in parts.logins if not login.is_active]
    if not parts.templates:
        lacks.append("a template")
    lacks += [f"template “{template.name}” is switched off" for template in parts.templates if not template.is_active]
    if parts.provider is None:
        lacks.append("a provider")
    elif not parts.provider.is_active:
        lacks.append(f"provider “{parts.provider.name}” is switched off")
    if not process.generate_only and not process.tab_filter:
        lacks.append("a tab, since it posts")
    return lacks


async def start(
    desk: Desk, reference: str, *, check_credentials: bool = False, also: Also = _nothing_else
) -> MonitoringProcess:
    """Start it from created, stopped or failed.

    Raises Invalid that names everything missing or not working, Conflict when its state or the limit forbids it.
    """
    async with desk.database.session() as session:
        process = await processes.by_name(session, desk.sees, reference)
        await _owned_by_somebody_active(session, process)
        parts = await processes.parts(session, process)
        running = await processes.running_count(session, process.user_id)
    lacks = missing(process, parts)
    if check_credentials:
        lacks += await refusals(desk, parts)
    if lacks:
        raise Invalid(f"The process “{process.name}” cannot start; it needs: " + "; ".join(lacks))
    if running >= desk.settings.max_processes and process.status != "running":
        raise Conflict(f"{running} processes are running, which is the limit (PRESSROOM_MAX_PROCESSES)")
    async with desk.database.session() as session:
        await _owned_by_somebody_active(session, process)
        if not await processes.start(session, process.id, tried=check_credentials):
            rule = "only one that is created, stopped or failed can start"
            raise Conflict(f"The process “{process.name}” is {process.status}; {rule}")
        await also(session, process)
        return await processes.by_name(session, desk.sees, str(process.id))


async def _owned_by_somebody_active(session: AsyncSession, process: MonitoringProcess) -> None:
    if not await processes.owner_is_active(session, process):
        raise Conflict(f"The process “{process.name}” belongs to somebody who is deactivated; activate them first")


async def refusals(desk: Desk, parts: ProcessParts) -> list[str]:
    """Log in with every login and ask the model for one token; what does not work, in words."""
    checks: list[Awaitable[object]] = [test_login(desk, login) for login in parts.logins]
    if parts.provider is not None:
        checks.append(test_provider(desk, parts.provider))
    results = await asyncio.gather(*checks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, PressroomError):
            raise result
    return [str(result) for result in results if isinstance(result, PressroomError)]


async def test_login(desk: Desk, login: MyMomentLogin) -> None:
    """Log in for real, once. Raises what the log-in raises."""
    have = desk.settings
    throttle = throttle_for(login.base_url, have.site_requests_per_second, have.site_burst)
    async with MyMoment(login.base_url, site_limits(have), throttle=throttle) as site:
        await site.log_in(desk.vault.decrypt(login.username_encrypted), desk.vault.decrypt(login.password_encrypted))


async def test_provider(desk: Desk, provider: LLMProviderConfiguration) -> Completion | None:
    """Ask for one token. Raises what the call raises; an answer without text is none of its business.

    None where the model was given no room for any answer, and does not say what that took.
    """
    key = desk.vault.decrypt(provider.api_key_encrypted)
    # The client loads certificates and half a second of modules: not on the event loop.
    dialect = presets.dialect_of(provider.preset)
    where = (provider.name, provider.base_url, provider.model_name)
    llm = await asyncio.to_thread(LLM, *where, key, llm_limits(desk.settings), dialect)
    try:
        return await llm.complete("Answer with one word.", "Hello", max_tokens=1, temperature=None)
    except NoText as error:
        return error.completion
    except Transient as error:
        if "is empty" not in str(error):
            raise
        return None
    finally:
        await llm.aclose()


async def stop(desk: Desk, reference: str, *, completed: bool = False, also: Also = _nothing_else) -> MonitoringProcess:
    """End it, and return when nothing more can be posted for it. One that has ended holds what was approved since.

    `also` is called when it ran, or had anything to post. Raises Transient when a worker still holds a post after that
    post's lease should have ended.
    """
    async with desk.database.session() as session:
        process = await processes.by_name(session, desk.sees, reference)
        ended = await processes.end(session, process.id, "completed" if completed else "stopped", "user")
        if ended or await processes.hold(session, desk.sees, process.id):
            await also(session, process)
    await until_quiet(desk, [process])
    async with desk.database.session() as session:
        return await processes.by_name(session, desk.sees, str(process.id))


async def until_quiet(desk: Desk, ended: Sequence[MonitoringProcess]) -> None:
    """Return when no worker holds a post of these any more. Raises Transient when that takes too long."""
    deadline = time.monotonic() + desk.settings.item_lease + desk.settings.stage_lease
    ids = [process.id for process in ended]
    while True:
        async with desk.database.session() as session:
            held = await processes.posts_in_work(session, ids)
        if not held:
            return
        if time.monotonic() > deadline:
            names = ", ".join(f"“{process.name}”" for process in ended if process.id in held)
            raise Transient(f"{names} is stopped, but a post of it has not ended yet; ask again")
        await asyncio.sleep(0.2)
