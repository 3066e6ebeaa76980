"""How fast: items a second and how long an article waits for its comment, every contender on the same loads.

A contender is set up once a round and given one load after the other. Each begins with everything up and idle; articles
and running processes come at once, and the clock runs from the articles' appearance on the site to the comments' there.
"""

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks import charts as draw
from benchmarks.contenders import BEAT_SECONDS, Contender, Load
from benchmarks.goals import Goal
from benchmarks.ground import EVERYBODY, Outside, outside
from benchmarks.peers import CONTENDERS, WITH, WITHOUT
from benchmarks.peers.celery_contender import CeleryDesign
from benchmarks.peers.ideal import Ideal
from benchmarks.peers.pressroom import BEATS
from benchmarks.work import Job, make_world, share, stop
from lib.database import Database

ROUNDS = 3
# The whole is to take less than an hour; the first is where the Celery design is compared.
LOADS = (
    Load(1, 100),
    Load(10, 25),
    Load(100, 2),
    Load(1, 20, llm_seconds=5),
    Load(10, 6, llm_seconds=5),
    Load(100, 1, llm_seconds=5),
)
PATIENCE, GRACE = 20.0, 120.0  # a run may take so many times the ideal, and so many seconds
REST = float(BEAT_SECONDS)  # before each load: a schedule that was just made has its first run only then
TABS = 1_000  # of the site for each load
BURST = 1.0  # seconds in which what comes has no pace
STAGES = ("discovered", "prepared", "generated", "posted")
# From issue 5; MANY articles a process are where the Celery design is compared
OFF, ON, TIMES_CELERY, MANY = 0.9, 0.8, 5.0, 100
SETTINGS = EVERYBODY | {name: str(BEAT_SECONDS) for name in BEATS}
INTRODUCTION = f"""Everything is up and idle; then articles and running processes come at once. Times run from an
article's appearance on the site to its comment there, by the site's clock. Pages take 50 ms; 20 model calls at once;
one post at a time per login; no politeness. Median of {ROUNDS} rounds, with the fastest and the slowest; a single round
with a model of 5 s, and of the Celery design, which both take minutes. Once set up, a contender does the
loads of one model one after the other, with {REST:g} s of rest before each and other processes for each. Every
contender looks for work every {BEAT_SECONDS} s, where Pressroom's default and the document's beat are 180 s; the
rounds begin at other places of the clock's beat, which is Pressroom's, and a single one in its middle. The beats of the
Celery design and of taskiq begin with their programs, so how long these wait for theirs is chance. The bare loop needs
no beat and begins half of one after there is something to do, which is how long the others wait for theirs in the mean.
The Celery design has pools of 10 processes a stage and 20 for the model, where the document has 1, and leaves it to its
beat to find a process that was started, which the document does not: {BEAT_SECONDS} s of its time at most. It reads
nothing back after a post, which saves it one page of three. One of its processes does one article after the other: so
it loses most where there is one process, and with ten of them it makes half of the model calls that anybody may make.
taskiq has a program a stage, for 20 jobs at once, 200 when posting. The bare loop is one process, as Pressroom is:
taskiq has four, and may be the faster one. *Of paper*: of waiting alone. *Of bare*: of the loop that keeps nothing, on
the same machine. A stage's pace is from its first item to its last; a dash where all of them came within a second, or
nothing was kept of them."""
PACE = text(
    "SELECT to_status, count(*), extract(epoch FROM max(at) - min(at))"
    " FROM comment_events JOIN ai_comments ON ai_comments.id = comment_id"
    " WHERE monitoring_process_id = ANY(:processes) AND to_status = ANY(:stages)"
    " AND from_status IS DISTINCT FROM to_status GROUP BY to_status"
)


@dataclass(frozen=True)
class RunFigure:
    """One run. Times in seconds, `stages` in items a second; NaN where there is nothing to tell."""

    contender: str
    load: Load
    posted: int
    seconds: float
    p50: float
    p95: float
    stages: Mapping[str, float]

    @property
    def finished(self) -> bool:
        return self.posted == self.load.total

    @property
    def rate(self) -> float:
        return self.posted / self.seconds


def run() -> list[RunFigure]:
    """Every round of every contender on every load. Raise RuntimeError when one posts a comment twice."""
    return [
        figure
        for loads in _alike(LOADS)
        for number in range(ROUNDS)
        for contender in CONTENDERS
        if number < _rounds(contender, loads[0])
        for figure in measured(contender, loads, (number + 0.5) / _rounds(contender, loads[0]) * BEAT_SECONDS)
    ]


def _alike(loads: Sequence[Load]) -> list[list[Load]]:
    """By what the outside world is like."""
    alike = itertools.groupby(loads, lambda load: (load.llm_seconds, load.page_seconds, load.at_once))
    return [list(same) for _, same in alike]


def _rounds(contender: Contender, load: Load) -> int:
    """Where nearly everything is waiting, one is like another, and takes minutes."""
    return 1 if load.llm_seconds > 1 or isinstance(contender, CeleryDesign) else ROUNDS


def measured(contender: Contender, loads: Sequence[Load], phase: float) -> list[RunFigure]:
    """Of each load, for all of which the outside world is alike; `phase`: of the beat, where each begins."""
    with outside(loads[0].llm_seconds, loads[0].page_seconds, loads[0].at_once) as there, contender.running(there):
        return [_one(contender.name, load, there, number, phase) for number, load in enumerate(loads)]


def _one(name: str, load: Load, there: Outside, number: int, phase: float) -> RunFigure:
    """The load of that number, which finds what those before it have left."""
    time.sleep(REST)
    job = make_world(there, load, TABS * (number + 1), phase)
    asyncio.run(job.until_posted(load.total, PATIENCE * load.ideal + GRACE))
    figure = _figure(name, load, job, asyncio.run(_pace(there.database_url, job)))
    print(f"{name}, {named(load)}: {figure.posted} of {load.total} in {figure.seconds:.1f} s", flush=True)
    asyncio.run(stop(there, job))
    return figure


def _figure(name: str, load: Load, job: Job, stages: Mapping[str, float]) -> RunFigure:
    if twice := job.duplicates():
        raise RuntimeError(f"{name} posted {twice} comments twice, and nothing disturbed it")
    times = job.posted_times()
    if not times:
        return RunFigure(name, load, 0, float("nan"), float("nan"), float("nan"), {})
    return RunFigure(name, load, len(times), job.seconds(), share(times, 0.5), share(times, 0.95), stages)


async def _pace(database_url: str, job: Job) -> dict[str, float]:
    """Of each stage while it was at it, by the database's clock; nothing of a burst, nor from who keeps nothing."""
    async with Database(database_url, pool_size=1) as database, database.session() as session:
        rows = await session.execute(PACE, {"stages": list(STAGES), "processes": list(job.process_ids)})
        return {status: (number - 1) / float(seconds) for status, number, seconds in rows if seconds >= BURST}


def report(figures: Sequence[RunFigure]) -> str:
    lines = ["## Throughput and latency", "", INTRODUCTION, ""]
    for load in dict.fromkeys(figure.load for figure in figures):
        lines += _table(load, [figure for figure in figures if figure.load == load])
    lines += ["Versions:", ""]
    for each in CONTENDERS:
        versions = ", ".join(f"{what} {which}" for what, which in each.versions().items())
        lines.append(f"- {each.name}: {versions}")
    return "\n".join(lines) + "\n"


def _table(load: Load, figures: Sequence[RunFigure]) -> list[str]:
    bare, stages = _seconds(figures, Ideal.name), " | ".join(f"{stage}/s" for stage in STAGES)
    lines = [
        f"### {named(load)}",
        "",
        f"On paper {load.ideal:.0f} s.",
        "",
        f"| | items/s | of paper | of bare | wait p50 s | wait p95 s | all s | {stages} |",
        "|---" * 11 + "|",
    ]
    by_name = {name: [each for each in figures if each.contender == name] for name in _names(figures)}
    return [*lines, *(_row(name, load, bare, rounds) for name, rounds in by_name.items()), ""]


def _row(name: str, load: Load, bare: float, rounds: Sequence[RunFigure]) -> str:
    least = min(each.posted for each in rounds)
    if least < load.total:
        return f"| {name} | not finished: {least} of {load.total} |" + " |" * 9
    seconds = _seconds(rounds, name)
    cells = [
        _shown([each.rate for each in rounds]),
        f"{load.ideal / seconds:.2f}",
        _shown([bare / seconds], 2),
        _shown([each.p50 for each in rounds]),
        _shown([each.p95 for each in rounds]),
        _spread([each.seconds for each in rounds]),
        *(_shown([each.stages[stage] for each in rounds if stage in each.stages]) for stage in STAGES),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def goals(figures: Sequence[RunFigure]) -> list[Goal]:
    """The load at which each fares worst decides."""
    full = [each for each in figures if each.load.articles == MANY]
    return [
        *_goal(figures, WITH.name, Ideal.name, "of the bare loop's throughput, item runs on, at its worst", ON),
        *_goal(figures, WITHOUT.name, Ideal.name, "of the bare loop's throughput, item runs off, at its worst", OFF),
        *_goal(full, WITH.name, CeleryDesign.name, f"of the Celery design's, 1 process × {MANY}", TIMES_CELERY),
    ]


def _goal(figures: Sequence[RunFigure], name: str, other: str, what: str, least: float) -> list[Goal]:
    """Nothing where one of the two was not measured; what did not finish is the worst that there is."""
    found = []
    for load in dict.fromkeys(each.load for each in figures):
        here = [each for each in figures if each.load == load and each.contender in (name, other)]
        if len({each.contender for each in here}) == 2:
            late = any(each.contender == name and not each.finished for each in here)
            ratio = _seconds(here, other) / _seconds(here, name)
            found.append((0.0 if late or math.isnan(ratio) else ratio, named(load)))
    if not found:
        return []
    ratio, at = min(found)
    return [Goal(what, f"≥ {least:g}", f"{ratio:.2f} ({at})", ratio >= least)]


def charts(figures: Sequence[RunFigure]) -> dict[str, str]:
    loads = list(dict.fromkeys(each.load for each in figures))
    rates: dict[str, list[float | None]] = {
        name: [_rate([each for each in figures if each.contender == name and each.load == load]) for load in loads]
        for name in _names(figures)
    }
    about = "Comments posted a second by each contender, at each load"
    return {"rate": draw.bars("Comments posted a second", about, rates, [named(load) for load in loads])}


def named(load: Load) -> str:
    plural = "es" * (load.processes > 1)
    return f"{load.processes} process{plural} × {load.articles} articles, model {load.llm_seconds:g} s"


def _names(figures: Sequence[RunFigure]) -> list[str]:
    return list(dict.fromkeys(each.contender for each in figures))


def _seconds(figures: Sequence[RunFigure], name: str) -> float:
    """Of the median round; NaN where there is none that was finished."""
    values = [each.seconds for each in figures if each.contender == name and each.finished]
    return statistics.median(values) if values else math.nan


def _rate(rounds: Sequence[RunFigure]) -> float | None:
    return statistics.median(each.rate for each in rounds) if rounds else None


def _spread(values: Sequence[float]) -> str:
    """The median, and of several the least and the greatest."""
    middle = f"{statistics.median(values):.1f}"
    return f"{middle} ({min(values):.1f}–{max(values):.1f})" if len(values) > 1 else middle


def _shown(values: Sequence[float], digits: int = 1) -> str:
    """The median, or a dash."""
    middle = statistics.median(values) if values else math.nan
    return "–" if math.isnan(middle) else f"{middle:.{digits}f}"


if __name__ == "__main__":
    print(report(run()))
