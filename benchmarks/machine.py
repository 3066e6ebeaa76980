"""How fast the machine was while something was measured on it: a virtual one may be a third as fast an hour later."""

import time
from dataclasses import dataclass
from typing import Self

import psutil

ADDITIONS = 1_000_000
TRIES = 3


@dataclass(frozen=True)
class Moment:
    """Seconds of CPU for ADDITIONS in Python; and of all cores, so far: passed, and given to other machines."""

    additions: float
    passed: float
    stolen: float

    @classmethod
    def now(cls) -> Self:
        times = psutil.cpu_times()
        # Linux counts what guests got a second time.
        passed = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return cls(min(_additions() for _ in range(TRIES)), passed, getattr(times, "steal", 0.0))


def _additions() -> float:
    began, total = time.process_time(), 0
    for number in range(ADDITIONS):
        total += number
    return time.process_time() - began


def told(before: Moment, after: Moment) -> str:
    """A sentence about the machine between two moments."""
    stolen = (after.stolen - before.stolen) / max(after.passed - before.passed, 1e-9)
    return (
        f"A million additions in Python took {1000 * before.additions:.0f} ms of CPU before and"
        f" {1000 * after.additions:.0f} ms after; meanwhile {stolen:.0%} of the cores' time went to other machines."
    )
