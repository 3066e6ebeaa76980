"""What a page of the tasks is asked for, as its address says it."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request

from console.desk.given import one_of
from console.pages.task_words import STATUSES
from console.security.state import console_of
from lib.errors import Invalid
from lib.monitoring.store.scope import as_id, moment_of, version_of
from lib.taskwatch.store.history import Cursor, Filter

View = Literal["records", "failures"]
WINDOWS = (1, 6, 24, 168)
DEFAULT_WINDOW = 24
LONGEST_TEXT = 200
# So many pages one can go back; from there on to the newest.
LONGEST_TRAIL = 30
# Under these names the conditions stand in the address.
CONDITIONS = ("task", "status", "from", "to", "process", "text", "fingerprint", "item")

Short = Annotated[str, Query(max_length=LONGEST_TEXT)]


@dataclass(frozen=True)
class Asked:
    """The window of the cards in hours, the view, the conditions of the history as typed, and where a page begins."""

    hours: int
    view: View
    zone: str
    task: str = ""
    status: str = ""
    from_: str = ""
    to: str = ""
    process: str = ""
    text: str = ""
    fingerprint: str = ""
    item: str = ""
    after: str = ""
    trail: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """Those that there are, by the name that the address has for them."""
        found = {name: getattr(self, "from_" if name == "from" else name) for name in CONDITIONS}
        return {name: value for name, value in found.items() if value}

    @property
    def is_filtered(self) -> bool:
        return bool(self.conditions)

    @property
    def filter(self) -> Filter:
        """Raise Invalid, with the field, for what is no condition."""
        start, end = _day(self.from_, "from"), _day(self.to, "to")
        if start is not None and end is not None and start > end:
            raise Invalid("The filter ends before it begins", "to")
        return Filter(
            task_name=self.task or None,
            status=one_of(self.status or None, "The state", STATUSES, name="status"),
            start=None if start is None else _midnight(start, self.zone),
            end=None if end is None else _midnight(end + timedelta(days=1), self.zone),
            process_id=_id(self.process, "process"),
            text=self.text.strip() or None,
            fingerprint=self.fingerprint or None,
            item_id=_id(self.item, "item"),
        )

    @property
    def cursor(self) -> Cursor | None:
        """Raise Invalid."""
        return _cursor(self.after) if self.after else None

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The conditions for a form that keeps them."""
        return list(self.conditions.items())

    @property
    def query(self) -> str:
        return self.with_()

    @property
    def page_query(self) -> str:
        return self.with_(after=self.after, trail=self.trail)

    def with_(self, **changed: Any) -> str:
        """For an address that keeps what is not changed; always of the newest, unless `after` says otherwise."""
        given = replace(self, **({"after": "", "trail": ""} | changed))
        more: dict[str, Any] = {"hours": given.hours} if given.hours != DEFAULT_WINDOW else {}
        more |= {"view": given.view} if given.view != "records" else {}
        place = {name: value for name, value in (("after", given.after), ("trail", given.trail)) if value}
        return urlencode(more | given.conditions | place)

    @property
    def longer_trail(self) -> str:
        """With where this page begins, for the one behind it; the newest page has no such place."""
        return "~".join([*self._trail, *([self.after] if self.after else [])][-LONGEST_TRAIL:])

    @property
    def newer(self) -> str:
        """The page before this one."""
        *rest, last = ["", *self._trail]
        return self.with_(after=last, trail="~".join(rest).strip("~"))

    @property
    def _trail(self) -> list[str]:
        return [each for each in self.trail.split("~") if each]


def cursor_text(cursor: Cursor) -> str:
    """For an address."""
    return f"{version_of(cursor.created_at)}-{cursor.id.hex}"


def _cursor(text: str) -> Cursor:
    moment, _, id_ = text.partition("-")
    try:
        return Cursor(moment_of(moment), UUID(hex=id_))
    except ValueError as error:
        raise Invalid("This is no place in the list; begin at the newest", "after") from error


def _id(text: str, name: str) -> UUID | None:
    found = as_id(text) if text else None
    if text and found is None:
        raise Invalid(f"The filter names no {name}", name)
    return found


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
        if not 2000 <= found.year < 9000:  # noqa: PLR2004 - what a time zone can be reckoned with
            raise Invalid(f"“{text[:20]}” is no day", name)
    except ValueError as error:
        raise Invalid(f"“{text[:20]}” is no day", name) from error
    return found


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def _asked(
    request: Request,
    hours: int = DEFAULT_WINDOW,
    view: View = "records",
    task: Short = "",
    status: Short = "",
    from_: Annotated[str, Query(alias="from", max_length=LONGEST_TEXT)] = "",
    to: Short = "",
    process: Short = "",
    text: Short = "",
    fingerprint: Short = "",
    item: Short = "",
    after: Short = "",
    trail: Annotated[str, Query(max_length=2000)] = "",
) -> Asked:
    """An empty condition is none, as forms send it."""
    if hours not in WINDOWS:
        raise Invalid(f"The window must be one of {', '.join(map(str, WINDOWS))} hours", "hours")
    if any("\0" in each for each in (task, status, from_, to, process, text, fingerprint, item, after, trail)):
        raise Invalid("The filter holds a character that nothing has")
    zone = console_of(request).settings.budget_timezone
    return Asked(hours, view, zone, task, status, from_, to, process, text, fingerprint, item, after, trail)


InAddress = Annotated[Asked, Depends(_asked)]
