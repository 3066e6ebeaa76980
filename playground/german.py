"""Dates as the site writes them: German, in Zurich's time."""

from datetime import datetime
from zoneinfo import ZoneInfo

ZURICH = ZoneInfo("Europe/Zurich")
MONTHS = (
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
)


def day(moment: datetime) -> str:
    """4. Februar 2026"""
    local = moment.astimezone(ZURICH)
    return f"{local.day}. {MONTHS[local.month - 1]} {local.year}"


def day_and_time(moment: datetime) -> str:
    """4. Februar 2026, 18:04"""
    return f"{day(moment)}, {moment.astimezone(ZURICH):%H:%M}"


def short(moment: datetime) -> str:
    """04.02.2026 um 18:04 Uhr"""
    return f"{moment.astimezone(ZURICH):%d.%m.%Y um %H:%M} Uhr"
