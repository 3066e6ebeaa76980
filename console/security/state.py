"""What every request of the console works with."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from console.security.signer import Signer
from lib.database import Database
from lib.settings import Settings


@dataclass(frozen=True)
class Console:
    """Made once, when the application starts."""

    settings: Settings
    database: Database
    signer: Signer


def console_of(request: HTTPConnection) -> Console:
    return cast("Console", request.app.state.console)


def address_of(request: HTTPConnection) -> str:
    """Who asks: behind a trusted proxy the address that it names."""
    return request.client.host if request.client else "unknown"
