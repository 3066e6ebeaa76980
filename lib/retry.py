"""When to try again: slow retries as a delay for `next_attempt_at`, quick ones of a read through tenacity."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lib.errors import Transient

T = TypeVar("T")

QUICK_ATTEMPTS = 3


def backoff(failures: int, *, base: float, cap: float, retry_after: float | None = None) -> float:
    """Seconds until the next attempt after `failures` (≥ 1) of them: min(base·2ⁿ⁻¹, cap) × U(0.5, 1.5).

    Never sooner than the other side asked for in `retry_after`.
    """
    delay: float = min(base * 2 ** min(failures - 1, 30), cap) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    return max(delay, retry_after or 0.0)


async def quickly(read: Callable[[], Awaitable[T]]) -> T:
    """Repeat a read at once on a Transient that names no wait of its own. Never for an effect."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, Transient) and error.retry_after is None),
        stop=stop_after_attempt(QUICK_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
    return await retrying(read)
