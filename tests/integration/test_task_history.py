"""Records of tasks found again: every filter, page by page, whole, and grouped where they failed."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from lib.database import Database
from lib.taskwatch.models import STATUSES
from lib.taskwatch.store import failures, history, looking, writing
from lib.taskwatch.store.history import Cursor, Filter
from lib.taskwatch.store.writing import Beat
from lib.work import new_id
from tests.integration.task_records import a_record

OWNERS = [UUID(int=number) for number in (1, 2, 3)]


async def write(database: Database, *records: Mapping[str, Any]) -> None:
    async with database.alone() as connection:
        await writing.write(connection, records, Beat(new_id(), "here", 1))


@pytest.fixture
async def many(database: Database) -> list[dict[str, Any]]:
    """300 records of two days, of everything."""
    pick = random.Random(11)
    processes = [UUID(int=100 + number) for number in range(3)]
    words = ["Rotpanda", "Zug", "Wolke"]
    batch = []
    for number in range(300):
        process = pick.choice([None, *processes])
        batch.append(
            a_record(
                pick.choice(STATUSES),
                ago=pick.uniform(0, 2 * 86_400),
                task_name=pick.choice(["prepare_article", "post_comment", "read_back"]),
                process_id=process,
                owner_id=None if process is None else OWNERS[process.int % 3],
                item_id=UUID(int=1000 + number % 20),
                parameters={"title": f"{pick.choice(words)} {number}", "url": f"https://site/a-{number}/"},
                run_name=None,
            )
        )
    await write(database, *batch)
    return sorted(batch, key=lambda each: (datetime.fromisoformat(each["created_at"]), each["id"]), reverse=True)


def _matches(record: Mapping[str, Any], sees: UUID | None, wanted: Filter) -> bool:
    made = datetime.fromisoformat(record["created_at"])
    words = (wanted.text or "").lower().split()
    there = (
        f"{record['parameters']} {record.get('error_message', '')}".lower().replace("/", " ").replace("'", " ").split()
    )
    return (
        (sees is None or record["owner_id"] == sees)
        and all(
            getattr(wanted, name) is None or record.get(name) == getattr(wanted, name)
            for name in ("task_name", "status", "process_id", "item_id", "fingerprint")
        )
        and (wanted.start is None or made >= wanted.start)
        and (wanted.end is None or made < wanted.end)
        and all(any(each.strip(",}:") == word for each in there) for word in words[:-1])
        and (not words or any(each.startswith(words[-1]) for each in there))
    )


def _wanted() -> list[Filter]:
    now = datetime.now(UTC)
    process, item = UUID(int=101), UUID(int=1003)
    spans = [{}, {"start": now - timedelta(hours=30), "end": now - timedelta(hours=3)}]
    asked: list[dict[str, Any]] = [
        {},
        {"task_name": "post_comment"},
        {"status": "failed"},
        {"process_id": process},
        {"process_id": process, "status": "success", "task_name": "read_back"},
        {"item_id": item},
        {"item_id": item, "status": "failed"},
        {"fingerprint": "f1"},
        {"fingerprint": "f1", "task_name": "read_back"},
        {"text": "rotpanda"},
        {"text": "site rot"},
        {"text": "wolke", "status": "failed", "task_name": "prepare_article"},
        {"text": "zug", "process_id": process},
        {"text": "answer"},
        {"text": "nowhere"},
        {"task_name": "nothing"},
        {"process_id": UUID(int=5)},
    ]
    return [Filter(**each, **span) for each in asked for span in spans]


@pytest.mark.parametrize("tried", [4, 200])  # records that are looked at before the index of words is
async def test_every_filter_finds_what_matches(
    database: Database, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tried: int
) -> None:
    monkeypatch.setattr(looking, "TRIED", tried)
    monkeypatch.setattr(looking, "FEW", tried)
    monkeypatch.setattr(history, "PATIENCE", 60)
    for sees in (None, OWNERS[0]):
        for wanted in _wanted():
            expected = [each["id"] for each in many if _matches(each, sees, wanted)]
            async with database.session() as session:
                whole = await history.page(session, sees, wanted, 400)
                total = await history.count(session, sees, wanted)
                few = await history.page(session, sees, wanted, 10, 5)
                capped = await history.count(session, sees, wanted, 20)
            assert [each.id for each in whole.items] == expected, wanted
            assert whole.next is None
            assert total == (len(expected), False)
            assert capped == (min(20, len(expected)), len(expected) > 20)
            assert [each.id for each in few.items] == expected[5:15]
            assert (few.next is None) == (len(expected) <= 15)
            await _at_once(database, sees, wanted, expected)


async def _at_once(database: Database, sees: UUID | None, wanted: Filter, expected: list[UUID]) -> None:
    """A page and its count together: also behind a cursor, and where the cursor is behind the cap."""
    async with database.session() as session:
        both = await history.page_and_count(session, sees, wanted, 10, 5)
        assert ([each.id for each in both[0].items], *both[1:]) == (expected[5:15], len(expected), False)
        for cap in (history.CAP, 7):
            after = both[0].next
            following, total, capped = await history.page_and_count(session, sees, wanted, 10, after=after, cap=cap)
            assert [each.id for each in following.items] == (expected[15:25] if after else expected[:10])
            assert (total, capped) == (min(cap, len(expected)), len(expected) > cap)
            rest = expected[25:] if after else expected[10:]
            assert (following.next is None) == (not rest)


async def test_a_text_is_counted_for_a_while_only_and_that_is_said(
    database: Database, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "TRIED", 4)
    monkeypatch.setattr(history, "PATIENCE", 0)
    monkeypatch.setattr(history, "LEAST_PATIENCE", 0)
    wanted = Filter(text="rotpanda")
    expected = [each["id"] for each in many if _matches(each, None, wanted)]
    async with database.session() as session:
        few, total, capped = await history.page_and_count(session, None, wanted, 10)
        whole = await history.page_and_count(session, None, wanted, len(expected))
    assert [each.id for each in few.items] == expected[:10]
    assert 10 <= total < len(expected)
    assert capped
    assert whole[1:] == (len(expected), False)


@pytest.mark.parametrize("wanted", [Filter(), Filter(task_name="post_comment"), Filter(text="rotpanda")])
async def test_pages_behind_a_cursor_neither_repeat_nor_leave_out(
    database: Database, many: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, wanted: Filter
) -> None:
    monkeypatch.setattr(looking, "TRIED", 4)
    expected = [each["id"] for each in many if _matches(each, None, wanted)]
    found: list[UUID] = []
    after: Cursor | None = None
    while not found or after is not None:
        async with database.session() as session:
            page = await history.page(session, None, wanted, 17, after=after)
        found += [each.id for each in page.items]
        await write(database, a_record(ago=0, task_name="post_comment"))
        after = page.next
    assert found == expected


async def test_a_record_is_shown_whole_with_what_is_within_it(database: Database) -> None:
    parent = a_record("failed", owner_id=OWNERS[0])
    children = [a_record(ago=50 - number, parent_id=parent["id"], owner_id=OWNERS[0]) for number in range(3)]
    await write(database, parent, *children)
    async with database.session() as session:
        found = await history.record(session, OWNERS[0], parent["id"])
        assert found is not None
        assert found.error_traceback is not None
        assert found.place == "lib/monitoring/mymoment.py:fetch"
        assert [each.id for each in found.children] == [each["id"] for each in children]
        assert await history.record(session, OWNERS[1], parent["id"]) is None
        assert await history.record(session, None, new_id()) is None
        assert await history.record(session, None, UUID(int=4)) is None


async def test_a_text_is_data(database: Database) -> None:
    await write(database, a_record("failed", error_message="It's “100 %” \\ & | ! <-> (broken:*)"))
    for asked in ("100 %", "it's", "broken:*", "(broken", "& | !", "' OR 1=1", "\\", "b" * 5000, "\x00", "$0"):
        async with database.session() as session:
            await history.page(session, None, Filter(text=asked), 10)
            await history.count(session, None, Filter(text=asked))
    async with database.session() as session:
        assert (await history.count(session, None, Filter(text="100 % brok")))[0] == 1


async def test_failures_are_grouped(database: Database) -> None:
    await write(
        database, *(a_record("failed", ago=100 - n, fingerprint="aa", owner_id=OWNERS[n % 2]) for n in range(6))
    )
    await write(database, a_record("failed", ago=9, fingerprint="bb", error_type="Other", process_id=OWNERS[2]))
    async with database.session() as session:
        both = await failures.groups(session, None, Filter(), 10)
        assert [(each.fingerprint, each.count) for each in both] == [("bb", 1), ("aa", 6)]
        assert both[1].message == "The site did not answer within … s"
        assert both[1].task_names == ("prepare_article",)
        assert [each.count for each in await failures.groups(session, OWNERS[1], Filter(), 10)] == [3]
        late = Filter(start=datetime.now(UTC) - timedelta(seconds=20))
        assert [each.fingerprint for each in await failures.groups(session, None, late, 10)] == ["bb"]
        of_process = await failures.groups(session, None, Filter(process_id=OWNERS[2]), 10)
        assert [(each.fingerprint, each.count) for each in of_process] == [("bb", 1)]
        assert [each.count for each in await failures.groups(session, None, Filter(text="answer"), 10)] == [1, 6]
        assert await failures.groups(session, None, Filter(status="success"), 10) == []
