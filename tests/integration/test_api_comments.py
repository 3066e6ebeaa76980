"""Comments and failures over the API: listed, read, decided, edited, written anew, tried again."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update

from lib.monitoring import guard
from lib.monitoring.models import AIComment
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]
TEXT = "Dein Hund gefällt mir sehr, weil er so treu ist. Wie alt ist er denn?"
OTHER = "Ich finde deine Geschichte spannend und möchte gern wissen, wie sie weitergeht."


async def generated(things: World, number: int = 1, **more: Any) -> list[str]:
    process_id = await things.process()
    content = {"comment_content": guard.with_prefix(TEXT), "article_content": "Ein Hund."}
    ids = await things.comments(process_id, number, "generated", **(content | more))
    return [str(id_) for id_ in ids]


async def failed(things: World, number: int, **more: Any) -> list[str]:
    process_id = await things.process()
    values = {"error_message": "The site answered HTTP 503", "failed_from": "discovered"}
    ids = await things.comments(process_id, number, "failed", **(values | more))
    return [str(id_) for id_ in ids]


async def test_comments_are_listed_in_pages_the_newest_first(operator: Program, things: World) -> None:
    ids = await generated(things, 5)
    found: list[str] = []
    after = ""
    while True:
        page = await operator.ok("GET", f"/comments?limit=2&status=generated&approval=none&process=watch{after}")
        found += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == sorted(ids, reverse=True)
    assert (await operator.ok("GET", "/comments?status=posted"))["items"] == []
    await operator.no(404, "GET", "/comments?process=nothing")
    await operator.no(422, "GET", "/comments?process=%00")


async def test_the_queue_shows_what_would_be_posted_as_whom(operator: Program, things: World) -> None:
    ids = await generated(things, 3)
    page = await operator.ok("GET", "/comments/queue?limit=2")
    assert ([each["id"] for each in page["items"]], page["total"]) == (sorted(ids)[:2], 3)
    first = page["items"][0]
    assert (first["body"], first["text"]) == (TEXT, guard.with_prefix(TEXT))
    assert (first["login"]["name"], first["article"]["content"]) == ("bot of watch", "Ein Hund.")
    rest = await operator.ok("GET", f"/comments/queue?after={page['next']}")
    assert ([each["id"] for each in rest["items"]], rest["next"]) == (sorted(ids)[2:], None)


async def test_a_comment_is_approved_once_and_by_whom_is_known(operator: Program, things: World) -> None:
    [id_] = await generated(things)
    read = await operator("GET", f"/comments/{id_}")
    tag = read.headers["ETag"]
    approved = await operator.ok("POST", f"/comments/{id_}/approve", None, If_Match=tag)
    assert (approved["approval"], approved["approval_by"]) == ("approved", "operator")
    assert (await operator.ok("POST", f"/comments/{id_}/approve"))["version"] == approved["version"]
    await operator.no(412, "POST", f"/comments/{id_}/reject", None, If_Match=tag)
    assert (await operator.ok("POST", f"/comments/{id_}/reject"))["approval"] == "rejected"
    history = (await operator.ok("GET", f"/comments/{id_}/history"))["history"]
    assert [(step["what"], step["kind"], step["actor"]) for step in history][-2:] == [
        ("step", "approved", "user operator"),
        ("step", "rejected", "user operator"),
    ]


async def test_many_are_decided_each_by_itself(operator: Program, things: World) -> None:
    ids = await generated(things, 3)
    nobodys = str(UUID(int=7))
    version = (await operator.ok("GET", f"/comments/{ids[0]}"))["version"]
    wanted = [{"id": ids[0], "version": version}, {"id": ids[1], "version": "1"}, {"id": ids[2]}, {"id": nobodys}]
    results = (await operator.ok("POST", "/comments/approve", {"comments": wanted}))["results"]
    assert [(each["id"], each["outcome"]) for each in results] == [
        (ids[0], "done"),
        (ids[1], "changed"),
        (ids[2], "done"),
        (nobodys, "unknown"),
    ]
    rejected = (await operator.ok("POST", "/comments/reject", {"comments": [{"id": ids[1]}]}))["results"]
    assert (rejected[0]["outcome"], rejected[0]["by"]) == ("done", "operator")
    problem = await operator.no(422, "POST", "/comments/approve", {"comments": []})
    assert problem["errors"][0]["pointer"] == "#/comments"


async def test_only_a_generated_comment_is_approved(operator: Program, things: World) -> None:
    [id_] = await failed(things, 1)
    assert "is failed" in (await operator.no(409, "POST", f"/comments/{id_}/approve"))["detail"]


async def test_an_edit_takes_the_version_and_takes_an_approval_back(operator: Program, things: World) -> None:
    [id_] = await generated(things)
    path = f"/comments/{id_}"
    await operator.ok("POST", f"{path}/approve")
    await operator.no(428, "PATCH", path, {"text": OTHER})
    tag = (await operator("GET", path)).headers["ETag"]
    edited = await operator.ok("PATCH", path, {"text": OTHER}, If_Match=tag)
    assert (edited["body"], edited["text"], edited["approval"]) == (OTHER, guard.with_prefix(OTHER), None)
    await operator.no(412, "PATCH", path, {"text": TEXT}, If_Match=tag)
    await operator.no(412, "PATCH", path, {"text": TEXT}, If_Match='"ffffffffffffffff"')
    for text in ("short", "a\x00b", "", "x" * 200_000, f"{TEXT} https://example.com"):
        problem = await operator.no(422, "PATCH", path, {"text": text}, If_Match="*")
        assert problem["errors"][0]["pointer"] == "#/text"
    assert (await operator.ok("GET", path))["body"] == OTHER


async def test_a_comment_is_written_anew_with_a_note(operator: Program, things: World) -> None:
    [id_] = await generated(things)
    await things.template("short")
    wanted = {"template": "short", "note": "With a question"}
    again = await operator.ok("POST", f"/comments/{id_}/regenerate", wanted)
    assert (again["status"], again["template"]["name"], again["note"]) == ("prepared", "short", "With a question")
    await operator.no(409, "POST", f"/comments/{id_}/regenerate")
    problem = await operator.no(422, "POST", f"/comments/{id_}/regenerate", {"template": "nothing"})
    assert problem["errors"][0]["pointer"] == "#/template"


async def test_failed_ones_are_tried_again_and_what_was_sent_is_looked_for(operator: Program, things: World) -> None:
    ids = await failed(things, 3)
    async with things.database.session() as session:
        sent = update(AIComment).where(AIComment.id == UUID(ids[2])).values(post_sent_at=datetime.now(UTC))
        await session.execute(sent)
    assert await operator.ok("POST", f"/comments/{ids[0]}/retry") == {"retried": 1, "sent_before": 0}
    await operator.no(409, "POST", f"/comments/{ids[0]}/retry")
    done = await operator.ok("POST", "/comments/retry", {"comments": ids[1:]})
    assert done == {"retried": 2, "sent_before": 1}
    await operator.no(404, "POST", f"/comments/{UUID(int=7)}/retry")


async def test_failures_are_grouped_and_tried_again_some_or_all(operator: Program, things: World) -> None:
    await failed(things, 4, failed_at=datetime.now(UTC))
    [group] = (await operator.ok("GET", "/failures"))["failed"]
    assert (group["number"], group["cause"], group["stage"]) == (4, "The site answered HTTP N", "preparation")
    assert (await operator.ok("GET", "/failures?process=watch"))["waiting"] == []
    some = await operator.ok("POST", f"/failures/{group['key']}/retry", {"limit": 1})
    assert some == {"retried": 1, "sent_before": 0}
    assert (await operator.ok("POST", f"/failures/{group['key']}/retry"))["retried"] == 3
    await operator.no(404, "POST", f"/failures/{group['key']}/retry")
    await operator.no(422, "POST", "/failures/nothing/retry")
    assert await operator.ok("POST", "/failures/retry", {"process": "watch"}) == {"retried": 0, "sent_before": 0}


async def test_another_owners_comments_are_not_there(site: Site, things: World) -> None:
    [id_] = await generated(things)
    async with site.program("other") as other:
        assert (await other.ok("GET", "/comments"))["items"] == []
        assert (await other.ok("GET", "/comments/queue"))["total"] == 0
        ruled = await other.ok("POST", "/comments/approve", {"comments": [{"id": id_}]})
        assert ruled["results"][0]["outcome"] == "unknown"
    async with site.program("chief", "admin") as chief:
        assert [each["id"] for each in (await chief.ok("GET", "/comments"))["items"]] == [id_]
        assert (await chief.ok("POST", f"/comments/{id_}/approve"))["approval_by"] == "chief"
