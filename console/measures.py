"""What was read, as Prometheus' families of samples. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lib.database import PoolFigures, SessionFigures
from lib.monitoring.store.metrics import Figures, ProcessFigures

# More names than that are summed under one: every name is a series of its own for each status.
MOST_NAMES = 200
ALL = "*"
NOBODY = (ALL, ALL)
PROCESS = ["process_id", "process"]
PROVIDER = ["provider_id", "provider"]
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """`work` is None while the database is away. `seconds`: what reading it took."""

    work: Figures | None
    sessions: SessionFigures
    pool: PoolFigures
    seconds: float


def families(snapshot: Snapshot, *, named: bool) -> Iterator[Metric]:
    """`named`: with the names of processes and providers."""
    yield _gauge("pressroom_database_up", "Whether the database answers.", 0 if snapshot.work is None else 1)
    yield _gauge("pressroom_metrics_read_seconds", "What reading these from the database took.", snapshot.seconds)
    yield from _own(snapshot.sessions, snapshot.pool)
    if snapshot.work is not None:
        yield from _processes(snapshot.work, named=named)
        yield from _stages(snapshot.work)
        yield from _used(snapshot.work, named=named)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value)


def _own(sessions: SessionFigures, pool: PoolFigures) -> Iterator[Metric]:
    """Of the console's own database sessions."""
    seconds = GaugeMetricFamily(
        "pressroom_database_session_seconds", "How long the latest sessions were open.", labels=["quantile"]
    )
    for quantile, value in (("0.5", sessions.p50), ("0.99", sessions.p99), ("1", sessions.max)):
        seconds.add_metric([quantile], value)
    yield seconds
    yield CounterMetricFamily("pressroom_database_round_trips", "Statements sent.", sessions.round_trips)
    yield _gauge("pressroom_database_connections_peak", "The most connections at once.", sessions.peak_connections)
    yield _gauge("pressroom_database_pool_size", "Connections that the pool may hold.", pool.size)
    connections = GaugeMetricFamily("pressroom_database_connections", "Connections of the pool.", labels=["state"])
    connections.add_metric(["in_use"], pool.in_use)
    connections.add_metric(["idle"], pool.idle)
    yield connections


def _processes(work: Figures, *, named: bool) -> Iterator[Metric]:
    with_names = named and len(work.processes) <= MOST_NAMES
    labels = {row.id: _label(row) if with_names else NOBODY for row in work.processes}
    yield _add(
        GaugeMetricFamily("pressroom_processes", "Processes by status.", labels=["status"]),
        (((row.status,), 1) for row in work.processes),
    )
    yield _add(
        GaugeMetricFamily("pressroom_comments", "Comments by process and status.", labels=[*PROCESS, "status"]),
        (((*labels.get(id_, NOBODY), status), number) for (id_, status), number in work.comments.items()),
    )
    yield _add(
        GaugeMetricFamily("pressroom_comments_in_work", "Comments that a worker holds.", labels=["status"]),
        (((status,), number) for status, number in work.in_work.items()),
    )
    yield _add(
        CounterMetricFamily("pressroom_comments_posted", "Comments posted.", labels=PROCESS),
        ((labels[row.id], row.posted) for row in work.processes),
    )
    yield _add(
        CounterMetricFamily("pressroom_stage_errors", "Errors of a stage and its items.", labels=[*PROCESS, "stage"]),
        (((*labels[row.id], stage), number) for row in work.processes for stage, number in row.errors.items()),
    )


def _label(row: ProcessFigures) -> tuple[str, str]:
    """Two owners may use the same name."""
    return str(row.id), row.name


def _summed(pairs: Iterable[tuple[Labels, float]]) -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    for key, number in pairs:
        found[key] = found.get(key, 0) + number
    return found


def _add(family: GaugeMetricFamily | CounterMetricFamily, pairs: Iterable[tuple[Labels, float]]) -> Metric:
    """With what has the same labels summed up."""
    for key, number in _summed(pairs).items():
        family.add_metric(key, number)
    return family


def _stages(work: Figures) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("pressroom_stage_waiting", "Comments that a stage could take now.", labels=["stage"])
    oldest = GaugeMetricFamily(
        "pressroom_stage_oldest_waiting_seconds",
        "How long the oldest of them waits; 0 where none does.",
        labels=["stage"],
    )
    success = GaugeMetricFamily(
        "pressroom_stage_last_success_timestamp_seconds", "The last good tick of a stage.", labels=["stage"]
    )
    failure = GaugeMetricFamily(
        "pressroom_stage_last_failure_timestamp_seconds", "The last failed tick of a stage.", labels=["stage"]
    )
    for each in work.stages:
        if each.stage != "discovery":
            waiting.add_metric([each.stage], each.waiting)
            oldest.add_metric([each.stage], each.oldest or 0)
        if each.last_success_at is not None:
            success.add_metric([each.stage], each.last_success_at.timestamp())
        if each.last_failure_at is not None:
            failure.add_metric([each.stage], each.last_failure_at.timestamp())
    yield from (waiting, oldest, success, failure)


def _used(work: Figures, *, named: bool) -> Iterator[Metric]:
    with_names = named and len(work.used) <= MOST_NAMES
    each = [((str(row.provider_id), row.name or "") if with_names else NOBODY, row) for row in work.used]
    yield _add(
        GaugeMetricFamily("pressroom_llm_calls_today", "Calls since the budgets' midnight.", labels=PROVIDER),
        ((who, row.calls) for who, row in each),
    )
    yield _add(
        GaugeMetricFamily("pressroom_llm_tokens_today", "Tokens since then.", labels=[*PROVIDER, "kind"]),
        (
            ((*who, kind), number)
            for who, row in each
            for kind, number in (("input", row.input_tokens), ("output", row.output_tokens))
        ),
    )
    yield _add(
        GaugeMetricFamily("pressroom_llm_money_today", "Money since then.", labels=[*PROVIDER, "currency"]),
        (((*who, row.currency), float(row.cost)) for who, row in each),
    )
