"""Measure, print, and keep what came out in `benchmarks/report/`: all sections, or those that are named."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

from benchmarks import book, machine, shown
from benchmarks.book import Page
from benchmarks.goals import Goal
from benchmarks.machine import Moment

SECTIONS = (
    "throughput",
    "cost",
    "fairness",
    "scale",
    "recovery",
    "overhead",
    "pages",
    "recording",
    "taskwatch",
    "feed",
)


class Section(Protocol):
    """A module of that name. It may also have `charts(figures)`, `goals(figures)` and `SETTINGS`."""

    def run(self) -> Any:
        """Measure."""

    def report(self, figures: Any) -> str:
        """What came out, in markdown, with a heading first."""


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    there = [name for name in SECTIONS if find_spec(f"benchmarks.{name}") is not None]
    parser.add_argument("sections", nargs="*", choices=[[], *there], help="all of them without one")
    asked = parser.parse_args().sections or there
    if len(asked) == 1:
        _measure(asked[0])
        return 0
    failed = [name for name in asked if not _measured_apart(name)]
    if failed:
        for name in failed:
            book.write_missing(name)
        book.write_contents(SECTIONS)
        print(f"Not measured: {', '.join(failed)}.")
    return 1 if failed else 0


def _measured_apart(name: str) -> bool:
    """Whether it could be measured; one that could not keeps no other from it.

    In a process of its own: Prefect reads the environment once, and each section starts a server of its own.
    """
    return subprocess.run([sys.executable, "-m", "benchmarks", name], check=False).returncode == 0


def _measure(name: str) -> None:
    section, before = cast("Section", import_module(f"benchmarks.{name}")), dict(os.environ)
    began = Moment.now()
    figures = section.run()
    page = _page(name, section, figures, before, machine.told(began, Moment.now()))
    print(page.text, flush=True)
    book.write(page)
    book.write_contents(SECTIONS)


def _page(name: str, section: Section, figures: Any, before: Mapping[str, str], meanwhile: str) -> Page:
    charts: Callable[[Any], Mapping[str, str]] = getattr(section, "charts", shown.CHARTS.get(name, lambda _: {}))
    goals: Callable[[Any], Sequence[Goal]] = getattr(section, "goals", shown.GOALS.get(name, lambda _: ()))
    changed = {key: value for key, value in os.environ.items() if before.get(key) != value}
    settings = {key: value for key, value in changed.items() if key.startswith(("PRESSROOM_", "PREFECT_"))}
    settings |= getattr(section, "SETTINGS", {})
    return Page(name, section.report(figures), charts(figures), goals(figures), settings, meanwhile)


if __name__ == "__main__":
    raise SystemExit(main())
