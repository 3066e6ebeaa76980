"""The command line as a person meets it: what it says, what it changes, and with which status it ends."""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text, update
from typer.testing import CliRunner

from console.cli.main import app
from deployments import instance
from deployments.instance import Instance, ProcessMark
from lib import vault, work
from lib.database import Database
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MyMomentLogin
from lib.monitoring.secrets import UNOPENED
from lib.monitoring.store import catalog, claims, logins
from lib.settings import Settings
from lib.vault import Vault
from playground.accounts import LLM_MODEL
from playground.serve import Running
from tests.world import World

PASSWORD = "demo-ki-bot"
KEY = "playground-key"
WRONG = "not-the-password-8d1f"
SECRETS = (PASSWORD, KEY, WRONG)
NOBODY = "http://127.0.0.1:9"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cli:
    """Runs commands in this process. Remembers everything said."""

    said: list[str] = field(default_factory=list)

    async def __call__(self, *args: str, stdin: str = "", env: Mapping[str, str | None] | None = None) -> Ended:
        result = await asyncio.to_thread(CliRunner().invoke, app, list(args), input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.said += [result.stdout, result.stderr]
        return Ended(result.exit_code, result.stdout, result.stderr)

    async def ok(self, *args: str, stdin: str = "", env: Mapping[str, str | None] | None = None) -> Ended:
        ended = await self(*args, stdin=stdin, env=env)
        assert ended.code == 0, ended.err
        return ended

    async def fails(self, code: int, *args: str, stdin: str = "", env: Mapping[str, str | None] | None = None) -> str:
        """One line on stderr, nothing on stdout."""
        ended = await self(*args, stdin=stdin, env=env)
        assert ended.code == code, (ended.out, ended.err)
        assert ended.out == ""
        assert re.fullmatch(r"pressroom: [^\n]+\n", ended.err), ended.err
        return ended.err


@pytest.fixture
def cli(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """On the settings' database. No secret is ever said."""
    del settings  # they are in the environment
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    made = Cli()
    yield made
    assert not [secret for secret in SECRETS if secret in "".join(made.said)]


@pytest.fixture
def prompts(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "user.txt").write_text("What do you say about {article_title}?\n{article_content}")
    (tmp_path / "system.txt").write_text("You are a kind reader.")
    return ("--user-prompt", str(tmp_path / "user.txt"), "--system-prompt", str(tmp_path / "system.txt"))


async def set_up(cli: Cli, site: str, prompts: tuple[str, ...], *more: str) -> None:
    """What the README tells a newcomer to do."""
    await cli.ok(
        "login", "add", "bot", "--base-url", site, "--username", "ki-bot", "--password-stdin", stdin=PASSWORD + "\n"
    )
    model = ("--base-url", f"{site}/llm/v1", "--model", LLM_MODEL)
    await cli.ok("provider", "add", "model", *model, env={"PRESSROOM_PROVIDER_KEY": KEY})
    await cli.ok("template", "add", "kind", *prompts)
    parts = ("--login", "bot", "--template", "kind", "--provider", "model", "--tab", "102")
    await cli.ok("process", "add", "watch", *parts, *more)


# From nothing to a comment on the site


@pytest.fixture
def prefect_api(prefect_server: None, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the session's Prefect server is, in the environment as `pressroom up` sets it."""
    from prefect.settings import PREFECT_API_URL

    del prefect_server, cli
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))


def on_the_site(playground: Running) -> list[str]:
    return [str(comment["id"]) for comment in httpx.get(f"{playground.url}/control/comments").json()]


@pytest.mark.usefixtures("prefect_api")
async def test_a_person_sets_up_approves_one_comment_and_only_that_is_on_the_site(
    cli: Cli, playground: Running, prompts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")
    await set_up(cli, playground.url, prompts)
    started = await cli.ok("process", "start", "watch", "--check")
    assert "only generates" in started.out

    found = (await cli.ok("run", "discovery", "--json")).document
    number = found["done"]
    assert (found["stage"], found["failed"], number > 1) == ("discovery", 0, True)
    assert found["processes"][0]["name"] == "watch"
    prepared = await cli.ok("run", "preparation", "--process", "watch")
    assert f"{number} done" in prepared.out
    await cli.ok("run", "generation")
    assert "Nothing was due" in (await cli.ok("run", "posting")).out

    waiting = (await cli.ok("comment", "list", "--status", "generated", "--approval", "none", "--json")).document
    chosen = waiting["comments"][0]
    assert len(waiting["comments"]) == number
    shown = (await cli.ok("comment", "show", chosen["short_id"])).out
    assert "[Dieser Kommentar stammt von einem KI-ChatBot.]" in shown
    await cli.ok("comment", "approve", chosen["short_id"])
    assert (await cli.ok("run", "posting", "--json")).document["done"] == 1

    status = (await cli.ok("process", "status", "watch", "--json")).document
    comment = (await cli.ok("comment", "show", chosen["id"], "--json")).document
    assert on_the_site(playground) == [comment["mymoment_comment_id"]]
    assert (status["comments"]["posted"], status["comments"]["undecided"]) == (1, number - 1)


@pytest.mark.usefixtures("prefect_api")
async def test_a_run_in_which_something_failed_ends_with_status_one(
    cli: Cli, world: World, playground: Running
) -> None:
    login = await world.login(password=WRONG)
    await world.process(logins=[login])
    ended = await cli("run", "discovery", "--json")
    assert ended.code == 1
    assert ended.document["processes"][0]["failed"] == 1
    assert "watch" in ended.err
    assert "does not accept" in ended.err
    assert playground.url.removeprefix("http://") in ended.err


async def test_without_a_prefect_server_a_run_says_what_to_start(cli: Cli) -> None:
    assert "start `pressroom up`" in await cli.fails(2, "run", "posting")
    dead = await cli.fails(1, "run", "posting", env={"PREFECT_API_URL": f"{NOBODY}/api"})
    assert "does not answer" in dead
    assert "PREFECT_API_URL" in await cli.fails(2, "deploy")


# What is given wrongly changes nothing


async def test_a_wrong_password_is_named_and_nothing_is_saved(cli: Cli, playground: Running) -> None:
    account = ("--base-url", playground.url, "--username", "ki-bot", "--password-stdin")
    said = await cli.fails(1, "login", "add", "bot", *account, stdin=WRONG)
    assert "does not accept this login's username and password; nothing was saved (--no-test saves it untested)" in said
    assert "ki-bot" not in said
    assert (await cli.ok("login", "list", "--json")).document == {"logins": []}
    await cli.ok("login", "add", "bot", *account, "--no-test", stdin=WRONG)
    await cli.fails(1, "login", "test", "bot")
    await cli.ok("login", "set", "bot", "--password-stdin", stdin=PASSWORD)
    assert (await cli.ok("login", "test", "bot", "--json")).document == {"name": "bot", "works": True}


async def test_a_dead_model_and_a_wrong_key_are_named_and_nothing_is_saved(cli: Cli, playground: Running) -> None:
    dead = ("--base-url", f"{NOBODY}/v1", "--model", "m", "--key-stdin")
    assert "cannot be reached" in await cli.fails(1, "provider", "add", "model", *dead, stdin=KEY)
    wrong = ("--base-url", f"{playground.url}/llm/v1", "--model", LLM_MODEL, "--key-stdin")
    await cli.fails(1, "provider", "add", "model", *wrong, stdin=WRONG)
    assert (await cli.ok("provider", "list", "--json")).document == {"providers": []}
    await cli.ok("provider", "add", "model", *dead, "--no-test", stdin=KEY)
    await cli.fails(1, "provider", "test", "model")
    await cli.ok(
        "provider",
        "set",
        "model",
        "--base-url",
        f"{playground.url}/llm/v1",
        "--model",
        LLM_MODEL,
        "--key-stdin",
        stdin=KEY,
    )
    await cli.ok("provider", "test", "model")


LOGIN = ("login", "add", "bot", "--base-url", NOBODY, "--username", "u", "--no-test", "--password-stdin")
PROVIDER = ("provider", "add", "model", "--base-url", f"{NOBODY}/v1", "--model", "m", "--no-test", "--key-stdin")
PROCESS = ("process", "add", "watch")


@pytest.mark.parametrize(
    ("command", "stdin", "named"),
    [
        (("login", "add", "b\x00t", *LOGIN[3:]), "pw", "U+0000"),
        (("login", "add", "b\x1b[2Jt", *LOGIN[3:]), "pw", "U+001B"),
        (("login", "add", "b\u202et", *LOGIN[3:]), "pw", "U+202E"),
        (("login", "add", "b\udc80t", *LOGIN[3:]), "pw", "U+DC80"),
        (("login", "add", " ", *LOGIN[3:]), "pw", "empty"),
        (("login", "add", "b" * 101, *LOGIN[3:]), "pw", "at most 100"),
        (("login", "add", "bot", "--base-url", "ftp://x", *LOGIN[5:]), "pw", "http"),
        (("login", "add", "bot", "--base-url", "https://a:b@x", *LOGIN[5:]), "pw", "password"),
        (("login", "add", "bot", "--base-url", "https://", *LOGIN[5:]), "pw", "host"),
        (LOGIN, "", "password is empty"),
        (LOGIN, "a\nb", "line break"),
        (LOGIN[:-1], "pw", "PRESSROOM_LOGIN_PASSWORD"),
        ((*PROVIDER, "--temperature", "nan"), "k", "temperature"),
        ((*PROVIDER, "--temperature", "3"), "k", "temperature"),
        ((*PROVIDER, "--max-tokens", "0"), "k", "max-tokens"),
        (("provider", "add", "m", "--base-url", "x/v1", *PROVIDER[5:]), "k", "http"),
        ((*PROCESS, "--max-minutes", "0"), "", "max-minutes"),
        ((*PROCESS, "--max-minutes", "1441"), "", "max-minutes"),
        ((*PROCESS, "--limit", "0"), "", "limit"),
        ((*PROCESS, "--category", "Berichten"), "", "category"),
        ((*PROCESS, "--state", "published"), "", "state"),
        ((*PROCESS, "--search", "a\nb"), "", "U+000A"),
        ((*PROCESS, "--login", "nobody"), "", "there are: none yet"),
        (("process", "start", "nothing"), "", "no process “nothing”"),
        (("comment", "approve", "abc"), "", "“abc” is no comment id"),
        (("comment", "approve", "abcdef"), "", "no comment “abcdef”"),
        (("comment", "approve"), "", "Missing argument"),
        (("comment", "retry"), "", "--all-failed"),
        (("comment", "list", "--limit", "0"), "", "limit"),
        (("run", "everything"), "", "everything"),
        (("proces", "list"), "", "Did you mean"),
        (("up", "--llm", "huge"), "", "huge"),
    ],
)
async def test_what_cannot_be_used_is_named_and_nothing_is_changed(
    cli: Cli, database: Database, command: tuple[str, ...], stdin: str, named: str
) -> None:
    assert named.casefold() in (await cli.fails(2, *command, stdin=stdin)).casefold()
    async with database.session() as session:
        for table in ("mymoment_logins", "llm_provider_configurations", "monitoring_processes"):
            assert (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"caf\xe9 {article_title}", "not UTF-8"),
        (b"{article_titel}", "{article_titel}"),
        (b"{article_title.__class__}", "unknown placeholder"),
        (b"{", "template"),
        (b"a\x00b", "U+0000"),
        (b"x" * 1_100_000, "larger than"),
    ],
)
async def test_a_prompt_that_cannot_be_used_is_named_with_its_file(
    cli: Cli, tmp_path: Path, prompts: tuple[str, ...], content: bytes | None, named: str
) -> None:
    file = tmp_path / "bad.txt"
    if content is not None:
        file.write_bytes(content)
    assert named in await cli.fails(2, "template", "add", "kind", "--user-prompt", str(file), *prompts[2:])
    assert (await cli.ok("template", "list", "--json")).document == {"templates": []}


async def test_a_directory_is_no_prompt(cli: Cli, tmp_path: Path, prompts: tuple[str, ...]) -> None:
    said = await cli.fails(2, "template", "add", "kind", "--user-prompt", str(tmp_path), *prompts[2:])
    assert "cannot be read" in said


# The records


async def test_every_record_is_listed_shown_changed_and_removed(
    cli: Cli, playground: Running, prompts: tuple[str, ...]
) -> None:
    await set_up(cli, playground.url, prompts, "--search", "cat", "--category", "14", "--max-minutes", "5")
    assert "Conflict" not in await cli.fails(2, *LOGIN, stdin="pw")
    assert "already" in await cli.fails(2, "process", "add", "watch")

    login = (await cli.ok("login", "show", "bot", "--json")).document
    assert (login["base_url"], login["is_active"], login["processes"]) == (playground.url, True, ["watch"])
    provider = (await cli.ok("provider", "show", "model", "--json")).document
    assert (provider["model"], provider["processes"]) == (LLM_MODEL, ["watch"])
    template = (await cli.ok("template", "show", "kind", "--json")).document
    assert template["system_prompt"] == "You are a kind reader."
    process = (await cli.ok("process", "show", "watch", "--json")).document
    assert (process["logins"], process["templates"], process["provider"]) == (["bot"], ["kind"], "model")
    assert (process["status"], process["posts"], process["missing"]) == ("created", False, [])
    assert (process["tab"], process["search"], process["category"], process["max_minutes"]) == ("102", "cat", "14", 5)
    assert [stage["stage"] for stage in process["stages"]] == ["discovery", "preparation", "generation", "posting"]

    for kind, name in (("login", "bot"), ("provider", "model"), ("template", "kind")):
        assert "is used by a process" in await cli.fails(2, kind, "remove", name)
        assert name in (await cli.ok(kind, "list")).out
        assert name in (await cli.ok(kind, "show", name)).out
    changed = (await cli.ok("process", "set", "watch", "--search", "", "--post", "--json")).document
    assert (changed["search"], changed["posts"], changed["tab"]) == (None, True, "102")
    assert (await cli.ok("provider", "set", "model", "--max-tokens", "90", "--json")).document["max_tokens"] == 90
    assert not (await cli.ok("template", "set", "kind", "--inactive", "--json")).document["is_active"]
    assert "switched off" in await cli.fails(2, "process", "start", "watch")

    assert (await cli.ok("process", "remove", "watch", "--json")).document == {
        "removed": "watch",
        "comments_forgotten": 0,
    }
    for kind, name in (("login", "bot"), ("provider", "model"), ("template", "kind")):
        assert (await cli.ok(kind, "remove", name, "--json")).document == {"removed": name}
        assert f"no {kind} “{name}”" in await cli.fails(2, kind, "show", name)


async def test_posting_is_a_deliberate_choice_said_in_plain_words(
    cli: Cli, playground: Running, prompts: tuple[str, ...]
) -> None:
    await set_up(cli, playground.url, prompts)
    parts = ("--login", "bot", "--template", "kind", "--provider", "model")
    said = (await cli.ok("process", "add", "public", *parts, "--tab", "102", "--post")).out
    assert f"POSTS PUBLICLY on {playground.url}" in said
    tabless = (await cli.ok("process", "add", "tabless", *parts, "--post")).out
    assert "it needs: a tab, since it posts (--tab)" in tabless
    assert "a tab, since it posts (--tab)" in await cli.fails(2, "process", "start", "tabless")
    listed = (await cli.ok("process", "list")).out
    assert "on approval" in listed
    assert "publicly" in listed


async def test_a_process_starts_once_and_stops_more_than_once(cli: Cli, world: World) -> None:
    await world.process(start=False)
    started = (await cli.ok("process", "start", "watch", "--json")).document
    assert started["status"] == "running"
    assert 3500 < started["seconds_left"] <= 3600
    assert "is running" in await cli.fails(2, "process", "start", "watch")
    assert "stop it first" in await cli.fails(2, "process", "set", "watch", "--tab", "alle")
    assert "stop it first" in await cli.fails(2, "process", "remove", "watch")
    assert (await cli.ok("process", "stop", "watch", "--json")).document["stop_reason"] == "user"
    await cli.ok("process", "stop", "watch")
    await cli.ok("process", "start", "watch")
    assert (await cli.ok("process", "stop", "watch", "--completed", "--json")).document["status"] == "completed"
    assert "completed" in await cli.fails(2, "process", "start", "watch")


async def test_a_start_with_check_names_what_does_not_work(cli: Cli, world: World) -> None:
    login = await world.login("bad", password=WRONG)
    provider = await world.provider("dead", base_url=f"{NOBODY}/v1")
    await world.process(logins=[login], provider=provider, start=False)
    said = await cli.fails(2, "process", "start", "watch", "--check")
    assert "does not accept this login's username and password" in said
    assert "dead" in said
    assert (await cli.ok("process", "show", "watch", "--json")).document["status"] == "created"


async def test_another_user_sees_nothing_of_mine(cli: Cli, world: World) -> None:
    process_id = await world.process()
    (comment,) = await world.comments(process_id, 1, status="generated")
    other = {"PRESSROOM_USER": "somebody"}
    assert (await cli.ok("process", "list", "--json", env=other)).document == {"processes": []}
    assert (await cli.ok("comment", "list", "--json", env=other)).document == {"comments": [], "next": None}
    for decision in ("approve", "reject", "show"):
        assert "no comment" in await cli.fails(2, "comment", decision, str(comment), env=other)


# Logins that change


async def test_a_login_keeps_its_account_while_only_that_can_read_back(cli: Cli, world: World) -> None:
    login = await world.login()
    process_id = await world.process(logins=[login])
    assert "running process (“watch”)" in await cli.fails(2, "login", "set", "bot", "--username", "other")
    await cli.ok("process", "stop", "watch")
    await world.comments(process_id, 1, status="generated", post_sent_at=datetime.now(UTC))
    assert "add another login" in await cli.fails(2, "login", "set", "bot", "--username", "other")
    async with world.database.session() as session:
        await session.execute(update(AIComment).values(post_sent_at=None))
        token = work.new_id()
        await logins.claim_log_in(session, login, token, 60)
        await logins.settle_logged_in(session, login, token, b"cookies", 24)
    await cli.ok("login", "set", "bot", "--username", "other")
    async with world.database.session() as session:
        assert (await logins.read_login(session, login)).cookies_encrypted is None


async def test_what_waited_for_a_login_goes_on_when_it_is_set_right(cli: Cli, world: World) -> None:
    login = await world.login(password=WRONG)
    process_id = await world.process(logins=[login])
    await world.comments(process_id, 1, next_attempt_at=datetime.now(UTC) + timedelta(hours=1))
    async with world.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, await world.user(), "bot")
        row.error_message, row.failed_logins = "the site does not accept it", 3
    await cli.ok("login", "set", "bot", "--password-stdin", stdin=PASSWORD)
    (waiting,) = await world.all_comments()
    assert waiting.next_attempt_at is None
    assert (await cli.ok("login", "show", "bot", "--json")).document["error"] is None


# Decisions about comments


async def test_two_approvals_are_one_and_say_so(cli: Cli, world: World) -> None:
    process_id = await world.process(generate_only=True)
    (comment,) = await world.comments(process_id, 1, status="generated")
    first = (await cli.ok("comment", "approve", str(comment), "--json")).document
    assert first == {"approved": [str(comment)], "already_approved": []}
    decided = (await world.all_comments())[0].approval_at
    assert "Already approved" in (await cli.ok("comment", "approve", comment.hex[-8:])).out
    assert (await world.all_comments())[0].approval_at == decided


async def test_an_approval_after_a_stop_is_a_new_decision(cli: Cli, world: World) -> None:
    process_id = await world.process(generate_only=True)
    (comment,) = await world.comments(process_id, 1, status="generated")
    await cli.ok("comment", "approve", str(comment))
    await cli.ok("process", "stop", "watch")
    before = (await world.all_comments())[0].approval_at
    again = (await cli.ok("comment", "approve", str(comment), "--json")).document
    after = (await world.all_comments())[0].approval_at
    assert again["approved"] == [str(comment)]
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize("decision", ["approve", "reject", "retry"])
async def test_one_comment_that_does_not_allow_it_leaves_all_as_they_were(
    cli: Cli, world: World, decision: str
) -> None:
    process_id = await world.process(generate_only=True)
    good, bad = await world.comments(process_id, 2, status="failed" if decision == "retry" else "generated", **REASON)
    posted = {"status": "posted", "posted_at": work.now(), "mymoment_comment_id": "9001"}
    async with world.database.session() as session:
        await session.execute(update(AIComment).where(AIComment.id == bad).values(posted))
    said = await cli.fails(2, "comment", decision, str(good), str(bad))
    assert f"{bad.hex[-8:]} is posted" in said
    first = (await world.all_comments())[0]
    assert (first.approval, first.status) == (None, "failed" if decision == "retry" else "generated")


REASON: dict[str, Any] = {"error_message": "the site was down", "failed_from": "generated", "retry_count": 3}


async def test_a_comment_that_is_being_posted_can_be_approved_but_not_rejected(cli: Cli, world: World) -> None:
    process_id = await world.process()
    (comment,) = await world.comments(process_id, 1, status="generated", comment_content="Schön!")
    login = (await world.all_comments())[0].mymoment_login_id
    token = work.new_id()
    async with world.database.session() as session:
        await claims.claim_post(session, process_id, login, token, 60)
    assert "being posted right now" in await cli.fails(2, "comment", "reject", str(comment))
    await cli.ok("comment", "approve", str(comment))
    (row,) = await world.all_comments()
    assert (row.claim_token, row.approval) == (token, "approved")


async def test_a_retry_returns_to_where_it_failed_and_says_that_it_reads_back_first(cli: Cli, world: World) -> None:
    process_id = await world.process()
    sent, fresh = await world.comments(process_id, 2, status="failed", attempts=3, **REASON)
    async with world.database.session() as session:
        await session.execute(update(AIComment).where(AIComment.id == sent).values(post_sent_at=work.now()))
        await session.execute(update(AIComment).where(AIComment.id == fresh).values(failed_from="discovered"))
    said = (await cli.ok("comment", "retry", "--process", "watch", "--all-failed")).out
    assert "Tries again: 2 comments" in said
    assert "looked at first" in said
    rows = await world.all_comments()
    assert [row.status for row in rows] == ["generated", "discovered"]
    assert [row.post_sent_at is None for row in rows] == [False, True]
    assert {(row.attempts, row.retry_count, row.error_message, row.failed_from) for row in rows} == {(0, 0, None, None)}
    again = (await cli.ok("comment", "retry", "--process", "watch", "--all-failed", "--json")).document
    assert again == {"retried": [], "sent_before": []}


async def test_a_list_is_paged_newest_first_and_its_short_ids_name_one_comment_each(cli: Cli, world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 7, status="generated")
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = (await cli.ok("comment", "list", "--limit", "3", *after, "--json")).document
        seen += [comment["article_title"] for comment in page["comments"]]
        if page["next"] is None:
            break
        after = ("--after", page["comments"][-1]["short_id"])
    assert seen == [f"Article {number}" for number in range(7, 0, -1)]
    human = (await cli.ok("comment", "list", "--limit", "3")).out
    assert "More: --after" in human
    assert (await cli.ok("comment", "list", "--process", "watch", "--status", "posted")).out == "No comments.\n"


async def test_ids_that_end_alike_are_shown_longer_and_not_mistaken(cli: Cli, world: World) -> None:
    process_id = await world.process()
    await world.comments(process_id, 2, status="generated")
    for number, row in enumerate(await world.all_comments()):
        async with world.database.session() as session:
            twin = UUID(row.id.hex[:20] + f"{number}bc0ffee00aa")
            await session.execute(text("DELETE FROM comment_events"))  # they refer to the id
            await session.execute(update(AIComment).where(AIComment.id == row.id).values(id=twin))
    listed = (await cli.ok("comment", "list", "--json")).document["comments"]
    assert [len(each["short_id"]) for each in listed] == [32, 32]
    assert "could be several" in await cli.fails(2, "comment", "approve", "0ffee00aa")
    await cli.ok("comment", "approve", "1bc0ffee00aa")


async def test_what_a_site_writes_cannot_command_the_terminal(cli: Cli, world: World) -> None:
    process_id = await world.process()
    title = "\x1b]0;owned\x07\x1b[2J[red]Rot[/red]\u202e"
    (comment,) = await world.comments(
        process_id, 1, status="generated", article_title=title, comment_content="[b]Hi[/b]"
    )
    for ended in (await cli.ok("comment", "list"), await cli.ok("comment", "show", str(comment))):
        assert "[red]Rot[/red]" in ended.out
        assert not set("\x1b\x07\u202e") & set(ended.out)
    shown = (await cli.ok("comment", "show", str(comment), "--json")).document
    assert (shown["article_title"], shown["comment_content"]) == (title, "[b]Hi[/b]")


# Keys


@pytest.fixture
def key_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the keys are: in a file, once they are made."""
    monkeypatch.delenv("PRESSROOM_ENCRYPTION_KEYS")
    return settings.data_dir / "encryption.keys"


def keys_in(file: Path) -> list[str]:
    return file.read_text().split()


async def stored_with(world: World, keys: list[str]) -> None:
    """A login, a provider and a logged-in session, under the first of the keys."""
    box = Vault(keys)
    user = await world.user()
    login = MyMomentLogin(
        user_id=user,
        name="bot",
        base_url=world.site,
        username_encrypted=box.encrypt("ki-bot"),
        password_encrypted=box.encrypt(PASSWORD),
    )
    provider = LLMProviderConfiguration(
        user_id=user, name="model", base_url=NOBODY, model_name="m", api_key_encrypted=box.encrypt(KEY)
    )
    async with world.database.session() as session:
        await catalog.add(session, login)
        await catalog.add(session, provider)
        token = work.new_id()
        await logins.claim_log_in(session, login.id, token, 60)
        await logins.settle_logged_in(session, login.id, token, box.encrypt("cookies"), 24)


async def opened_with(database: Database, keys: list[str]) -> list[str]:
    """Every stored secret, opened."""
    columns = ("username_encrypted", "password_encrypted")
    async with database.session() as session:
        logins_found = await session.execute(text(f"SELECT {', '.join(columns)} FROM mymoment_logins"))
        providers = await session.execute(text("SELECT api_key_encrypted FROM llm_provider_configurations"))
        sessions = await session.execute(text("SELECT cookies_encrypted FROM mymoment_sessions WHERE is_active"))
        tokens = [token for rows in (logins_found, providers, sessions) for row in rows for token in row]
    return [Vault(keys).decrypt(token) for token in tokens]


EVERYTHING = ["ki-bot", PASSWORD, KEY, "cookies"]


async def test_keys_are_made_once_and_a_second_time_refused(cli: Cli, key_file: Path) -> None:
    assert "Keep a copy" in (await cli.ok("keys", "generate")).out
    (made,) = keys_in(key_file)
    assert os.stat(key_file).st_mode & 0o777 == 0o600  # noqa: PTH116
    assert "already" in await cli.fails(2, "keys", "generate")
    assert keys_in(key_file) == [made]
    assert made not in "".join(cli.said)


async def test_a_rotation_brings_every_secret_under_the_new_key(cli: Cli, world: World, key_file: Path) -> None:
    await cli.ok("keys", "generate")
    old = keys_in(key_file)
    await stored_with(world, old)
    done = (await cli.ok("keys", "rotate", "--json")).document
    assert done == {"rotated": 4, "unopened": [], "keys": 2, "new_key": True}
    new = keys_in(key_file)
    assert new[1:] == old
    assert await opened_with(world.database, new[:1]) == EVERYTHING
    assert (await cli.ok("keys", "rotate", "--drop-old", "--json")).document["keys"] == 1
    assert await opened_with(world.database, keys_in(key_file)) == EVERYTHING


async def test_a_rotation_that_was_cut_short_goes_on_where_it_was(cli: Cli, world: World, key_file: Path) -> None:
    old, half = vault.new_key(), vault.new_key()
    await stored_with(world, [old])
    vault.write_keys(world.settings, [half, old])  # and then the power went
    assert await opened_with(world.database, [half, old]) == EVERYTHING
    await cli.ok("keys", "rotate", "--drop-old")
    assert await opened_with(world.database, keys_in(key_file)) == EVERYTHING


@pytest.mark.usefixtures("key_file")
async def test_a_secret_that_no_key_opens_is_named_and_keeps_the_old_keys(cli: Cli, world: World) -> None:
    await cli.ok("keys", "generate")
    await stored_with(world, [vault.new_key()])
    ended = await cli("keys", "rotate", "--drop-old", "--json")
    assert ended.code == 1
    assert ended.document["keys"] == 2
    assert ended.document["unopened"] == ["login “bot”", "provider “model”", "session of login “bot”"]
    assert "login “bot”" in ended.err


async def test_keys_from_the_environment_are_rotated_by_putting_a_new_one_in_front(cli: Cli, world: World) -> None:
    old = world.settings.encryption_keys
    assert old is not None
    await stored_with(world, [old.get_secret_value()])
    new = Fernet.generate_key().decode()
    both = {"PRESSROOM_ENCRYPTION_KEYS": f"{new},{old.get_secret_value()}"}
    assert (await cli.ok("keys", "rotate", "--json", env=both)).document["new_key"] is False
    assert await opened_with(world.database, [new]) == EVERYTHING
    assert not (world.settings.data_dir / "encryption.keys").exists()
    assert "PRESSROOM_ENCRYPTION_KEYS" in await cli.fails(2, "keys", "rotate", "--drop-old", env=both)
    assert "PRESSROOM_ENCRYPTION_KEYS" in await cli.fails(2, "keys", "generate")


@pytest.mark.usefixtures("key_file")
async def test_what_waited_because_of_a_key_goes_on_after_the_rotation(cli: Cli, world: World) -> None:
    await cli.ok("keys", "generate")
    with pytest.raises(Exception, match=UNOPENED):
        Vault([vault.new_key()]).decrypt(b"anything")
    process_id = await world.process()
    await world.comments(process_id, 1, error_message=UNOPENED, next_attempt_at=datetime.now(UTC) + timedelta(hours=1))
    await cli("keys", "rotate")
    assert (await world.all_comments())[0].next_attempt_at is None


@pytest.mark.usefixtures("key_file")
async def test_without_keys_a_login_says_how_to_make_them(cli: Cli) -> None:
    assert "pressroom keys generate" in await cli.fails(2, *LOGIN, stdin=PASSWORD)


# The whole


async def test_health_says_what_is_not_well_and_ends_with_status_one(cli: Cli) -> None:
    ended = await cli("health", "--json")
    checks = {check["name"]: check for check in ended.document["checks"]}
    assert ended.code == 1
    assert ended.document["ok"] is False
    assert checks["database"]["ok"]
    assert not checks["prefect api"]["ok"]
    down = await cli("health", env={"PRESSROOM_DATABASE_URL": "postgresql+asyncpg://nobody:x@127.0.0.1:9/none"})
    assert down.code == 1
    assert "NOT WELL" in down.out
    assert (await cli("health", "--json", env={"PRESSROOM_DATABASE_URL": None})).code == 1


@pytest.mark.parametrize(
    ("url", "code", "named"),
    [
        ("postgresql+asyncpg://u:not-the-password-8d1f@127.0.0.1:9/none", 1, "cannot be reached"),
        ("postgresql+asyncpg://u@/none?host=/nowhere", 1, "cannot be reached"),
        ("postgresql://u:not-the-password-8d1f@localhost/x", 2, "must begin with postgresql+asyncpg"),
        ("not-the-password-8d1f", 2, "must begin with postgresql+asyncpg"),
        (None, 2, "PRESSROOM_DATABASE_URL"),
    ],
)
async def test_a_database_that_is_not_there_is_said_with_what_to_do(
    cli: Cli, url: str | None, code: int, named: str
) -> None:
    env = {"PRESSROOM_DATABASE_URL": url}
    assert named in await cli.fails(code, "process", "list", env=env)
    assert named in await cli.fails(code, "db", "upgrade", env=env)


async def test_a_setting_that_is_wrong_is_named(cli: Cli) -> None:
    assert "PRESSROOM_STAGE_LEASE" in await cli.fails(2, "process", "list", env={"PRESSROOM_STAGE_LEASE": "1"})


async def test_an_empty_database_is_said_and_upgraded_once(cli: Cli, database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("DROP SCHEMA public CASCADE"))
        await session.execute(text("CREATE SCHEMA public"))
    assert "pressroom db upgrade" in await cli.fails(1, "process", "list")
    first = (await cli.ok("db", "upgrade", "--json")).document
    assert (first["before"], first["changed"]) == (None, True)
    assert "up to date" in (await cli.ok("db", "upgrade")).out
    await cli.ok("process", "list")


async def test_a_command_finds_the_running_instance_of_its_data_directory(cli: Cli, settings: Settings) -> None:
    url = settings.database_url
    assert url is not None
    me = ProcessMark.of("supervisor", os.getpid())
    instance.write(settings.data_dir, Instance(me, (), {}, {"PRESSROOM_DATABASE_URL": url}))
    ended = await cli.ok("process", "list", "--json", env={"PRESSROOM_DATABASE_URL": None})
    assert ended.document == {"processes": []}
