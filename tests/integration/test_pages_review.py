"""Review in a browser: what a person sees of a comment, decides on it, and cannot do by accident."""

import re
from dataclasses import replace
from html import unescape
from uuid import UUID

from lib.monitoring.guard import PREFIX
from tests.integration.pages import SAID, ann, audited, change, house, row, said, waiting
from tests.integration.test_console_security import Browser, House
from tests.world import World

__all__ = ["ann", "house"]

OTHER = "Mir gefällt, wie du den Garten am Abend beschreibst. Kommt der Igel wohl wieder?"
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


async def version(browser: Browser, comment_id: UUID) -> str:
    found = re.search(r'name="version" value="([^"]+)"', (await browser.get(f"/review/{comment_id}")).text)
    assert found is not None
    return found[1]


async def choices(browser: Browser) -> list[str]:
    """What the boxes of the list stand for."""
    return re.findall(r'name="choice" value="([^"]+)"', (await browser.get("/review")).text)


async def test_the_list_shows_what_waits_and_what_is_posted_when(ann: Browser, world: World) -> None:
    ids = await waiting(world, 2)
    await waiting(world, 1, "other", article_title="Nur hier")
    page = (await ann.get("/review")).text
    assert "3 comments wait for a decision" in page
    assert all(str(id_) in page for id_ in ids)
    assert "Only when somebody approves it" in page
    assert SAID in page
    only = (await ann.get("/review", params={"process": "other"})).text
    assert "Nur hier" in only
    assert "Article 2" not in only
    assert "There is no such comment now" in (await ann.get("/review?approval=approved")).text
    assert (await ann.get("/review?approval=perhaps")).status_code == 422
    assert (await ann.get("/review?process=nobody")).status_code == 404


async def test_an_empty_queue_says_what_to_do_next(ann: Browser) -> None:
    page = (await ann.get("/review")).text
    assert "Nothing waits for a decision" in page
    assert '<a class="button" href="/">' in page


async def test_a_long_queue_has_pages(ann: Browser, world: World) -> None:
    ids = await waiting(world, 30)
    first = (await ann.get("/review")).text
    following = re.search(r'href="([^"]+after=[^"]+)"', first)
    assert following is not None
    second = (await ann.get(unescape(following[1]))).text
    assert str(ids[24]) in first
    assert str(ids[25]) not in first
    assert str(ids[25]) in second
    assert "From the start" in second


async def test_an_article_is_text_beside_the_comment_whatever_it_holds(ann: Browser, world: World) -> None:
    hostile = {"article_title": HOSTILE, "article_content": HOSTILE, "article_author": HOSTILE}
    [id_] = await waiting(world, 1, **hostile, article_url="javascript:alert(1)")
    for path in ("/review", f"/review/{id_}"):
        page = (await ann.get(path)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "javascript:" not in page
    page = (await ann.get(f"/review/{id_}")).text
    assert "&lt;script&gt;alert" in page
    assert f'<span class="prefix">{PREFIX}</span> {SAID}' in page
    assert "bot of watch" in page


async def test_after_a_decision_the_next_one_comes(ann: Browser, world: World) -> None:
    first, second, third = await waiting(world)
    done = await ann.post(f"/review/{second}/approve", version=await version(ann, second))
    assert done.headers["Location"].startswith(f"/review/{third}?")
    assert "It is approved" in await said(ann, done)
    done = await ann.post(f"/review/{third}/reject", version=await version(ann, third))
    assert done.headers["Location"].startswith(f"/review/{first}?"), "round to the one that still waits"
    done = await ann.post(f"/review/{first}/approve", version=await version(ann, first))
    assert done.headers["Location"].startswith("/review?"), "nothing waits any more"
    assert [(await row(world, id_)).approval for id_ in (first, second, third)] == ["approved", "approved", "rejected"]
    assert (await audited(world))[-3:] == ["comment.approve", "comment.reject", "comment.approve"]


async def test_two_people_cannot_approve_the_same_comment_twice(house: House, ann: Browser, world: World) -> None:
    [id_, following] = await waiting(world, 2)
    async with house.as_("bob", "admin") as bob:
        seen = await version(bob, id_)
        await ann.post(f"/review/{id_}/approve", version=await version(ann, id_))
        before = await row(world, id_)
        late = await bob.post(f"/review/{id_}/approve", version=seen)
        assert "already approved by operator" in await said(bob, late)
        assert late.headers["Location"].startswith(f"/review/{following}?")
    after = await row(world, id_)
    assert (after.approval_at, after.approval_by) == (before.approval_at, before.approval_by)


async def test_nobody_approves_a_text_that_changed_since_they_looked(house: House, ann: Browser, world: World) -> None:
    [id_] = await waiting(world, 1)
    async with house.as_("bob", "admin") as bob:
        seen = await version(bob, id_)
        page = (await bob.get(f"/review/{id_}/state", params={"seen": seen})).text
        assert "It changed since" not in page
        await ann.post(f"/review/{id_}/edit", version=await version(ann, id_), text=OTHER)
        assert "It changed since" in (await bob.get(f"/review/{id_}/state", params={"seen": seen})).text
        late = await bob.post(f"/review/{id_}/approve", version=seen)
        assert "changed since you looked" in await said(bob, late)
        assert late.headers["Location"].startswith(f"/review/{id_}?"), "to read it again"
    assert (await row(world, id_)).approval is None


async def test_an_edit_keeps_the_disclosure_and_takes_an_approval_back(ann: Browser, world: World) -> None:
    [id_] = await waiting(world, 1)
    await ann.post(f"/review/{id_}/approve", version=await version(ann, id_))
    done = await ann.post(f"/review/{id_}/edit", version=await version(ann, id_), text=f"{PREFIX} {OTHER}\r\nGruss")
    assert done.headers["Location"].startswith(f"/review/{id_}?")
    found = await row(world, id_)
    assert (found.comment_content, found.approval) == (f"{PREFIX} {OTHER}\nGruss", None)
    done = await ann.post(f"/review/{id_}/edit", version=await version(ann, id_), text=OTHER, then="approve")
    assert "It is approved" in await said(ann, done)
    assert (await row(world, id_)).approval == "approved"


async def test_a_text_that_cannot_be_posted_is_kept_with_its_errors(ann: Browser, world: World) -> None:
    [id_] = await waiting(world, 1)
    typed = "Besuch mich auf www.example.com, dort steht noch viel mehr über Igel & Co."
    refused = await ann.post(f"/review/{id_}/edit", version=await version(ann, id_), text=typed)
    assert refused.status_code == 422
    assert 'id="error-text"' in refused.text
    assert "it holds a link" in refused.text
    assert typed.replace("&", "&amp;") in refused.text
    assert '<details id="edit" open>' in refused.text
    stale = await ann.post(f"/review/{id_}/edit", version="1", text=OTHER)
    assert stale.status_code == 409
    assert OTHER in stale.text
    assert (await row(world, id_)).comment_content == f"{PREFIX} {SAID}"


async def test_a_comment_is_written_anew_with_another_template_and_a_note(ann: Browser, world: World) -> None:
    [id_, following] = await waiting(world, 2)
    template = await world.template("curious")
    answer = await ann.post(
        f"/review/{id_}/regenerate", version=await version(ann, id_), template=str(template), note="Frag nach dem Igel"
    )
    assert answer.headers["Location"].startswith(f"/review/{following}?")
    found = await row(world, id_)
    assert (found.status, found.prompt_template_id) == ("prepared", template)
    assert (found.generation_note, found.comment_content) == ("Frag nach dem Igel", None)
    long = await ann.post(f"/review/{following}/regenerate", version=await version(ann, following), note="x" * 501)
    assert long.status_code == 422
    assert 'id="error-note"' in long.text
    await change(world, "UPDATE prompt_templates SET is_active = false WHERE id = :id", id=template)
    seen = await version(ann, following)
    off = await ann.post(f"/review/{following}/regenerate", version=seen, template=str(template))
    assert off.status_code == 409
    assert "is switched off" in off.text


async def test_of_many_that_are_approved_each_says_what_became_of_it(ann: Browser, world: World) -> None:
    ids = await waiting(world, 5)
    ticked = await choices(ann)
    assert [each.partition(":")[0] for each in ticked] == [str(id_) for id_ in ids]
    await ann.post(f"/review/{ids[1]}/approve", version=await version(ann, ids[1]))
    await ann.post(f"/review/{ids[2]}/edit", version=await version(ann, ids[2]), text=OTHER)
    await change(world, "DELETE FROM ai_comments WHERE id = :id", id=ids[3])
    page = (await ann.post("/review/decide", decision="approve", choice=ticked)).text  # type: ignore[arg-type]
    results = re.findall(r'<li class="(?:good|warn|bad)">(.*?)</li>', page, re.DOTALL)
    plain = [" ".join(re.sub(r"<[^>]+>", "", each).split()) for each in results]
    assert plain == [
        "Article 1: It is approved",
        "Article 2: It was already approved by operator",
        "Article 3: It changed since you looked; read it again",
        "There is no such comment",
        "Article 5: It is approved",
    ]
    assert [each.approval for each in await world.all_comments()] == ["approved", "approved", None, "approved"]


async def test_nothing_selected_or_nonsense_changes_nothing(ann: Browser, world: World) -> None:
    [id_] = await waiting(world, 1)
    assert "Nothing is selected" in await said(ann, await ann.post("/review/decide", decision="approve"))
    for nonsense in (str(id_), f"{id_}:zz", "x:1", f"{id_}:" + "f" * 40):
        assert (await ann.post("/review/decide", decision="approve", choice=nonsense)).status_code in (404, 422)
    assert (await ann.post("/review/decide", decision="burn", choice=f"{id_}:1")).status_code == 422
    assert (await row(world, id_)).approval is None


async def test_a_viewer_reads_and_somebody_else_sees_nothing(house: House, ann: Browser, world: World) -> None:
    [id_] = await waiting(world, 1)
    seen = await version(ann, id_)
    async with house.as_("carl", "operator") as carl:
        assert (await carl.get(f"/review/{id_}")).status_code == 404
        assert str(id_) not in (await carl.get("/review")).text
        decided = await carl.post("/review/decide", decision="approve", choice=f"{id_}:{seen}")
        assert "There is no such comment" in decided.text
    await change(
        world, "UPDATE accounts SET role = 'viewer' WHERE user_id = (SELECT id FROM users WHERE name = 'operator')"
    )
    page = (await ann.get(f"/review/{id_}")).text
    assert SAID in page
    assert '<form method="post" action="/review' not in page
    assert (await ann.post(f"/review/{id_}/approve", version=seen)).status_code == 403
    assert (await ann.post("/review/decide", decision="approve", choice=f"{id_}:{seen}")).status_code == 403
    assert (await row(world, id_)).approval is None


async def test_the_errors_are_german_too(ann: Browser, world: World) -> None:
    german = replace(ann, headers=ann.headers | {"Accept-Language": "de-CH"})
    [id_, *_] = await waiting(world)
    refused = await german.post(f"/review/{id_}/edit", version=await version(ann, id_), text="kurz")
    assert "Der Text kann nicht gespeichert werden: er hat 4 Zeichen, weniger als 50" in refused.text
    stale = await german.post(f"/review/{id_}/approve", version="1")
    assert "Er hat sich geändert, seit Sie ihn angesehen haben" in await said(german, stale)
