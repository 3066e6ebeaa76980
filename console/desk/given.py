"""What a person gives to the desk: names, numbers, choices. Each error names the field that is wrong."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lib.errors import Invalid, Stale
from lib.monitoring import fields
from lib.monitoring.store.scope import as_id

# What follows the reason why a new login or provider does not work.
NOT_SAVED = "; nothing was saved"


@contextmanager
def field(name: str) -> Iterator[None]:
    """An Invalid from within is about this field."""
    try:
        yield
    except Invalid as error:
        error.field = error.field or name
        raise


def new_name(text: str, what: str) -> str:
    """A name that cannot be taken for an id."""
    with field("name"):
        clean = fields.name(text, what)
        if as_id(clean) is not None:
            raise Invalid(f"{what} may not look like an id, as “{clean}” does")
    return clean


def number(value: int | None, what: str, least: int, most: int, *, name: str) -> int | None:
    """A whole number within bounds, or None."""
    if value is not None and not least <= value <= most:
        raise Invalid(f"{what} must be from {least:,} to {most:,}, not {value:,}", name)
    return value


def one_of(value: str | None, what: str, choices: Sequence[str], *, name: str) -> str | None:
    if value is not None and value not in choices:
        raise Invalid(f"{what} must be one of {', '.join(choices)}, not “{value[:40]}”", name)
    return value


def version_of(*values: Any) -> str:
    """Of what people set: a worker's own notes beside it do not make another version."""
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


def as_seen(what: str, now: str, version: str | None) -> None:
    """Raise Stale when a person changes what is not as they saw it. None does not ask."""
    if version is not None and version != now:
        raise Stale(f"{what} was changed in the meantime; read it again")
