"""What an alert is about, and what may be reported to us from outside."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Kind = Literal[
    "flow_run.failed",
    "flow_run.crashed",
    "stage.silent",
    "process.stopped",
    "budget.warning",
    "budget.exhausted",
    "login.refused",
    "health.ill",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Nobody says when these are over: they are when they were not seen for `alert_quiet`.
MOMENTARY: frozenset[Kind] = frozenset({"flow_run.failed", "flow_run.crashed"})
# Of these, whoever looks finds all that hold now, and so also which are over.
WATCHED: frozenset[Kind] = frozenset(KINDS) - MOMENTARY

SUBJECT_CHARS = 200
TITLE_CHARS = 300
DETAIL_CHARS = 500
DETAILS = 30
LONGEST_HOLD = 3600.0

Detail = str | int | float | bool | None


def _cut(limit: int) -> BeforeValidator:
    return BeforeValidator(lambda value: value[:limit] if isinstance(value, str) else value)


def _plain(value: Any) -> Any:
    """PostgreSQL's text takes no NUL."""
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cause(_Strict):
    """Something that is wrong. `kind`, `subject` and `episode` say whether it is the same as another.

    `episode` tells two times apart of which the second may begin before anybody saw the end of the first.
    """

    kind: Kind
    subject: Annotated[str, BeforeValidator(_plain), Field(min_length=1, max_length=SUBJECT_CHARS)]
    title: Annotated[str, BeforeValidator(_plain), _cut(TITLE_CHARS), Field(min_length=1)]
    episode: Annotated[str, BeforeValidator(_plain), Field(max_length=100)] = ""
    details: Annotated[
        dict[
            Annotated[str, BeforeValidator(_plain), Field(max_length=50)],
            Annotated[Detail, BeforeValidator(_plain), _cut(DETAIL_CHARS)],
        ],
        Field(max_length=DETAILS),
    ] = {}

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.subject, self.episode


class Report(_Strict):
    """What the relay takes. `hold`: seconds in which the cause may turn out to be over before anybody is told."""

    cause: Cause
    hold: float = Field(0, ge=0, le=LONGEST_HOLD)
