"""The overview: every process at a glance, and what is wrong right now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from console.desk.process_records import comment_counts, record, stage_record
from console.desk.visit import Visit
from console.record import Record
from lib.monitoring.health import INTERVALS, SHORTEST, Check
from lib.monitoring.models import StageTick
from lib.monitoring.stages import Stage
from lib.monitoring.store import budgets
from lib.monitoring.store import overview as store
from lib.monitoring.store.budgets import Standing
from lib.monitoring.store.overview import HOURS, NOTHING, Counts, ItemTrouble, LoginTrouble, ProcessState
from lib.settings import Settings

MOST_CAUSES = 20
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong. `code` says which, for a page in another language; `values` is what its words name."""

    severity: Severity
    code: str
    subject_kind: str
    subject_id: UUID | None
    subject: str
    what: str
    todo: str
    values: Mapping[str, object]

    def record(self) -> Record:
        return {
            "severity": self.severity,
            "code": self.code,
            "subject": {"kind": self.subject_kind, "id": self.subject_id, "name": self.subject},
            "what": self.what,
            "todo": self.todo,
            "values": dict(self.values),
        }


async def overview(visit: Visit, checks: Sequence[Check] = ()) -> Record:
    """Processes with their stages, comments posted by the hour, and troubles, the worst first.

    `checks`: what a look at the health of the whole found, if there was one; it costs more than a page may.
    """
    async with visit.database.session() as session:
        states = await store.states(session, visit.sees)
        counts = await store.counts(session, visit.sees)
        logins = await store.logins_in_trouble(session, visit.sees)
        items = await store.items_in_trouble(session, visit.sees, MOST_CAUSES)
        # A budget that nobody set is not worth two queries.
        limited = any(_has_budget(state) for state in states)
        standings = await budgets.standings(session, visit.settings.budget_timezone, visit.sees) if limited else []
    troubles = [
        *_unwell(checks),
        *_late_ticks(states, visit.settings, checks),
        *map(_login, logins),
        *(each for state in states for each in _late(state, counts.get(state.row.id, NOTHING), visit.settings)),
        *_down(states),
        *map(_items, items),
        *_budgets(standings),
    ]
    hours = [counts.get(state.row.id, NOTHING).posted_per_hour for state in states]
    return {
        "processes": [_process(state, counts.get(state.row.id, NOTHING)) for state in states],
        "posted_per_hour": [sum(each[hour] for each in hours) for hour in range(HOURS)],
        "wrong": [each.record() for each in sorted(troubles, key=lambda each: each.severity != "error")],
        "at": datetime.now(UTC),
    }


def _process(state: ProcessState, counts: Counts) -> Record:
    return record(state.row) | {
        "owner": state.owner,
        "provider": state.provider.name if state.provider else None,
        "comments": comment_counts(counts),
        "stages": [stage_record(stage, state.row, counts) for stage in state.stages],
        "posted_per_hour": list(counts.posted_per_hour),
    }


def _has_budget(state: ProcessState) -> bool:
    provider = state.provider
    of_provider = provider is not None and (provider.budget_tokens is not None or provider.budget_money is not None)
    return of_provider or state.row.budget_tokens is not None or state.row.budget_money is not None


def _unwell(checks: Sequence[Check]) -> Iterator[Trouble]:
    for check in checks:
        if not check.ok:
            todo = "Look at `pressroom health` and at Prefect's page"
            yield Trouble("error", "unwell", "health", None, check.name, check.detail, todo, {})


def _late_ticks(states: Sequence[ProcessState], settings: Settings, checks: Sequence[Check]) -> Iterator[Trouble]:
    """Stages without a good tick over all processes, unless the checks say so already."""
    named = {check.name for check in checks}
    ticks = {stage.tick.stage: stage.tick for state in states for stage in state.stages if stage.tick is not None}
    for stage, tick in sorted(ticks.items()):
        since = _since(tick)
        if since is not None and since > _limit(settings) and f"stage {stage}" not in named:
            what = f"No tick of {stage} has succeeded for {since // 60:.0f} min"
            what += f"; the last error: {tick.last_error[:200]}" if tick.last_error else ""
            todo = "See whether a worker runs, and its flow runs in Prefect"
            yield Trouble("error", "tick_late", "stage", None, stage, what, todo, {"minutes": int(since // 60)})


def _since(tick: StageTick) -> float | None:
    return None if tick.last_success_at is None else (datetime.now(UTC) - tick.last_success_at).total_seconds()


def _limit(settings: Settings) -> float:
    """Seconds without a success after which a stage is in trouble."""
    return max(INTERVALS * settings.stage_interval, SHORTEST)


def _late(state: ProcessState, counts: Counts, settings: Settings) -> Iterator[Trouble]:
    """Stages of a running process that have work, and no success for too long."""
    row = state.row
    if row.status != "running" or row.started_at is None:
        return
    now = datetime.now(UTC)
    for stage in state.stages:
        name: Stage = stage.row.stage  # type: ignore[assignment] # the database allows no other
        allowed = timedelta(seconds=_limit(settings) + (settings.quiet_max if name == "discovery" else 0))
        last = max(stage.row.last_success_at or row.started_at, row.started_at)
        if now - last <= allowed or stage.held or not _has_work(name, state, counts):
            continue
        minutes = int((now - last).total_seconds() // 60)
        what = f"{name} of “{row.name}” has had no success for {minutes} min"
        what += f"; the last error: {stage.row.last_error[:200]}" if stage.row.last_error else ""
        todo = "Open the process and the last run of the stage"
        values = {"stage": name, "minutes": minutes, "error": stage.row.last_error}
        yield Trouble("error", "stage_late", "process", row.id, row.name, what, todo, values)


def _has_work(stage: Stage, state: ProcessState, counts: Counts) -> bool:
    """Whether something waits that the stage could take."""
    if stage == "discovery":
        return True
    if stage == "posting" and state.row.generate_only:
        return counts.approved > counts.held.get("generated", 0)
    status = {"preparation": "discovered", "generation": "prepared", "posting": "generated"}[stage]
    return store.waiting_in(counts, stage) > counts.later.get(status, 0)


def _login(login: LoginTrouble) -> Trouble:
    used = f", which {', '.join(login.processes)} needs" if login.processes else ""
    if not login.is_active:
        what, todo, code = (
            f"The login “{login.name}”{used} is switched off",
            "Switch it on, or change the process",
            "off",
        )
    else:
        what, code = f"The login “{login.name}”{used} does not get in: {login.error}", "refused"
        todo = "Check its password and test it; it is tried again by itself"
    severity: Severity = "error" if login.processes else "warning"
    values = {"error": login.error, "again_at": login.next_login_at, "processes": list(login.processes)}
    return Trouble(severity, f"login_{code}", "login", login.id, login.name, what, todo, values)


def _down(states: Sequence[ProcessState]) -> Iterator[Trouble]:
    """Providers that do not answer, once each."""
    found = {state.provider.id: state.provider for state in states if state.provider is not None}
    for provider in found.values():
        if provider.down_until is None or provider.down_until <= datetime.now(UTC):
            continue
        what = f"The provider “{provider.name}” is down: {provider.down_reason}"
        todo = "Nothing, unless it goes on: it is tried again by itself"
        values = {"reason": provider.down_reason, "until": provider.down_until}
        yield Trouble("warning", "provider_down", "provider", provider.id, provider.name, what, todo, values)


def _items(trouble: ItemTrouble) -> Trouble:
    """Failed comments, or waiting ones whose provider or login is not accepted."""
    values = {
        "process": trouble.process,
        "provider": trouble.provider,
        "cause": trouble.cause,
        "number": trouble.number,
        "status": trouble.status,
        "error": trouble.last,
    }
    many = f"{trouble.number} comment{'' if trouble.number == 1 else 's'} of “{trouble.process}”"
    if trouble.failed:
        what, todo = f"{many} failed in the last hour: {trouble.last}", "See the failures; try them again from there"
        return Trouble("error", "items_failed", "process", trouble.process_id, trouble.process, what, todo, values)
    if trouble.refused and trouble.status == "prepared":
        what = f"{many} wait for the model: {trouble.last}"
        todo = "Check the provider's key, model and budget, and test it"
        return Trouble("error", "provider_refused", "process", trouble.process_id, trouble.process, what, todo, values)
    if trouble.refused:
        what, todo = f"{many} wait for a login: {trouble.last}", "Check the login and test it"
        return Trouble("error", "items_refused", "process", trouble.process_id, trouble.process, what, todo, values)
    what, todo = f"{many} wait to be tried again: {trouble.last}", "Nothing, unless it goes on"
    return Trouble("warning", "items_wait", "process", trouble.process_id, trouble.process, what, todo, values)


def _budgets(standings: Sequence[Standing]) -> Iterator[Trouble]:
    for each in standings:
        if each.state == "fine":
            continue
        unit = each.currency if each.unit == "money" else "tokens"
        share = f"{each.used:f} of {each.budget:f} {unit}"
        values = {"unit": unit, "used": each.used, "budget": each.budget, "resumes_at": each.resumes_at}
        if each.state == "used_up":
            what = f"The budget of “{each.name}” is used up for today ({share}); its comments wait"
            yield Trouble("error", "budget_used_up", each.owner, each.id, each.name, what, "Wait, or raise it", values)
        else:
            what = f"The budget of “{each.name}” is nearly used up for today ({share})"
            yield Trouble("warning", "budget_warned", each.owner, each.id, each.name, what, "Raise it in time", values)
