"""What documents of the API are made of: texts without what nobody can see, bounded numbers, names or ids."""

import unicodedata
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints

from lib.monitoring.fields import NAME_CHARS, PROMPT_CHARS, SECRET_CHARS, URL_CHARS, WORD_CHARS
from lib.monitoring.presets import MOST_MONEY, MOST_TOKENS

T = TypeVar("T")
_BREAKS = "\n\r\t"
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")


class Given(BaseModel):
    """What a caller sends: nothing that is not known."""

    model_config = ConfigDict(extra="forbid")


class Told(BaseModel):
    """What a caller is told."""

    model_config = ConfigDict(from_attributes=True)


def _one_line(text: str) -> str:
    for char in text:
        if unicodedata.category(char) in _UNSEEN:
            raise ValueError(f"the character U+{ord(char):04X} is not possible here")
    return text


def _several_lines(text: str) -> str:
    _one_line(text.translate({ord(each): None for each in _BREAKS}))
    return text


def _no_secret_breaks(secret: SecretStr) -> SecretStr:
    _one_line(secret.get_secret_value())
    return secret


Line = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[Line, StringConstraints(min_length=1, max_length=NAME_CHARS)]
Word = Annotated[Line, StringConstraints(max_length=WORD_CHARS)]
Address = Annotated[Line, StringConstraints(min_length=1, max_length=URL_CHARS)]
Prompt = Annotated[
    str, AfterValidator(_several_lines), StringConstraints(min_length=1, max_length=PROMPT_CHARS, pattern=r"\S")
]
Secret = Annotated[SecretStr, AfterValidator(_no_secret_breaks), Field(min_length=1, max_length=SECRET_CHARS)]
Reference = Annotated[Name, Field(description="A name, or an id.")]
Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Money = Annotated[Decimal, Field(ge=0, le=MOST_MONEY, max_digits=12, decimal_places=4)]


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("leave it out to keep it as it is; null is not possible here")
    return value


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _without_null(schema: dict[str, Any]) -> None:
    """Null is what the value is when it was left out; nobody may send it."""
    _without_default(schema)
    kinds = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    schema.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


# A member of a change that stays as it is when it is left out, and cannot be taken away.
Kept = Annotated[T | None, BeforeValidator(_not_null), Field(json_schema_extra=_without_null)]
# One that null takes away.
Cleared = Annotated[T | None, Field(json_schema_extra=_without_default)]


class Part(Told):
    """Something that a record refers to."""

    id: UUID
    name: str


class Removed(Told):
    """What is gone."""

    removed: str
