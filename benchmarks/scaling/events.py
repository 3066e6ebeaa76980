"""What Prefect has still to tell its server."""

PATIENCE = 120.0


def send() -> None:
    """Wait until it is told, while there is a server; this process would go on trying for long afterwards."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415 - Prefect reads the environment when it is imported

    EventsWorker.drain_all(timeout=PATIENCE)
