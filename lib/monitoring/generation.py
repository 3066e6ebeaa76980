"""Stage three: what a model has to say about it."""

import secrets
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Executor
from lib.errors import PressroomError, Refused
from lib.monitoring import calls, prompt
from lib.monitoring.calls import Call
from lib.monitoring.items import CommentToGenerate, StageReport, Wait
from lib.monitoring.presets import Budget
from lib.monitoring.providers import Provider
from lib.monitoring.runtime import Runtime, runtime
from lib.monitoring.store import budgets, claims, history
from lib.monitoring.store import providers as store
from lib.monitoring.store.budgets import Claimant, Standing
from lib.monitoring.store.comparisons import AnswerToGet
from lib.monitoring.turns import Outcome, attempt, settle_failure, settled
from lib.settings import Settings

log = structlog.get_logger()

# An item that the first provider could not serve is the fallback's at once.
AT_ONCE = 0.001
# How long a budget that was found used up is not looked at again.
USED_UP_REST = 15.0
RESERVED_WAIT = 0.2


@dataclass(frozen=True)
class Providing:
    """The providers that a process may use now: the first, and who writes while that one is down."""

    first: Provider
    fallback: Provider | None
    budget: Budget
    note: str = ""


async def providing(process_id: UUID) -> Providing:
    """Raise Refused when the process has no provider that can be used."""
    run = runtime()
    who = await run.database.run_statement(lambda connection: store.who_writes(connection, process_id))
    usable: list[Provider] = []
    refusals: list[str] = []
    for provider_id in dict.fromkeys(id_ for id_ in (who.first, who.fallback) if id_ is not None):
        try:
            usable.append(await run.providers.provider(provider_id))
        except Refused as error:
            refusals.append(str(error))
    if not usable:
        raise Refused("; ".join(refusals) or "The process has no provider any more")
    note = f"{refusals[0]}: “{usable[0].name}” writes instead" if refusals and usable[0].id == who.fallback else ""
    return Providing(usable[0], usable[1] if len(usable) > 1 else None, who.budget, note)


class Writing:
    """One process's turn at the models: which provider takes the next comment, and what its budgets allow."""

    def __init__(self, process_id: UUID, have: Providing) -> None:
        self.first = have.first
        self._process_id = process_id
        self._have = have
        self._notes: dict[str, str] = {"provider": have.note}
        self._resting: dict[UUID, float] = {}

    def noted(self, report: StageReport) -> StageReport:
        """The report with why the fallback wrote, or why nothing more was written."""
        return replace(report, note="; ".join(filter(None, (report.note, *self._notes.values()))))

    async def take(self) -> CommentToGenerate | Wait | None:
        """Claim the next comment with the first provider that is up and has room."""
        run = runtime()
        while (provider := self._next()) is not None:
            claimant = self._claimant(provider, run.settings)
            if not claimant.has_budget:
                return await run.database.run_statement(partial(self._claim, run=run, provider=provider))
            found = await run.database.run_transaction(
                partial(self._claim_within, claimant=claimant, run=run, provider=provider)
            )
            if not isinstance(found, Standing):
                return found
            self._resting[found.id] = time.monotonic() + USED_UP_REST
        return None

    async def _claim_within(
        self, session: AsyncSession, claimant: Claimant, run: Runtime, provider: Provider
    ) -> CommentToGenerate | Wait | Standing | None:
        """The comment, or the budget that is used up."""
        hindrance = self._hindrance(await budgets.room(session, claimant))
        return hindrance or await self._claim(session, run, provider)

    async def _claim(self, executor: Executor, run: Runtime, provider: Provider) -> CommentToGenerate | Wait | None:
        item = await claims.claim_generation(
            executor, self._process_id, provider.id, provider.limit, work.new_id(), run.settings.item_lease
        )
        fallback = self._have.fallback
        if isinstance(item, CommentToGenerate) and fallback is not None and provider.id == self.first.id:
            return replace(item, fallback_id=fallback.id)
        return item

    def _next(self) -> Provider | None:
        """The first if it can be asked, else the fallback; the first after all when both are down."""
        if self._rests(self._process_id):
            return None
        first, fallback = self.first, self._have.fallback
        if fallback is None:
            return None if self._rests(first.id) else first
        if self._rests(first.id) or (first.availability.is_down and not fallback.availability.is_down):
            if first.availability.is_down:
                self._note("provider", f"{first.availability.reason}: “{fallback.name}” writes instead")
            return None if self._rests(fallback.id) else fallback
        return first

    def _rests(self, owner: UUID) -> bool:
        return time.monotonic() < self._resting.get(owner, 0.0)

    def _claimant(self, provider: Provider, settings: Settings) -> Claimant:
        return Claimant(
            self._process_id,
            self._have.budget,
            provider.id,
            provider.budget,
            settings.llm_max_tokens,
            settings.budget_timezone,
        )

    def _hindrance(self, found: list[Standing]) -> Standing | Wait | None:
        """A budget that is used up, or that may be when what is at work has settled."""
        for each in found:
            if each.state != "fine":
                self._note(f"{each.owner} {each.unit}", budgets.in_words(each))
        used_up = next((each for each in found if each.state == "used_up"), None)
        # With nothing at work, one more answer may go over the rest; that is the most by which a budget is overrun.
        taken = any(each.is_taken and each.reserved for each in found)
        return used_up or (Wait(RESERVED_WAIT) if taken else None)

    def _note(self, about: str, words: str) -> None:
        if about not in self._notes or not self._notes[about]:
            log.warning("generation_hindered", process_id=str(self._process_id), note=words)
        self._notes[about] = words


async def generate(item: CommentToGenerate) -> Outcome:
    """Ask the model once, check its answer, save the comment with its disclosure; keep what was asked and answered."""

    async def do() -> Outcome:
        run = runtime()
        provider = await run.providers.provider(item.provider_id)
        call = await calls.ask(provider, await prompt_of(item, item.note), run.settings)
        return await (_write(item, call) if call.error is None else _settle_failed(item, call, call.error))

    return await attempt("generation", [item.claim], do)


async def _write(item: CommentToGenerate, call: Call) -> Outcome:
    answer, verdict = call.completion, call.verdict
    assert answer is not None  # noqa: S101 - narrows the type only
    assert verdict is not None  # noqa: S101 - narrows the type only
    run = runtime()
    if call.provider.availability.worked():
        await run.database.run_statement(partial(store.note_works, provider_id=call.provider.id))
    # What was used is used, whatever becomes of the comment.
    settle = partial(
        history.settle_answered,
        **_of(item, call),
        now=["generated_at"],
        status="generated",
        comment_content=verdict.comment,
        ai_model_name=answer.model,
        ai_provider_name=call.provider.name,
        generation_tokens=answer.tokens,
        generation_time_ms=answer.milliseconds,
    )
    return settled("generation", [item.claim], await run.database.run_statement(settle))


async def _settle_failed(item: CommentToGenerate, call: Call, error: PressroomError) -> Outcome:
    """With a fallback, a provider that is down costs no item anything: it is the fallback's at once."""
    run = runtime()
    state, pause = call.provider.availability, run.settings.fallback_pause
    if not call.is_trouble:
        state.worked()
    last = item.claim.failures + 1 >= run.policy.max_attempts
    down = call.is_trouble and item.fallback_id is not None and (state.failed(error) or last)

    keep = partial(history.note_attempt, **_of(item, call))
    if not down:
        return await settle_failure("generation", [item.claim], error, also=keep)
    state.rest(pause, str(error))
    reason = calls.storable(str(error), calls.ERROR_CHARS)
    # By itself: a claim locks the process before the provider, and the settling comes to the process last.
    await run.database.run_statement(lambda connection: store.note_down(connection, call.provider.id, pause, reason))
    handed_on = Refused(str(error), AT_ONCE)
    put_off = await settle_failure("generation", [item.claim], handed_on, also=keep)
    return Outcome(error=put_off.error)


def _of(item: CommentToGenerate, call: Call) -> dict[str, Any]:
    """What history keeps of a call."""
    zone = runtime().settings.budget_timezone
    return {"claim": item.claim, "template_id": item.template_id, "kept": call.kept(), "zone": zone}


async def prompt_of(item: CommentToGenerate | AnswerToGet, note: str | None = None) -> prompt.Prompt:
    """The template of the item, filled in with its article."""
    run = runtime()
    template = await run.providers.template(item.template_id)
    facts = prompt.ArticleFacts(
        title=item.title,
        content=item.content,
        author=item.author,
        category=item.category,
        published_at=item.published_at,
        url=item.url,
        raw_html=item.raw_html,
        username=await run.shared.get(("username", item.login_id), lambda: run.sites.username(item.login_id)),
    )
    return prompt.render(
        template.system_prompt,
        template.user_prompt_template,
        facts,
        boundary=secrets.token_hex(6),
        raw_html_chars=run.settings.raw_html_prompt_chars,
        note=note,
    )
