"""Measure, print, and keep the figures in `benchmarks/RESULTS.md`: all of them, or those that are named."""

import argparse
import os
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from benchmarks import feed, overhead, pages, recording, taskwatch
from benchmarks.overhead import ARTICLES, AT_ONCE, LLM_SECONDS, PAGE_SECONDS, Figure
from benchmarks.pages import PageFigure

CPU = ("flows", *overhead.COMPONENTS.values())
T = TypeVar("T")
RESULTS = Path(__file__).parent / "RESULTS.md"


def report(figures: list[Figure]) -> str:
    lines = [
        "",
        f"## {ARTICLES} articles through four stages at once",
        "",
        f"Pages {PAGE_SECONDS * 1000:.0f} ms, model {LLM_SECONDS:g} s, {AT_ONCE} calls at once.",
        "",
        "| | seconds | ideal | × ideal | sessions | p50 ms | p99 ms | max ms | connections of a run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        have = figure.sessions
        sessions = (
            f"{have.count} | {have.p50 * 1000:.1f} | {have.p99 * 1000:.1f} | {have.max * 1000:.0f} | "
            f"{have.peak_connections}"
            if have
            else "| | | | "
        )
        lines.append(f"| {figure.name} | {figure.seconds:.1f} | {figure.ideal:.1f} | {figure.ratio:.2f} | {sessions} |")
    lines += ["", "CPU an article, ms:", "", "| | " + " | ".join(CPU) + " |", "|---" * (len(CPU) + 1) + "|"]
    for figure in figures:
        if figure.cpu is not None:
            lines.append(f"| {figure.name} | " + " | ".join(f"{figure.cpu.get(each, 0):.0f}" for each in CPU) + " |")
    return "\n".join(lines) + "\n"


def of_pages(figures: list[PageFigure]) -> str:
    lines = [
        "",
        f"## The console with {pages.PROCESSES} processes and {pages.PROCESSES * pages.COMMENTS:,} comments",
        "",
        "As an administrator, who sees everything. The last column: loaded in Chromium.",
        "",
        "| page | p50 ms | p95 ms | queries | browser ms |",
        "|---|---|---|---|---|",
    ]
    for each in figures:
        browser = "" if each.browser is None else f"{each.browser:.0f}"
        lines.append(f"| `{each.path}` | {each.p50:.0f} | {each.p95:.0f} | {each.queries} | {browser} |")
    return "\n".join(lines) + "\n"


def _apart(run: Callable[[], list[T]]) -> list[T]:
    """Each sets the environment for what it starts; the next is to find none of it."""
    before = dict(os.environ)
    try:
        return run()
    finally:
        os.environ.clear()
        os.environ.update(before)


HEAD = "# Results\n\nOne machine. Figures compare; they are no promises. `make bench` writes this file.\n"
SECTIONS: dict[str, Callable[[], str]] = {
    "overhead": lambda: report(_apart(overhead.run)),
    "pages": lambda: of_pages(_apart(pages.run)),
    "recording": lambda: recording.report(_apart(recording.run)),
    "taskwatch": lambda: taskwatch.report(_apart(taskwatch.run)),
    "feed": lambda: feed.report(_apart(feed.run)),
}


def _kept() -> dict[str, str]:
    """The sections of the last time, by name."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", text, re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help="all of them without one")
    kept = _kept()
    for name in parser.parse_args().sections or SECTIONS:
        measured = f"\n{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} cores.\n"
        kept[name] = SECTIONS[name]().rstrip("\n") + "\n" + measured
        print(kept[name], flush=True)
        RESULTS.write_text(
            HEAD + "".join(f"\n<!-- {each} -->\n{kept[each].strip()}\n" for each in SECTIONS if each in kept)
        )


if __name__ == "__main__":
    main()
