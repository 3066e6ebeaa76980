"""What was used of which provider on which day, and whether there is room for one more call.

A budget is checked in the transaction that claims, after the row that it belongs to was locked: so two workers never
count on the same rest. What is at work counts as its longest answer and a guess at its prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Literal
from typing import cast as typing_cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Numeric,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Executor
from lib.monitoring.items import KeptAnswer
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess
from lib.monitoring.presets import Budget, Priced
from lib.monitoring.records import ComparisonAnswer, LLMUsage
from lib.monitoring.store.comments import taken_by

Owner = Literal["process", "provider"]
Unit = Literal["tokens", "money"]
State = Literal["fine", "warned", "used_up"]

# What no process used
NO_PROCESS = UUID(int=0)
WARNED_FROM = Decimal("0.8")
# A prompt that is at work: rather too many tokens than too few
CHARS_PER_TOKEN = 2
PROMPT_TOKENS = 500
MILLION = 1_000_000
_USAGE = typing_cast("Table", LLMUsage.__table__)
_PRICED = (
    LLMProviderConfiguration.name,
    LLMProviderConfiguration.currency,
    func.coalesce(LLMProviderConfiguration.input_price, LLMProviderConfiguration.output_price).is_not(None),
)


@dataclass(frozen=True)
class Standing:
    """How much of one budget is used today. `reserved`: by calls at work. `resumes_at`: when the next day begins."""

    owner: Owner
    id: UUID
    name: str
    unit: Unit
    used: Decimal
    reserved: Decimal
    budget: Decimal
    currency: str
    resumes_at: datetime

    @property
    def share(self) -> Decimal:
        return self.used / self.budget if self.budget else Decimal(1)

    @property
    def state(self) -> State:
        """Warned at 80 %, used up at 100 %."""
        if self.used >= self.budget:
            return "used_up"
        return "warned" if self.share >= WARNED_FROM else "fine"

    @property
    def is_taken(self) -> bool:
        """Nothing is left if what is at work takes all that it may."""
        return self.used + self.reserved >= self.budget


def day(zone: ColumnElement[str]) -> ColumnElement[Any]:
    return cast(func.timezone(zone, func.now()), Date)


def next_day(zone: ColumnElement[str]) -> ColumnElement[Any]:
    return func.timezone(zone, func.date_trunc("day", func.timezone(zone, func.now())) + func.make_interval(0, 0, 0, 1))


def in_words(standing: Standing) -> str:
    """How a budget stands and, when it is used up, when it goes on."""
    unit = "tokens" if standing.unit == "tokens" else standing.currency
    shown = "{:,.0f}" if standing.unit == "tokens" else "{:,.4f}"
    used, budget = shown.format(standing.used), shown.format(standing.budget)
    name = f"Daily budget of {standing.owner} “{standing.name}” in {unit}"
    if standing.state == "used_up":
        return f"{name}: used up ({used} of {budget}); what waits goes on at {standing.resumes_at:%Y-%m-%d %H:%M} UTC"
    return f"{name}: {standing.share:.0%} used ({used} of {budget})"


@dataclass(frozen=True)
class Claimant:
    """Whose budgets a call falls under, and what is needed to count what is at work."""

    process_id: UUID
    process_budget: Budget
    provider_id: UUID
    provider_budget: Budget
    default_max_tokens: int
    zone: str

    @property
    def has_budget(self) -> bool:
        return bool(self.process_budget or self.provider_budget)


async def room(executor: Executor, claimant: Claimant) -> list[Standing]:
    """The standing of every budget that the call falls under, its owner locked until the transaction ends.

    Nothing is asked where there is no budget.
    """
    found: list[Standing] = []
    parameters = {"the_zone": claimant.zone, "the_default": claimant.default_max_tokens}
    # First the process, then the provider: the order of every claim.
    if claimant.process_budget:
        parameters |= {"the_owner": claimant.process_id}
        await executor.execute(_lock(MonitoringProcess), parameters)
        row = (await executor.execute(_used_by("process"), parameters)).one()
        found += _standings("process", claimant.process_budget, row)
    if claimant.provider_budget:
        parameters |= {"the_owner": claimant.provider_id}
        await executor.execute(_lock(LLMProviderConfiguration), parameters)
        row = (await executor.execute(_used_by("provider"), parameters)).one()
        found += _standings("provider", claimant.provider_budget, row)
    return found


@cache
def _lock(kind: type[Any]) -> Select[tuple[UUID]]:
    # Not FOR UPDATE: an insert of a comment, which refers to both, would wait for it.
    return select(kind.id).where(kind.id == work.id_parameter("the_owner")).with_for_update(key_share=True)


@cache
def _used_by(owner: Owner) -> Select[Any]:
    """What is settled and what is at work in one statement: between two, a call could settle and be in neither."""
    zone = bindparam("the_zone", type_=String())
    whose = LLMUsage.process_id if owner == "process" else LLMUsage.provider_id
    name, currency = _name_of(owner)
    used = (
        select(
            func.coalesce(func.sum(LLMUsage.input_tokens + LLMUsage.output_tokens), 0).label("tokens"),
            func.coalesce(func.sum(LLMUsage.cost), 0).label("money"),
        )
        .where(LLMUsage.day == day(zone), whose == work.id_parameter("the_owner"))
        .subquery("used")
    )
    work_now = _at_work(owner).subquery("work_now")
    reserved = select(
        func.coalesce(func.sum(work_now.c.tokens), 0).label("tokens"),
        func.coalesce(func.sum(work_now.c.money), 0).label("money"),
    ).subquery("reserved")
    return select(
        name.label("name"),
        currency.label("currency"),
        work.id_parameter("the_owner").label("id"),
        used.c.tokens,
        used.c.money,
        reserved.c.tokens.label("reserved_tokens"),
        reserved.c.money.label("reserved_money"),
        next_day(zone).label("resumes_at"),
    ).select_from(used.join(reserved, literal(value=True)))


def _name_of(owner: Owner) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    provider = LLMProviderConfiguration
    if owner == "provider":
        mine = provider.id == work.id_parameter("the_owner")
        return (
            select(provider.name).where(mine).scalar_subquery(),
            select(provider.currency).where(mine).scalar_subquery(),
        )
    mine = MonitoringProcess.id == work.id_parameter("the_owner")
    currency = select(provider.currency).join(MonitoringProcess, MonitoringProcess.llm_provider_id == provider.id)
    return select(MonitoringProcess.name).where(mine).scalar_subquery(), currency.where(mine).scalar_subquery()


def _at_work(owner: Owner) -> Any:
    """Tokens and money that each call at work may take; comparisons are the provider's alone."""
    provider = LLMProviderConfiguration
    mine = AIComment.monitoring_process_id if owner == "process" else AIComment.llm_provider_id
    comments = (
        select(*_reservation())
        .select_from(AIComment)
        .join(provider, provider.id == AIComment.llm_provider_id)
        .where(mine == work.id_parameter("the_owner"), AIComment.status == taken_by("generation"))
        .where(AIComment.llm_provider_id.is_not(None), work.held(AIComment))
    )
    if owner == "process":
        return comments
    answers = (
        select(*_reservation())
        .select_from(AIComment)
        .join(ComparisonAnswer, ComparisonAnswer.comment_id == AIComment.id)
        .join(provider, provider.id == ComparisonAnswer.provider_id)
        .where(ComparisonAnswer.provider_id == work.id_parameter("the_owner"), work.held(ComparisonAnswer))
    )
    return union_all(comments, answers)


def _reservation() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    provider = LLMProviderConfiguration
    content: ColumnElement[Any] = func.length(func.coalesce(AIComment.article_content, ""))
    chars = content + func.least(func.length(func.coalesce(AIComment.article_raw_html, "")), 5000)
    asked = chars / CHARS_PER_TOKEN + PROMPT_TOKENS
    answered = func.coalesce(provider.max_tokens, bindparam("the_default", type_=Integer()))
    money = asked * func.coalesce(provider.input_price, 0) + answered * func.coalesce(provider.output_price, 0)
    return (asked + answered).label("tokens"), (money / MILLION).label("money")


def _standings(owner: Owner, budget: Budget, row: Any) -> list[Standing]:
    found = []
    limits: tuple[tuple[Unit, Any], ...] = (("tokens", budget.tokens), ("money", budget.money))
    for unit, limit in limits:
        if limit is None:
            continue
        used, reserved = (row.tokens, row.reserved_tokens) if unit == "tokens" else (row.money, row.reserved_money)
        found.append(
            Standing(
                owner, row.id, row.name or "", unit, Decimal(used), Decimal(reserved), Decimal(limit),
                row.currency or "", row.resumes_at,
            )
        )  # fmt: skip
    return found


async def standings(session: AsyncSession, zone: str, owner_id: UUID | None = None) -> list[Standing]:
    """Every budget and how much of it is used today, by name; `owner_id`: only of what this user owns."""
    found: list[Standing] = []
    for owner in ("process", "provider"):
        for row in await session.execute(_all_used(owner), {"the_zone": zone, "the_user": owner_id}):
            found += _standings(owner, Budget(row.budget_tokens, row.budget_money), row)
    return found


@cache
def _all_used(owner: Owner) -> Select[Any]:
    zone = bindparam("the_zone", type_=String())
    kind: Any = MonitoringProcess if owner == "process" else LLMProviderConfiguration
    provider = LLMProviderConfiguration
    user = bindparam("the_user", type_=kind.user_id.type)
    whose = LLMUsage.process_id if owner == "process" else LLMUsage.provider_id
    used = (
        select(
            whose.label("id"),
            func.sum(LLMUsage.input_tokens + LLMUsage.output_tokens).label("tokens"),
            func.sum(LLMUsage.cost).label("money"),
        )
        .where(LLMUsage.day == day(zone))
        .group_by(whose)
        .subquery()
    )
    statement = select(
        kind.id,
        kind.name,
        kind.budget_tokens,
        kind.budget_money,
        provider.currency,
        func.coalesce(used.c.tokens, 0).label("tokens"),
        func.coalesce(used.c.money, 0).label("money"),
        literal(0).label("reserved_tokens"),
        literal(0).label("reserved_money"),
        next_day(zone).label("resumes_at"),
    ).outerjoin(used, used.c.id == kind.id)
    if owner == "process":
        statement = statement.outerjoin(provider, provider.id == MonitoringProcess.llm_provider_id)
    return statement.where(
        or_(kind.budget_tokens.is_not(None), kind.budget_money.is_not(None)), or_(user.is_(None), kind.user_id == user)
    ).order_by(kind.name)


async def priced(session: AsyncSession, provider_ids: Sequence[UUID]) -> list[Priced]:
    """As these providers are, and stay until the transaction ends."""
    provider = LLMProviderConfiguration
    statement = select(*_PRICED).where(provider.id.in_(provider_ids)).order_by(provider.id)
    return [Priced(*row) for row in await session.execute(statement.with_for_update(read=True))]


async def counting_on(session: AsyncSession, provider_id: UUID) -> dict[str, list[Priced]]:
    """The processes with a budget of money that use this provider, and the other providers of each."""
    process, provider = MonitoringProcess, LLMProviderConfiguration
    both = (process.llm_provider_id, process.fallback_provider_id)
    statement = (
        select(process.name, *_PRICED)
        .outerjoin(provider, and_(provider.id.in_(both), provider.id != provider_id))
        .where(process.budget_money.is_not(None), or_(*(column == provider_id for column in both)))
        .order_by(process.name)
    )
    found: dict[str, list[Priced]] = {}
    for name, *other in await session.execute(statement):
        found.setdefault(name, []).extend([Priced(*other)] if other[0] is not None else [])
    return found


def spending() -> Insert:
    """Add a call to the day's usage: an INSERT that takes its row from `spent`."""
    statement = insert(_USAGE)
    return statement.on_conflict_do_update(
        index_elements=["day", "process_id", "provider_id"],
        set_={
            "calls": _USAGE.c.calls + statement.excluded.calls,
            "input_tokens": _USAGE.c.input_tokens + statement.excluded.input_tokens,
            "output_tokens": _USAGE.c.output_tokens + statement.excluded.output_tokens,
            "cost": _USAGE.c.cost + statement.excluded.cost,
            "currency": statement.excluded.currency,
        },
    )


SPENT_COLUMNS = ["day", "process_id", "provider_id", "calls", "input_tokens", "output_tokens", "cost", "currency"]


def spent() -> Select[Any]:
    """The row of one call, with `spent_parameters`."""
    return select(
        day(bindparam("the_zone", type_=String())),
        work.id_parameter("the_process"),
        work.id_parameter("the_provider"),
        literal(1),
        bindparam("in_tokens", type_=Integer()),
        bindparam("out_tokens", type_=Integer()),
        func.coalesce(bindparam("the_cost", type_=Numeric(14, 6)), 0),
        bindparam("the_currency", type_=String()),
    )


def spent_parameters(zone: str, process_id: UUID, kept: KeptAnswer) -> dict[str, Any]:
    return {
        "the_zone": zone,
        "the_process": process_id,
        "the_provider": kept.provider_id,
        "in_tokens": kept.input_tokens,
        "out_tokens": kept.output_tokens,
        "the_cost": kept.cost,
        "the_currency": kept.currency,
    }


async def spend(executor: Executor, zone: str, process_id: UUID, kept: KeptAnswer) -> None:
    """Note what one call took, on today's page."""
    await executor.execute(_spend(), spent_parameters(zone, process_id, kept))


@cache
def _spend() -> Insert:
    return spending().from_select(SPENT_COLUMNS, spent())
