"""What is looked for, and the statements that find it. Values are parameters; all else is written out here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from lib.taskwatch.models import STATUSES, TABLE, WORDS

ORDER = "ORDER BY created_at DESC, id DESC"
HAS_WORDS = f"{WORDS} @@ to_tsquery('pg_catalog.simple', replace(:query, '$', task_half_hour({{at}})))"
# Of `h`, so that it is asked before a half hour is looked into, each time.
_WHILE_PATIENT = " WHERE h + (clock_timestamp() - statement_timestamp()) < h + make_interval(secs => :patience)"
MOST_WORDS = 8
LONGEST_WORD = 60
# Looked at one by one before the index of words is.
TRIED = 100
# Up to so many, each branch gives all that are wanted.
FEW = 500
A_DAY = timedelta(days=1)
_HALF_HOUR = timedelta(minutes=30)
_NAMED = ("owner_id", "process_id", "fingerprint", "item_id", "task_name")
_WORD = re.compile(r"[^\W_]+")
# No record is older or newer.
_EARLIEST, LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filter:
    """What is looked for; None is anything. `start` ≤ created_at < `end`.

    `text`: words in the run's name, the parameters or the error, all of them, the last one also as a beginning.
    """

    task_name: str | None = None
    status: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    process_id: UUID | None = None
    text: str | None = None
    fingerprint: str | None = None
    item_id: UUID | None = None


@dataclass(frozen=True)
class Cursor:
    """The last record of a page: the next one begins behind it."""

    created_at: datetime
    id: UUID


class Look:
    """The conditions of one search, and their values."""

    def __init__(
        self, sees: UUID | None, filter_: Filter, after: Cursor | None = None, statuses: Sequence[str] = ()
    ) -> None:
        self.filter = filter_
        self.start = filter_.start
        self.end = filter_.end
        self.words = _WORD.findall((filter_.text or "").lower())[:MOST_WORDS]
        self._statuses = [filter_.status] if filter_.status else list(statuses)
        named = {
            "owner_id": sees,
            "process_id": filter_.process_id,
            "fingerprint": filter_.fingerprint,
            "item_id": filter_.item_id,
            "task_name": filter_.task_name,
        }
        self.given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        self._range = self._ranged(after)
        if self._statuses:
            self.given["statuses"] = self._statuses
        if self.words:
            self.given["query"] = self._query()

    def newest(self, most: int, given_as: str = ":most") -> str:
        """The newest `most` keys, without regard to words, in any order.

        The number is a parameter: a plan that is made without knowing it goes by the order of an index, and sorts none.
        """
        # There are few of one fingerprint or item, and an index of them.
        if {"fingerprint", "item_id"} & self.given.keys() or not {*_NAMED, "statuses"} & self.given.keys():
            return self._straight(given_as)
        return self._branched(most, given_as)

    def with_words(self, days: Sequence[datetime], *, patiently: bool = True) -> str:
        """The newest `:most` keys that have the words. Parts are begun one after the other, until there are enough.

        Else also until `:patience` seconds are over: then older ones are left out.

        First of all come the newest that are what is wanted but for the words: where nearly every record has them, or
        few are wanted, this is the answer. Then the days, newest first, behind those; not at all if those were all.
        """
        newest = self.newest(TRIED, ":tried")
        self.given["tried"] = TRIED
        has = HAS_WORDS.format(at="created_at")
        tried = f"SELECT created_at, id, {has} AS has FROM {TABLE} WHERE created_at = n.created_at AND id = n.id"
        parts = [
            f"SELECT w.created_at, w.id FROM newest n, LATERAL ({tried} OFFSET 0) w WHERE w.has",
            *(f"({self._of_a_day(day, patiently=patiently)})" for day in days),
        ]
        return (
            f"WITH newest AS MATERIALIZED (SELECT created_at, id FROM ({newest}) f {ORDER} LIMIT :tried),"
            f" last AS MATERIALIZED (SELECT created_at, id FROM newest {ORDER} OFFSET :tried - 1)"
            f" SELECT created_at, id FROM ({' UNION ALL '.join(parts)}) f LIMIT :most"
        )

    def _of_a_day(self, day: datetime, *, patiently: bool) -> str:
        """The newest `:most` keys of one day behind `last`: half hour by half hour, until there are enough.

        Only the words may lead to the records: what an index has is written so that none is used for it.
        """
        conditions = [f"created_at >= '{day:%F}T00:00:00Z'", f"created_at < '{day + A_DAY:%F}T00:00:00Z'"]
        conditions.append(HAS_WORDS.format(at="h"))
        behind = [*self._range, "(created_at, id) < (l.created_at, l.id)"]
        conditions += [condition.replace("created_at", "(created_at + interval '0')", 1) for condition in behind]
        conditions += [f"coalesce({name}) = :{name}" for name in _NAMED if name in self.given]
        if self._statuses:
            conditions.append("coalesce(status) = ANY(:statuses)")
        first = _floor(max(day, self.start) if self.start else day)
        last = _floor(min(day + A_DAY, self.end) - timedelta(microseconds=1)) if self.end else day + A_DAY - _HALF_HOUR
        return (
            "SELECT x.created_at, x.id FROM last l, generate_series("
            f"least(CAST('{last.isoformat()}' AS timestamptz), date_bin('30 minutes', l.created_at, 'epoch')),"
            f" CAST('{first.isoformat()}' AS timestamptz), interval '-30 minutes') h, LATERAL ("
            "SELECT created_at, id FROM ("
            f"SELECT created_at, id FROM {TABLE} WHERE {' AND '.join(conditions)} OFFSET 0) o"
            f" {ORDER} LIMIT :most) x{'' if patiently else _WHILE_PATIENT} LIMIT :most"
        )

    def _branched(self, most: int, given_as: str) -> str:
        """The newest of each (task, status), from which the newest of all are taken.

        For many, time by time: else each branch would give as many as are wanted of all.
        """
        names = "(SELECT CAST(:task_name AS text) AS task_name)" if "task_name" in self.given else "task_names"
        self.given.setdefault("statuses", list(STATUSES))
        same = [f"{name} = :{name}" for name in ("owner_id", "process_id") if name in self.given]
        conditions = ["l.task_name = n.task_name", "l.status = s.status", *same, *self._range]
        branches = (
            f"SELECT x.created_at, x.id FROM {names} n, unnest(:statuses) AS s (status), LATERAL ("
            f"SELECT created_at, id FROM {TABLE} l WHERE {{}} {ORDER} LIMIT {given_as}) x"
        )
        if most <= FEW:
            return f"{branches.format(' AND '.join(conditions))} {ORDER} LIMIT {given_as}"
        conditions += ["created_at >= t.since", "created_at < t.until"]
        return (
            f"SELECT y.created_at, y.id FROM ({self._times()}) AS t (since, until), LATERAL ("
            f"{branches.format(' AND '.join(conditions))} {ORDER} LIMIT {given_as}) y LIMIT {given_as}"
        )

    def _times(self) -> str:
        """Spans of time, newest first, each four times as long as the one before it; the last one has no beginning.

        A lateral join takes them one by one, in this order, and stops where there is enough.
        """
        since, span = max(_EARLIEST, min(self.end or LATEST, datetime.now(UTC))), timedelta(minutes=15)
        ends = ["infinity"]
        for _ in range(5):
            since -= span
            ends.append(since.isoformat())
            span *= 4
        ends.append("-infinity")
        spans = (f"(CAST('{since}' AS timestamptz), CAST('{until}' AS timestamptz))" for until, since in pairwise(ends))
        return f"VALUES {', '.join(spans)}"

    def _straight(self, given_as: str) -> str:
        conditions = [f"{name} = :{name}" for name in _NAMED if name in self.given] + self._range
        if self._statuses:
            conditions.append("status = ANY(:statuses)")
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return f"SELECT created_at, id FROM {TABLE} {where}{ORDER} LIMIT {given_as}"

    def _ranged(self, after: Cursor | None) -> list[str]:
        conditions = []
        if self.start is not None:
            conditions.append("created_at >= :start")
            self.given["start"] = self.start
        if self.end is not None:
            conditions.append("created_at < :end")
            self.given["end"] = self.end
        if after is not None:
            conditions += ["created_at <= :after_at", "(created_at, id) < (:after_at, :after_id)"]
            self.given |= {"after_at": after.created_at, "after_id": after.id}
            # The cursor's own time belongs to it.
            ends = min(after.created_at, LATEST) + timedelta(microseconds=1)
            self.end = min(self.end, ends) if self.end else ends
        return conditions

    def _query(self) -> str:
        """The words and what else the record has to be; `$` stands for the half hour."""
        of_failed = bool(self._statuses) and {"failed", "abandoned"}.issuperset(self._statuses)
        words = [f"${'9' if of_failed else ''}{word[:LONGEST_WORD]}" for word in self.words]
        if len(self.words[-1]) <= LONGEST_WORD:
            words[-1] += ":*"
        marks = {
            "t": _plain(self.filter.task_name),
            "p": self.given["process_id"].hex if "process_id" in self.given else None,
            "o": self.given["owner_id"].hex if "owner_id" in self.given else None,
        }
        either = " | ".join(f"$0s{status}" for status in self._statuses)
        return " & ".join(
            [
                *words,
                *(f"$0{mark}{value}" for mark, value in marks.items() if value),
                *([f"({either})"] if either else []),
            ]
        )


def _plain(name: str | None) -> str | None:
    """A task's name as it is among the words; None where it has other signs: then it is only compared."""
    bare = re.sub(r"[-_. ]", "", name or "").lower()
    return bare if bare and bare.isalnum() else None


def floor_of_day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _floor(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 30 * 30, second=0, microsecond=0)
