"""A storm from beginning to end, and the report of it."""

import asyncio
import random
import time
from collections import Counter

from tests.chaos import ledger, worker
from tests.chaos.crew import Crew, hired
from tests.chaos.evidence import Breach, Evidence, breaches
from tests.chaos.ground import NEWSROOM, SHORT, Ground, Watching, prepared
from tests.chaos.ledger import Kept
from tests.chaos.person import Person
from tests.chaos.report import Report
from tests.chaos.storm import Plan, Storm

LEASE = float(SHORT["ITEM_LEASE"])
HEAD_START = 1.0
SHOWN = 15


async def storm(
    plan: Plan, processes: tuple[Watching, ...] = NEWSROOM, *, articles: int = 4, broken: str = "", seed: int = 0
) -> Report:
    """Blow, wait for calm, and look. `broken` makes the workers post in a way that is known to be wrong."""
    random.seed(seed or None)
    async with prepared(processes, articles) as ground:
        environment = ground.environment | {
            worker.PROCESSES: ",".join(str(id_) for id_ in ground.process_ids),
            worker.LOG_IN_LEASE: f"{LEASE:g}",
            worker.BREAK: broken,
        }
        async with hired(environment, ground.log) as crew:
            listening = asyncio.create_task(crew.listen())
            blowing = Storm(plan, ground, crew)
            began = time.monotonic()
            await blowing.blow()
            blown = time.monotonic() - began
            await _away(ground, plan.outage)
            calm_since = time.monotonic()
            await _calm(ground, plan.patience)
            calm_for = time.monotonic() - calm_since
            kept = await ledger.kept(ground, tuple(crew.born_at))
        await listening
        if not broken:
            # Whoever was ended just now held a lease at most so long.
            await asyncio.sleep(LEASE + 0.5)
        return await _report(ground, crew, blowing, kept, blown, calm_for)


async def _away(ground: Ground, seconds: float) -> None:
    """Nobody is killed, and PostgreSQL is away while the workers have something to do."""
    if seconds:
        for tab in {process.tab for process in ground.processes}:
            await ground.more_articles(tab, 1)
        await asyncio.sleep(HEAD_START)
        await ground.be_away(seconds)


async def _calm(ground: Ground, patience: float) -> None:
    """Until nothing is left to do, or nobody would wait any longer."""
    person, until = Person(ground), time.monotonic() + patience
    while time.monotonic() < until:
        await person.look()
        if (await ground.evidence()).settled:
            return
        await asyncio.sleep(0.5)


async def _report(
    ground: Ground, crew: Crew, blown: Storm, kept: Kept, storm_seconds: float, calm_seconds: float
) -> Report:
    evidence = await ground.evidence()
    traffic = await ground.traffic()
    found = [*breaches(evidence), *(Breach("no task record", turn) for turn in kept.missing)]
    return Report(
        kills=sum(blown.killed_at.values()),
        killed_at=blown.killed_at,
        weather=blown.weather,
        restarts=tuple(ground.restarts),
        cuts=ground.cuts,
        takeovers=tuple(await ground.takeovers()),
        traffic={name: traffic[name] for name in ("comment_posts", "comments_accepted", "log_ins", "llm_calls")},
        statuses=Counter(record.status for record in evidence.records),
        comments=len(evidence.on_site),
        breaches=tuple(found),
        unexpected=_unexpected(ground),
        ended_otherwise=tuple(crew.ended_otherwise),
        storm_seconds=storm_seconds,
        calm_seconds=calm_seconds,
        failures=_failures(evidence),
        histories=await _histories(ground, found),
        kept=kept,
        away=(ground.away[1] - ground.away[0]).total_seconds() if ground.away else 0.0,
        decided=Counter(ground.decided.values()),
        hidden=sum(comment.hidden for comment in evidence.on_site),
    )


async def _histories(ground: Ground, found: list[Breach]) -> tuple[str, ...]:
    places = dict.fromkeys((breach.article, breach.login) for breach in found if breach.article)
    lines = []
    for article, login in list(places)[:SHOWN]:
        lines += [f"{login} on article {article}:", *await ground.histories(article, login)]
    return tuple(lines)


def _failures(evidence: Evidence) -> tuple[str, ...]:
    return tuple(record.error or "" for record in evidence.records if record.status == "failed")


def _unexpected(ground: Ground) -> Counter[str]:
    """The errors that failed a tick, by stage and type."""
    lines = ground.log.read_text(errors="replace").splitlines()
    return Counter(line.removeprefix(worker.ERROR).strip() for line in lines if line.startswith(worker.ERROR))
