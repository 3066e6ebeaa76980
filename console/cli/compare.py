"""`pressroom compare`: two templates over the same past articles. Nothing of it is ever posted."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from console.cli.options import ProcessName, name_callback
from console.cli.output import AsJson, cut, facts, line, show, table, when
from console.record import Record

if TYPE_CHECKING:
    from console.desk.visit import Visit

app = typer.Typer(no_args_is_help=True, help="Compare two templates on past articles, side by side, without posting.")

Id = Annotated[UUID, typer.Argument(metavar="ID", help="Its id.", show_default=False)]
TemplateA = Annotated[
    str, typer.Argument(metavar="TEMPLATE", help="The one.", callback=name_callback, show_default=False)
]
TemplateB = Annotated[
    str, typer.Argument(metavar="TEMPLATE", help="The other.", callback=name_callback, show_default=False)
]


@app.command()
def add(
    template_a: TemplateA,
    template_b: TemplateB,
    provider: Annotated[str, typer.Option(help="The model that writes.", callback=name_callback, show_default=False)],
    process: ProcessName = None,
    articles: Annotated[int, typer.Option(min=1, max=20, help="How many of the newest articles.")] = 5,
    comment: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="On the article of this comment instead. Repeatable.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Make a comparison and start it; when it cannot be started, none is made. Every article asks the model twice."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    wanted = comparisons.NewComparison(template_a, template_b, provider, process, tuple(comment or ()), articles, name)

    async def do(visit: "Visit") -> Record:
        return await comparisons.show(visit, await comparisons.begin(visit, wanted))

    found = visiting(do)
    words = f"It asks the model {found['answers']} times: pressroom compare show {found['id']}"
    show(found, lambda: line(words), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the comparisons, newest first."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    found = visiting(comparisons.listed)

    def human() -> None:
        columns = ("Id", "Name", "Status", "Answers", "Templates", "Provider", "Made")
        table(columns, [_row(row) for row in found], "No comparisons yet: `pressroom compare add`.")

    show({"comparisons": found}, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    there = f"{row['answers'] - row['left']} of {row['answers']}"
    templates = f"{row['template_a']}, {row['template_b']}"
    return (row["id"], row["name"], row["status"], there, templates, row["provider"], when(row["created_at"]))


@app.command("show")
def show_(id_: Id, as_json: AsJson = False) -> None:
    """Show a comparison with every answer so far, and what each side took."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    found = visiting(lambda visit: comparisons.show(visit, id_))
    show(found, lambda: _say(found), as_json=as_json)


def _say(found: Record) -> None:
    facts(
        [
            ("Comparison", found["name"] or found["id"]),
            ("Status", found["status"]),
            ("Answers", f"{found['answers'] - found['left']} of {found['answers']}"),
            ("Provider", found["provider"]),
            ("Error", found["error"] if found["status"] != "done" else None),
        ]
    )
    line("")
    rows = [_sums(found, side) for side in ("a", "b")]
    table(("Template", "Done", "Could be posted", "Failed", "Tokens", "Cost", "ms"), rows, "")
    for pair in found["pairs"]:
        line(f"\n{cut(pair['title'], 100)}")
        for side in ("a", "b"):
            line(f"- {found[f'template_{side}']}: {_said(pair[side])}")


def _sums(found: Record, side: str) -> tuple[object, ...]:
    sums = found["sums"][side]
    cost = "no price" if sums["cost"] is None else f"{sums['cost']} {found['currency']}"
    tokens = sums["input_tokens"] + sums["output_tokens"]
    template = found[f"template_{side}"]
    return (template, sums["done"], sums["accepted"], sums["failed"], tokens, cost, sums["milliseconds"])


def _said(side: Record) -> str:
    against = "; ".join(finding["detail"] for finding in side["findings"])
    said = side["comment"] or side["answer"] or side["error"] or side["status"]
    return f"{said} (not to be posted: {against})" if against else said


@app.command()
def start(id_: Id, as_json: AsJson = False) -> None:
    """Go on with one that stopped: only what is not there yet is asked."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    run = visiting(lambda visit: comparisons.start(visit, id_))
    show({"flow_run_id": run}, lambda: line("It is started. Nothing is posted."), as_json=as_json)


@app.command()
def remove(id_: Id, as_json: AsJson = False) -> None:
    """Remove a comparison, also one that runs."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    found = visiting(lambda visit: comparisons.remove(visit, id_))
    show(found, lambda: line("Removed the comparison."), as_json=as_json)


@app.command()
def articles(
    process: ProcessName = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List past articles to compare on, newest first; give their ids as --comment of `add`."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comparisons  # noqa: PLC0415

    found = visiting(lambda visit: comparisons.past_articles(visit, process, limit))

    def human() -> None:
        table(("Comment", "Article"), [(row["comment"], cut(row["title"], 100)) for row in found], "No article yet.")

    show({"articles": found}, human, as_json=as_json)
