"""Is everything at work? The database, Prefect and its worker, each stage's last success, the oldest waiting item."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lib.database import Database, forbid_session
from lib.monitoring.stages import FLOWS
from lib.monitoring.store import budgets
from lib.monitoring.store import health as store
from lib.monitoring.store.health import StageAge
from lib.settings import Settings

# A stage without a good tick for so many intervals, or 15 minutes if that is longer, is in trouble.
INTERVALS = 5
SHORTEST = 900.0
WAITING_TOO_LONG = 3600.0


@dataclass(frozen=True)
class Check:
    """One thing that is well or not, and what was found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Health:
    """All checks; well when every one is."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


async def examine(settings: Settings, database: Database, prefect_api_url: str | None) -> Health:
    """Never raises for a part that is down: that is a finding."""
    found = await asyncio.gather(_database(settings, database), _prefect(settings, prefect_api_url))
    return Health(tuple(check for group in found for check in group))


async def _database(settings: Settings, database: Database) -> list[Check]:
    try:
        async with asyncio.timeout(5), database.session() as session:
            await session.execute(text("SELECT 1"))
            ages = await store.stage_ages(session)
            spent = await budgets.standings(session, settings.budget_timezone)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return [Check("database", ok=False, detail=f"not reachable: {type(error).__name__}: {error}"[:300])]
    noted = [each for each in spent if each.state != "fine"]
    used_up = any(each.state == "used_up" for each in noted)
    return [
        Check("database", ok=True, detail="answers"),
        *(stage_check(age, settings, resting=used_up and age.stage == "generation") for age in ages),
        # What waits for tomorrow's budget is as it should be.
        *(Check(f"budget of {each.owner} {each.name}", ok=True, detail=budgets.in_words(each)) for each in noted),
    ]


def stage_check(age: StageAge, settings: Settings, *, resting: bool = False) -> Check:
    """A stage that never ran is well: it is about to. `resting`: what waits may wait for a budget's next day."""
    late = age.since_success is not None and age.since_success > max(INTERVALS * settings.stage_interval, SHORTEST)
    stuck = age.oldest_waiting is not None and age.oldest_waiting > WAITING_TOO_LONG and not resting
    words = "no tick yet" if age.since_success is None else f"last success {age.since_success:.0f} s ago"
    if age.oldest_waiting is not None:
        words += f", oldest waiting item {age.oldest_waiting:.0f} s"
    if age.last_error:
        words += f", last error: {age.last_error[:200]}"
    return Check(f"stage {age.stage}", ok=not (late or stuck), detail=words)


async def _prefect(settings: Settings, url: str | None) -> list[Check]:
    if url is None:
        return [Check("prefect api", ok=False, detail="PREFECT_API_URL is not set")]
    forbid_session("a look at Prefect's API")
    async with httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client:
        try:
            (await client.get("/health")).raise_for_status()
            deployments = await _json(client.post("/deployments/filter", json={}))
            workers = await _json(client.post(f"/work_pools/{settings.work_pool}/workers/filter", json={}))
        except (httpx.HTTPError, ValueError) as error:
            return [Check("prefect api", ok=False, detail=f"{type(error).__name__}: {error}"[:300])]
    there = {deployment["name"] for deployment in deployments}
    lacking = [flow for flow in FLOWS.values() if flow not in there]
    online = [worker["name"] for worker in workers if worker.get("status") == "ONLINE"]
    return [
        Check("prefect api", ok=True, detail="answers"),
        Check("deployments", ok=not lacking, detail=f"missing: {', '.join(lacking)}" if lacking else "all there"),
        Check("work pool", ok=bool(online), detail=f"workers: {', '.join(online)}" if online else "no worker online"),
    ]


async def _json(asked: Any) -> list[dict[str, Any]]:
    response: httpx.Response = await asked
    response.raise_for_status()
    answer: list[dict[str, Any]] = response.json()
    return answer
