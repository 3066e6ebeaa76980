"""What the section on scale says: its tables."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.scaling import claims, paper, rows, ticks, workers
from benchmarks.scaling.claims import ClaimFigure
from benchmarks.scaling.paper import OURS, Model
from benchmarks.scaling.ticks import FLOWS, LookFigure, TickFigure
from benchmarks.scaling.workers import WorkersFigure
from lib.settings import settings as read_settings


@dataclass(frozen=True)
class ScaleFigures:
    """`larger`: ten times the processes, which the model has not seen."""

    ticks: Sequence[TickFigure]
    larger: TickFigure
    look: LookFigure
    claims: Sequence[ClaimFigure]
    workers: Sequence[WorkersFigure]
    model: Model


def lines(figures: ScaleFigures) -> Iterator[str]:
    yield from ("## How far it goes", "")
    for part in (_of_claims, _of_ticks, _of_workers, _of_paper):
        yield from part(figures)
        yield ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def _of_claims(figures: ScaleFigures) -> Iterator[str]:
    yield f"### Claims: {claims.AT_ONCE} claimants, {claims.PROCESSES} processes, the sizes measured in turns"
    yield ""
    yield "Most comments are posted; as many of the newest wait at every size. Durable, as the product's PostgreSQL is."
    yield f"Median of {claims.ROUNDS} rounds with the slowest and the fastest. Last columns: of an item; blocks are"
    yield "pages of PostgreSQL, of 8 kB. On this page BEGIN and COMMIT are no round trips of their own."
    yield ""
    header = ("stage", "comments", "waiting", "items a second", "claim p50 ms", "p95", "settle p50")
    yield from _table((*header, "PostgreSQL, CPU ms", "blocks", "round trips"), map(_claim_row, _by_stage(figures)))


def _by_stage(figures: ScaleFigures) -> list[ClaimFigure]:
    return sorted(figures.claims, key=lambda each: claims.STAGES.index(each.stage))


def _claim_row(each: ClaimFigure) -> Sequence[str]:
    times = (f"{each.claim_p50:.1f}", f"{each.claim_p95:.1f}", f"{each.settle_p50:.1f}")
    costs = (f"{each.cpu:.2f}", f"{each.blocks:.0f}", f"{each.round_trips:.1f}")
    return (
        each.stage,
        f"{each.comments:,}",
        f"{each.waiting:,}",
        f"{each.rate:.0f} ({min(each.rates):.0f}–{max(each.rates):.0f})",
        *times,
        *costs,
    )


def _of_ticks(figures: ScaleFigures) -> Iterator[str]:
    look = figures.look
    yield "### An idle tick of all four stages"
    yield ""
    yield f"Every process has {ticks.COMMENTS_EACH} posted comments. CPU without what the components take at rest."
    yield f"Median of {ticks.ROUNDS} rounds of {ticks.IN_A_ROW} ticks, the sizes in turns, each a database of its own."
    yield ""
    header = ("running processes", "ms", "slowest stage, ms", "round trips", *(f"{each}, CPU ms" for each in OURS))
    yield from _table(header, map(_tick_row, (*figures.ticks, figures.larger)))
    spent = ", ".join(f"{what} {look.cpu.get(what, 0):.1f}" for what in OURS)
    yield f"{look.processes} processes that look at an index with nothing new take {look.seconds:.1f} s together. They"
    yield f"share {rows.LOGINS} logins, so {rows.LOGINS} indexes are fetched for them."
    yield f"CPU ms a process: {spent}; {look.round_trips:.1f} round trips."


def _tick_row(each: TickFigure) -> Sequence[str]:
    cpu = (f"{each.cpu.get(what, 0):.0f}" for what in OURS)
    times = (f"{each.total:.0f}", f"{max(each.ms.values()):.0f}", f"{each.round_trips:.0f}")
    return (f"{each.processes:,}", *times, *cpu)


def _of_workers(figures: ScaleFigures) -> Iterator[str]:
    first = figures.workers[0]
    yield f"### {first.articles} articles of {workers.PROCESSES} processes, by the number of workers"
    yield ""
    yield "Each ticks all stages and pauses for as many seconds between its ticks as there are workers: together they"
    yield "tick as often as one. Ten processes are claimed at once, so who comes first may get most of them."
    yield f"{os.cpu_count()} cores for the workers, the servers and the site."
    yield ""
    header = (
        "workers",
        "seconds",
        "speed-up",
        "twice",
        "missing",
        "model calls",
        "posted by each",
        "failed ticks",
        "CPU ms an article",
    )
    yield from _table(header, (_worker_row(each, first) for each in figures.workers))


def _worker_row(each: WorkersFigure, first: WorkersFigure) -> Sequence[str]:
    shares = ", ".join(str(done.get("posting", 0)) for done in each.shares)
    cpu = ", ".join(f"{what} {ms:.0f}" for what, ms in each.cpu.items())
    counts = (str(each.twice), str(each.missing), str(each.model_calls), shares, str(each.failed_ticks))
    return (str(each.workers), f"{each.seconds:.1f}", f"{first.seconds / each.seconds:.2f}", *counts, cpu)


def _of_paper(figures: ScaleFigures) -> Iterator[str]:
    have, settings = figures.model, read_settings()
    yield f"### {paper.PROCESSES:,} processes, on paper"
    yield ""
    yield f"Assumed: {paper.ARTICLES_A_DAY} new articles a process and day, a quiet process looks every"
    yield f"{settings.quiet_max:.0f} s, a tick every {settings.stage_interval:.0f} s, an article costs what it"
    yield "does with one worker here, and a tick what the line of least squares"
    yield f"through {figures.ticks[0].processes:,} to {figures.ticks[-1].processes:,} processes says. Cores kept busy:"
    yield ""
    needs = [_need_row(each) for each in have.needs]
    needs.append((f"cores to have, {paper.BUSY:.0%} busy", "", *(f"**{have.cores(what):,.1f}**" for what in OURS)))
    yield from _table(("", "a second", *OURS), needs)
    yield f"A worker keeps one core busy at most, so at least {math.ceil(have.cores(FLOWS)):,} workers. A tick of"
    yield f"all stages takes {have.tick_seconds:,.0f} s."
    yield f"{have.model_calls:,.0f} model calls of {paper.MODEL_SECONDS:g} s at once."
    yield f"{have.comments:,.0f} comments, which is what is kept, take {have.terabytes:,.1f} TB with their indexes,"
    yield "without their history, their attempts and the task records."
    yield ""
    yield from _checked(have)


def _need_row(each: paper.Need) -> Sequence[str]:
    return (each.what, f"{each.a_second:,.3g}", *(f"{each.cores.get(what, 0):,.2f}" for what in OURS))


def _checked(have: Model) -> Iterator[str]:
    seen = have.check
    yield f"Checked on {seen.processes:,} processes, which the line has not seen, for a tick: {seen.predicted:,.0f} ms"
    yield f"predicted and {seen.measured:,.0f} ms measured ({seen.ratio:.2f} ×); of CPU {seen.cpu_predicted:,.0f} ms"
    yield f"predicted and {seen.cpu_measured:,.0f} ms measured. Looks and articles are not checked: on paper they are"
    yield "as dear as they were here."
