"""What the stages of one run share."""

import asyncio

import pytest

from lib.errors import Transient
from lib.monitoring.runtime import Shared


async def test_an_answer_is_asked_for_once_and_a_failure_is_asked_again() -> None:
    shared, asked = Shared(), 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if asked == 1:
            raise Transient("not now")
        return asked

    both = await asyncio.gather(shared.get("page", ask), shared.get("page", ask), return_exceptions=True)
    assert [type(each) for each in both] == [Transient, Transient]
    assert asked == 1, "whoever waited heard of it"
    assert [await shared.get("page", ask), await shared.get("page", ask)] == [2, 2]
    await shared.aclose()


async def test_what_is_still_asked_for_ends_with_the_run() -> None:
    shared = Shared()
    waiting = asyncio.create_task(shared.get("page", asyncio.Event().wait))
    await asyncio.sleep(0)
    await shared.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
