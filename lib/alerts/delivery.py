"""Telling somebody: sign, send through the guarded client, settle. Whoever is told twice sees the same id twice."""

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from lib import http, work
from lib.alerts import signing, store
from lib.alerts.store import Delivery
from lib.database import Database
from lib.errors import Invalid, Permanent, PressroomError, Refused, Transient
from lib.settings import Settings
from lib.work import Policy

LEASE = 90.0
# An attempt, and the writing of its outcome after it, end well within the lease: nobody has to renew it.
SEND_WITHIN = 20.0
AT_ONCE = 10
ROUNDS = 20
MAX_ANSWER = 100_000


@dataclass(frozen=True)
class Endpoint:
    """Where alerts go, and the keys that sign them. Never shown: the address may hold a secret."""

    url: str
    keys: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def host(self) -> str:
        return httpx.URL(self.url).host

    def __repr__(self) -> str:
        return f"Endpoint({self.host})"


@dataclass(frozen=True)
class Delivered:
    """What one run of deliveries did. `note`: why it did nothing, if so."""

    sent: int = 0
    again: int = 0
    dead: int = 0
    note: str = ""


class EndpointGone(PressroomError):  # noqa: N818 - the vocabulary of lib/errors.py has no Error in it either
    """The receiver answered 410: it wants nothing more."""


def endpoint(settings: Settings) -> Endpoint | None:
    """None when no webhook is set. Raises Invalid that names the setting which cannot be used."""
    if settings.alert_webhook_url is None or not settings.alert_webhook_url.get_secret_value():
        return None
    url = settings.alert_webhook_url.get_secret_value()
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise Invalid("PRESSROOM_ALERT_WEBHOOK_URL is not an address") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid("PRESSROOM_ALERT_WEBHOOK_URL must begin with http:// or https:// and name a host")
    if settings.alert_webhook_secret is None:
        raise Invalid(
            "PRESSROOM_ALERT_WEBHOOK_URL is set, but nothing to sign with: set PRESSROOM_ALERT_WEBHOOK_SECRET to "
            "whsec_ and the base64 of 32 random bytes, and give it to the receiver"
        )
    return Endpoint(url, signing.read_secrets(settings.alert_webhook_secret.get_secret_value()))


def body_of(delivery: Delivery) -> bytes:
    """The same bytes at each attempt."""
    said = {
        "type": delivery.kind,
        "timestamp": delivery.created_at.isoformat(),
        "data": {"title": delivery.title, "subject": delivery.subject, "details": delivery.details},
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


class Sender:
    """One receiver. `async with Sender(…) as sender:`."""

    def __init__(self, target: Endpoint, *, allow_private: bool, seconds: float = SEND_WITHIN) -> None:
        self._target = target
        self._seconds = seconds
        self._client = http.client(
            http.Limits(
                seconds=seconds / 2,
                total_seconds=seconds,
                max_bytes=MAX_ANSWER,
                allow_private=allow_private,
                private_setting="PRESSROOM_ALERT_ALLOW_PRIVATE",
            )
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, delivery: Delivery) -> int:
        """The status of the answer, which is a success. Raises EndpointGone on 410, Transient on all else."""
        body = body_of(delivery)
        signed = signing.headers(self._target.keys, str(delivery.id), int(time.time()), body)
        try:
            async with (
                asyncio.timeout(self._seconds),
                # What it answers beside the status is none of our business, and is not read.
                self._client.stream("POST", self._target.url, content=body, headers=signed) as answer,
            ):
                return _accepted(answer)
        except TimeoutError as error:
            raise Transient(f"no answer within {self._seconds:g} s") from error
        except httpx.HTTPError as error:
            raise Transient(f"{type(error).__name__}: {error}"[:300]) from error
        except (Refused, Permanent) as error:
            # A wrong address or setting is put right by a person, within the day that we go on trying.
            raise Transient(str(error)) from error


class _NotAccepted(Transient):
    """With the status of the answer."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        more = "; redirects are not followed" if httpx.codes.is_redirect(status) else ""
        super().__init__(f"the receiver answered HTTP {status}{more}", retry_after)
        self.status = status


def _accepted(answer: httpx.Response) -> int:
    if answer.is_success:
        return answer.status_code
    if answer.status_code == httpx.codes.GONE:
        raise EndpointGone("the receiver answered HTTP 410: it wants no more alerts")
    raise _NotAccepted(answer.status_code, http.retry_after(answer))


async def deliver(settings: Settings, database: Database) -> Delivered:
    """Send what is due, and tidy up. Raises Invalid for settings that cannot be used."""
    async with database.session() as session:
        await store.close_quiet(session, settings.alert_quiet)
        await store.give_up_old(session)
    target = endpoint(settings)
    if target is None:
        return Delivered(note="PRESSROOM_ALERT_WEBHOOK_URL is not set: alerts are recorded and not sent")
    async with Sender(target, allow_private=settings.alert_allow_private) as sender:
        return await _Round(settings, database, target, sender).run()


class _Round:
    """One run: a batch after the other until nothing is due or the receiver is gone."""

    def __init__(self, settings: Settings, database: Database, target: Endpoint, sender: Sender) -> None:
        self._database = database
        self._target = target
        self._sender = sender
        self._policy = Policy(settings.alert_max_attempts, settings.alert_retry_base, settings.alert_retry_max)
        self._outcomes: list[str] = []

    async def run(self) -> Delivered:
        note = ""
        for _ in range(ROUNDS):
            async with self._database.session() as session:
                note = await store.stopped(session, self._target.digest) or ""
                batch = [] if note else await store.claim(session, work.new_id(), LEASE, AT_ONCE)
            if not batch:
                break
            await self._send_all(batch)
        count = self._outcomes.count
        return Delivered(sent=count("sent"), again=count("again"), dead=count("dead"), note=note)

    async def _send_all(self, batch: Sequence[Delivery]) -> None:
        try:
            outcomes = await asyncio.gather(*(self._one(delivery) for delivery in batch), return_exceptions=True)
        except asyncio.CancelledError:
            # Stopped in the middle: the next run need not wait for the lease.
            await asyncio.shield(self._database.run_transaction(lambda session: store.release(session, batch)))
            raise
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            self._outcomes.append(outcome)

    async def _one(self, delivery: Delivery) -> str:
        if work.crashed_too_often(delivery.attempts, delivery.failures):
            return await self._failed(delivery, Permanent("its worker died at each of many attempts"), None)
        try:
            status = await self._sender.send(delivery)
        except EndpointGone as error:
            await self._gone(delivery, str(error))
            return "dead"
        except PressroomError as error:
            return await self._failed(delivery, error, getattr(error, "status", None))
        await self._database.run_transaction(lambda session: store.settle_delivered(session, delivery, status))
        return "sent"

    async def _failed(self, delivery: Delivery, error: PressroomError, status: int | None) -> str:
        verdict = work.verdict(error, delivery.failures + 1, self._policy)
        if isinstance(verdict, work.Dead):
            await self._database.run_transaction(
                lambda session: store.settle_dead(session, delivery, str(error), status)
            )
            return "dead"
        delay = verdict.delay
        await self._database.run_transaction(
            lambda session: store.settle_again(session, delivery, str(error), status, delay)
        )
        return "again"

    async def _gone(self, delivery: Delivery, reason: str) -> None:
        async def write(session: AsyncSession) -> None:
            await store.stop_endpoint(session, self._target.digest, reason)
            await store.settle_dead(session, delivery, reason, httpx.codes.GONE)

        await self._database.run_transaction(write)
