"""Two templates over past articles, side by side and with their costs. Nothing of it is ever posted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Database
from lib.errors import Invalid, NotFound, PressroomError, Refused, Transient
from lib.monitoring import calls
from lib.monitoring.calls import Call
from lib.monitoring.generation import prompt_of
from lib.monitoring.items import Wait
from lib.monitoring.models import LLMProviderConfiguration, PromptTemplate
from lib.monitoring.presets import Budget
from lib.monitoring.providers import Provider
from lib.monitoring.records import Comparison, ComparisonAnswer
from lib.monitoring.runtime import runtime
from lib.monitoring.store import budgets, catalog, comparisons
from lib.monitoring.store.budgets import NO_PROCESS, Claimant
from lib.monitoring.store.comparisons import AnswerToGet, ComparisonLine, Pair
from lib.units import failed

MOST_ARTICLES = 20


@dataclass(frozen=True)
class Wanted:
    """What to compare. `templates` and `provider` by name or id; `comments`: whose articles, else the newest ones."""

    template_a: str
    template_b: str
    provider: str
    comments: Sequence[UUID] = ()
    process_id: UUID | None = None
    articles: int = MOST_ARTICLES
    name: str | None = None


Also = Callable[[AsyncSession, Comparison], Awaitable[None]]


async def _nothing_else(_session: AsyncSession, _row: Comparison) -> None:
    pass


@dataclass(frozen=True)
class Sum:
    """What one side took. `cost` is None where nothing has a price; `accepted`: answers that could be posted."""

    done: int
    accepted: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    milliseconds: int


@dataclass(frozen=True)
class Compared:
    """A comparison as a page shows it."""

    line: ComparisonLine
    pairs: tuple[Pair, ...]
    a: Sum
    b: Sum


@dataclass
class Report:
    """What a run did. `asked`: calls of the model; `stopped`: why it ended before its time."""

    asked: int = 0
    stopped: str | None = None


async def create(
    database: Database, user_id: UUID, sees: UUID | None, wanted: Wanted, also: Also = _nothing_else
) -> UUID:
    """Raise NotFound for what there is not, Invalid for what cannot be compared. Nothing runs yet.

    `also` is called in the transaction that adds it.
    """
    if not 1 <= wanted.articles <= MOST_ARTICLES:
        raise Invalid(f"A comparison takes 1 to {MOST_ARTICLES} articles", "articles")
    if len(wanted.comments) > MOST_ARTICLES:
        raise Invalid(f"{len(wanted.comments)} articles are picked; at most {MOST_ARTICLES} are possible", "comments")
    async with database.session() as session:
        first = await catalog.by_name(session, PromptTemplate, sees, wanted.template_a)
        second = await catalog.by_name(session, PromptTemplate, sees, wanted.template_b)
        provider = await catalog.by_name(session, LLMProviderConfiguration, sees, wanted.provider)
        if first.id == second.id:
            raise Invalid(f"“{first.name}” cannot be compared with itself; choose another template", "template_b")
        ids = list(dict.fromkeys(wanted.comments))
        if unknown := set(ids) - await comparisons.with_articles(session, sees, ids):
            raise NotFound(
                f"There is no comment with an article's text: {', '.join(map(str, sorted(unknown)))}", "comments"
            )
        ids = ids or [
            id_ for id_, _ in await comparisons.past_comments(session, sees, wanted.process_id, wanted.articles)
        ]
        if not ids:
            raise Invalid("There is no past article yet; let a process prepare some first", "process")
        row = Comparison(
            user_id=user_id,
            name=wanted.name,
            template_a=first.id,
            template_b=second.id,
            provider_id=provider.id,
        )
        await comparisons.add(session, row, ids)
        await also(session, row)
        return row.id


async def read(database: Database, sees: UUID | None, comparison_id: UUID) -> Compared:
    """Raise NotFound."""
    async with database.session() as session:
        lines = await comparisons.listed(session, sees, comparison_id)
        if not lines:
            raise NotFound(f"There is no comparison {comparison_id}")
        pairs = tuple(await comparisons.pairs(session, comparison_id))
    return Compared(lines[0], pairs, _sum([pair.a for pair in pairs]), _sum([pair.b for pair in pairs]))


def _sum(answers: Sequence[comparisons.SideAnswer]) -> Sum:
    costs = [answer.cost for answer in answers if answer.cost is not None]
    done = [answer for answer in answers if answer.status == "done"]
    return Sum(
        done=len(done),
        accepted=sum(not answer.findings for answer in done),
        failed=sum(answer.status == "failed" for answer in answers),
        input_tokens=sum(answer.input_tokens for answer in answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        cost=sum(costs, Decimal(0)) if costs else None,
        milliseconds=sum(answer.milliseconds or 0 for answer in answers),
    )


async def run(comparison_id: UUID, do: Callable[[AnswerToGet], Awaitable[str | None]]) -> Report:
    """Get the answers that wait, as many at once as the provider takes. What a killed run left is taken over.

    `do` is `answer`, or a task around it. A refusal or a used-up budget stops the run; the rest waits for the next.
    """
    tools, report = runtime(), Report()
    async with tools.database.session() as session:
        provider_id = await comparisons.begin(session, comparison_id)
    if provider_id is None:
        return report
    try:
        provider = await tools.providers.provider(provider_id)
    except PressroomError as error:
        report.stopped = str(error)
    else:
        workers = min(provider.limit, MOST_ARTICLES)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_work(comparison_id, provider, do, report))
    async with tools.database.session() as session:
        await comparisons.end(session, comparison_id, report.stopped)
    return report


async def _work(
    comparison_id: UUID, provider: Provider, do: Callable[[AnswerToGet], Awaitable[str | None]], report: Report
) -> None:
    while report.stopped is None:
        try:
            item = await _take(comparison_id, provider)
        except Refused as error:
            report.stopped = str(error)
            return
        if item is None:
            return
        if isinstance(item, Wait):
            await asyncio.sleep(item.seconds)
            continue
        async with provider.slots:
            report.asked += 1
            report.stopped = await do(item) or report.stopped


async def _take(comparison_id: UUID, provider: Provider) -> AnswerToGet | Wait | None:
    """Raise Refused when the provider's budget is used up."""
    tools = runtime()
    have = tools.settings
    claimant = Claimant(NO_PROCESS, Budget(), provider.id, provider.budget, have.llm_max_tokens, have.budget_timezone)

    async def claim(session: AsyncSession) -> AnswerToGet | Wait | None:
        standings = await budgets.room(session, claimant)
        for each in standings:
            if each.state == "used_up":
                raise Refused(budgets.in_words(each))
        taken: AnswerToGet | Wait | None = Wait(0.2)
        if not any(each.is_taken and each.reserved for each in standings):
            taken = await comparisons.claim(
                session, comparison_id, provider.id, provider.limit, work.new_id(), have.item_lease
            )
        if isinstance(taken, Wait):
            await comparisons.note_waiting(session, comparison_id)
        return taken

    return await tools.database.run_transaction(claim)


async def answer(item: AnswerToGet) -> str | None:
    """Ask once, and keep what was answered: also what the guard turns away. Return why the run is to stop, if it is."""
    tools = runtime()
    with tools.keeper.keeping(ComparisonAnswer.id, [item.id], item.token, tools.settings.item_lease):
        try:
            provider = await tools.providers.provider(item.provider_id)
            call = await calls.ask(provider, await prompt_of(item), tools.settings)
        except asyncio.CancelledError:
            await asyncio.shield(_release(item))
            raise
        except PressroomError as error:
            failed(error)
            await _release(item, str(error))
            return str(error)

        await tools.database.run_transaction(lambda session: _settle(session, item, call))
    return str(call.error) if isinstance(call.error, Refused) else None


async def _settle(session: AsyncSession, item: AnswerToGet, call: Call) -> None:
    tools = runtime()
    kept = call.kept()
    if call.verdict is not None:
        comment = calls.storable(call.verdict.comment, calls.ANSWER_CHARS)
        await comparisons.settle_answered(session, item, kept, comment)
    else:
        error = call.error or Transient("No answer")
        failed(error)
        await comparisons.settle_failed(session, item, kept, error, tools.policy)
    # The call was made and is billed, also when the answer is not ours any more.
    await budgets.spend(session, tools.settings.budget_timezone, NO_PROCESS, kept)


async def _release(item: AnswerToGet, error: str | None = None) -> None:
    async with runtime().database.session() as session:
        await comparisons.release(session, item, error)
