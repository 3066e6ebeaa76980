"""Failures in a browser: grouped by cause, and tried again one, some or all at once."""

import re

from tests.integration.pages import ann, change, failed, house, row, said
from tests.integration.test_console_security import Browser, House
from tests.world import World

__all__ = ["ann", "house"]


def keys(page: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r'action="/failures/(\w+)/retry', page)))


async def statuses(world: World) -> list[str]:
    return sorted(each.status for each in await world.all_comments())


async def test_without_failures_the_page_says_so(ann: Browser) -> None:
    page = (await ann.get("/failures")).text
    assert "Nothing failed, and nothing waits after an error." in page
    assert 'href="/"' in page


async def test_failures_are_grouped_by_cause_with_links_and_counts(ann: Browser, world: World) -> None:
    ids = await failed(world, 3, "Timeout of the site")
    await failed(world, 1, "Garbage <b>in</b> the answer")
    page = (await ann.get("/failures")).text
    assert page.index("Timeout of the site") < page.index("Garbage &lt;b&gt;in&lt;/b&gt; the answer"), (
        "the most frequent first"
    )
    assert "3 comments" in page
    assert all(f"/comments/{id_}" in page for id_ in ids)
    assert "in&lt;/b&gt; the answer" not in (await ann.get("/failures?process=Timeout")).text


async def test_one_some_or_all_of_a_group_are_tried_again(ann: Browser, world: World) -> None:
    await failed(world, 6, "Timeout of the site")
    [key] = keys((await ann.get("/failures")).text)
    assert "1 comment is tried again." in await said(ann, await ann.post(f"/failures/{key}/retry", how="one"))
    done = await ann.post(f"/failures/{key}/retry", how="some", number="3")
    assert "3 comments are tried again." in await said(ann, done)
    assert (await statuses(world)).count("failed") == 2
    await ann.post(f"/failures/{key}/retry", how="all")
    assert await statuses(world) == ["generated"] * 6
    again = await ann.post(f"/failures/{key}/retry", how="all")
    assert "Nothing is left of this group" in await said(ann, again)


async def test_a_number_that_is_none_is_said_beside_the_field(ann: Browser, world: World) -> None:
    await failed(world, 3, "Timeout of the site")
    [key] = keys((await ann.get("/failures")).text)
    for typed in ("0", "-1", "many", "", "9" * 30):
        refused = await ann.post(f"/failures/{key}/retry", how="some", number=typed)
        assert refused.status_code == 422
        assert f'id="error-{key}"' in refused.text
    assert await statuses(world) == ["failed"] * 3


async def test_a_retry_that_could_post_twice_says_that_it_reads_back_first(ann: Browser, world: World) -> None:
    await failed(world, 4, "Timeout of the site", sent=2)
    page = (await ann.get("/failures")).text
    assert "2 of them were sent to the site before" in page
    assert "reads back first" in page
    [key] = keys(page)
    words = await said(ann, await ann.post(f"/failures/{key}/retry", how="all"))
    assert "4 comments are tried again. 2 of them were sent before: they are looked for on the site first." in words


async def test_what_waits_after_an_error_is_apart_and_can_be_woken(ann: Browser, world: World) -> None:
    process_id = await world.process("later", start=False)
    ids = await world.comments(process_id, 2, "prepared", error_message="The key is refused")
    await change(world, "UPDATE ai_comments SET next_attempt_at = now() + interval '1 hour'")
    page = (await ann.get("/failures")).text
    assert "Nothing failed." in page
    [key] = keys(page.partition('id="waiting-title"')[2])
    assert "Wake all 2" in page
    await ann.post(f"/failures/{key}/retry", how="all")
    assert [(await row(world, id_)).next_attempt_at for id_ in ids] == [None, None]


async def test_an_open_page_hears_of_changes_and_keeps_its_forms(ann: Browser, world: World) -> None:
    await failed(world, 1, "Timeout of the site")
    seen = re.search(r"seen=(\w+)", (await ann.get("/failures")).text)
    assert seen is not None
    assert (await ann.get(f"/failures/changes?seen={seen[1]}")).status_code == 204
    await failed(world, 1, "Garbage in the answer")
    changed = await ann.get(f"/failures/changes?seen={seen[1]}")
    assert "Something changed here." in changed.text
    assert "hx-trigger" not in changed.text


async def test_somebody_elses_failures_are_not_seen_or_tried(house: House, world: World) -> None:
    await failed(world, 1, "Timeout of the site")
    async with (
        house.as_("carl", "operator") as carl,
        house.as_("vera", "viewer") as vera,
        house.as_("bob", "admin") as bob,
    ):
        [key] = keys((await bob.get("/failures")).text)
        assert "Timeout" not in (await carl.get("/failures")).text
        assert "Nothing is left" in await said(carl, await carl.post(f"/failures/{key}/retry", how="all"))
        assert (await vera.post(f"/failures/{key}/retry", how="all")).status_code == 403
    assert await statuses(world) == ["failed"]
