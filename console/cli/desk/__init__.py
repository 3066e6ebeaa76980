"""What the commands do, on a visit to the database. Slow to import, so a command imports it when it runs."""

from console.cli.visit import Visit, visiting

__all__ = ["Visit", "visiting"]
