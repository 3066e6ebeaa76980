"""`python -m console`: serve the console until it is stopped."""

import argparse
import asyncio
import sys

import uvicorn

from console.app import create_app
from console.security import serving
from lib import log
from lib.database import Database
from lib.errors import PressroomError
from lib.garbage import spare_the_collector
from lib.people import passwords
from lib.people.sign_in import ensure_first_admin_link
from lib.settings import Settings
from lib.settings import settings as read_settings


async def _first_admin(settings: Settings) -> None:
    async with Database(settings.database_url or "", pool_size=1) as database:
        link = await ensure_first_admin_link(database)
    if link is not None:
        address = settings.console_address + link.path
        print(f"set up the first admin at {address}", flush=True)  # noqa: T201 - what was asked for


def main() -> int:
    parser = argparse.ArgumentParser("python -m console", description="Serve the console.")
    parser.add_argument(
        "--first-admin", action="store_true", help="print a new one-time link while there is no administrator"
    )
    chosen = parser.parse_args()
    log.configure()
    settings = read_settings()
    try:
        options = serving.uvicorn_options(settings)
        app = create_app(settings)
        if chosen.first_admin:
            asyncio.run(_first_admin(settings))
    except PressroomError as error:
        print(f"pressroom: {error}", file=sys.stderr, flush=True)  # noqa: T201 - what a command says
        return 1
    passwords.warm_up()
    spare_the_collector()
    uvicorn.run(app, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
