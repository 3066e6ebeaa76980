"""`pressroom process`: what is watched, and whether it posts."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from console.cli.options import Name
from console.cli.output import AsJson, cut, facts, line, note, show, span, table, when
from console.cli.process_options import (
    BudgetMoney,
    BudgetTokens,
    Category,
    Description,
    Fallback,
    Hide,
    Limit,
    Logins,
    MaxMinutes,
    NewState,
    Post,
    Provider,
    Search,
    Tab,
    Task,
    Templates,
)
from console.record import Record
from lib.errors import Invalid

app = typer.Typer(no_args_is_help=True, help="What is watched, with which login, prompt and model, and how it goes.")

_GIVES = {
    "a login": "--login",
    "a template": "--template",
    "a provider": "--provider",
    "a tab, since it posts": "--tab",
}


def _posting(found: Record) -> str:
    """In plain words, what happens with its comments."""
    if not found["posts"]:
        return "It only generates: nothing is posted until you approve it (`pressroom comment approve`)."
    sites = ", ".join(found.get("sites", ())) or "the site"
    hidden = " (marked hidden)" if found["hide_comments"] else ""
    return f"It POSTS PUBLICLY on {sites}{hidden}, without asking, as soon as it runs."


def _say_ready(found: Record) -> None:
    line(_posting(found))
    if found["missing"]:
        line("Before it can start it needs: " + "; ".join(_with_options(found["missing"])) + ".")
    else:
        line(f"Start it with: pressroom process start {_quoted(found['name'])}")


def _with_options(lacks: Sequence[str]) -> list[str]:
    """What a process lacks, with the option that gives it."""
    return [f"{each} ({_GIVES[each]})" if each in _GIVES else each for each in lacks]


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


@app.command()
def add(
    name: Name,
    login: Logins = None,
    template: Templates = None,
    provider: Provider = None,
    tab: Tab = None,
    category: Category = None,
    task: Task = None,
    search: Search = None,
    state: NewState = None,
    limit: Limit = None,
    post: Post = None,
    hide_comments: Hide = None,
    max_minutes: MaxMinutes = None,
    fallback: Fallback = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Add a process. It only generates comments, unless --post is given."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415
    from lib.monitoring import presets  # noqa: PLC0415

    wanted = processes.ProcessChange(
        login or (), template or (), provider, description, tab, category, task, search, state, limit, post,
        hide_comments, max_minutes, fallback=fallback, budget_tokens=budget_tokens,
        budget_money=presets.money(budget_money, "--budget-money"),
    )  # fmt: skip
    found = visiting(lambda visit: processes.add(visit, name, wanted))

    def human() -> None:
        line(f"Added process “{found['name']}”.")
        _say_ready(found)

    show(found, human, as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    login: Logins = None,
    template: Templates = None,
    provider: Provider = None,
    tab: Tab = None,
    category: Category = None,
    task: Task = None,
    search: Search = None,
    state: NewState = None,
    limit: Limit = None,
    post: Post = None,
    hide_comments: Hide = None,
    max_minutes: MaxMinutes = None,
    fallback: Fallback = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Change a process that does not run. An empty text clears a filter; logins and templates are replaced."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415
    from lib.monitoring import presets  # noqa: PLC0415

    wanted = processes.ProcessChange(
        login or (), template or (), provider, description, tab, category, task, search, state, limit, post,
        hide_comments, max_minutes, fallback=fallback, budget_tokens=budget_tokens,
        budget_money=presets.money(budget_money, "--budget-money"),
    )  # fmt: skip
    found = visiting(lambda visit: processes.change(visit, name, wanted))

    def human() -> None:
        line(f"Changed process “{found['name']}”.")
        _say_ready(found)

    show(found, human, as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the processes with their comments by status."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    found = visiting(processes.listed)

    def human() -> None:
        columns = ("Process", "Status", "Posts", "Found", "Prepared", "Generated", "Undecided", "Posted", "Failed")
        table(columns, [_row(row) for row in found], "No processes yet: `pressroom process add`.")

    show({"processes": found}, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    counts = row["comments"]
    numbers = (counts[each] for each in ("discovered", "prepared", "generated", "undecided", "posted", "failed"))
    return (row["name"], row["status"], "publicly" if row["posts"] else "on approval", *numbers)


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """Show one process: settings, counters, stages, and what it lacks."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    found = visiting(lambda visit: processes.show(visit, name))

    def human() -> None:
        facts(_settings(found))
        line("")
        _say_status(found)

    show(found, human, as_json=as_json)


@app.command()
def status(name: Name, as_json: AsJson = False) -> None:
    """How a process goes: its comments by status, its stages, the time left."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    found = visiting(lambda visit: processes.show(visit, name))
    keys = ("id", "name", "status", "posts", "seconds_left", "comments", "counters", "errors", "stages", "missing")
    show({key: found[key] for key in keys}, lambda: _say_status(found), as_json=as_json)


def _settings(found: Record) -> list[tuple[str, object]]:
    return [
        ("Process", found["name"]),
        ("For", found["description"]),
        ("Logins", found["logins"]),
        ("Templates", found["templates"]),
        ("Provider", found["provider"]),
        ("Tokens a day", found["budget_tokens"]),
        ("Money a day", found["budget_money"]),
        ("Tab", found["tab"]),
        ("Category", found["category"]),
        ("Task", found["task"]),
        ("Search", found["search"]),
        ("State", found["state"]),
        ("Articles a look", found["limit"]),
        ("Runs at most", f"{found['max_minutes']} min"),
        ("Comments", _posting(found)),
    ]


def _say_status(found: Record) -> None:
    counts = found["comments"]
    left = None if found["seconds_left"] is None else f"{span(found['seconds_left'])} left"
    why = f"({found['stop_reason']}, {when(found['stopped_at'])})" if found["stop_reason"] else None
    facts(
        [
            ("Status", " ".join(filter(None, (found["status"], left, why)))),
            ("Error", found["error"]),
            ("Needs", _with_options(found["missing"])),
            (
                "In the pipeline",
                ", ".join(f"{counts[each]} {each}" for each in ("discovered", "prepared", "generated")),
            ),
            ("Done", ", ".join(f"{counts[each]} {each}" for each in ("posted", "failed"))),
            ("Wait for you", counts["undecided"] if not found["posts"] and counts["undecided"] else None),
            ("Errors so far", ", ".join(f"{number} in {stage}" for stage, number in found["errors"].items() if number)),
        ]
    )
    line("")
    rows = [
        (row["stage"], when(row["last_started_at"]), when(row["last_success_at"]), _did(row), cut(row["last_error"]))
        for row in found["stages"]
    ]
    table(("Stage", "Last run", "Last success", "Did", "Last error"), rows, "")


def _did(row: Record) -> str:
    report = row["last_report"] or {}
    words = [f"{report[what]} {what}" for what in ("done", "failed", "retried") if report.get(what)]
    return ", ".join(words) or ("nothing" if report else "")


@app.command()
def start(
    name: Name,
    check: Annotated[bool, typer.Option("--check", help="Log in and ask the model first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a process; what it lacks is named."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    try:
        found = visiting(lambda visit: processes.start(visit, name, check=check))
    except Invalid as error:
        said, needs, lacks = str(error).partition("it needs: ")
        raise type(error)(said + needs + "; ".join(_with_options(lacks.split("; ")))) from error

    def human() -> None:
        line(f"Process “{name}” runs for {found['max_minutes']} min. {_posting(found)}")

    show(found, human, as_json=as_json)


@app.command()
def stop(
    name: Name,
    completed: Annotated[
        bool, typer.Option("--completed", help="It has done its work; it cannot start again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop a process, and return when nothing more can be posted for it."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    found = visiting(lambda visit: processes.stop(visit, name, completed=completed))
    show(found, lambda: line(f"Process “{name}” is {found['status']}; nothing more is posted for it."), as_json=as_json)


@app.command("stop-all")
def stop_all(as_json: AsJson = False) -> None:
    """Stop every process of yours, and return when nothing more can be posted for any."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    found = visiting(processes.stop_all)

    def human() -> None:
        names = ", ".join(found["stopped"])
        line(f"Stopped {names}; nothing more is posted." if names else "Nothing was running; nothing more is posted.")

    show(found, human, as_json=as_json)


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a process that does not run, with the records of its comments.

    What it posted stays on the site; a new process would comment on the same articles again.
    """
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import processes  # noqa: PLC0415

    if sys.stdin.isatty() and not yes:
        _, total = visiting(lambda visit: processes.find(visit, name))
        if total:
            note(f"The records of {total} comments go with “{name}”; a new process would comment there again.")
            typer.confirm("Remove it?", abort=True, err=True)
    found = visiting(lambda visit: processes.remove(visit, name))
    gone = f" and the records of {found['comments_forgotten']} comments" if found["comments_forgotten"] else ""
    show(found, lambda: line(f"Removed process “{name}”{gone}."), as_json=as_json)
