"""What a million processes would need, on paper: a function of what was measured, checked on ten times as many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from benchmarks.scaling.claims import ClaimFigure
from benchmarks.scaling.ticks import FLOWS, LookFigure, TickFigure
from benchmarks.scaling.workers import WorkersFigure
from lib.settings import Settings

PROCESSES = 1_000_000
ARTICLES_A_DAY = 5  # new ones of a process
MODEL_SECONDS = 1.0
BUSY = 0.6  # share of a core that is planned with
DAY = 86_400
GIGABYTE = 1e9
OURS = (FLOWS, "PostgreSQL", "Prefect server")


@dataclass(frozen=True)
class Need:
    """Something that is done so often a second, and the cores that it keeps busy, by component."""

    what: str
    a_second: float
    cores: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """A tick of so many processes: milliseconds as the model has it, and as it was."""

    processes: int
    predicted: float
    measured: float
    cpu_predicted: float
    cpu_measured: float

    @property
    def ratio(self) -> float:
        return self.measured / self.predicted


@dataclass(frozen=True)
class Model:
    """What the measured costs come to."""

    needs: Sequence[Need]
    tick_seconds: float
    model_calls: float
    comments: float
    terabytes: float
    check: Check

    def cores(self, component: str) -> float:
        """That such a component needs, with room to breathe."""
        return sum(each.cores.get(component, 0.0) for each in self.needs) / BUSY


def line(points: Sequence[tuple[float, float]], at: float) -> float:
    """What the line of least squares through the points says at another one beyond them.

    It never falls: more processes are no cheaper, the machine was only quieter when they were measured.
    """
    xs, ys = zip(*points, strict=True)
    slope, first = linear_regression(xs, ys)
    return first + slope * at if slope > 0 else fmean(ys)


def tick_ms(ticks: Sequence[TickFigure], processes: int) -> float:
    return line([(each.processes, each.total) for each in ticks], processes)


def tick_cpu(ticks: Sequence[TickFigure], processes: int, component: str) -> float:
    """Milliseconds."""
    return line([(each.processes, each.cpu.get(component, 0.0)) for each in ticks], processes)


def check(ticks: Sequence[TickFigure], larger: TickFigure) -> Check:
    """`ticks` is what the model is made of; `larger` is not part of it."""
    return Check(
        larger.processes,
        tick_ms(ticks, larger.processes),
        larger.total,
        sum(tick_cpu(ticks, larger.processes, each) for each in OURS),
        sum(larger.cpu.get(each, 0.0) for each in OURS),
    )


def model(
    ticks: Sequence[TickFigure],
    larger: TickFigure,
    look: LookFigure,
    claims: Sequence[ClaimFigure],
    one: WorkersFigure,
    settings: Settings,
) -> Model:
    """From the costs of a tick, of a look, of an article through all stages (`one` worker), and of its place."""
    items = PROCESSES * ARTICLES_A_DAY / DAY
    a_tick = {each: tick_cpu(ticks, PROCESSES, each) for each in OURS}
    an_article = {FLOWS: one.cpu["workers"]} | {each: one.cpu.get(each, 0.0) for each in OURS[1:]}
    comments = PROCESSES * ARTICLES_A_DAY * settings.keep_comments_days
    return Model(
        needs=(
            _need("ticks of the four stages", 1 / settings.stage_interval, a_tick),
            _need(
                "looks at an index", PROCESSES / settings.quiet_max, {each: look.cpu.get(each, 0.0) for each in OURS}
            ),
            _need("articles through all stages", items, an_article),
        ),
        tick_seconds=tick_ms(ticks, PROCESSES) / 1000,
        model_calls=items * MODEL_SECONDS,
        comments=comments,
        terabytes=comments * claims[-1].bytes_a_comment / GIGABYTE / 1000,
        check=check(ticks, larger),
    )


def _need(what: str, a_second: float, ms: Mapping[str, float]) -> Need:
    return Need(what, a_second, {component: a_second * each / 1000 for component, each in ms.items()})
