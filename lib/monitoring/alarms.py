"""What is wrong now, as causes of alerts: stages, processes, logins, budgets, and what health found beside them."""

from collections.abc import Iterable

from lib.alerts.causes import Cause
from lib.database import Database
from lib.monitoring.health import INTERVALS, SHORTEST, Check, Health
from lib.monitoring.stages import FLOWS
from lib.monitoring.store import alarms as store
from lib.monitoring.store import budgets
from lib.monitoring.store import health as health_store
from lib.monitoring.store.alarms import EndedProcess, RefusedLogin, SilentStage
from lib.monitoring.store.budgets import Standing
from lib.settings import Settings

STOPPED_BY = {"timeout": "its time was over"}


def silent_after(settings: Settings) -> float:
    """Seconds without a success after which a stage is silent."""
    return max(INTERVALS * settings.stage_interval, SHORTEST)


async def find(settings: Settings, database: Database, health: Health) -> list[Cause]:
    """Everything that is wrong now. The database must answer."""
    limit = silent_after(settings)
    async with database.session() as session:
        silent = await store.silent_stages(session, limit)
        ended = await store.ended_processes(session)
        refused = await store.refused_logins(session)
        spent = await budgets.standings(session, settings.budget_timezone)
        ages = await health_store.stage_ages(session)
    late = {f"stage {age.stage}" for age in ages if age.since_success is not None and age.since_success > limit}
    return [
        *(silent_stage(each) for each in silent),
        *(ended_process(each) for each in ended),
        *(refused_login(each) for each in refused),
        *(spent_budget(each) for each in spent if each.state != "fine"),
        *ill(check for check in health.checks if check.name not in late),
    ]


def silent_stage(stage: SilentStage) -> Cause:
    """By the name of its flow, which is what Prefect's own watch knows."""
    minutes = stage.seconds / 60
    return Cause(
        kind="stage.silent",
        subject=FLOWS[stage.stage],
        title=f"The stage {stage.stage} has had no success for {minutes:.0f} minutes",
        details={"stage": stage.stage, "seconds": round(stage.seconds), "last_error": stage.last_error},
    )


def ended_process(process: EndedProcess) -> Cause:
    why = process.error_message or STOPPED_BY.get(process.stop_reason or "", process.stop_reason or "no reason noted")
    return Cause(
        kind="process.stopped",
        subject=str(process.id),
        episode=process.stopped_at.isoformat(),
        title=f"The process “{process.name}” {'failed' if process.status == 'failed' else 'stopped by itself'}: {why}",
        details={
            "process": process.name,
            "status": process.status,
            "reason": process.stop_reason,
            "error": process.error_message,
            "stopped_at": process.stopped_at.isoformat(),
        },
    )


def refused_login(login: RefusedLogin) -> Cause:
    return Cause(
        kind="login.refused",
        subject=str(login.id),
        title=f"The login “{login.name}” stopped working on {login.base_url}",
        details={
            "login": login.name,
            "site": login.base_url,
            "failed_logins": login.failed_logins,
            "error": login.error_message,
            "since": login.since.isoformat() if login.since is not None else None,
        },
    )


def spent_budget(standing: Standing) -> Cause:
    """Once a day and height of the budget: raised, it may be used up a second time."""
    used_up = standing.state == "used_up"
    unit = "tokens" if standing.unit == "tokens" else standing.currency
    words = "used up" if used_up else f"used to {standing.share:.0%}"
    return Cause(
        kind="budget.exhausted" if used_up else "budget.warning",
        subject=f"{standing.owner} {standing.id} {standing.unit}",
        episode=f"{standing.resumes_at.isoformat()} {standing.budget.normalize():f}",
        title=f"The budget of the {standing.owner} “{standing.name}” is {words}: {standing.used:,f} of "
        f"{standing.budget:,f} {unit}",
        details={
            standing.owner: standing.name,
            f"{standing.owner}_id": str(standing.id),
            "unit": unit,
            "used": float(standing.used),
            "budget": float(standing.budget),
            "resumes_at": standing.resumes_at.isoformat(),
        },
    )


def ill(checks: Iterable[Check]) -> list[Cause]:
    """What is not well and has no kind of its own, each once; a silent stage has."""
    return [
        Cause(
            kind="health.ill",
            subject=check.name,
            title=f"Not well: {check.name}: {check.detail}",
            details={"check": check.name, "detail": check.detail},
        )
        for check in checks
        if not check.ok
    ]
