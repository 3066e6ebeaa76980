"""What is compared, and on what: every contender does the same work on the same stand-ins."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from benchmarks.ground import Outside

# Between two looks for work, of every contender.
BEAT_SECONDS = 5


@dataclass(frozen=True)
class Load:
    """`articles` of each of so many processes, one login and one template a process. Times in seconds."""

    processes: int
    articles: int
    llm_seconds: float = 1.0
    page_seconds: float = 0.05
    at_once: int = 20
    """Model calls at the same time, over all processes."""

    @property
    def total(self) -> int:
        return self.processes * self.articles

    @property
    def ideal(self) -> float:
        """Seconds of the longest stage, if everything but the outside world took no time."""
        return max(self.total * self.llm_seconds / self.at_once, self.articles * 3 * self.page_seconds)


class Running(Protocol):
    """A contender at work."""

    def workers(self) -> Sequence[int]:
        """The ids of the processes that work on items: what a fault test kills. It starts them again by itself."""

    def components(self) -> Mapping[str, Sequence[int]]:
        """The ids of all its processes by component: worker, Prefect server, Redis …; PostgreSQL is everybody's."""


@runtime_checkable
class Polling(Protocol):
    """A contender at work that knows how often it looked for nothing."""

    def polls(self) -> "Polls":
        """Of each stage of each process, so far."""


@dataclass(frozen=True)
class Polls:
    """How many times a stage of a process was run, and how many of these found nothing to do."""

    all: int
    empty: int


class Contender(Protocol):
    """One way to run the pipeline."""

    @property
    def name(self) -> str: ...

    def versions(self) -> Mapping[str, str]:
        """Of what it is made of."""

    def running(self, outside: Outside) -> AbstractContextManager[Running]:
        """Start it on this database and site; in the end nothing of it is left. It works on what is running there."""
