"""What people type into forms: numbers in several ways of writing, texts of several lines; and what is wrong."""

import re
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from uuid import UUID

from fastapi import Request

from console.pages.language import language_of
from lib.errors import Conflict, Invalid, PressroomError

# Under this name an error that belongs to no field.
WHOLE_FORM = "form"
_GROUPED = re.compile(r"-?\d{1,3}([., '’\u00a0\u202f]\d{3})+")
_SPACES = re.compile(r"[ '’\u00a0\u202f]")
_MOST_DIGITS = 30


def errors_of(request: Request, error: PressroomError) -> dict[str, str]:
    """By the name of its field, in the reader's language."""
    return {getattr(error, "field", None) or WHOLE_FORM: language_of(request).sentence(error)}


def status_of(error: PressroomError) -> int:
    return HTTPStatus.CONFLICT if isinstance(error, Conflict) else HTTPStatus.UNPROCESSABLE_ENTITY


def id_of(text: str) -> UUID | None:
    """Of what a filter or a list offers; anything else is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def lines(text: str) -> str:
    """A browser sends each line's end as two characters."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def whole(text: str, what: str, field: str) -> int | None:
    """A whole number, with or without marks between its groups; nothing is None. Raise Invalid."""
    clean = text.strip()
    if not clean:
        return None
    if _GROUPED.fullmatch(clean):
        clean = re.sub(r"[^\d-]", "", clean)
    if not re.fullmatch(r"-?[0-9]{1,18}", clean):
        raise Invalid(f"{what} must be a whole number, not “{text.strip()[:40]}”", field)
    return int(clean)


def amount(text: str, what: str, field: str) -> Decimal | None:
    """A number with a point or a comma; nothing is None. Raise Invalid, also where 1,000 could be one or a thousand."""
    clean = _SPACES.sub("", text)
    if not clean:
        return None
    if re.fullmatch(r"[0-9]{1,3},[0-9]{3}", clean) and not clean.startswith("0"):
        raise Invalid(f"{what}: “{clean}” could be two numbers; write 1000 or 1.5", field)
    try:
        if len(clean) > _MOST_DIGITS or not re.fullmatch(r"-?[0-9]*[.,]?[0-9]*", clean):
            raise InvalidOperation  # noqa: TRY301 - all that is wrong with it ends in one sentence
        return Decimal(clean.replace(",", "."))
    except InvalidOperation as error:
        raise Invalid(f"{what} must be a number such as 0.25, not “{text.strip()[:40]}”", field) from error


def plain(number: Decimal | float | None) -> str:
    """As it stands in a field: without an exponent, and without zeros that say nothing."""
    if number is None:
        return ""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
