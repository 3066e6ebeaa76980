"""How a process writes its log: a line on stderr, and tracebacks without the variables, which may be secrets."""

import sys

import structlog


def configure() -> None:
    """At the start of a process; until then structlog's own way of writing shows the variables of every frame."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
