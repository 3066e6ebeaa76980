"""`pressroom comment`: read, approve, reject, edit, have written anew, try again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from console.cli import given
from console.cli.options import ProcessName
from console.cli.output import AsJson, cut, facts, line, show, table, when
from console.record import Record
from lib.errors import Conflict, Invalid
from lib.monitoring.stages import CommentStatus

if TYPE_CHECKING:
    from console.desk.visit import Visit

app = typer.Typer(no_args_is_help=True, help="Comments: read, approve, reject, edit them, try failed ones again.")

Approval = Literal["approved", "rejected", "none"]

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or six digits of either end.", show_default=False)]
Seen = Annotated[
    str | None,
    typer.Option(
        "--version", help="Only if nobody changed it since; `comment show --json` has it.", show_default=False
    ),
]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="Ids; six of the first or last digits do.", show_default=False),
]
MaybeIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Ids; six of the first or last digits do.", show_default=False),
]


@app.command("list")
def list_(
    process: ProcessName = None,
    status: Annotated[CommentStatus | None, typer.Option(help="Only in this status.", show_default=False)] = None,
    approval: Annotated[
        Approval | None, typer.Option(help="Only with this decision; none is undecided.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="From behind this one on.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List comments, newest first. Those that wait for you: --status generated --approval none."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments  # noqa: PLC0415

    found = visiting(
        lambda visit: comments.listed(
            visit, process=process, status=status, approval=approval, limit=limit, after=after
        )
    )

    def human() -> None:
        columns = ("Id", "Status", "Approval", "Process", "Article", "Found", "Error")
        table(columns, [_row(row) for row in found["comments"]], "No comments.")
        if found["next"]:
            line(f"More: --after {found['comments'][-1]['short_id']}")

    show(found, human, as_json=as_json)


def _row(row: Record) -> tuple[object, ...]:
    approval = row["approval"] or ""
    title = cut(row["article_title"], 40)
    return (row["short_id"], row["status"], approval, row["process"], title, when(row["created_at"]), cut(row["error"]))


@app.command("show")
def show_(
    id_: Id,
    history: Annotated[
        bool, typer.Option("--history", help="With all that moved it, and each call of a model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one comment: the article, the text, and what became of it."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments  # noqa: PLC0415

    found = visiting(lambda visit: comments.life(visit, id_) if history else comments.show(visit, id_))

    def human() -> None:
        _say_all(found)
        if history:
            line("")
            table(("When", "What", "By", "More"), [_step(step) for step in found["history"]], "Nothing happened yet.")

    show(found, human, as_json=as_json)


def _step(step: Record) -> tuple[object, ...]:
    if step["what"] == "attempt":
        tokens = f"{step['input_tokens'] + step['output_tokens']} tokens"
        return (when(step["at"]), f"model: {step['outcome']}", step["provider"], cut(step["error"] or tokens, 100))
    return (when(step["at"]), step["kind"], step["actor"], cut(step["note"], 100))


def _say_all(found: Record) -> None:
    model = found["ai_model_name"] and f"{found['ai_model_name']} ({found['ai_provider_name']})"
    state = " ".join(filter(None, (found["status"], found["approval"], "being worked on" if found["in_work"] else "")))
    facts(
        [
            ("Comment", found["id"]),
            ("Status", state),
            ("Process", found["process"]),
            ("Login", found["login"]),
            ("Template", found["template"]),
            ("Article", f"{cut(found['article_title'], 100)} ({found['article_author'] or 'unknown'})"),
            ("Where", found["article_url"]),
            ("Model", model),
            ("Generated", found["generated_at"]),
            ("Sent", found["post_sent_at"]),
            ("Posted", found["posted_at"]),
            ("Id on the site", found["mymoment_comment_id"]),
            ("Failed", found["failed_at"]),
            ("Failures", found["retry_count"] or None),
            ("Tried again", found["next_attempt_at"]),
            ("Error", found["error_message"]),
        ]
    )
    if found["comment_content"]:
        line(f"\n{found['comment_content']}")


def _say(decision: str, count: int, more: str = "") -> None:
    line(f"{decision} {count} comment{'' if count == 1 else 's'}{more}.")


@app.command()
def approve(ids: Ids, as_json: AsJson = False) -> None:
    """Let generated comments be posted, one by one. Nothing changes if one of them cannot be approved."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments  # noqa: PLC0415

    done = visiting(lambda visit: comments.decide(visit, "approve", ids))

    def human() -> None:
        if done.changed:
            _say("Approved", len(done.changed), "; the next tick of posting posts what may be posted")
        if done.unchanged:
            _say("Already approved before:", len(done.unchanged))

    show({"approved": done.changed, "already_approved": done.unchanged}, human, as_json=as_json)


@app.command()
def reject(ids: Ids, as_json: AsJson = False) -> None:
    """Keep generated comments from being posted."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments  # noqa: PLC0415

    done = visiting(lambda visit: comments.decide(visit, "reject", ids))

    def human() -> None:
        if done.changed:
            _say("Rejected", len(done.changed))
        if done.unchanged:
            _say("Already rejected before:", len(done.unchanged))
        if done.sent:
            _say("Look on the site:", len(done.sent), " was sent before and no answer came; it may be there")

    show({"rejected": done.changed, "already_rejected": done.unchanged, "sent": done.sent}, human, as_json=as_json)


@app.command()
def edit(
    id_: Id,
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="The new text; - is stdin.", show_default=False)],
    version: Seen = None,
    approve: Annotated[bool, typer.Option("--approve", help="And let it be posted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a generated comment another text. The disclosure stays before it; an approval is taken back."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments, review  # noqa: PLC0415

    said = given.text_file(text, "The text").strip()

    async def do(visit: "Visit") -> Record:
        now = await comments.show(visit, id_)
        saved = await review.edit(visit, str(now["id"]), said, version or now["version"])
        return await _approved(visit, saved) if approve else saved

    found = visiting(do)
    done = "It is approved." if approve else "It waits for approval: `pressroom comment approve`."
    show(found, lambda: line(f"Saved. {done}"), as_json=as_json)


async def _approved(visit: "Visit", saved: Record) -> Record:
    from console.desk import review  # noqa: PLC0415 - quick start

    (ruled,) = await review.approve(visit, [review.Choice(str(saved["id"]), saved["version"])])
    if ruled["outcome"] != "done":
        raise Conflict(f"The text is saved, but not approved: {ruled['message']}")
    return await review.one(visit, str(saved["id"]))


@app.command()
def regenerate(
    id_: Id,
    template: Annotated[str | None, typer.Option(help="With another template.", show_default=False)] = None,
    note: Annotated[
        str | None, typer.Option(help="What this one answer is to heed; only this comment gets it.", show_default=False)
    ] = None,
    version: Seen = None,
    as_json: AsJson = False,
) -> None:
    """Send a comment back to the model. Its process must run for that."""
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments, review  # noqa: PLC0415

    async def do(visit: "Visit") -> Record:
        comment_id = str((await comments.show(visit, id_))["id"])
        return await review.regenerate(visit, comment_id, template=template, note=note, version=version)

    found = visiting(do)
    words = "It goes back to the model, and waits for a decision when there is a new answer."
    show(found, lambda: line(words), as_json=as_json)


@app.command()
def retry(
    ids: MaybeIds = None,
    process: ProcessName = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every failed comment of --process.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put failed comments back to the stage where they failed."""
    if bool(ids) == all_failed or all_failed != (process is not None):
        raise Invalid("Name comments by their ids, or give --process NAME --all-failed")
    from console.cli.visit import visiting  # noqa: PLC0415 - quick start
    from console.desk import comments  # noqa: PLC0415

    done = visiting(
        lambda visit: comments.retry_all(visit, process) if process else comments.decide(visit, "retry", ids or [])
    )

    def human() -> None:
        _say("Tries again:", len(done.changed))
        if done.sent:
            _say("Sent once before:", len(done.sent), "; the site is looked at first, so that nothing is posted twice")

    show({"retried": done.changed, "sent_before": done.sent}, human, as_json=as_json)
