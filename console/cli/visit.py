"""A command's visit to the database: the settings of what runs, the user who asks, and one connection."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from console.cli.edge import WHAT_TO_DO, database_trouble
from console.desk.visit import Visit
from lib import log
from lib.database import Database
from lib.errors import Invalid, PressroomError
from lib.monitoring import fields
from lib.monitoring.store import catalog
from lib.people.store.links import ensure_operator
from lib.settings import Settings
from lib.settings import settings as read_settings

T = TypeVar("T")

USER = "PRESSROOM_USER"
DRIVER = "postgresql+asyncpg"


class DatabaseTroubleError(PressroomError):
    """The database cannot be reached or used."""


def connected_settings() -> Settings:
    """The settings, those of the running `pressroom up` of the data directory included."""
    from deployments.instance import connect_environment  # noqa: PLC0415 - the one way by which they are found

    log.configure()
    read_settings.cache_clear()
    connect_environment(read_settings())
    read_settings.cache_clear()
    return read_settings()


def database_url(settings: Settings) -> str:
    """Raise Invalid when it is not set, or not one that we can use. Never names a password."""
    if settings.database_url is None:
        raise Invalid(f"there is no database; {WHAT_TO_DO}")
    try:
        driver = make_url(settings.database_url).drivername
    except ArgumentError:
        driver = "nothing that can be read"
    if driver != DRIVER:
        raise Invalid(f"PRESSROOM_DATABASE_URL must begin with {DRIVER}://, not with {driver}")
    return settings.database_url


def visiting(do: Callable[[Visit], Awaitable[T]]) -> T:
    """Connect, do it, close."""
    return asyncio.run(_visit(do))


@contextmanager
def reaching() -> Iterator[None]:
    """For the first contact with the database: what goes wrong is a DatabaseTroubleError that says what to do."""
    try:
        yield
    except Exception as error:
        words = database_trouble(error)
        if words is None:
            raise
        raise DatabaseTroubleError(words) from error


async def _visit(do: Callable[[Visit], Awaitable[T]]) -> T:
    settings = connected_settings()
    given = os.environ.get(USER)
    name = fields.name(given, f"The user's name in {USER}") if given else None
    async with Database(database_url(settings), pool_size=1) as database:
        with reaching():
            async with database.session() as session:
                user_id = await (catalog.ensure_user(session, name) if name else ensure_operator(session))
        return await do(Visit(settings, database, user_id, sees=user_id))
