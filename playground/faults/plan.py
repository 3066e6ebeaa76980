"""Which faults are waiting, and which of them a request meets."""

import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from playground.faults.fault import Fault


@dataclass(frozen=True)
class Asked:
    """What a request is about, as far as faults care."""

    route: str
    method: str
    user: str | None = None
    article_id: int | None = None


@dataclass
class Planned:
    id: int
    fault: Fault
    begins_at: float
    fired: int = 0

    def meets(self, asked: Asked, now: float) -> bool:
        fault = self.fault
        return (
            now >= self.begins_at
            and (fault.times is None or self.fired < fault.times)
            and fault.route in ("any", asked.route)
            and fault.method in (None, asked.method)
            and fault.user in (None, asked.user)
            and fault.article_id in (None, asked.article_id)
        )

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "fired": self.fired, **asdict(self.fault)}


class FaultPlan:
    """Latencies add up; of the others, a request meets the one that was asked for first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ids = itertools.count(1)
        self._planned: list[Planned] = []

    def add(self, fault: Fault) -> dict[str, Any]:
        planned = Planned(next(self._ids), fault, self._monotonic() + fault.after_s)
        self._planned.append(planned)
        return planned.as_json()

    def clear(self) -> None:
        self._planned.clear()

    def listed(self) -> list[dict[str, Any]]:
        return [planned.as_json() for planned in self._planned]

    def take(self, asked: Asked, is_ready: Callable[[Fault], bool]) -> list[Fault]:
        """The faults that this request meets, the latencies first; each is counted as fired."""
        now = self._monotonic()
        meeting = [p for p in self._planned if p.meets(asked, now) and is_ready(p.fault)]
        latencies = [p for p in meeting if p.fault.kind == "latency"]
        others = [p for p in meeting if p.fault.kind != "latency"][:1]
        for planned in (*latencies, *others):
            planned.fired += 1
        return [planned.fault for planned in (*latencies, *others)]
