"""A connection that stays open for one statement, sent again and again without anything in between.

Many times a second SQLAlchemy's share of a statement would be most of what recording costs. What is not plain sailing
goes its way all the same: a day without a partition, and the errors that tell what was wrong.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import orjson
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from lib.database import Database, will_pass
from lib.taskwatch.store.writing import Beat, statement, write

_BEAT = tuple(field.name for field in fields(Beat))


class Line:
    """To one database, by one task. Opened by the first write, and again by the next after an error."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = contextlib.AsyncExitStack()
        self._connection: AsyncConnection | None = None

    async def write(self, rows: Sequence[Mapping[str, Any]], beat: Beat) -> None:
        """As `writing.write`. Raises what the database raises."""
        try:
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(self._database.alone())
            await self._send(self._connection, rows, beat)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        with contextlib.suppress(Exception):  # it is given up in any case
            if connection is not None:
                await connection.invalidate()
        with contextlib.suppress(Exception):
            await self._stack.aclose()

    async def _send(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], beat: Beat) -> None:
        words, names = _positional()
        given = {name: getattr(beat, name) for name in _BEAT} | {"batch": orjson.dumps(rows, default=str).decode()}
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await driver.fetchval(words, *(given[name] for name in names))
        except Exception as error:
            if will_pass(error):
                raise
            await write(connection, rows, beat)


@cache
def _positional() -> tuple[str, tuple[str, ...]]:
    """The statement with numbers for its parameters, and their names in that order."""
    compiled = statement().compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]
    return str(compiled), tuple(compiled.positiontup or ())
