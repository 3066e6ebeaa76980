"""Alerts: one a cause, told until somebody took it, and told again with the same id rather than not at all."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from lib import work
from lib.alerts import delivery, store
from lib.alerts.causes import Cause
from lib.alerts.models import Alert, AlertAttempt
from lib.database import Database
from lib.settings import Settings
from tests.receiver import Receiver, new_secret, receiving

ROOT = Path(__file__).parents[2]
FAILED = Cause(kind="flow_run.failed", subject="discover_articles", title="It failed", details={"message": "why"})
SILENT = Cause(kind="stage.silent", subject="discover_articles", title="Nothing came of it")
DELIVER = """
import asyncio
from lib.alerts import delivery
from lib.database import Database
from lib.settings import settings

async def main():
    async with Database(settings().database_url) as database:
        await delivery.deliver(settings(), database)

asyncio.run(main())
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(new_secret()) as running:
        yield running


@pytest.fixture
def told(settings: Settings, receiver: Receiver) -> Settings:
    """Settings by which alerts go to the receiver."""
    return settings.model_copy(
        update={
            "alert_webhook_url": SecretStr(receiver.url),
            "alert_webhook_secret": SecretStr(receiver.secret),
            "alert_allow_private": True,
            "alert_max_attempts": 4,
        }
    )


async def report(database: Database, cause: Cause, **more: Any) -> UUID:
    values = {"deliver": True, "quiet": 3600.0} | more
    async with database.session() as session:
        return (await store.record(session, cause, **values)).id


async def all_alerts(database: Database) -> list[Alert]:
    async with database.session() as session:
        return list(await session.scalars(select(Alert).order_by(Alert.id)))


async def attempts_of(database: Database, alert_id: UUID) -> list[AlertAttempt]:
    async with database.session() as session:
        return list((await store.read(session, alert_id))[1])


async def set_alerts(database: Database, **values: Any) -> None:
    async with database.session() as session:
        await session.execute(update(Alert).values(**values))


async def soon(settings: Settings, database: Database, rounds: int = 1) -> list[delivery.Delivered]:
    """So many runs of the deliveries, as if the waits between them were over."""
    done = []
    for _ in range(rounds):
        async with database.session() as session:
            await session.execute(text("UPDATE alerts SET next_attempt_at = NULL"))
        done.append(await delivery.deliver(settings, database))
    return done


# One a cause


async def test_a_cause_reported_by_many_at_once_is_one_alert_and_one_delivery(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    ids = await asyncio.gather(*(report(database, FAILED) for _ in range(20)))
    await asyncio.gather(*(delivery.deliver(told, database) for _ in range(4)))
    (alert,) = await all_alerts(database)
    assert set(ids) == {alert.id}
    assert alert.seen_count == 20
    assert alert.last_seen_at > alert.created_at
    assert (alert.status, alert.attempts) == ("delivered", 1)
    assert receiver.ids == [str(alert.id)]
    assert receiver.refused == []


async def test_another_flow_or_another_kind_of_trouble_is_another_cause(database: Database) -> None:
    await report(database, FAILED)
    await report(database, FAILED.model_copy(update={"subject": "check_health"}))
    await report(database, FAILED.model_copy(update={"kind": "flow_run.crashed"}))
    assert len(await all_alerts(database)) == 3


async def test_a_flow_that_fails_again_after_a_quiet_time_is_a_new_cause(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    await report(database, FAILED)
    await delivery.deliver(told, database)
    await set_alerts(database, last_seen_at=work.in_seconds(-3500))
    await report(database, FAILED)
    await set_alerts(database, last_seen_at=work.in_seconds(-3700))
    await report(database, FAILED)
    await delivery.deliver(told, database)
    first, second = await all_alerts(database)
    assert (first.seen_count, second.seen_count) == (2, 1)
    assert first.resolved_at is not None
    assert second.resolved_at is None
    assert receiver.ids == [str(first.id), str(second.id)]


async def test_a_failure_that_no_report_told_of_is_found(database: Database) -> None:
    async def unreported(seconds: float) -> list[Cause]:
        async with database.session() as session:
            now = (await session.execute(select(func.now()))).scalar_one()
            return await store.unreported(session, [(FAILED, now - timedelta(seconds=seconds))])

    assert await unreported(0) == [FAILED]
    await report(database, FAILED)
    assert await unreported(1) == []
    await set_alerts(database, last_seen_at=work.in_seconds(-100), resolved_at=func.now())
    assert await unreported(120) == []
    assert await unreported(90) == [FAILED]
    async with database.session() as session:
        assert await store.unreported(session, []) == []


async def test_a_quiet_cause_is_over_even_if_it_never_comes_back(told: Settings, database: Database) -> None:
    await report(database, FAILED)
    await report(database, SILENT)
    await set_alerts(database, last_seen_at=work.in_seconds(-3700))
    await delivery.deliver(told, database)
    over = {alert.kind: alert.resolved_at is not None for alert in await all_alerts(database)}
    assert over == {"flow_run.failed": True, "stage.silent": False}


async def test_what_holds_on_is_told_once_and_what_comes_back_is_told_again(database: Database) -> None:
    async def look(*causes: Cause) -> list[Cause]:
        async with database.session() as session:
            return await store.follow(session, causes)

    assert await look(SILENT) == [SILENT]
    assert await look(SILENT) == [SILENT], "until an automation has reported it"
    await report(database, SILENT)
    assert await look(SILENT) == []
    assert await look() == []
    assert await look(SILENT) == [SILENT]
    again = await report(database, SILENT)
    first, second = await all_alerts(database)
    assert first.resolved_at is not None
    assert (second.id, second.resolved_at) == (again, None)


async def test_a_late_report_does_not_begin_an_episode_anew(database: Database) -> None:
    ended = Cause(kind="process.stopped", subject="one", episode="2026-01-01", title="It ended")
    first = await report(database, ended)
    async with database.session() as session:
        assert await store.follow(session, []) == []
    assert await report(database, ended) == first
    async with database.session() as session:
        assert await store.follow(session, [ended]) == []
    assert await report(database, ended.model_copy(update={"episode": "2026-01-02"})) != first


async def test_what_is_over_within_its_hold_is_told_nobody(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    await report(database, SILENT, hold=180)
    await delivery.deliver(told, database)
    async with database.session() as session:
        await store.follow(session, [])
    await soon(told, database)
    (alert,) = await all_alerts(database)
    assert (alert.status, alert.resolved_at is not None, receiver.taken) == ("recorded", True, [])


async def test_what_holds_on_longer_than_its_hold_is_told(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    await report(database, SILENT, hold=0.3)
    await delivery.deliver(told, database)
    assert receiver.taken == []
    await asyncio.sleep(0.35)
    await delivery.deliver(told, database)
    assert len(receiver.taken) == 1


# Told until somebody took it


async def test_a_receiver_that_fails_twice_is_asked_three_times_with_one_id(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    receiver.answers = [500, 503]
    alert_id = await report(database, FAILED)
    assert [done.again for done in await soon(told, database, rounds=4)] == [1, 1, 0, 0]
    assert receiver.ids == [str(alert_id)] * 3
    assert len({str(said) for _, said in receiver.taken}) == 1
    (alert,) = await all_alerts(database)
    assert (alert.status, alert.attempts, alert.retry_count) == ("delivered", 3, 2)
    found = [(each.http_status, each.error_message) for each in await attempts_of(database, alert_id)]
    assert found == [
        (500, "the receiver answered HTTP 500"),
        (503, "the receiver answered HTTP 503"),
        (204, None),
    ]


async def test_the_waits_grow_and_end_after_about_a_day() -> None:
    have = Settings(database_url=None)
    waits = [min(have.alert_retry_base * 2**number, have.alert_retry_max) for number in range(have.alert_max_attempts)]
    assert 20 * 3600 < sum(waits[:-1]) < 28 * 3600


async def test_the_receivers_own_wish_for_a_pause_is_kept(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    receiver.answers = [(429, {"Retry-After": "600"})]
    await report(database, FAILED)
    await delivery.deliver(told, database)
    await delivery.deliver(told, database)
    assert len(receiver.taken) == 1
    async with database.session() as session:
        wait = await session.scalar(select(func.extract("epoch", Alert.next_attempt_at - func.now())))
    assert 590 < float(wait or 0) <= 600


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500])
async def test_an_alert_that_nobody_takes_is_dead_in_the_end_and_says_why(
    told: Settings, database: Database, receiver: Receiver, status: int
) -> None:
    receiver.answers = [(status, {"Location": receiver.url})] * 9
    alert_id = await report(database, FAILED)
    await soon(told, database, rounds=6)
    (alert,) = await all_alerts(database)
    assert (alert.status, alert.attempts) == ("dead", 4)
    assert str(status) in (alert.error_message or "")
    assert len(receiver.taken) == 4
    receiver.answers.clear()
    async with database.session() as session:
        assert await store.send_again(session, alert_id)
    await delivery.deliver(told, database)
    assert receiver.ids == [str(alert_id)] * 5


async def test_a_receiver_that_is_gone_gets_nothing_more_until_a_person_says_so(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    receiver.answers = [410]
    first = await report(database, FAILED)
    await delivery.deliver(told, database)
    second = await report(database, SILENT)
    (done,) = await soon(told, database)
    assert "410" in done.note
    assert receiver.ids == [str(first)]
    assert {alert.id: alert.status for alert in await all_alerts(database)} == {first: "dead", second: "pending"}
    target = delivery.endpoint(told)
    assert target is not None
    async with database.session() as session:
        assert await store.resume_endpoint(session, target.digest)
    await delivery.deliver(told, database)
    assert receiver.ids == [str(first), str(second)]


async def test_a_new_address_is_not_stopped_by_the_old_ones_answer(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    receiver.answers = [410]
    await report(database, FAILED)
    await delivery.deliver(told, database)
    await report(database, SILENT)
    moved = told.model_copy(update={"alert_webhook_url": SecretStr(receiver.url + "/new")})
    assert (await delivery.deliver(moved, database)).sent == 1


async def test_nobody_there_is_no_reason_to_give_up(told: Settings, database: Database) -> None:
    gone = told.model_copy(update={"alert_webhook_url": SecretStr("http://127.0.0.1:9/hook?key=hidden")})
    alert_id = await report(database, FAILED)
    assert (await delivery.deliver(gone, database)).again == 1
    (attempt,) = await attempts_of(database, alert_id)
    assert "ConnectError" in (attempt.error_message or "")
    assert "hidden" not in (attempt.error_message or "")


async def test_an_address_on_this_network_needs_its_own_setting(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    assert told.allow_private_addresses, "which is about the sites, not about this"
    await report(database, FAILED)
    await delivery.deliver(told.model_copy(update={"alert_allow_private": False}), database)
    (alert,) = await all_alerts(database)
    assert "PRESSROOM_ALERT_ALLOW_PRIVATE=true" in (alert.error_message or "")
    assert receiver.taken == []
    await soon(told, database)
    assert len(receiver.taken) == 1


async def test_a_slow_receiver_is_asked_again_later(told: Settings, database: Database, receiver: Receiver) -> None:
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    receiver.on_request = lambda: asyncio.run_coroutine_threadsafe(event.wait(), loop).result(5)
    await report(database, FAILED)
    target = delivery.endpoint(told)
    assert target is not None
    async with database.session() as session:
        (mine,) = await store.claim(session, work.new_id(), 60, 10)
    async with delivery.Sender(target, allow_private=True, seconds=0.3) as sender:
        with pytest.raises(delivery.Transient):
            await sender.send(mine)
    event.set()


async def test_without_an_address_alerts_are_recorded_and_nothing_is_sent(
    settings: Settings, told: Settings, database: Database, receiver: Receiver
) -> None:
    await report(database, FAILED, deliver=False)
    done = await delivery.deliver(settings, database)
    assert "PRESSROOM_ALERT_WEBHOOK_URL is not set" in done.note
    assert (await soon(told, database))[0].sent == 0, "nor is it later, when it says nothing any more"
    (alert,) = await all_alerts(database)
    assert (alert.status, receiver.taken) == ("recorded", [])


async def test_what_nobody_could_be_told_for_two_days_is_dead(told: Settings, database: Database) -> None:
    await report(database, FAILED)
    long_ago = func.now() - text("interval '3 days'")
    await set_alerts(database, created_at=long_ago, next_attempt_at=long_ago)
    await delivery.deliver(told, database)
    (alert,) = await all_alerts(database)
    assert (alert.status, alert.error_message) == ("dead", "nobody sent it within two days")


async def test_what_a_person_sends_again_goes_out_however_old_it_is(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    alert_id = await report(database, FAILED)
    long_ago = func.now() - text("interval '3 days'")
    await set_alerts(database, created_at=long_ago, status="dead", error_message="nobody sent it within two days")
    async with database.session() as session:
        assert await store.send_again(session, alert_id)
    assert (await delivery.deliver(told, database)).sent == 1
    assert receiver.ids == [str(alert_id)]
    assert [alert.status for alert in await all_alerts(database)] == ["delivered"]


async def test_what_was_over_long_ago_is_forgotten_with_its_attempts(told: Settings, database: Database) -> None:
    await report(database, FAILED)
    await report(database, SILENT)
    await delivery.deliver(told, database)
    async with database.session() as session:
        await session.execute(
            update(Alert).where(Alert.kind == FAILED.kind).values(resolved_at=func.now() - timedelta(days=91))
        )
        assert await store.delete_old(session, 90) == 1
    (left,) = await all_alerts(database)
    assert left.kind == SILENT.kind
    async with database.session() as session:
        assert [each.alert_id for each in await session.scalars(select(AlertAttempt))] == [left.id]


# Kills


async def test_a_worker_killed_between_sending_and_settling_means_the_same_id_again(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    alert_id = await report(database, FAILED)
    environment = os.environ | {
        "PRESSROOM_ALERT_WEBHOOK_URL": receiver.url,
        "PRESSROOM_ALERT_WEBHOOK_SECRET": receiver.secret,
        "PRESSROOM_ALERT_ALLOW_PRIVATE": "true",
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", DELIVER, cwd=ROOT, env=environment)
    receiver.on_request = lambda: os.kill(worker.pid, signal.SIGKILL)  # it has arrived, and nobody will hear of it
    assert await asyncio.wait_for(worker.wait(), 30) == -signal.SIGKILL
    receiver.on_request = lambda: None
    (alert,) = await all_alerts(database)
    assert (alert.status, alert.attempts) == ("pending", 1)
    assert (await soon(told, database))[0].sent == 0, "the lease is still the dead one's"
    await set_alerts(database, lease_expires_at=work.in_seconds(-1))
    assert (await soon(told, database))[0].sent == 1
    assert receiver.ids == [str(alert_id)] * 2
    first, second = await attempts_of(database, alert_id)
    assert (first.ended_at, second.http_status) == (None, 204)


async def test_a_run_that_is_cancelled_hands_back_what_it_held(
    told: Settings, database: Database, receiver: Receiver
) -> None:
    arrived, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(arrived.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result(10)

    receiver.on_request = hold
    alert_id = await report(database, FAILED)
    run = asyncio.create_task(delivery.deliver(told, database))
    await arrived.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    answer.set()
    receiver.on_request = lambda: None
    await delivery.deliver(told, database)
    assert receiver.ids == [str(alert_id)] * 2
