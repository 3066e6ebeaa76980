"""What a storm did and what it left, in words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.evidence import Breach
from tests.chaos.ledger import Kept
from tests.chaos.rows import Takeover

SHOWN = 15


@dataclass(frozen=True)
class Report:
    """What a storm did, and what it left."""

    kills: int
    killed_at: Counter[str]
    weather: Counter[str]
    restarts: tuple[str, ...]
    cuts: int
    takeovers: tuple[Takeover, ...]
    traffic: dict[str, int]
    statuses: Counter[str]
    comments: int
    breaches: tuple[Breach, ...]
    unexpected: Counter[str]
    ended_otherwise: tuple[int, ...]
    storm_seconds: float
    calm_seconds: float
    kept: Kept
    away: float
    decided: Counter[str]
    hidden: int
    failures: tuple[str, ...] = ()
    histories: tuple[str, ...] = ()

    def kinds(self) -> Counter[str]:
        return Counter(breach.kind for breach in self.breaches)

    def lines(self) -> Iterator[str]:
        """The report, for people."""
        yield f"Kills: {self.kills} in {self.storm_seconds:.0f} s. {_counts(self.killed_at)}."
        yield f"PostgreSQL: {_counts(Counter(self.restarts))}; sessions cut {self.cuts} times."
        yield f"Faults of the site and the model: {sum(self.weather.values())}. {_counts(self.weather)}."
        yield f"Taken over: {self._taken_over()}."
        yield f"The site: {self.traffic['comment_posts']} comments sent to it, {self.comments} on it."
        yield f"The table, {self.calm_seconds:.0f} s after the last fault: {_counts(self.statuses)}."
        yield from (f"Failed: {number} × {reason[:150]}" for reason, number in Counter(self.failures).most_common())
        yield f"A person's decisions: {_counts(self.decided)}. Hidden comments on the site: {self.hidden}."
        yield self._recorded()
        if self.ended_otherwise:
            yield f"Workers that ended by themselves: {_counts(Counter(map(str, self.ended_otherwise)))}."
        yield from self._verdict()

    def _taken_over(self) -> str:
        sent = sum(takeover.sent for takeover in self.takeovers)
        latest = max((takeover.late for takeover in self.takeovers), default=0.0)
        stages = _counts(Counter(takeover.status for takeover in self.takeovers))
        return f"{len(self.takeovers)} comments ({stages}), {sent} of them sent, at most {latest:.1f} s after the lease"

    def _recorded(self) -> str:
        have = self.kept
        return (
            f"Task records: PostgreSQL was away for {self.away:.0f} s, which {have.met_it} of the {have.ended} turns "
            f"of the {have.workers} workers that nobody killed met; {len(have.missing)} of them have no record, "
            f"{have.dropped} records were given up."
        )

    def _verdict(self) -> Iterator[str]:
        if not self.breaches:
            rest = f"; {len(self.failures)} failed with a true reason and wait for a person" if self.failures else ""
            yield f"{self.statuses['posted']} comments are on the site, each exactly once, and the table says so{rest}."
            yield "Posted twice 0, lost 0, wrong in the table 0, still held 0, miscounted 0."
        yield from (f"BROKEN {kind}: {number}" for kind, number in self.kinds().items())
        yield from (f"  {breach}" for breach in self.breaches[:SHOWN])
        yield from (f"    {line}" for line in self.histories)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common()) or "none"
