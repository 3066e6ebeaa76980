"""The live feed as programs and browsers meet it: nothing twice, nothing missed, and nobody's but their own."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed, InvalidStatus

from console.api import monitoring_feed
from lib import postgres
from lib.database import Database, will_pass
from lib.people.store import accounts
from lib.settings import Settings
from lib.settings import settings as read_settings
from lib.taskwatch import hub
from lib.taskwatch.store import writing
from tests.integration.feeding import (
    BEAT,
    WITHIN,
    Reader,
    Served,
    ended,
    narrow,
    record,
    serving,
    write,
    writing_on,
)
from tests.integration.test_console_security import House

CUTS = 100
AWAY = 3.0  # seconds
SOMEBODY = UUID(int=9)


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with serving(settings) as console:
        yield console


@pytest.fixture
def second(settings: Settings, served: Served) -> Iterator[Served]:
    """Another console on the same database."""
    del served
    with serving(settings) as console:
        yield console


@pytest.fixture
def house(served: Served, database: Database) -> House:
    return House(served.app, database)


@pytest.fixture
async def admin(house: House) -> dict[str, str]:
    return await house.bearer(await house.person("boss", "admin"), "admin")


async def newest(database: Database) -> int:
    return await number(database, "SELECT newest FROM task_event_counter")


async def number(database: Database, query: str, **values: Any) -> int:
    async with database.session() as session:
        return int((await session.execute(text(query), values)).scalar_one())


async def numbers(database: Database, owner: UUID) -> list[int]:
    async with database.session() as session:
        query = text("SELECT seq FROM task_events WHERE owner_id = :owner ORDER BY seq")
        return list((await session.execute(query, {"owner": owner})).scalars())


async def closed(reader: Reader, connection: Any) -> ConnectionClosed:
    """How the other side ends it."""
    try:
        while True:
            await reader.read(connection)
    except ConnectionClosed as ending:
        return ending


async def read_for(reader: Reader, connection: Any, seconds: float) -> None:
    """Whatever comes within this time."""
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(seconds):
            while True:
                reader.take(await connection.recv())


# What it tells


async def test_what_tasks_do_is_told_as_it_happens(served: Served, database: Database, admin: dict[str, str]) -> None:
    reader = Reader([served], admin)
    async with reader.connected() as connection:
        hello = await reader.read(connection)
        assert hello == {"type": "hello", "seq": 0, "oldest": 1, "newest": 0}
        begun = record(run_name="prepare “Der Rotpanda”", parameters={"title": "Der Rotpanda"})
        await write(database, begun)
        started = await reader.read(connection)
        assert (started["type"], started["status"], started["seq"]) == ("task_started", "running", 1)
        assert started["data"]["id"] == str(begun["id"])
        assert started["data"]["params"] == {"title": "Der Rotpanda"}
        await write(database, ended(begun, "failed", error_message="The site answered HTTP 503"))
        over = await reader.read(connection)
        assert (over["type"], over["status"], over["seq"]) == ("task_failed", "failed", 2)
        assert over["data"]["error_message"] == "The site answered HTTP 503"
        assert over["data"]["duration_ms"] == 12.5
        assert over["timestamp"].endswith("Z")


async def test_who_comes_back_gets_what_they_missed(served: Served, database: Database, admin: dict[str, str]) -> None:
    await write(database, *(ended(record()) for _ in range(600)))  # more than a page
    reader = Reader([served], admin, seq=3)
    async with reader.connected() as connection:
        assert await reader.read(connection) == {"type": "hello", "seq": 3, "oldest": 1, "newest": 1200}
        await reader.read_to(connection, 1200)
        await write(database, record())
        await reader.read_to(connection, 1201)
    assert reader.events == list(range(4, 1202))


async def test_what_is_too_old_is_said_to_the_number(served: Served, database: Database, admin: dict[str, str]) -> None:
    await write(database, *(record() for _ in range(9)))
    async with database.session() as session:
        await session.execute(text("DELETE FROM task_events WHERE seq <= 5"))
    reader = Reader([served], admin, seq=2)
    async with reader.connected() as connection:
        assert (await reader.read(connection))["oldest"] == 6
        assert await reader.read(connection) == {"type": "too_old", "from": 3, "to": 5, "seq": 5}
        await reader.read_to(connection, 9)
    assert reader.events == [6, 7, 8, 9]


async def test_a_number_of_another_database_begins_at_the_newest(
    served: Served, database: Database, admin: dict[str, str]
) -> None:
    await write(database, record())
    reader = Reader([served], admin, seq=10**12)
    async with reader.connected() as connection:
        assert (await reader.read(connection))["seq"] == 1
        await write(database, record())
        assert (await reader.read(connection))["seq"] == 2


async def test_a_page_can_tell_a_dead_line_and_how_far_it_is(
    served: Served, database: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of whom nothing was."""
    monkeypatch.setattr(monitoring_feed, "HEARTBEAT", 0.2)
    somebody = await house.bearer(await house.person("ann", "operator"), "read")
    reader = Reader([served], somebody)
    async with reader.connected() as connection:
        await reader.read(connection)
        await write(database, record(), record())
        await reader.read_to(connection, 2)
    assert reader.told[-1] == {"type": "heartbeat", "seq": 2}
    assert reader.events == []


# Without a gap, without a repeat


async def read_with_cuts(reader: Reader, cuts: int, dice: random.Random) -> None:
    """Until it was cut off so many times, at any moment."""
    for _ in range(cuts):
        async with reader.connected() as connection:
            await read_for(reader, connection, dice.uniform(0, 0.15))
            connection.transport.abort()


@pytest.mark.timeout(240)
async def test_cut_at_random_a_hundred_times_nothing_is_missed_and_nothing_comes_twice(
    served: Served, second: Served, database: Database, house: House, admin: dict[str, str]
) -> None:
    """Between two consoles, while tasks go on; everybody's for one reader, their own for the other."""
    ann = await house.person("ann", "operator")
    dice = random.Random(7)
    everything = Reader([served, second], admin, seq=0)
    own = Reader([served, second], await house.bearer(ann, "read"), seq=0)
    async with writing_on(database, [ann.id, None, SOMEBODY], 0.002):
        await asyncio.gather(*(read_with_cuts(reader, CUTS, dice) for reader in (everything, own)))
    last = await newest(database)
    await write(database, record(owner_id=ann.id))
    for reader in (everything, own):
        async with reader.connected() as connection:
            await reader.read_to(connection, last + 1)
    assert last > 500
    assert everything.events == list(range(1, last + 2))
    assert own.events == await numbers(database, ann.id)
    assert {told["type"] for told in everything.told} <= {"hello", "heartbeat", "task_started", "task_completed"}


async def test_the_feed_goes_on_when_the_connection_that_listens_is_cut(
    served: Served, database: Database, admin: dict[str, str]
) -> None:
    reader = Reader([served], admin, seq=0)
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name"
    kill += " AND datname = current_database()"
    async with reader.connected() as connection, writing_on(database, [None], 0.005):
        for _ in range(5):
            await reader.read_to(connection, (reader.seq or 0) + 50)
            assert await number(database, kill, name=hub.LISTENS) <= 1
        await reader.read_to(connection, (reader.seq or 0) + 50)
    assert reader.connections == 1
    assert reader.events == list(range(1, len(reader.events) + 1))


@contextlib.asynccontextmanager
async def trying_to_write(database: Database) -> AsyncIterator[None]:
    """Tasks begin all the time, whether their records can be written or not."""
    stop = asyncio.Event()

    async def write_on() -> None:
        while not stop.is_set():
            try:
                await write(database, record())
            except Exception as error:
                if not will_pass(error):
                    raise
            await asyncio.sleep(0.01)

    task = asyncio.create_task(write_on())
    try:
        yield
    finally:
        stop.set()
        await task


async def connected_at_last(reader: Reader, seq: int) -> None:
    """A client that comes again until it is let in, and reads up to this number."""
    async with asyncio.timeout(WITHIN):
        while True:
            with contextlib.suppress(InvalidStatus, ConnectionClosed):
                async with reader.connected() as connection:
                    return await reader.read_to(connection, seq)
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("settings")
async def test_postgresql_is_stopped_and_started_and_nothing_is_missed(
    own_cluster: postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While two listen, one of whom loses its connection as well."""
    url = own_cluster.url("pressroom")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PRESSROOM_DATABASE_URL", url)
    read_settings.cache_clear()
    with serving(read_settings()) as console:
        async with Database(url) as database:
            house = House(console.app, database)
            headers = await house.bearer(await house.person("boss", "admin"), "admin")
            staying, cut = Reader([console], headers, seq=0), Reader([console], headers, seq=0)
            async with staying.connected() as connection, trying_to_write(database):
                async with cut.connected() as other:
                    await cut.read_to(other, 20)
                    await postgres.stop(own_cluster)
                    other.transport.abort()
                coming = asyncio.create_task(connected_at_last(cut, 60))
                await read_for(staying, connection, AWAY)
                before = list(staying.events)
                await postgres.start(own_cluster.directory, durable=False)
                await staying.read_to(connection, len(before) + 50)
                await coming
            last = await newest(database)
            await write(database, record())
            for reader in (staying, cut):
                await connected_at_last(reader, last + 1)
    assert len(before) >= 20
    assert staying.events == cut.events == list(range(1, last + 2))
    assert staying.connections == 2  # the last one was ours
    assert "too_old" not in {told["type"] for told in (*staying.told, *cut.told)}


async def test_what_the_hub_missed_for_too_long_is_said(
    served: Served, database: Database, admin: dict[str, str]
) -> None:
    reader = Reader([served], admin, seq=0)
    async with reader.connected() as connection:
        await write(database, record())
        await reader.read_to(connection, 1)
        async with database.session() as session:  # nobody sees any of it before all of it
            await session.execute(text("UPDATE task_event_counter SET newest = 7"))
            await session.execute(text("DELETE FROM task_events"))
            await writing.write(session, [record()], BEAT)
        await reader.read_to(connection, 8)
    assert reader.told[2] == {"type": "too_old", "from": 2, "to": 7, "seq": 7}
    assert reader.events == [1, 8]


async def test_who_does_not_read_is_cut_off_and_the_others_go_on(
    served: Served, database: Database, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring_feed, "SEND_WITHIN", 1.0)
    slow, other = Reader([served], admin), Reader([served], admin)

    def wide() -> dict[str, str]:
        """What no compression makes fit into the buffers between the two."""
        return {"text": random.randbytes(10_000).hex()}

    stalled = slow.connected(sock=narrow(served.port), max_queue=1)
    async with stalled as connection, other.connected() as well:
        await slow.read(connection)
        await other.read(well)
        for _ in range(150):
            await write(database, *(record(parameters=wide()) for _ in range(10)))
            await other.read_to(well, (other.seq or 0) + 10)
        places: monitoring_feed.Places = served.app.state.places
        async with asyncio.timeout(WITHIN):
            while len(served.app.state.hub.followers) > 1:
                await asyncio.sleep(0.05)
        assert places.taken.total() == 2  # until it is gone
        ending = await closed(slow, connection)
    assert other.events == list(range(1, 1501))
    assert len(slow.events) < 1500
    assert ending.rcvd is not None
    assert (ending.rcvd.code, ending.rcvd.reason[:15]) == (1013, "You do not read")
    async with slow.connected() as again:
        await slow.read_to(again, 1500)
    assert slow.events == other.events


# Who may


async def refused(served: Served, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as answer:
        async with Reader([served], headers).connected():
            pass
    return answer.value.response.status_code


async def test_nobody_hears_anything_and_is_told_so_as_everywhere(served: Served, house: House) -> None:
    assert await refused(served) == 401
    assert await refused(served, Authorization="Bearer prs_none") == 401
    assert await refused(served, Cookie="pressroom_session=x.y") == 401
    del house
    with pytest.raises(InvalidStatus) as answer:
        async with Reader([served], {}).connected():
            pass
    response = answer.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_page_of_another_site_hears_nothing(served: Served, house: House) -> None:
    cookie, _ = served.session_of(await house.person("ann"))
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{served.port}"):
        assert await refused(served, **cookie, Origin=origin) == 403, origin
    assert await refused(served, **cookie, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert await refused(served, **cookie, Host="evil.example") == 400
    async with Reader([served], cookie).connected() as connection:
        assert "hello" in await connection.recv(decode=True)


async def test_without_an_origin_a_cookie_is_not_enough_and_a_token_is(served: Served, house: House) -> None:
    person = await house.person("ann")
    cookie, _ = served.session_of(person)
    async with httpx.AsyncClient(base_url=served.origin) as client:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}
        answer = await client.get("/api/v1/monitoring/ws", headers=upgrade | cookie)
        assert answer.status_code == 403
        assert "another site" in answer.json()["detail"]
    bearer = await house.bearer(person, "read")
    async with Reader([served], bearer | {"Origin": "https://elsewhere.example"}).connected() as connection:
        assert "hello" in await connection.recv(decode=True)


async def test_a_bad_number_is_a_bad_request(served: Served, admin: dict[str, str]) -> None:
    for after in (-1, 2**63):
        assert await refused_at(served, after, {}) == 401
        assert await refused_at(served, after, admin) == 400


async def refused_at(served: Served, after: int, headers: dict[str, str]) -> int:
    with pytest.raises(InvalidStatus) as answer:
        async with Reader([served], headers, seq=after).connected():
            pass
    return answer.value.response.status_code


async def test_everybody_hears_their_own_and_administrators_everything(
    served: Served, database: Database, house: House, admin: dict[str, str]
) -> None:
    ann, bob = await house.person("ann", "operator"), await house.person("bob", "viewer")
    readers = [Reader([served], headers) for headers in (admin, await house.bearer(ann, "read"))]
    readers.append(Reader([served], await house.bearer(bob, "read")))
    boss = await house.person("second boss", "admin")
    readers.append(Reader([served], await house.bearer(boss, "read")))  # a token that only reads
    for reader in readers:
        async with reader.connected() as connection:
            await reader.read(connection)
    await write(database, record(owner_id=ann.id))
    await write(database, record())
    await write(database, record(owner_id=bob.id))
    await write(database, record(owner_id=boss.id))
    for reader, own in zip(readers, ([1, 2, 3, 4], [1], [3], [4]), strict=True):
        async with reader.connected() as connection:
            while len(reader.events) < len(own):
                await reader.read(connection)
            await read_for(reader, connection, 0.3)
        assert reader.events == own


@pytest.mark.parametrize("how", ["token", "session", "everywhere", "deactivated"])
async def test_who_may_no_longer_hears_no_more(
    served: Served, database: Database, house: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(monitoring_feed, "LOOK_EVERY", 0.1)
    person = await house.person("ann")
    headers, session = served.session_of(person)
    if how == "token":
        headers = await house.bearer(person, "read")
    reader = Reader([served], headers)
    async with reader.connected() as connection:
        await reader.read(connection)
        await asyncio.sleep(0.5)  # a few looks at it
        async with database.session() as opened:
            if how == "token":
                await opened.execute(text("UPDATE api_tokens SET revoked_at = now()"))
            elif how == "session":
                await accounts.end_session(opened, session.hash, datetime.now(UTC) + timedelta(hours=1))
            elif how == "everywhere":
                await accounts.end_all_sessions(opened, person.id)
            else:
                await accounts.set_active(opened, person.id, active=False)
        ending = await closed(reader, connection)
    assert ending.rcvd is not None
    assert ending.rcvd.code == 1008


async def test_another_role_is_another_feed(
    served: Served, database: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring_feed, "LOOK_EVERY", 0.1)
    await house.person("first", "admin")
    person = await house.person("boss", "admin")
    reader = Reader([served], await house.bearer(person, "admin"))
    async with reader.connected() as connection:
        await reader.read(connection)
        async with database.session() as session:
            await accounts.set_role(session, person.id, "viewer")
        ending = await closed(reader, connection)
    assert ending.rcvd is not None
    assert ending.rcvd.code == 1008
    await write(database, record())
    async with reader.connected() as connection:
        await reader.read(connection)
        await read_for(reader, connection, 0.3)
    assert reader.events == []


async def test_when_nobody_can_say_whether_they_may_it_ends(
    served: Served, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring_feed, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(monitoring_feed, "UNSEEN_FOR", 0.5)
    reader = Reader([served], await house.bearer(await house.person("ann"), "read"))

    async def away(*_: object) -> bool:
        raise ConnectionRefusedError

    async with reader.connected() as connection:
        await reader.read(connection)
        monkeypatch.setattr(monitoring_feed, "is_still", away)
        ending = await closed(reader, connection)
    assert ending.rcvd is not None
    assert ending.rcvd.code == 1013


async def test_a_person_has_so_many_connections_and_no_more(served: Served, house: House) -> None:
    person = await house.person("ann")
    headers = await house.bearer(person, "read")
    other = await house.bearer(await house.person("bob"), "read")
    async with asyncio.timeout(WITHIN):
        async with contextlib.AsyncExitStack() as opened:
            for _ in range(monitoring_feed.SOCKETS):
                await opened.enter_async_context(Reader([served], headers).connected())
            assert await refused(served, **headers) == 429
            async with Reader([served], other).connected():
                pass
        places: monitoring_feed.Places = served.app.state.places
        while places.taken:
            await asyncio.sleep(0.02)
        async with Reader([served], headers).connected():
            pass


async def test_what_is_said_is_not_listened_to_and_not_too_long(
    served: Served, database: Database, admin: dict[str, str]
) -> None:
    reader = Reader([served], admin)
    async with reader.connected() as connection:
        for said in ("hello", b"\x00\xff", '{"type": "task_started"}'):
            await connection.send(said)
        await reader.read(connection)
        await write(database, record())
        assert (await reader.read(connection))["type"] == "task_started"
        await connection.send("x" * 5000)
        ending = await closed(reader, connection)
    assert ending.rcvd is not None
    assert ending.rcvd.code == 1009


async def test_the_console_ends_while_somebody_listens(
    settings: Settings, database: Database, house: House, admin: dict[str, str]
) -> None:
    """A console of its own, whose fixture would fail if it did not."""
    del house
    stack = contextlib.AsyncExitStack()
    with serving(settings) as short:
        reader = Reader([short], admin)
        connection = await stack.enter_async_context(reader.connected())
        await reader.read(connection)
        await write(database, record())
        await reader.read(connection)
    ending = await closed(reader, connection)
    await stack.aclose()
    assert ending.rcvd is not None
    assert ending.rcvd.code == 1012
