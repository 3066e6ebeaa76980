"""What the console's pages do beside processes, from a terminal: edits, comparisons, tokens, alerts, the audit log."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from lib.alerts import store
from lib.alerts.causes import Cause
from lib.monitoring.guard import PREFIX
from lib.people import members, own
from lib.people.members import Doer
from tests.integration.pages import SAID, audited
from tests.integration.test_cli import Cli, cli
from tests.world import World

__all__ = ["cli"]
NEW = "Deine Geschichte vom Fuchs hat mir gefallen. Was macht er wohl im nächsten Winter?"


async def generated(world: World, number: int = 1) -> list[UUID]:
    process = await world.process(generate_only=True)
    fields = {"article_content": "Ein Igel.", "comment_content": f"{PREFIX} {SAID}"}
    return await world.comments(process, number, "generated", **fields)


# Comments


async def test_a_comment_is_edited_and_approved_from_a_file_or_a_pipe(cli: Cli, world: World) -> None:
    [comment] = await generated(world)
    saved = (await cli.ok("comment", "edit", str(comment)[-8:], "--text", "-", "--json", stdin=NEW)).document
    assert (saved["text"], saved["approval"]) == (f"{PREFIX} {NEW}", None)
    again = await cli.ok("comment", "edit", str(comment), "--text", "-", "--approve", stdin=f"{NEW} Und dann?\n")
    assert again.out == "Saved. It is approved.\n"
    shown = (await cli.ok("comment", "show", str(comment), "--history", "--json")).document
    assert (shown["comment_content"], shown["approval"]) == (f"{PREFIX} {NEW} Und dann?", "approved")
    assert [step["kind"] for step in shown["history"]] == ["discovered", "edited", "edited", "approved"]
    assert "edited" in (await cli.ok("comment", "show", str(comment), "--history")).out
    assert await audited(world) == ["comment.edit", "comment.edit", "comment.approve"]


async def test_a_text_that_cannot_be_posted_or_is_not_the_one_that_was_seen_is_refused(cli: Cli, world: World) -> None:
    [comment] = await generated(world)
    version = (await cli.ok("comment", "show", str(comment), "--json")).document["version"]
    wrong = await cli.fails(2, "comment", "edit", str(comment), "--text", "-", stdin=f"{NEW} https://x.example")
    assert "it holds a link" in wrong
    assert "is empty" in await cli.fails(2, "comment", "edit", str(comment), "--text", "-")
    await cli.ok("comment", "edit", str(comment), "--text", "-", "--version", version, stdin=NEW)
    stale = await cli.fails(2, "comment", "edit", str(comment), "--text", "-", "--version", version, stdin=NEW)
    assert "changed since you looked" in stale


async def test_a_comment_is_sent_back_to_the_model_with_a_note(cli: Cli, world: World) -> None:
    [comment] = await generated(world)
    done = (await cli.ok("comment", "regenerate", str(comment)[-8:], "--note", "shorter", "--json")).document
    assert (done["status"], done["note"]) == ("prepared", "shorter")


# Comparisons


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Prefect was asked for."""
    found: list[Any] = []

    async def start(name: str, parameters: dict[str, Any]) -> str:
        found.append((name, parameters))
        return "a run"

    monkeypatch.setattr("console.desk.runs.start_deployment", start)
    return found


async def test_two_templates_are_compared(cli: Cli, world: World, started: list[Any]) -> None:
    comments = await generated(world, 3)
    for name in ("first", "second"):
        await world.template(name)
    await world.provider("judge")
    articles = (await cli.ok("compare", "articles", "--process", "watch", "--json")).document["articles"]
    assert {each["comment"] for each in articles} == {str(each) for each in comments}
    pair = ("compare", "add", "first", "second", "--provider", "judge")
    made = (await cli.ok(*pair, "--articles", "2", "--name", "Which?", "--json")).document
    assert (made["name"], made["answers"], made["left"]) == ("Which?", 4, 4)
    assert started == [("compare_templates", {"comparison_id": made["id"]})]
    picked = (await cli.ok(*pair, "--comment", str(comments[1]), "--json")).document
    assert [each["comment_id"] for each in picked["pairs"]] == [str(comments[1])]
    shown = await cli.ok("compare", "show", made["id"])
    assert "0 of 4" in shown.out
    assert "- first: waiting" in shown.out
    assert "Which?" in (await cli.ok("compare", "list")).out
    assert (await cli.ok("compare", "start", made["id"], "--json")).document == {"flow_run_id": "a run"}
    await cli.ok("compare", "remove", made["id"])
    left = (await cli.ok("compare", "list", "--json")).document["comparisons"]
    assert [each["id"] for each in left] == [picked["id"]]
    assert "There is no comparison" in await cli.fails(2, "compare", "show", made["id"])
    assert "with itself" in await cli.fails(2, "compare", "add", "first", "first", "--provider", "judge")


async def test_a_comparison_that_cannot_be_started_is_not_made(cli: Cli, world: World) -> None:
    await generated(world)
    await world.template("second")
    pair = ("compare", "add", "friendly of watch", "second", "--provider", "model of watch")
    assert "There is no Prefect server" in await cli.fails(2, *pair)
    assert (await cli.ok("compare", "list")).out.startswith("No comparisons yet")


async def test_everything_is_stopped_at_once(cli: Cli, world: World) -> None:
    processes = [await world.process(name) for name in ("one", "two")]
    assert (await cli.ok("process", "stop-all", "--json")).document == {"stopped": ["one", "two"]}
    assert {(await world.get_process(each)).status for each in processes} == {"stopped"}
    assert "Nothing was running" in (await cli.ok("process", "stop-all")).out


# For administrators


async def test_a_token_is_shown_once_and_revoked(cli: Cli, world: World) -> None:
    await members.invite(world.database, Doer(None, "test"), "ann", "operator")
    made = await cli.ok("user", "token", "make", "ann", "backup", "--scope", "write", "--days", "7", "--json")
    token, record = made.document["token"], made.document["record"]
    assert (record["name"], record["scopes"]) == ("backup", ["read", "write"])
    listed = await cli.ok("user", "token", "list", "ann", "--json")
    assert [each["id"] for each in listed.document["tokens"]] == [record["id"]]
    assert token not in listed.out
    beyond = await cli.fails(2, "user", "token", "make", "ann", "more", "--scope", "admin")
    assert "You cannot give the scope admin" in beyond
    assert "no active account" in await cli.fails(2, "user", "token", "make", "operator", "none")
    assert "Revoked “backup”." in (await cli.ok("user", "token", "revoke", "ann", record["id"])).out
    ann = await members.find(world.database, "ann")
    assert await own.my_tokens(world.database, ann.id) == []
    assert "You have no token" in await cli.fails(2, "user", "token", "revoke", "ann", record["id"])


async def test_the_audit_log_is_read_in_pages_and_by_person_and_kind(cli: Cli, world: World) -> None:
    await world.process("watch", start=False)
    await cli.ok("user", "invite", "ann", "--role", "operator")
    await cli.ok("process", "set", "watch", "--max-minutes", "7")
    first = (await cli.ok("audit", "--limit", "1", "--json")).document
    assert [each["action"] for each in first["entries"]] == ["process.change"]
    rest = (await cli.ok("audit", "--after", first["next"], "--json")).document
    assert ([each["action"] for each in rest["entries"]], rest["next"]) == (["user.invite"], None)
    of_users = (await cli.ok("audit", "--kind", "user", "--json")).document["entries"]
    assert [(each["action"], each["via"]) for each in of_users] == [("user.invite", "cli")]
    assert (await cli.ok("audit", "--person", "ann")).out == "Nothing.\n"
    assert "process.change" in (await cli.ok("audit", "--person", "operator")).out
    assert "There is no user" in await cli.fails(2, "audit", "--person", "nobody")


async def test_alerts_are_listed_shown_and_sent_again(cli: Cli, world: World) -> None:
    cause = Cause(kind="stage.silent", subject="discover_articles", title="The stage discovery is silent")
    async with world.database.session() as session:
        alert = (await store.record(session, cause, deliver=False, quiet=60)).id
    listed = (await cli.ok("alerts", "list", "--open", "--json")).document
    assert ([each["id"] for each in listed["alerts"]], listed["next"]) == ([str(alert)], None)
    assert "recorded" in (await cli.ok("alerts", "list")).out
    shown = await cli.ok("alerts", "show", str(alert))
    assert "The stage discovery is silent" in shown.out
    assert "Nobody was told." in shown.out
    assert "PRESSROOM_ALERT_WEBHOOK_URL is not set" in (await cli.ok("alerts", "webhook")).out
    assert "No webhook is set" in await cli.fails(2, "alerts", "webhook", "--resume")
    assert (await cli.ok("alerts", "send", str(alert), "--json")).document["status"] == "pending"
    assert "only one that is dead or recorded" in await cli.fails(2, "alerts", "send", str(alert))
    assert "There is no alert" in await cli.fails(2, "alerts", "show", str(uuid4()))
    assert await audited(world) == ["alert.send"]
