"""Where errors end: every expected one as a line on stderr and an exit status, 1 for a failure and 2 for wrong use."""

import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from console.cli.output import complain
from lib.errors import Invalid, PressroomError

FAILED = 1
WRONG = 2
BROKEN_PIPE = 141


class Edge(TyperGroup):
    """The group at the root of `pressroom`."""

    def main(self, *args: Any, **more: Any) -> Any:
        main = super().main  # bound here: within the lambda, super() would look for itself
        options = more | {"standalone_mode": False}  # the only way out is ours
        sys.exit(status_of(lambda: main(*args, **options)))


def status_of(command: Callable[[], Any]) -> int:
    """Run it; the exit status. An unexpected error goes on upwards."""
    try:
        result = command()
    except BrokenPipeError:
        sys.stdout = None  # nobody reads: nothing is to be flushed
        return BROKEN_PIPE
    except typer.Abort:
        complain("not done")
        return FAILED
    except typer.TyperException as error:
        return _wrong_use(error)
    except PressroomError as error:
        complain(str(error))
        return WRONG if isinstance(error, Invalid) else FAILED
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        complain(explained[0])
        return explained[1]
    return result if isinstance(result, int) else 0


def _wrong_use(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help itself, which was printed
        return WRONG
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    complain(error.format_message().rstrip(".") + hint)
    return error.exit_code


def _explained(error: Exception) -> tuple[str, int] | None:
    """In words, what is no defect of ours: settings that are wrong, a database that fails; with the exit status."""
    from pydantic import ValidationError  # noqa: PLC0415 - only after an error
    from pydantic_settings import SettingsError  # noqa: PLC0415

    if isinstance(error, ValidationError) and error.title == "Settings":
        wrong = [
            f"PRESSROOM_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors(include_input=False)
        ]
        return f"a setting is wrong: {'; '.join(wrong)}", WRONG
    if isinstance(error, SettingsError):
        return f"a setting is wrong: {error}", WRONG
    if isinstance(error, UnicodeDecodeError) and ".env" in str(error):
        return f"the file .env is not UTF-8: {error}", WRONG
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return str(error), FAILED
    words = database_trouble(error)
    return None if words is None else (words, FAILED)


def database_trouble(error: BaseException) -> str | None:
    """What is wrong with the database and what to do; None for an error that is not its."""
    import asyncpg  # noqa: PLC0415 - only after an error
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError  # noqa: PLC0415

    original = error.orig if isinstance(error, DBAPIError) else None
    causes = (error, error.__cause__, original, getattr(original, "__cause__", None))
    if any(isinstance(cause, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError) for cause in causes):
        return "the database has not the tables of this version; run `pressroom db upgrade`"
    if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
        return f"the database cannot be reached ({_first_line(error)}); {WHAT_TO_DO}"
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(error, OperationalError | InterfaceError):
        return f"the database failed ({_first_line(original or error)}); {WHAT_TO_DO}"
    return None


WHAT_TO_DO = "start `pressroom up`, or set PRESSROOM_DATABASE_URL to a server that runs"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
