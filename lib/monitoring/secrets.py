"""The rotation of encryption keys: a new key in front, every secret under it, and only then the old ones dropped.

Whenever it is cut short, every secret still opens with a key of the file; the next rotation takes it from there.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib import vault
from lib.database import Database
from lib.errors import Conflict, Invalid, Refused, Transient
from lib.monitoring.store import secrets as store
from lib.settings import Settings
from lib.vault import Vault

BATCH = 200
POLL = 1.0
UNOPENED = "A stored secret does not open with the present encryption keys"


@dataclass(frozen=True)
class Rotation:
    """What a rotation did. `unopened` names the records that no present key opens. `keys`: how many there are now."""

    rotated: int
    unopened: tuple[str, ...]
    keys: int
    new_key: bool


def generate(settings: Settings) -> Path:
    """Make the key file. Raise Conflict where there are keys already."""
    if settings.encryption_keys is not None:
        raise Conflict("The keys come from PRESSROOM_ENCRYPTION_KEYS; a key file would not be used")
    with _locked(settings):
        if vault.read_keys(settings):
            raise Conflict(f"{vault.key_file(settings)} holds keys already; `pressroom keys rotate` makes a new one")
        return _write(settings, [vault.new_key()])


async def rotate(settings: Settings, database: Database, *, drop_old: bool = False, wait: float = 600) -> Rotation:
    """Put a new key in front of the file's and bring every secret under it.

    Keys from the environment cannot be changed here: then everything is brought under the first of them.
    `drop_old` waits up to `wait` seconds for runs that may still use the old keys, and raises Transient if they last.
    """
    with _locked(settings):
        keys = vault.read_keys(settings)
        if not keys:
            raise Invalid("No encryption key: run `pressroom keys generate` or set PRESSROOM_ENCRYPTION_KEYS")
        ours = settings.encryption_keys is None
        if drop_old and not ours:
            raise Invalid("The keys come from PRESSROOM_ENCRYPTION_KEYS: rotate, then take the old ones out there")
        if ours:
            keys = [vault.new_key(), *keys]
            Vault(keys)  # a broken old key is found before anything is written
            _write(settings, keys)
        async with database.session() as session:
            since = await store.clock(session)
        rotated, unopened = await _bring_under(database, keys)
        if drop_old and not unopened:
            await _old_runs_over(database, since, wait)
            again, unopened = await _bring_under(database, keys)
            rotated += again
        if drop_old and not unopened:
            keys = keys[:1]
            _write(settings, keys)
        async with database.session() as session:
            await store.wake(session, UNOPENED)
    return Rotation(rotated, tuple(unopened), len(keys), ours)


async def _bring_under(database: Database, keys: list[str]) -> tuple[int, list[str]]:
    """Re-encrypt what the first key alone does not open; return how many, and the records that no key opens."""
    first, every = Vault(keys[:1]), Vault(keys)
    rotated, unopened = 0, []
    for kind, column in store.ALL:
        after = None
        while True:
            async with database.session() as session:
                found = await store.batch(session, kind, column, after, BATCH)
            if not found:
                break
            fresh, closed = _reencrypted(found, first, every)
            unopened += closed
            after = found[-1].id
            if fresh:
                async with database.session() as session:
                    rotated += await store.replace(session, kind, column, fresh)
    return rotated, list(dict.fromkeys(unopened))


def _reencrypted(
    found: list[store.Stored], first: Vault, every: Vault
) -> tuple[list[tuple[store.Stored, bytes]], list[str]]:
    fresh, closed = [], []
    for stored in found:
        if _opens(first.decrypt, stored.token):
            continue
        if _opens(every.decrypt, stored.token):
            fresh.append((stored, every.rotate(stored.token)))
        else:
            closed.append(stored.owner)
    return fresh, closed


def _opens(decrypt: Callable[[bytes], Any], token: bytes) -> bool:
    try:
        decrypt(token)
    except Refused:
        return False
    return True


async def _old_runs_over(database: Database, since: datetime, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        async with database.session() as session:
            number = await store.runs_since_before(session, since)
        if not number:
            return
        if time.monotonic() > deadline:
            raise Transient(
                f"{number} stages that began before the rotation are still at work; every secret is under the new key, "
                "and the old keys stay until `pressroom keys rotate --drop-old` is run again"
            )
        await asyncio.sleep(POLL)


def _write(settings: Settings, keys: list[str]) -> Path:
    file = vault.write_keys(settings, keys)
    # The name must be on the disk before a secret is under the key.
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return file


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One at a time: two that write the key file would lose a key. Raise Conflict while another is at it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(settings.data_dir / "encryption.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("The encryption keys are being changed by another command; wait for it") from None
        yield
