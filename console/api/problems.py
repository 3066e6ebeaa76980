"""Every error as a problem document (RFC 9457): what is wrong, and where in the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from console.security.errors import Forbidden, NotSignedIn
from lib.database import will_pass
from lib.errors import Conflict, Invalid, NotFound, PressroomError, Stale
from lib.people.throttle import Throttled

MEDIA_TYPE = "application/problem+json"
_KIND = "urn:pressroom:problem:"
_AGAIN_SOON = 5  # seconds
_LONGEST_NAME = 100
# Python changed these words; ours stay.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class BadRequest(RequestValidationError):  # noqa: N818 - the answer's own word
    """The same as 400: what /monitoring promises for what cannot be used."""


class WrongField(BaseModel):
    """One value of the request: `pointer` into its body (RFC 6901), or the name of a parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemDocument(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongField] = []


@dataclass(frozen=True)
class Problem:
    """What a page or the API says about an error. `retry_after` in seconds."""

    status: HTTPStatus
    detail: str
    errors: tuple[WrongField, ...] = ()
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return _TITLES.get(self.status, self.status.phrase)

    @property
    def document(self) -> dict[str, Any]:
        kind = _KIND + self.title.lower().replace(" ", "-").replace("'", "")
        made = ProblemDocument(
            type=kind, title=self.title, status=self.status, detail=self.detail, errors=list(self.errors)
        )
        return made.model_dump(exclude_none=True, exclude_defaults=True)

    @property
    def all_headers(self) -> dict[str, str]:
        again = {} if self.retry_after is None else {"Retry-After": str(ceil(self.retry_after))}
        return dict(self.headers) | again


def problem_of(error: Exception) -> Problem:
    """Of an error that nobody expected it says nothing but that there was one."""
    match error:
        case BadRequest() | WebSocketRequestValidationError():
            return _validation(error.errors(), HTTPStatus.BAD_REQUEST)
        case RequestValidationError():
            return _validation(error.errors())
        case HTTPException():
            return Problem(HTTPStatus(error.status_code), str(error.detail), headers=error.headers or {})
        case PressroomError():
            return _ours(error)
        case _ if will_pass(error):
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer; try again", (), _AGAIN_SOON)
        case _:
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the log says what")


def _ours(error: PressroomError) -> Problem:
    status = _status_of(error)
    wrong = getattr(error, "field", None)
    errors = () if wrong is None else (WrongField(detail=str(error), pointer=f"#/{wrong}"),)
    return Problem(status, str(error), errors, getattr(error, "retry_after", None), _challenge(error))


# The first that fits counts. For the rest, a site or a model would not do what we asked of it.
_STATUSES: tuple[tuple[type[PressroomError], HTTPStatus], ...] = (
    (NotSignedIn, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Stale, HTTPStatus.PRECONDITION_FAILED),
    (Conflict, HTTPStatus.CONFLICT),
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS),
    (PressroomError, HTTPStatus.FAILED_DEPENDENCY),
)


def _status_of(error: PressroomError) -> HTTPStatus:
    if isinstance(error, NotFound) and error.field is not None:  # what the body names, not what the address does
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def _challenge(error: PressroomError) -> dict[str, str]:
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, NotSignedIn) else {}


def _validation(found: Sequence[Any], status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> Problem:
    errors = tuple(_wrong_field(each) for each in found)
    first = errors[0] if errors else None
    where = (first.parameter or (first.pointer or "").removeprefix("#/")) if first else ""
    said = f"{where}: {first.detail}" if first and where else (first.detail if first else "The request is not valid")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(status, said + more, errors)


def _wrong_field(error: Mapping[str, Any]) -> WrongField:
    """Never with the value: it may be a secret."""
    place, *path = error["loc"] or ("body",)
    if error["type"] == "json_invalid":
        return WrongField(detail=f"This is no JSON: {error['ctx']['error']}", pointer="#")
    words = error["msg"].removeprefix("Value error, ")
    if place == "body":
        return WrongField(detail=words, pointer="#" + "".join(f"/{_escaped(step)}" for step in path))
    return WrongField(detail=words, parameter=str(path[0]) if path else str(place))


def _escaped(step: object) -> str:
    """A name may be anybody's invention: cut, and without what no text can hold."""
    shown = str(step)[:_LONGEST_NAME].encode("utf-8", "replace").decode()
    return shown.replace("~", "~0").replace("/", "~1")


def response(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.document, problem.status, problem.all_headers, media_type=MEDIA_TYPE)


def parameter(place: str, name: str, words: str) -> RequestValidationError:
    """A header or a parameter that cannot be used."""
    return RequestValidationError([{"type": "value_error", "loc": (place, name), "msg": words, "input": None}])


def bad_request(place: str, path: Sequence[str], words: str) -> BadRequest:
    """A value that cannot be used, where 400 says so."""
    return BadRequest([{"type": "value_error", "loc": (place, *path), "msg": words, "input": None}])


def _response(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def said(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These answers of a route, for the OpenAPI document."""
    return {status: _response(HTTPStatus(status).phrase) for status in statuses}


# What every route may answer beside its own. `console.api.description` adds the schema that they refer to.
RESPONSES: dict[int | str, dict[str, Any]] = {"default": _response("A problem document"), **said(401, 403, 422, 503)}
BAD_REQUEST_RESPONSES = {"default": RESPONSES["default"], **said(400, 401, 403, 503)}
