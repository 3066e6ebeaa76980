"""What a section is to show: a goal of an issue, beside what was measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One line of the report's first page. `met` is None for a figure without a goal."""

    what: str
    goal: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "**missed**"
