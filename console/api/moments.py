"""Times in a query: ISO 8601, by the second or by the day, UTC unless they say otherwise."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_SHAPE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?")
_DAY = len("2025-10-27")
_EITHER = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}


def moment(given: object) -> datetime:
    """In UTC. Raise ValueError for what is no time, or none of ours."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str) or not _SHAPE.fullmatch(given):
        raise ValueError("this is no time; write it as 2025-10-27 or 2025-10-27T12:00:00Z")
    try:
        found = datetime.fromisoformat(given.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("there is no such time") from error


def end_of(given: object) -> datetime:
    """The same; of a day, its end."""
    found = moment(given)
    is_day = isinstance(given, str) and len(given) == _DAY
    try:
        return found + timedelta(days=1) if is_day else found
    except OverflowError as error:
        raise ValueError("there is no such time") from error


Start = Annotated[datetime, BeforeValidator(moment), WithJsonSchema(_EITHER)]
End = Annotated[datetime, BeforeValidator(end_of), WithJsonSchema(_EITHER)]
