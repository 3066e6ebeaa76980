"""Versions: a reader is spared what they have, and nobody changes what they have not seen.

An entity tag is `"<version>.<digest>"`. The version is of what people set, and all that If-Match asks about: what a
worker notes beside it makes nobody's change stale. The digest is of the whole answer, and what If-None-Match is about.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from lib.errors import Stale

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="The ETag of what you read; `*` changes it whatever it is now. Without one the answer is 428.",
        examples=["*"],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1000, description="The ETag that you have: nothing new answers 304."),
]
_TAG = re.compile(r'(?:W/)?"([0-9a-f]{1,16})(?:\.[0-9a-f]{1,64})?"')
_ANY_TAG = re.compile(r'"[^"]*"')
_JSON = "application/json"


def seen(if_match: str | None) -> str | None:
    """The version that the caller saw; None is any. Raise 428 without one, Stale for one that never was ours."""
    if if_match is None:
        raise HTTPException(428, "Say which version you saw: send its ETag as If-Match")
    return seen_if_said(if_match)


def seen_if_said(if_match: str | None) -> str | None:
    """The same where nobody needs to say it."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise Stale("What If-Match names is no version of this; read it again")
    return found[1]


def answer(document: BaseModel, version: str, *, status: int = 200, location: str | None = None) -> Response:
    """The document with its entity tag."""
    body = document.model_dump_json().encode()
    headers = {"ETag": f'"{version}.{hashlib.blake2b(body, digest_size=8).hexdigest()}"'}
    if location is not None:
        headers["Location"] = location
    return Response(body, status, headers, media_type=_JSON)


def read(request: Request, document: BaseModel, version: str) -> Response:
    """The same, or 304 for who has it already."""
    made = answer(document, version)
    tag = made.headers["ETag"]
    wanted = request.headers.get("If-None-Match", "")
    if wanted.strip() == "*" or tag in _ANY_TAG.findall(wanted):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
    made.headers["Cache-Control"] = "private, no-cache"
    return made


def plain(document: BaseModel, *, status: int = 200, location: str | None = None) -> Response:
    """Of what has no version."""
    headers = {} if location is None else {"Location": location}
    return Response(document.model_dump_json(), status, headers, media_type=_JSON)
