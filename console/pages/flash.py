"""One sentence for the next page, in a signed cookie that lives a minute."""

from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from console.security import cookies
from console.security.state import console_of

Kind = Literal["success", "warning", "error"]
_COOKIE = "flash"
_SECONDS = 60
_LONGEST = 500


@dataclass(frozen=True)
class Flash:
    kind: str
    text: str


def add(request: Request, text: str, kind: Kind = "success") -> None:
    sealed = console_of(request).signer.seal(_COOKIE, [kind, text[:_LONGEST]])
    cookies.jar_of(request).set(_COOKIE, sealed, same_site="strict", seconds=_SECONDS)


def taken(request: Request) -> tuple[Flash, ...]:
    """What the last page left for this one; it is said once. A part of a page takes nothing."""
    if request.headers.get("HX-Request") == "true":
        return ()
    sealed = cookies.read(request, _COOKIE)
    if sealed is None:
        return ()
    cookies.jar_of(request).drop(_COOKIE)
    match console_of(request).signer.open(_COOKIE, sealed):
        case [str(kind), str(text)]:
            return (Flash(kind, text),)
        case _:
            return ()
