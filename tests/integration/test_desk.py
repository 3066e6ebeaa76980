"""The desk: what people may see and do, whoever else does it at the same time."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import pytest
from sqlalchemy import text

from console.desk import comments, failures, logins, processes, providers, sites, templates
from console.desk import overview as seeing
from console.desk import review as reviewing
from console.desk.logins import LoginChange
from console.desk.processes import ProcessChange
from console.desk.providers import ProviderChange
from console.desk.review import Choice, Unfit
from console.desk.visit import Visit
from lib.database import Database
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring import guard
from lib.monitoring.health import Check
from lib.monitoring.store import catalog, hopeless
from lib.monitoring.store import comments as comment_store
from lib.monitoring.store import health as health_store
from lib.settings import Settings
from playground.serve import Running
from tests.world import World

T = TypeVar("T")

KIND = "Deine Geschichte hat mir sehr gut gefallen, besonders der Schluss mit dem Hund."
ARTICLE = "Ich habe einen Hund. Er heisst Bello."


@dataclass
class Desk:
    """A world with an operator who owns it, somebody else, and an administrator."""

    world: World
    mine: Visit
    theirs: Visit
    admin: Visit

    async def process(self, name: str = "watch", **more: Any) -> UUID:
        return await self.world.process(name, **{"generate_only": True, **more})

    async def generated(self, process_id: UUID, number: int = 3, **more: Any) -> list[str]:
        fields = {"article_content": ARTICLE, "comment_content": guard.with_prefix(KIND), **more}
        return [str(id_) for id_ in await self.world.comments(process_id, number, "generated", **fields)]

    async def run(self, statement: str, **parameters: Any) -> None:
        async with self.world.database.session() as session:
            await session.execute(text(statement), parameters)

    async def scalars(self, statement: str) -> list[Any]:
        async with self.world.database.session() as session:
            return list(await session.scalars(text(statement)))

    async def audited(self) -> list[str]:
        return await self.scalars("SELECT action FROM audit_entries ORDER BY id")


@pytest.fixture
async def desk(world: World, settings: Settings, database: Database) -> Desk:
    async with database.session() as session:
        other = await catalog.ensure_user(session, "somebody else")
        chief = await catalog.ensure_user(session, "chief")
    user = await world.user()
    mine = Visit(settings, database, user, sees=user, via="session")
    return Desk(world, mine, replace(mine, user_id=other, sees=other), replace(mine, user_id=chief, sees=None))


async def round_trips(database: Database, done: Awaitable[T]) -> tuple[T, int]:
    before = database.figures().round_trips
    result = await done
    return result, database.figures().round_trips - before


# Whose things


async def test_what_another_owns_is_not_there(desk: Desk) -> None:
    process_id = await desk.process()
    [comment] = await desk.generated(process_id, 1)
    them = desk.theirs
    attempts = [
        processes.show(them, "watch"),
        processes.show(them, str(process_id)),
        processes.change(them, "watch", ProcessChange(tab="1")),
        processes.start(them, "watch", check=False),
        processes.stop(them, "watch", completed=False),
        processes.remove(them, "watch"),
        processes.pipeline_status(them, str(process_id)),
        logins.show(them, "bot of watch"),
        logins.test(them, "bot of watch"),
        logins.change(them, "bot of watch", LoginChange(is_active=False)),
        logins.remove(them, "bot of watch"),
        providers.show(them, "model of watch"),
        providers.change(them, "model of watch", ProviderChange(is_active=False)),
        providers.test(them, "model of watch"),
        templates.show(them, "friendly of watch"),
        templates.change(them, "friendly of watch", None, None, False),
        templates.test(them, "friendly of watch", comment=None),
        sites.site_choices(them, "bot of watch"),
        comments.show(them, comment),
        comments.life(them, comment),
        reviewing.one(them, comment),
        reviewing.edit(them, comment, KIND, "1"),
        reviewing.regenerate(them, comment),
        failures.groups(them, process="watch"),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt
    [ruling] = await reviewing.approve(them, [Choice(comment)])
    assert ruling["outcome"] == "unknown"
    assert (await seeing.overview(them))["processes"] == []
    assert (await comments.listed(them, process=None, status=None, approval=None, limit=5, after=None))[
        "comments"
    ] == []
    assert (await reviewing.listed(them))["total"] == 0
    assert await desk.audited() == []
    assert (await comments.show(desk.mine, comment))["approval"] is None


async def test_a_budget_of_money_counts_on_prices_in_one_currency(desk: Desk) -> None:
    await desk.world.provider("free")
    await desk.world.provider("francs", input_price=Decimal(1), currency="CHF")
    await desk.world.provider("spare", output_price=Decimal(2), currency="CHF")
    await desk.world.provider("dollars", input_price=Decimal(1), currency="USD")
    await desk.process(start=False)

    async def refused(wanted: ProcessChange) -> str:
        with pytest.raises(Invalid) as error:
            await processes.change(desk.mine, "watch", wanted)
        assert error.value.field == "budget_money"
        return str(error.value)

    assert "“free” has no prices" in await refused(ProcessChange(provider="free", budget_money=Decimal(5)))
    await processes.change(desk.mine, "watch", ProcessChange(provider="francs", budget_money=Decimal(5)))
    assert "“free” has no prices" in await refused(ProcessChange(fallback="free"))
    assert "“dollars” in USD" in await refused(ProcessChange(fallback="dollars"))
    with pytest.raises(Invalid, match="“free” has no prices"):
        await processes.add(desk.mine, "new", ProcessChange(provider="free", budget_money=Decimal(5)))
    found = await processes.change(desk.mine, "watch", ProcessChange(fallback="spare"))
    assert found["budget_money"] == 5


async def test_terms_that_a_processs_budget_counts_on_stay(desk: Desk) -> None:
    francs = await desk.world.provider("francs", input_price=Decimal(1), currency="CHF")
    spare = await desk.world.provider("spare", output_price=Decimal(2), currency="CHF")
    more = {"provider": francs, "fallback_provider_id": spare, "budget_money": Decimal(5), "start": False}
    await desk.process(**more)
    unpriced = ProviderChange(cleared=frozenset({"output_price"}))
    with pytest.raises(Invalid, match="“watch” would never be used up") as error:
        await providers.change(desk.mine, "spare", unpriced)
    assert error.value.field == "input_price"
    with pytest.raises(Invalid, match="“watch” would count two currencies") as error:
        await providers.change(desk.mine, "francs", ProviderChange(currency="USD"))
    assert error.value.field == "currency"
    await providers.change(desk.mine, "francs", ProviderChange(input_price=Decimal(3), budget_tokens=100))
    await processes.change(desk.mine, "watch", ProcessChange(fallback=""))
    await providers.change(desk.mine, "francs", ProviderChange(currency="USD"))
    await providers.change(desk.mine, "spare", unpriced)


async def test_an_administrator_sees_and_changes_everything_as_themselves(desk: Desk) -> None:
    process_id = await desk.process(start=False)
    [comment] = await desk.generated(process_id, 1)
    found = await seeing.overview(desk.admin)
    assert [(row["name"], row["owner"]) for row in found["processes"]] == [("watch", "operator")]
    await processes.change(desk.admin, "watch", ProcessChange(search="dog"))
    [ruling] = await reviewing.approve(desk.admin, [Choice(comment)])
    assert (ruling["outcome"], ruling["by"]) == ("done", "chief")
    actors = await desk.scalars("SELECT actor_name || ' ' || action || ' ' || via FROM audit_entries ORDER BY id")
    assert actors == ["chief process.change session", "chief comment.approve session"]


async def test_what_a_process_uses_belongs_to_its_owner_whoever_chooses(desk: Desk) -> None:
    await desk.process(start=False)
    await templates.add(desk.admin, "chief's", "Be kind", "{article_title}")
    with pytest.raises(NotFound, match="chief's") as raised:
        await processes.change(desk.admin, "watch", ProcessChange(templates=["chief's"]))
    assert raised.value.field == "templates"
    with pytest.raises(NotFound):
        await processes.add(desk.admin, "new", ProcessChange(logins=["bot of watch"]))


async def test_a_name_that_several_owners_use_needs_an_id(desk: Desk) -> None:
    process_id = await desk.process(start=False)
    await processes.add(desk.theirs, "watch", ProcessChange())
    with pytest.raises(Invalid, match="Several owners"):
        await processes.show(desk.admin, "watch")
    assert (await processes.show(desk.admin, str(process_id)))["owner"] == "operator"
    assert (await processes.show(desk.mine, "watch"))["id"] == process_id


async def test_a_name_may_not_look_like_an_id(desk: Desk) -> None:
    with pytest.raises(Invalid, match="look like an id") as raised:
        await processes.add(desk.mine, str(desk.mine.user_id), ProcessChange())
    assert raised.value.field == "name"
    with pytest.raises(Invalid, match="look like an id"):
        await templates.add(desk.mine, desk.mine.user_id.hex, "a", "b")


async def test_a_wrong_number_names_its_field(desk: Desk) -> None:
    for wanted, field in (
        (ProcessChange(max_minutes=0), "max_minutes"),
        (ProcessChange(limit=1001), "limit"),
        (ProcessChange(state="anything"), "state"),
        (ProcessChange(category="x"), "category"),
    ):
        with pytest.raises(Invalid) as raised:
            await processes.add(desk.mine, "new", wanted)
        assert raised.value.field == field


# Versions


async def test_a_change_of_what_was_changed_meanwhile_is_a_conflict(desk: Desk) -> None:
    await desk.process(start=False)
    seen = await processes.show(desk.mine, "watch")
    changed = await processes.change(desk.mine, "watch", ProcessChange(search="dog"), seen["version"])
    assert changed["version"] != seen["version"]
    with pytest.raises(Conflict, match="meantime"):
        await processes.change(desk.mine, "watch", ProcessChange(search="cat"), seen["version"])
    with pytest.raises(Conflict, match="meantime"):
        await processes.remove(desk.mine, "watch", seen["version"])
    for module, name in ((logins, "bot of watch"), (providers, "model of watch")):
        version = (await module.show(desk.mine, name))["version"]
        wanted = LoginChange(is_active=False) if module is logins else ProviderChange(is_active=False)
        assert (await module.change(desk.mine, name, wanted, version))["version"] != version
        with pytest.raises(Conflict, match="meantime"):
            await module.change(desk.mine, name, wanted, version)
    version = (await templates.show(desk.mine, "friendly of watch"))["version"]
    await templates.change(desk.mine, "friendly of watch", None, "{article_title}!", None, seen=version)
    with pytest.raises(Conflict, match="meantime"):
        await templates.change(desk.mine, "friendly of watch", None, "{article_title}?", None, seen=version)


async def test_what_workers_note_makes_no_new_version(desk: Desk) -> None:
    await desk.process()
    before = [
        (await logins.show(desk.mine, "bot of watch"))["version"],
        (await processes.show(desk.mine, "watch"))["version"],
    ]
    await desk.run("UPDATE mymoment_logins SET next_post_at = now(), last_used_at = now(), updated_at = now()")
    await desk.run("UPDATE monitoring_processes SET comments_posted = comments_posted + 1, updated_at = now()")
    after = [
        (await logins.show(desk.mine, "bot of watch"))["version"],
        (await processes.show(desk.mine, "watch"))["version"],
    ]
    assert before == after


async def test_the_log_says_what_changed_and_no_secret(desk: Desk) -> None:
    await desk.process(start=False)
    await logins.change(desk.mine, "bot of watch", LoginChange(password=lambda: "s3cret-word", name="bot"))
    await processes.change(desk.mine, "watch", ProcessChange(search="dog", logins=["bot"]))
    first, second = await desk.scalars("SELECT details FROM audit_entries ORDER BY id")
    assert first["changed"] == {"name": ["bot of watch", "bot"], "password": "changed"}
    assert second == {"name": "watch", "changed": {"search_filter": [None, "dog"]}, "logins": ["bot"]}
    assert not [row for row in await desk.scalars("SELECT details::text FROM audit_entries") if "s3cret" in row]


# Approval


async def test_of_two_approvals_at_once_one_is_done_and_the_other_is_told(desk: Desk) -> None:
    [comment] = await desk.generated(await desk.process(), 1)
    version = (await reviewing.one(desk.mine, comment))["version"]
    choice = [Choice(comment, version)]
    (one,), (two,) = await asyncio.gather(reviewing.approve(desk.mine, choice), reviewing.approve(desk.admin, choice))
    outcomes = {one["outcome"]: one, two["outcome"]: two}
    assert set(outcomes) == {"done", "already"}
    assert outcomes["already"]["by"] == outcomes["done"]["by"]
    assert await desk.audited() == ["comment.approve"]


async def test_a_comment_that_changed_since_it_was_seen_is_not_approved(desk: Desk) -> None:
    first, second = await desk.generated(await desk.process(), 2)
    versions = {row["id"]: row["version"] for row in (await reviewing.listed(desk.mine))["comments"]}
    choices = [Choice(str(id_), version) for id_, version in versions.items()]
    await reviewing.edit(desk.mine, first, KIND + " Weiter so!", versions[UUID(first)])
    rulings = await reviewing.approve(desk.mine, choices)
    assert [(str(ruling["id"]), ruling["outcome"]) for ruling in rulings] == [(first, "changed"), (second, "done")]
    assert (await reviewing.one(desk.mine, first))["approval"] is None


async def test_a_rejection_of_what_is_being_posted_is_refused(desk: Desk) -> None:
    [comment] = await desk.generated(await desk.process(), 1)
    await desk.run(
        "UPDATE ai_comments SET claim_token = gen_random_uuid(), lease_expires_at = now() + interval '1 minute'"
    )
    [ruling] = await reviewing.reject(desk.mine, [Choice(comment)])
    assert ruling["outcome"] == "refused"
    assert "being posted right now" in ruling["message"]
    with pytest.raises(Conflict, match="worker holds"):
        await reviewing.edit(desk.mine, comment, KIND, (await reviewing.one(desk.mine, comment))["version"])


async def test_an_approval_before_a_stop_can_be_given_anew(desk: Desk) -> None:
    [comment] = await desk.generated(await desk.process(), 1)
    await reviewing.approve(desk.mine, [Choice(comment)])
    assert (await reviewing.one(desk.mine, comment))["posting"]["state"] == "waits"
    await processes.stop(desk.mine, "watch", completed=False)
    assert (await reviewing.one(desk.mine, comment))["posting"]["state"] == "held_by_stop"
    [ruling] = await reviewing.approve(desk.mine, [Choice(comment)])
    assert ruling["outcome"] == "done"
    assert (await reviewing.one(desk.mine, comment))["posting"]["state"] == "waits"


async def test_the_queue_shows_the_oldest_first_page_by_page(desk: Desk) -> None:
    ids = await desk.generated(await desk.process(), 5)
    first = await reviewing.listed(desk.mine, limit=2)
    second = await reviewing.listed(desk.mine, limit=2, after=str(first["next"]))
    third = await reviewing.listed(desk.mine, limit=2, after=str(second["next"]))
    pages = [first, second, third]
    assert [str(row["id"]) for page in pages for row in page["comments"]] == ids
    assert third["next"] is None
    shown = first["comments"][0]
    assert shown["article"]["content"] == ARTICLE
    assert (shown["as"], shown["hidden"], shown["posting"]["state"]) == ("bot of watch", False, "asks")
    assert shown["body"] == KIND
    assert shown["text"] == guard.with_prefix(KIND)
    place = (await reviewing.one(desk.mine, ids[2]))["place"]
    assert place == {"previous": UUID(ids[1]), "next": UUID(ids[3]), "before": 2, "total": 5}


# Editing


async def test_an_edit_keeps_the_disclosure_and_takes_the_approval_back(desk: Desk) -> None:
    [comment] = await desk.generated(await desk.process(), 1)
    await reviewing.approve(desk.mine, [Choice(comment)])
    version = (await reviewing.one(desk.mine, comment))["version"]
    better = "Ich finde deine Geschichte toll!\r\nAm besten gefällt mir der Hund mit dem Namen Bello."
    found = await reviewing.edit(desk.mine, comment, better, version)
    assert found["text"] == f"{guard.PREFIX} {better.replace(chr(13), '')}"
    assert found["approval"] is None
    with pytest.raises(Conflict, match="changed since you looked"):
        await reviewing.edit(desk.mine, comment, KIND, version)
    again = await reviewing.edit(desk.mine, comment, found["text"], found["version"])
    assert again["text"] == found["text"]
    steps = (await comments.life(desk.mine, comment))["history"]
    assert {step["actor"] for step in steps if step["kind"] in ("undecided", "approved", "edited")} == {"user operator"}


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("Kurz.", "too_short"),
        ("Schön. " * 1000, "too_long"),
        ("x" * 60_000, "too_long"),
        (KIND + " Mehr auf www.example.com steht.", "link"),
        (KIND + " Schreib mir an mia@example.ch.", "contact"),
        (KIND + " <script>alert(1)</script>", "html"),
    ],
)
async def test_an_edit_that_could_not_be_posted_is_refused(desk: Desk, words: str, rule: str) -> None:
    [comment] = await desk.generated(await desk.process(), 1)
    version = (await reviewing.one(desk.mine, comment))["version"]
    with pytest.raises(Unfit) as raised:
        await reviewing.edit(desk.mine, comment, words, version)
    assert rule in {finding.rule for finding in raised.value.findings}
    assert raised.value.field == "text"


async def test_a_comment_that_was_sent_or_posted_keeps_its_text(desk: Desk) -> None:
    process_id = await desk.process()
    [comment] = await desk.generated(process_id, 1)
    await desk.run("UPDATE ai_comments SET post_sent_at = now()")
    version = (await reviewing.one(desk.mine, comment))["version"]
    with pytest.raises(Conflict, match="never sent"):
        await reviewing.edit(desk.mine, comment, KIND, version)
    with pytest.raises(Conflict, match="never sent"):
        await reviewing.regenerate(desk.mine, comment)


# Another answer


async def test_a_comment_goes_back_to_the_model_with_a_template_and_a_note(desk: Desk) -> None:
    first, second = await desk.generated(await desk.process(), 2)
    await templates.add(desk.mine, "short", "Be brief", "{article_title}")
    await reviewing.approve(desk.mine, [Choice(first)])
    found = await reviewing.regenerate(desk.mine, first, template="short", note="  Name the\n dog ")
    assert (found["status"], found["text"], found["approval"]) == ("prepared", None, None)
    assert (found["template"]["name"], found["note"]) == ("short", "Name the dog")
    with pytest.raises(Invalid) as raised:
        await reviewing.regenerate(desk.mine, second, note="x" * 501)
    assert raised.value.field == "note"
    with pytest.raises(NotFound) as raised:
        await reviewing.regenerate(desk.mine, second, template="nothing")
    assert raised.value.field == "template"
    with pytest.raises(Conflict, match="changed since"):
        await reviewing.regenerate(desk.mine, second, version="1")


async def test_a_second_comment_of_one_article_login_and_template_is_refused(desk: Desk) -> None:
    kind, short = await desk.world.template("kind"), await desk.world.template("short")
    ids = await desk.generated(await desk.process(templates=[kind, short]), 1)
    shown = {row["template"]["name"]: row for row in (await reviewing.listed(desk.mine))["comments"]}
    assert len(ids) == 2
    with pytest.raises(Conflict, match="choose another template"):
        await reviewing.regenerate(desk.mine, str(shown["kind"]["id"]), template="short")
    assert (await reviewing.one(desk.mine, str(shown["kind"]["id"])))["status"] == "generated"


async def test_another_template_makes_no_room_for_a_second_comment_on_the_article(desk: Desk) -> None:
    kind, short = await desk.world.template("kind"), await desk.world.template("short")
    login = await desk.world.login()
    process_id = await desk.process(templates=[kind], logins=[login])
    [comment] = await desk.generated(process_id, 1)
    await reviewing.regenerate(desk.mine, comment, template="short")
    async with desk.world.database.session() as session:
        assert await comment_store.known_articles(session, login, [kind], ["1", "2"]) == {"1"}
        assert await comment_store.known_articles(session, login, [short], ["1"]) == set()
    assert await desk.world.comments(process_id, 1) == []
    assert await desk.scalars("SELECT prompt_template_id FROM ai_comments") == [short]


async def test_what_failed_at_the_model_can_be_generated_anew_and_what_failed_before_not(desk: Desk) -> None:
    ids = await desk.generated(await desk.process(), 2)
    await desk.run("UPDATE ai_comments SET status = 'failed', failed_from = 'prepared', error_message = 'no'")
    await desk.run("UPDATE ai_comments SET failed_from = 'discovered' WHERE id = :id", id=UUID(ids[1]))
    assert (await reviewing.regenerate(desk.mine, ids[0]))["status"] == "prepared"
    with pytest.raises(Conflict, match="failed"):
        await reviewing.regenerate(desk.mine, ids[1])


# Failures


async def failed(desk: Desk, process_id: UUID, errors: list[str], **more: Any) -> list[str]:
    ids = await desk.generated(process_id, len(errors), **more)
    for id_, error in zip(ids, errors, strict=True):
        await desk.run(
            "UPDATE ai_comments SET status = 'failed', failed_from = 'generated', failed_at = now(),"
            " error_message = :error WHERE id = :id",
            error=error,
            id=UUID(id_),
        )
    return ids


ERRORS = [
    "example.com: article 4601: HTTP 502",
    "example.com: article 17: HTTP 502",
    "no answer for 019a3f6e-1111-7222-8333-444455556666 within 60.5 s",
    "no answer for 019a3f6e-1111-7222-8333-444455557777 within 9 s",
    "https://a.example/x?y=1 says “no way”",
    "http://b.example:8000/z says “nein”",
]


async def test_failures_with_one_cause_are_one_group(desk: Desk) -> None:
    process_id = await desk.process()
    ids = await failed(desk, process_id, ERRORS)
    await desk.run("UPDATE ai_comments SET post_sent_at = now() WHERE id = :id", id=UUID(ids[0]))
    found = await failures.groups(desk.mine)
    groups = {group["cause"]: group for group in found["failed"]}
    assert {cause: group["number"] for cause, group in groups.items()} == {
        "example.com: article N: HTTP N": 2,
        "no answer for <id> within N s": 2,
        "<url> says “…”": 2,
    }
    http = groups["example.com: article N: HTTP N"]
    assert (http["stage"], http["sent"], http["processes"]) == ("posting", 1, ("watch",))
    assert set(map(str, http["samples"])) == set(ids[:2])
    assert found["waiting"] == []


async def test_some_or_all_of_a_group_are_tried_again(desk: Desk) -> None:
    ids = await failed(desk, await desk.process(), [f"article {number}: HTTP 502" for number in range(5)])
    await desk.run("UPDATE ai_comments SET post_sent_at = now() WHERE id = :id", id=UUID(ids[0]))
    [group] = (await failures.groups(desk.mine))["failed"]
    assert await failures.retry_group(desk.mine, group["key"], limit=2) == {"retried": 2, "sent_before": 1}
    assert await failures.retry_group(desk.mine, group["key"]) == {"retried": 3, "sent_before": 0}
    with pytest.raises(NotFound, match="Nothing is left"):
        await failures.retry_group(desk.mine, group["key"])
    assert {row.status for row in await desk.world.all_comments()} == {"generated"}
    assert (await desk.audited()) == ["comment.retry", "comment.retry"]


async def test_what_waits_after_an_error_is_grouped_and_woken_but_not_what_was_sent(desk: Desk) -> None:
    ids = await desk.generated(await desk.process(), 3)
    await desk.run("UPDATE ai_comments SET error_message = 'HTTP 502', next_attempt_at = now() + interval '1 hour'")
    await desk.run("UPDATE ai_comments SET post_sent_at = now() WHERE id = :id", id=UUID(ids[0]))
    [group] = (await failures.groups(desk.mine))["waiting"]
    assert (group["number"], group["sent"]) == (3, 1)
    assert await failures.retry_group(desk.mine, group["key"]) == {"retried": 2, "sent_before": 0}
    waits = [str(row.id) for row in await desk.world.all_comments() if row.next_attempt_at is not None]
    assert waits == [ids[0]]


async def test_a_group_of_another_owner_is_not_there(desk: Desk) -> None:
    await failed(desk, await desk.process(), ["HTTP 502"])
    [group] = (await failures.groups(desk.admin))["failed"]
    assert (await failures.groups(desk.theirs))["failed"] == []
    with pytest.raises(NotFound):
        await failures.retry_group(desk.theirs, group["key"])


# Overview


async def test_the_overview_counts_each_stage_and_says_what_is_wrong(desk: Desk) -> None:
    process_id = await desk.process(generate_only=False)
    await desk.generated(process_id, 6)
    await desk.run(
        "UPDATE ai_comments SET status = 'posted', posted_at = now() - interval '30 minutes',"
        " mymoment_comment_id = id::text WHERE mymoment_article_id = '1'"
    )
    await desk.run(
        "UPDATE ai_comments SET status = 'failed', failed_from = 'prepared', failed_at = now(),"
        " error_message = 'HTTP 500' WHERE mymoment_article_id = '2'"
    )
    await desk.run("UPDATE ai_comments SET status = 'prepared' WHERE mymoment_article_id IN ('3', '4')")
    await desk.run(
        "UPDATE ai_comments SET claim_token = gen_random_uuid(), lease_expires_at = now() + interval '1 minute'"
        " WHERE mymoment_article_id = '3'"
    )
    await desk.run(
        "UPDATE ai_comments SET error_message = 'refuses its key', next_attempt_at = now() + interval '5 minutes'"
        " WHERE mymoment_article_id = '4'"
    )
    await desk.run("UPDATE monitoring_processes SET started_at = now() - interval '40 minutes'")
    await desk.run("UPDATE mymoment_logins SET failed_logins = 1, error_message = 'wrong password'")
    found = await seeing.overview(desk.mine, [Check("work pool", ok=False, detail="no worker online")])
    [process] = found["processes"]
    stages = {stage["stage"]: stage for stage in process["stages"]}
    bars = ("waiting", "later", "in_work", "done", "failed")
    assert [stages["preparation"][bar] for bar in bars] == [0, 0, 0, 6, 0]
    assert [stages["generation"][bar] for bar in bars] == [1, 1, 1, 3, 1]
    assert [stages["posting"][bar] for bar in bars] == [2, 0, 0, 1, 0]
    assert found["posted_per_hour"] == [0] * 23 + [1] == process["posted_per_hour"]
    codes = {(each["code"], each["values"].get("stage")) for each in found["wrong"]}
    assert codes == {
        ("unwell", None),
        ("stage_late", "discovery"),
        ("stage_late", "posting"),
        ("login_refused", None),
        ("items_failed", None),
        ("provider_refused", None),
    }
    assert (await processes.pipeline_status(desk.mine, "watch"))["total"] == 6


async def test_a_budget_that_is_used_up_is_said(desk: Desk) -> None:
    process_id = await desk.process()
    await processes.stop(desk.mine, "watch", completed=False)
    await processes.change(desk.mine, "watch", ProcessChange(budget_tokens=100))
    await desk.run(
        "INSERT INTO llm_usage (day, process_id, provider_id, input_tokens, currency)"
        " VALUES (timezone('Europe/Zurich', now())::date, :process, gen_random_uuid(), 100, 'USD')",
        process=process_id,
    )
    [trouble] = (await seeing.overview(desk.mine))["wrong"]
    assert (trouble["code"], trouble["subject"]["name"]) == ("budget_used_up", "watch")


async def test_pages_take_few_queries_however_much_there_is(desk: Desk, database: Database) -> None:
    for name in ("one", "two", "three"):
        process_id = await desk.process(name, budget_tokens=5)
        ids = await desk.generated(process_id, 4)
    await failed(desk, await desk.process("four"), ["HTTP 500", "HTTP 501"])
    most = {
        "overview": (seeing.overview(desk.mine), 6),
        "process": (processes.show(desk.mine, "one"), 6),
        "processes": (processes.listed(desk.mine), 2),
        "queue": (reviewing.listed(desk.mine), 2),
        "review": (reviewing.one(desk.mine, ids[0], process="three"), 4),
        "comment": (comments.life(desk.mine, ids[0]), 4),
        "failures": (failures.groups(desk.mine), 1),
        "comments": (
            comments.listed(
                desk.mine, process="one", status=None, approval=None, limit=50, after=None, short_ids=False
            ),
            2,
        ),
        "logins": (logins.listed(desk.mine), 1),
        "template": (templates.test(desk.mine, "friendly of one", comment=None), 2),
    }
    taken = {name: (await round_trips(database, done))[1] for name, (done, _) in most.items()}
    assert {name: number for name, number in taken.items() if number > most[name][1]} == {}


async def test_health_looks_at_all_stages_at_once(desk: Desk, database: Database) -> None:
    await desk.generated(await desk.process(generate_only=False), 1)

    async def ages() -> list[health_store.StageAge]:
        async with database.session() as session:
            return await health_store.stage_ages(session)

    found, number = await round_trips(database, ages())
    assert number == 2
    assert [(age.stage, age.oldest_waiting is not None) for age in found] == [
        ("discovery", False),
        ("preparation", False),
        ("generation", False),
        ("posting", True),
    ]


async def test_everything_stops_at_once(desk: Desk) -> None:
    await desk.process("one")
    await desk.process("two")
    assert (await processes.stop_all(desk.theirs))["stopped"] == []
    assert sorted((await processes.stop_all(desk.admin))["stopped"]) == ["one", "two"]
    assert {row["status"] for row in await processes.listed(desk.mine)} == {"stopped"}
    assert await desk.audited() == ["process.stop", "process.stop"]


async def test_a_stop_holds_what_was_approved_after_the_end_and_leaves_the_end_as_it_was(desk: Desk) -> None:
    ids = await desk.generated(await desk.process(), 2)
    await processes.stop(desk.mine, "watch", completed=False)
    ended = await desk.scalars("SELECT stopped_at FROM monitoring_processes")
    stops = [processes.stop(desk.mine, "watch", completed=False), processes.stop_all(desk.mine)]
    for comment, stopping in zip(ids, stops, strict=True):
        await reviewing.approve(desk.mine, [Choice(comment)])
        assert (await processes.listed(desk.mine))[0]["posting_on"] == 1
        stopped = await stopping
        assert (await reviewing.one(desk.mine, comment))["posting"]["state"] == "held_by_stop"
        assert (await processes.listed(desk.mine))[0]["posting_on"] == 0
    assert stopped == {"stopped": ["watch"]}
    assert (await processes.stop_all(desk.mine)) == {"stopped": []}
    assert (await desk.audited()).count("process.stop") == 3
    assert await desk.scalars("SELECT stopped_at FROM monitoring_processes") == ended
    [ruling, _] = await reviewing.approve(desk.mine, [Choice(each) for each in ids])
    assert ruling["outcome"] == "done"
    assert (await processes.listed(desk.mine))[0]["posting_on"] == 2


async def test_stopping_everything_waits_for_a_post_of_what_had_ended_before(desk: Desk) -> None:
    await desk.generated(await desk.process(), 1)
    await processes.stop_all(desk.mine)
    held = "UPDATE ai_comments SET claim_token = gen_random_uuid(), lease_expires_at = now() + interval '1 minute'"
    await desk.run(held)
    waiting = asyncio.create_task(processes.stop_all(desk.mine))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await desk.run("UPDATE ai_comments SET claim_token = NULL, lease_expires_at = NULL")
    assert await asyncio.wait_for(waiting, 5) == {"stopped": []}


async def test_a_failed_process_starts_again(desk: Desk, playground: Running) -> None:
    del playground  # it is what the world's logins lead to
    process_id = await desk.process(max_duration_minutes=5)
    refused = "UPDATE mymoment_logins SET failed_logins = 3, refused_since = now() - interval '2 days'"
    await desk.run(refused)
    async with desk.world.database.session() as session:
        assert await hopeless.fail_hopeless(session) == ["watch"]
    row = await processes.start(desk.mine, str(process_id), check=True)
    assert (row["status"], row["error"]) == ("running", None)
    async with desk.world.database.session() as session:
        assert await hopeless.fail_hopeless(session) == []


# Trying things out


async def test_what_there_is_to_choose_is_read_from_the_site_and_kept(desk: Desk, playground: Running) -> None:
    del playground  # it is what the world's logins lead to
    await desk.world.login()
    found = await sites.site_choices(desk.mine, "bot")
    assert "102" in {tab["id"] for tab in found["tabs"]}
    assert {"id": "5", "name": "Erklären"} in found["categories"]
    assert found["reason"] is None
    await desk.run("UPDATE mymoment_logins SET is_active = false")
    assert await sites.site_choices(desk.mine, "bot") == found


async def test_choices_fall_back_with_the_reason(desk: Desk) -> None:
    await desk.world.login(password="wrong")
    found = await sites.site_choices(desk.mine, "bot")
    assert found["tabs"] is None
    assert "does not accept" in found["reason"]
    assert found["categories"]


async def test_a_template_is_shown_as_it_would_be_sent(desk: Desk) -> None:
    await desk.world.template("kind", "{article_title}: {article_content} by {mymoment_username}")
    assert (await templates.test(desk.mine, "kind", comment=None))["example"]
    await desk.generated(await desk.process(), 2)
    found = await templates.test(desk.mine, "kind", comment=None)
    assert not found["example"]
    assert found["article_title"] == "Article 2"
    assert ARTICLE in found["user"]
    assert "ki-bot" not in found["user"]
    assert "friendly" not in found["system"]
