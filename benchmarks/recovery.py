"""What becomes of the work when something breaks: each fault of `benchmarks.faults`, for each contender with workers.

All is seen from the site: when a comment came, which came twice, which never came. Work is plenty, so that throughput
is that of a contender in full swing before the fault and after it, never that of a job that runs out.
"""

import subprocess
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from asyncpg import PostgresError
from sqlalchemy.exc import SQLAlchemyError

from benchmarks import charts as draw
from benchmarks.aftermath import AFTER, AS_BEFORE, BEFORE, LATE, LONGEST, ON_ITS_WAY, Recovery, measured
from benchmarks.contenders import BEAT_SECONDS, Contender, Load
from benchmarks.faults import FAULTS, Fault
from benchmarks.goals import Goal
from benchmarks.ground import EVERYBODY
from benchmarks.peers import CONTENDERS
from benchmarks.peers.ideal import Ideal
from benchmarks.peers.pressroom import BEATS

# Five comments a second at most, so that not even a slow machine is what holds a contender up.
LOAD = Load(processes=10, articles=30, llm_seconds=2.0, at_once=10)
GOAL_PERCENT, GOAL_TAKEOVER = 100 * AS_BEFORE, 30.0
BIN = 4.0  # seconds of a mark of the course
MARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class NotMeasured:
    contender: str
    fault: str
    why: str


Figure = Recovery | NotMeasured
# What keeps one figure from being measured, and not the others.
TROUBLE = (RuntimeError, OSError, subprocess.SubprocessError, httpx.HTTPError, SQLAlchemyError, PostgresError)


def run() -> list[Figure]:
    """Bare asyncio has no worker that could be killed, and nothing that could be away."""
    contenders = [contender for contender in CONTENDERS if not isinstance(contender, Ideal)]
    return [_figure(contender, fault) for fault in FAULTS for contender in contenders]


def _figure(contender: Contender, fault: Fault) -> Figure:
    print(f"{contender.name}: {fault.name}", flush=True)
    try:
        return measured(contender, fault, LOAD)
    except TROUBLE as error:
        traceback.print_exc()
        return NotMeasured(contender.name, fault.name, str(error).partition("\n")[0])


CONDITIONS = f"""{LOAD.processes} processes with {LOAD.articles} articles each, pages {LOAD.page_seconds * 1000:.0f} ms,
model {LOAD.llm_seconds:g} s, {LOAD.at_once} at once: {LOAD.at_once / LOAD.llm_seconds:g} comments a second at most.
Hit: how often something was. Before: comments a second in the {BEFORE:g} s before the fault, a burst counted as that
most, here and in *again*. At once: in the
{AFTER:g} s from its end on. First: the first comment after it, not counting the {ON_ITS_WAY:g} s in which one could
have been on its way. Again: in the {AFTER:g} s from that one on; of this the goal is {GOAL_PERCENT:g} % of before. As
before: where the first {AFTER:g} s begin that reach it. When a comment came, what came twice and
what never came is the site's word. Lost is what is not there {LATE:g} s after the fault, unless comments still come
then: what is left of those after {LONGEST:g} s is unfinished. Taken over: what somebody held when another took it; how
late that was is counted from its lease's end, which a new worker of Pressroom brings about for what its predecessor
held. The peers lease nothing in the database; with taskiq what a dead worker held comes again after 60 s, and with the
Celery design the next task takes it. Longest pause: in which no comment came, from the fault's beginning on. One round
each; bare asyncio has no worker that could be killed, and no part in it.

Not alike for all: Pressroom has one process that works, of which the busiest is all of it; taskiq has four, the Celery
design 51. Nothing is done to Redis, which keeps what Debian's settings keep: less than PostgreSQL does here."""
SETTINGS = EVERYBODY | {name: str(BEAT_SECONDS) for name in BEATS}


def report(figures: Sequence[Figure]) -> str:
    lines = ["## When something breaks", "", CONDITIONS]
    for fault in dict.fromkeys(figure.fault for figure in figures):
        title = fault[0].upper() + fault[1:]
        lines += ["", f"### {title}", "", *_table([each for each in figures if each.fault == fault])]
    return "\n".join(lines) + "\n"


def _table(figures: Sequence[Figure]) -> list[str]:
    columns = (
        *("", "hit", "before, a second", "at once", "first after, s", "again", "again, %", "as before after, s"),
        *("longest pause, s", "taken over", "latest after its lease, s", "twice", "lost", "unfinished"),
        *("died by itself", "not started again", f"comments in each {BIN:g} s"),
    )
    return [_line(columns), "|---" * len(columns) + "|", *(_line(_row(each)) for each in figures)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(of: Figure) -> Sequence[str]:
    if isinstance(of, NotMeasured):
        return (of.contender, f"not measured: {of.why}")
    again = "the work ran out" if of.again is None and of.first is not None else _number(of.again)
    return (
        *(of.contender, str(of.strikes), _number(of.before), _number(of.at_once), _number(of.first, "never")),
        *(again, "–" if of.percent is None else f"{of.percent:.0f}"),
        *(_number(of.back, "never"), _number(of.pause), str(of.takeovers)),
        *(_number(of.latest if of.takeovers else None), str(of.duplicates), str(of.lost), str(of.unfinished)),
        *(_counted(of.died), _counted(of.gone), _course(of)),
    )


def _course(of: Recovery) -> str:
    """From the beginning of the window before the fault on; a bar across where the fault begins."""
    counted = Counter(int(at // BIN) for at in of.course)
    before = int(-BEFORE // BIN)
    steps = [counted[step] for step in range(before, max(counted, default=0) + 1)]
    most = max([*steps, 1])
    marks = "".join(MARKS[round(step / most * (len(MARKS) - 1))] if step else "·" for step in steps)
    return f"{marks[:-before]}│{marks[-before:]}"


def _number(value: float | None, otherwise: str = "–") -> str:
    return otherwise if value is None else f"{value:.1f}"


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{number} × {name}" for name, number in Counter(names).items()) or "–"


def goals(figures: Sequence[Figure]) -> list[Goal]:
    """Of each contender, its worst of all faults. What was not measured is missed."""
    by_name: dict[str, list[Recovery]] = {figure.contender: [] for figure in figures}
    for figure in figures:
        if isinstance(figure, Recovery):
            by_name[figure.contender].append(figure)
    return [goal for name, mine in by_name.items() for goal in _goals(name, mine)]


def _goals(name: str, mine: Sequence[Recovery]) -> list[Goal]:
    percents = [each.percent for each in mine]
    known = [percent for percent in percents if percent is not None]
    reached = sum(percent >= GOAL_PERCENT for percent in known)
    worst = f"{reached} of {len(FAULTS)} faults, the worst {min(known):.1f} %" if known else "never again"
    at_once = [100 * each.at_once / each.before for each in mine if each.before]
    latest = max((each.latest for each in mine), default=0.0)
    whole = len(mine) == len(FAULTS)
    taken = sum(each.takeovers for each in mine)
    twice, lost = sum(each.duplicates for each in mine), sum(each.lost for each in mine)
    left = sum(each.unfinished for each in mine)
    missing = f"{lost}" + (f", and {left} unfinished" if left else "")
    return [
        Goal(f"{name}: throughput after a fault", f"≥ {GOAL_PERCENT:g} % of before", worst, reached == len(FAULTS)),
        Goal(f"{name}: as before again", "", _slowest(mine), None),
        Goal(f"{name}: in the {AFTER:g} s from the fault's end", "", f"at worst {min(at_once, default=0):.0f} %", None),
        Goal(
            f"{name}: takeover after a lease's end",
            f"≤ {GOAL_TAKEOVER:g} s",
            f"{latest:.1f} s, {taken} times" if taken else "no leases in the database",
            latest <= GOAL_TAKEOVER if taken else None,
        ),
        Goal(f"{name}: posted twice", "0", str(twice), whole and not twice),
        Goal(f"{name}: lost", "0", missing, whole and not lost and not left),
    ]


def _slowest(mine: Sequence[Recovery]) -> str:
    backs = [each.back for each in mine if each.back is not None]
    never = len(mine) - len(backs)
    said = [f"at most {max(backs):.0f} s after a fault"] if backs else []
    return ", ".join([*said, *([f"never after {never} of {len(mine)} faults"] if never else [])])


def charts(figures: Sequence[Figure]) -> dict[str, str]:
    """Throughput after each fault, and how long nothing came."""
    contenders = list(dict.fromkeys(figure.contender for figure in figures))
    percents: dict[str, list[float | None]] = {}
    waits: dict[str, list[float | None]] = {}
    for fault in dict.fromkeys(figure.fault for figure in figures):
        by_name = {each.contender: each for each in figures if each.fault == fault and isinstance(each, Recovery)}
        found = [by_name.get(name) for name in contenders]
        percents[fault] = [each.percent if each else None for each in found]
        waits[fault] = [each.first if each else None for each in found]
    about = "One bar for each contender, in groups by what was done to it; a dash where nothing came, or was measured."
    return {
        "throughput": draw.bars("Comments after a fault, % of before", about, percents, contenders, goal=GOAL_PERCENT),
        "wait": draw.bars("Seconds from a fault's end to the first comment", about, waits, contenders),
    }
