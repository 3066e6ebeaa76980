"""Passwords: argon2id, hashed beside the event loop, and as slow for a name that nobody has."""

import asyncio
import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from lib.errors import Invalid

SHORTEST = 12
LONGEST = 1000
_HASHER = PasswordHasher()
# Each hash takes 64 MiB for as long as it is made: so many at once.
_AT_ONCE = 4
_turns: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


def check(password: str, name: str) -> None:
    """Raise Invalid for a password that is too short, or the name itself."""
    if len(password) < SHORTEST:
        raise Invalid(f"A password has at least {SHORTEST} characters", field="password")
    if len(password) > LONGEST:
        raise Invalid(f"A password has at most {LONGEST} characters", field="password")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        raise Invalid("The password holds a control character", field="password")
    if _same(name) in _same(password) and len(password) - len(name) < SHORTEST // 2:
        raise Invalid("The password is the name, or little more than it", field="password")
    if len(set(password)) <= 2:  # noqa: PLR2004 - one key, or two in turn
        raise Invalid("The password repeats one or two characters", field="password")


def check_repeated(password: str, repeated: str) -> None:
    """Raise Invalid unless it was typed the same way twice."""
    if password != repeated:
        raise Invalid("The two passwords differ", field="repeated")


def _same(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


async def hashed(password: str) -> str:
    async with _turn():
        return await asyncio.to_thread(_HASHER.hash, _bytes(password))


async def matches(password: str, password_hash: str | None) -> bool:
    """None is the hash of nobody: no password matches it, and that takes as long as any."""
    async with _turn():
        return await asyncio.to_thread(_matches, _bytes(password), password_hash)


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def _matches(password: bytes, password_hash: str | None) -> bool:
    try:
        found = _HASHER.verify(password_hash or _nobodys(), password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
    return found and password_hash is not None


@lru_cache
def _nobodys() -> str:
    return _HASHER.hash(b"the password of nobody")


def warm_up() -> None:
    """So that the first wrong name does not take twice as long."""
    _nobodys()


def _bytes(password: str) -> bytes:
    # The same password typed on another system may come in another normal form.
    return unicodedata.normalize("NFC", password[: LONGEST + 1]).encode("utf-8", "replace")


def _turn() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        _turns.clear()
        _turns[loop] = asyncio.Semaphore(_AT_ONCE)
    return _turns[loop]
