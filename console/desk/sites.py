"""What there is to choose from on a login's site: tabs, categories and tasks, read live and kept for five minutes."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakKeyDictionary

from console.desk.visit import Visit
from console.record import Record
from lib.database import Database
from lib.errors import Permanent, PressroomError
from lib.monitoring.models import MyMomentLogin
from lib.monitoring.mymoment import MyMoment
from lib.monitoring.pages import Index
from lib.monitoring.sites import Sites
from lib.monitoring.store import catalog

KEPT_SECONDS = 300.0
FAILED_SECONDS = 20.0
# The site's own numbers for what its index can be filtered by; its pages say them nowhere but in that form.
CATEGORIES = {
    "4": "Anleiten",
    "14": "Berichten",
    "5": "Erklären",
    "6": "Fragen",
    "7": "Informieren",
    "8": "Überzeugen",
    "9": "Unterhalten",
}
TASKS = ("4", "10", "12", "13")
# Every account has one of these two.
FIRST_TABS = ("home", "alle")


@dataclass
class _Kept:
    """Choices by login, until their time is over; one reader at a time for each."""

    choices: dict[UUID, tuple[float, Record]] = field(default_factory=dict)
    locks: dict[UUID, asyncio.Lock] = field(default_factory=dict)


_kept: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()


async def site_choices(visit: Visit, login: str) -> Record:
    """Tabs, categories and tasks as {id, name}; tabs are None where the site cannot be read, and `reason` says why."""
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.sees, login)
    kept = _kept.setdefault(visit.database, _Kept())
    async with kept.locks.setdefault(row.id, asyncio.Lock()):
        until, found = kept.choices.get(row.id, (0.0, {}))
        if time.monotonic() < until:
            return found
        found = await _read(visit, row)
        lasts = FAILED_SECONDS if found["tabs"] is None else KEPT_SECONDS
        kept.choices[row.id] = (time.monotonic() + lasts, found)
        return found


async def _read(visit: Visit, login: MyMomentLogin) -> Record:
    found: Record = {
        "login": login.name,
        "site": login.base_url,
        "tabs": None,
        "categories": [{"id": id_, "name": name} for id_, name in CATEGORIES.items()],
        "tasks": [{"id": id_, "name": id_} for id_ in TASKS],
        "reason": None,
    }
    sites: Sites | None = None
    try:
        sites = Sites(visit.settings, visit.database, visit.vault)
        index = await sites.use(login.id, _index)
        found["tabs"] = [{"id": tab.id, "name": tab.name} for tab in index.tabs]
    except PressroomError as error:
        found["reason"] = str(error)
    finally:
        if sites is not None:
            await sites.aclose()
    return found


async def _index(site: MyMoment) -> Index:
    """The index of the first tab that is there; any of them names all."""
    for tab in FIRST_TABS[:-1]:
        try:
            return await site.index(tab)
        except Permanent:
            continue
    return await site.index(FIRST_TABS[-1])
