"""What a record shows of a unit's arguments and of an error's words: no secrets, nothing long, nothing unstorable."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import SecretBytes, SecretStr

HIDDEN = "…"
LONGEST_TEXT = 200
# Texts of people, of which a record needs no more than to be recognised by.
LONGEST_WORK = 80
WORKS = frozenset({"content", "raw_html", "html", "text", "body", "answer", "prompt", "comment", "draft"})
DEEPEST = 6
MOST_ITEMS = 20
MOST_CHARACTERS = 4_000
MOST_KNOWN = 10_000  # names that are remembered: they may come from data
LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 20_000

_SECRETS = r"password|passwd|passphrase|token|secret|cookie|authorization|csrf|session|credential"
_SECRET_NAME = re.compile(rf"{_SECRETS}|(^|_)(api_?)?keys?($|_)|_encrypted$", re.IGNORECASE)
# Names that only sound like it: counts of tokens, how long a session lasts.
_HARMLESS = re.compile(r"(^|_)tokens$|^session_(hours|id)$|^tokens_estimated$|^keywords?$", re.IGNORECASE)
# In a sentence: what follows such a name, a bearer's token, the password within an address.
_TOLD = re.compile(
    rf"(?i)((?:{_SECRETS}|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)[^\s\"',;&}}]+"
    r"|(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|(://[^\s/:@]*:)[^\s/@]+(?=@)"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_AS_TEXT = (str, int, float, UUID, datetime, date, time, Decimal, PurePath)

# How a name is shown, and how many characters of a text of that name; 0: it is a secret.
_names: dict[str, tuple[str, int]] = {}
_fields: dict[type, tuple[str, ...]] = {}


def shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as JSON values and UUIDs, at most some 4 KB of them. Never raises."""
    try:
        return _Budget().mapping(arguments, 0)
    except Exception as error:  # noqa: BLE001 - what cannot be shown must not stop the work
        return {HIDDEN: f"cannot be shown: {type(error).__name__}"}


def storable(text: str, longest: int = LONGEST_TEXT) -> str:
    """Without what a database cannot hold; when it is longer, its beginning and how long it is."""
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text):,} characters)"
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def without_secrets(text: str) -> str:
    """A sentence in which what looks like a secret is a sign."""
    return _TOLD.sub(lambda found: (found[1] or found[2] or found[3]) + HIDDEN, text)


def message(error: BaseException | str) -> str:
    """An error's sentence."""
    try:
        said = str(error)
    except Exception as trouble:  # noqa: BLE001 - an error whose words fail is an error all the same
        said = f"(its words cannot be had: {type(trouble).__name__})"
    return storable(without_secrets(said[: 2 * LONGEST_MESSAGE]), LONGEST_MESSAGE)


def both_ends(text: str, longest: int = LONGEST_TRACEBACK) -> str:
    """The beginning and the end, which says most, of what is longer."""
    if len(text) > longest:
        text = f"{text[: longest // 4]}\n…\n{text[-(longest - longest // 4) :]}"
    return storable(text, 2 * longest)


def _named(key: object) -> tuple[str, int]:
    name = key if type(key) is str else str(key)
    found = _names.get(name)
    if found is None:
        secret = _SECRET_NAME.search(name) and not _HARMLESS.search(name)
        longest = 0 if secret else LONGEST_WORK if name.lower() in WORKS else LONGEST_TEXT
        found = storable(name, LONGEST_WORK), longest
        if len(_names) < MOST_KNOWN:
            _names[name] = found
    return found


class _Budget:
    """Makes JSON values of anything until so many characters are used up."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return self._items(values.items(), len(values), depth)

    def _items(self, items: Iterable[tuple[Any, Any]], number: int, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in items:
            if len(made) >= MOST_ITEMS or self._left <= 0:
                made[HIDDEN] = f"{number - len(made)} more"
                break
            name, longest = _names.get(key) or _named(key)
            kind = type(value)
            # The most frequent ones at once: this is most of what a record costs.
            if value is None or (kind is UUID and longest):
                made[name] = value
                self._left -= len(name) + 36
            elif kind is str and len(value) <= longest <= self._left and value.isascii() and "\0" not in value:
                made[name] = value
                self._left -= len(name) + len(value) + 6
            else:
                self._left -= len(name) + 6
                # A flag is no secret, whatever its name.
                hidden = longest == 0 and kind is not bool and kind is not float
                made[name] = HIDDEN if hidden else self._value(value, longest, depth)
        return made

    def _value(self, value: Any, longest: int, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            text = storable(value, min(longest, max(self._left, 20)))
            self._left -= len(text)
            return text
        if value is None or kind is bool:
            self._left -= 4
            return value
        if kind is int or kind is float:
            return self._number(value)
        if kind is UUID:
            self._left -= 36
            return value  # is serialised as it is
        return self._other(value, longest, depth)

    def _number(self, value: float) -> Any:
        self._left -= 8
        # Neither JSON nor a database has infinities, and one end of a number's digits is far away.
        return value if -(2**53) < value < 2**53 else storable(f"{value:g}")

    def _other(self, value: Any, longest: int, depth: int) -> Any:
        if isinstance(value, Enum):
            return self._value(value.value, longest, depth)
        if isinstance(value, _AS_TEXT):
            return self._value(str(value), longest, depth)
        if isinstance(value, bytes | bytearray):
            return f"{len(value):,} bytes"
        if depth >= DEEPEST or isinstance(value, SecretStr | SecretBytes):
            return HIDDEN
        return self._composed(value, longest, depth)

    def _composed(self, value: Any, longest: int, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self.mapping(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(value, longest, depth)
        names = _names_of(type(value))
        if names:
            return self._items(((name, getattr(value, name)) for name in names), len(names), depth + 1)
        return type(value).__name__  # its words may hold anything

    def _sequence(self, values: Any, longest: int, depth: int) -> list[Any]:
        made: list[Any] = []
        for value in values:
            if len(made) >= MOST_ITEMS or self._left <= 0:
                made.append(f"{HIDDEN} {len(values) - len(made)} more")
                break
            made.append(self._value(value, longest, depth + 1))
            self._left -= 2
        return made


def _names_of(kind: type) -> tuple[str, ...]:
    """A dataclass's fields, or a pydantic model's."""
    found = _fields.get(kind)
    if found is None:
        if dataclasses.is_dataclass(kind):
            found = tuple(field.name for field in dataclasses.fields(kind) if field.repr)
        else:
            found = tuple(getattr(kind, "model_fields", ()))
        if len(_fields) < MOST_KNOWN:
            _fields[kind] = found
    return found
